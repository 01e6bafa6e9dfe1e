"""What the benchmark recorded of one architecture: the training runs under one budget, and their means.

Source: NATS-Bench (arXiv 2009.00437; D-X-Y/NATS-Bench, nats_bench/api_utils.py). Accuracies are in percent, times in
seconds, FLOPs and parameters in millions. The last epoch is meant unless one is named; epochs count from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paddle_darts.errors import DataError, unknown

TRAIN = "train"
#: Where trials disagree about their costs, an old fault of the published files, the trial of this seed is right.
COST_SEED = 888


@dataclass(frozen=True)
class Curve:
    """Accuracy and loss on one set by epoch, as far as they were recorded, and the seconds of each epoch."""

    accuracy: Mapping[int, float]
    loss: Mapping[int, float]
    seconds: Mapping[int, float] | None = None

    def at(self, epoch: int) -> dict[str, float | int | None] | None:
        """Metrics after ``epoch``; None when that epoch was not recorded. Times are None when none were."""
        if epoch not in self.accuracy or epoch not in self.loss:
            return None
        times = [self.seconds.get(e) for e in range(epoch + 1)] if self.seconds else [None]
        timed = all(seconds is not None for seconds in times)
        return {
            "iepoch": epoch,
            "loss": self.loss[epoch],
            "accuracy": self.accuracy[epoch],
            "cur_time": times[-1],
            "all_time": sum(times) if timed else None,
        }


@dataclass(frozen=True)
class Trial:
    """One training run: its costs and the curves of its sets (``train``, ``x-valid``, ``x-test``, ``ori-test``)."""

    epochs: int
    flops: float
    params: float
    latency: float | None
    curves: Mapping[str, Curve]
    config: Mapping[str, Any] = field(default_factory=dict)

    def epoch(self, wanted: int | None) -> int:
        """The epoch itself, the last one for None; DataError for one that the run does not have."""
        if wanted is None:
            return self.epochs - 1
        if isinstance(wanted, bool) or not isinstance(wanted, int) or not 0 <= wanted < self.epochs:
            raise DataError(f"epoch {wanted!r} of a training of {self.epochs} epochs; they count from 0")
        return wanted

    def times(self) -> dict[str, float | None]:
        """Seconds per epoch and in total for each set, under the official names."""
        named = {}
        for name, curve in self.curves.items():
            seconds = [(curve.seconds or {}).get(epoch) for epoch in range(self.epochs)]
            total = None if any(s is None for s in seconds) else sum(seconds)
            named[f"T-{name}@epoch"] = None if total is None else total / self.epochs
            named[f"T-{name}@total"] = total
        return named


@dataclass(frozen=True)
class Records:
    """All runs of one architecture under one budget, by data set and seed."""

    arch: str
    trials: Mapping[str, Mapping[int, Trial]]

    def of(self, dataset: str) -> Mapping[int, Trial]:
        """The runs on a data set by seed; DataError with the nearest name if there are none."""
        if dataset not in self.trials:
            raise DataError(unknown("data set", str(dataset), self.trials))
        return self.trials[dataset]

    def seeds(self, dataset: str) -> tuple[int, ...]:
        return tuple(self.of(dataset))

    def metrics(
        self, dataset: str, set_name: str, epoch: int | None = None, seed: int | None = None
    ) -> dict[str, Any] | None:
        """Metrics of one set: of the run of ``seed``, or the mean over all runs. None when not recorded."""
        trials = self.of(dataset)
        if seed is not None and seed not in trials:
            raise DataError(f"no run with seed {seed} on {dataset}; there are {', '.join(map(str, trials))}")
        chosen = list(trials.values()) if seed is None else [trials[seed]]
        found = [
            trial.curves[set_name].at(trial.epoch(epoch)) if set_name in trial.curves else None for trial in chosen
        ]
        return None if any(metrics is None for metrics in found) else means(found)

    def costs(self, dataset: str) -> dict[str, float | None]:
        """FLOPs, parameters, latency and times, each the mean over the runs.

        FLOPs or parameters that differ in the fifth decimal are those of seed 888, as officially.
        """
        trials = self.of(dataset)
        latencies = [t.latency for t in trials.values() if t.latency is not None and t.latency > 0]
        return {
            "flops": agreed(trials, lambda trial: trial.flops),
            "params": agreed(trials, lambda trial: trial.params),
            "latency": sum(latencies) / len(latencies) if latencies else None,
            **means([trial.times() for trial in trials.values()]),
        }


def means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each value over the rows; None where one is missing. Epochs stay whole numbers."""
    joined = {}
    for key in rows[0]:
        values = [row.get(key) for row in rows]
        missing = any(value is None for value in values)
        joined[key] = None if missing else values[0] if key == "iepoch" else sum(values) / len(values)
    return joined


def agreed(trials: Mapping[int, Trial], value: Callable[[Trial], float]) -> float:
    """The mean of a cost over runs, or that of `COST_SEED` when the runs disagree."""
    values = {seed: value(trial) for seed, trial in trials.items()}
    if len({f"{v:.5f}" for v in values.values()}) > 1 and COST_SEED in values:
        return values[COST_SEED]
    return sum(values.values()) / len(values)
