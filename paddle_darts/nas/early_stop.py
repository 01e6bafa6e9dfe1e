"""Whether a trial is worth its remaining epochs: PaddleSlim's ``EarlyStopBase`` and ``MedianStop``.

Source: PaddlePaddle/PaddleSlim, paddleslim/nas/early_stop; the rule is that of Google Vizier (Golovin et al., 2017).
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from typing import Any

from paddle_darts.controllers.checks import checked_count
from paddle_darts.errors import ConfigError, unknown

log = logging.getLogger(__name__)

#: PaddleSlim's own spelling is the first one.
MAXIMISE = ("maxmize", "maximize", "maximise")
MINIMISE = ("minimize", "minimise")


class EarlyStopBase(ABC):
    """Says after every epoch of a trial whether it should go on."""

    @abstractmethod
    def get_status(self, step: int, result: float, epochs: int) -> str:
        """ "GOOD" or "BAD" for trial ``step``, which had ``result`` in its latest epoch and is to have ``epochs``."""


class MedianStop(EarlyStopBase):
    """A trial is bad when its result is worse than the median of what others had after as many epochs.

    Others are the finished trials that stayed good, each with the mean of its results so far; as long as there are
    none, the results of all trials that have come as far, this one included. Of an even number the worse of the two
    middle ones counts as the median. A result that is no finite number is bad.

    Args:
        strategy: any object; the history is kept in its attribute ``trial_history`` (JSON values), where `SANAS`
            stores it with its checkpoint. None: a history of this object's own.
        start_epoch: the epoch, from 1, from which trials are judged.
        mode: "maximize" ("maxmize" in PaddleSlim) or "minimize".

    Deviations from PaddleSlim: no server of its own, so no second port and no constant key; processes do not share
    their histories.
    """

    def __init__(self, strategy: Any, start_epoch: int, mode: str = "maximize") -> None:
        if mode not in MAXIMISE + MINIMISE:
            raise ConfigError(unknown("mode of MedianStop", str(mode), MAXIMISE + MINIMISE))
        self._larger_is_better = mode in MAXIMISE
        self._start_epoch = checked_count("start_epoch", start_epoch, least=0)
        self._strategy, self._own = strategy, {}
        if strategy is not None and not isinstance(getattr(strategy, "trial_history", None), dict):
            strategy.trial_history = {}

    @property
    def history(self) -> dict[str, dict[str, list[float]]]:
        """``running``: the results of unfinished trials; ``completed``: the means up to each epoch of finished ones."""
        found = self._own if self._strategy is None else self._strategy.trial_history
        for part in ("running", "completed"):
            found.setdefault(part, {})
        return found

    def get_status(self, step: int, result: float, epochs: int) -> str:
        name, epochs = str(checked_count("step", step, least=0)), checked_count("epochs", epochs)
        result = float(result)
        running = self.history["running"]
        if not math.isfinite(result):
            log.warning("trial %s had the result %s: it is bad", name, result)
            running.pop(name, None)
            return "BAD"
        results = running.setdefault(name, [])
        results.append(result)
        status = "BAD" if self._is_bad(result, len(results)) else "GOOD"
        if len(results) >= epochs:
            self._finish(name, status)
        return status

    def _is_bad(self, result: float, epoch: int) -> bool:
        if epoch < self._start_epoch:
            return False
        history = self.history
        others = history["completed"] or history["running"]
        known = sorted(results[epoch - 1] for results in others.values() if len(results) >= epoch)
        if not known:
            return False
        if self._larger_is_better:
            return result < known[(len(known) - 1) // 2]
        return result > known[len(known) // 2]

    def _finish(self, name: str, status: str) -> None:
        results = self.history["running"].pop(name)
        if status == "GOOD":
            means = [sum(results[: count + 1]) / (count + 1) for count in range(len(results))]
            self.history["completed"][name] = means
