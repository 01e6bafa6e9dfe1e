"""What watches a run: progress bar, dashboard, pictures and report, warnings.

A run is right without any of them; an error in one of them is logged and does not stop the run.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from paddle_darts.engine.rundir import RunDirectory

Logs = dict[str, Any]


class Run(Protocol):
    """What a callback may read of the running loop (a SearchController or a Trainer): settings, position, history."""

    config: dict[str, Any]
    run_dir: RunDirectory
    epochs: int
    steps_per_epoch: int
    epoch: int
    step_in_epoch: int
    rows: list[dict[str, Any]]


class Callback:
    """Hooks in the order in which they are called; every one does nothing unless overridden."""

    def on_search_begin(self, search: Run) -> None:
        """Once, after the start or the resume."""

    def on_epoch_begin(self, search: Run, epoch: int) -> None:
        """Before the first step of an epoch (or the first after a resume)."""

    def on_arch_step(self, search: Run, step: int, logs: Logs) -> None:
        """After a step that moved the architecture; ``logs["arch_loss"]`` is the loss of the validation batch."""

    def on_step_end(self, search: Run, step: int, logs: Logs) -> None:
        """After every step; ``logs`` holds ``loss``, ``top1`` (running means of the epoch) and ``lr``."""

    def on_epoch_end(self, search: Run, epoch: int, logs: Logs) -> None:
        """After evaluation; ``logs`` is the row of history.jsonl, with ``alphas`` besides in a search."""

    def on_search_end(self, search: Run, result: Any) -> None:
        """Once, when all epochs are done."""

    def on_exception(self, search: Run, exc: BaseException) -> None:
        """When the run ends early, for whatever reason."""


class ProgressBar(Callback):
    """One bar over all steps of the run, with the remaining time; none for steps made by hand."""

    _bar: Any = None

    def on_search_begin(self, search: Run) -> None:
        from tqdm.auto import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        total = search.epochs * search.steps_per_epoch
        done = search.epoch * search.steps_per_epoch + search.step_in_epoch
        # in a log file a bar is a new line each time: one every half minute is enough there
        pace = 0.5 if sys.stderr.isatty() else 30.0
        self._bar = tqdm(
            total=total,
            initial=done,
            unit="step",
            dynamic_ncols=True,
            file=sys.stderr,
            mininterval=pace,
            maxinterval=pace,
        )
        self._redirect = logging_redirect_tqdm(tqdm_class=tqdm)
        self._redirect.__enter__()

    def on_step_end(self, search: Run, step: int, logs: Logs) -> None:
        if self._bar is None:
            return
        self._bar.set_description(f"epoch {search.epoch + 1}/{search.epochs}", refresh=False)
        self._bar.set_postfix(loss=f"{logs['loss']:.3f}", top1=f"{logs['top1']:.1f}%", refresh=False)
        self._bar.update()

    def on_search_end(self, search: Run, result: Any) -> None:
        self._close()

    def on_exception(self, search: Run, exc: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._redirect.__exit__(None, None, None)
            self._bar = None


class Pictures(Callback):
    """Keeps plots/ and report.html up to date: after an epoch, but not more often than ``every_seconds``."""

    def __init__(self, every_seconds: float = 30.0) -> None:
        self._every, self._last = every_seconds, 0.0

    def on_epoch_end(self, search: Run, epoch: int, logs: Logs) -> None:
        if time.monotonic() - self._last >= self._every:
            self._refresh(search, final=False)

    def on_search_end(self, search: Run, result: Any) -> None:
        self._refresh(search, final=True)

    def _refresh(self, search: Run, final: bool) -> None:
        from paddle_darts.analysis import refresh_plots, write_report

        refresh_plots(search.run_dir.path, final=final)
        write_report(search.run_dir.path)
        self._last = time.monotonic()
