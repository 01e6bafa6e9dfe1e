"""What an epoch measures of itself: running means, and the memory of the process."""

from __future__ import annotations

import logging
import math
import sys
from typing import Any, NamedTuple

import psutil

log = logging.getLogger(__name__)


class StepLosses(NamedTuple):
    """What a step of a loop reports; every loss must be finite."""

    loss: float
    correct: int
    size: int
    arch_loss: float | None = None


class Meter:
    """Running means of an epoch; the state is exact in JSON."""

    def __init__(self) -> None:
        self.loss_sum, self.correct, self.count, self.seconds = 0.0, 0, 0, 0.0

    def update(self, losses: StepLosses) -> None:
        self.loss_sum += losses.loss * losses.size
        self.correct += losses.correct
        self.count += losses.size

    @property
    def loss(self) -> float:
        return self.loss_sum / self.count if self.count else math.nan

    @property
    def top1(self) -> float:
        """Percent."""
        return 100.0 * self.correct / self.count if self.count else math.nan


def finite_or_none(key: str, value: Any) -> Any:
    """The value of a history row; NaN and infinity, which JSON has not, become null with a warning."""
    if isinstance(value, float) and not math.isfinite(value):
        log.warning("%s is %s and is recorded as null", key, value)
        return None
    return value


def peak_rss_mb() -> float:
    """Highest resident memory of this process so far [MB]."""
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    except ImportError:  # Windows
        return psutil.Process().memory_info().peak_wset / 2**20
