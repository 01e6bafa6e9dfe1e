"""What a worker needs of a contestant; ours and the PyTorch program each have one class for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from paddle_darts.benchmark.config import BenchmarkConfig


class Step(NamedTuple):
    """One repetition, ready to run, and how many images pass through it."""

    run: Callable[[], Any]
    images: int


class Side(ABC):
    """A contestant in its own process. Its framework is imported when the object is made, not before."""

    @abstractmethod
    def __init__(self, config: BenchmarkConfig) -> None:
        """Imports the framework with ``config.threads`` CPU threads."""

    @abstractmethod
    def build(self, case: str) -> Step:
        """The step of a case; ConfigError when this side cannot have it."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """``threads`` in use, ``version`` of the framework, ``kernels`` (None if that says nothing here)."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits for what still runs on the device."""

    @abstractmethod
    def count_op_calls(self, run: Callable[[], Any]) -> int | None:
        """Framework operator calls of one untimed ``run``; None when they cannot be counted."""
