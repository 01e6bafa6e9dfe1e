"""Tokens: an architecture as a list of small integers, the only contract between spaces and controllers."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paddle_darts.errors import ConfigError


@dataclass(frozen=True)
class RangeTable:
    """Which values each token may have: token i is one of ``lows[i] ... highs[i] - 1``."""

    lows: tuple[int, ...]
    highs: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.highs or len(self.lows) != len(self.highs):
            raise ConfigError(
                "a range table has one low and one high for every token and at least one token, "
                f"got {len(self.lows)} lows and {len(self.highs)} highs"
            )
        for position, (low, high) in enumerate(zip(self.lows, self.highs, strict=True)):
            if low >= high:
                raise ConfigError(f"range table: token {position} has no value, its range is [{low}, {high})")

    @classmethod
    def of(cls, value: Any) -> RangeTable:
        """A table from ``(lows, highs)`` or from the highs alone (the lows are 0); highs are exclusive."""
        if isinstance(value, RangeTable):
            return value
        if not is_listing(value) or len(value) == 0:
            raise ConfigError(f"a range table is (lows, highs) or a list of highs, got {value!r}")
        if len(value) == 2 and all(is_listing(part) for part in value):
            return cls(_integers("lows", value[0]), _integers("highs", value[1]))
        highs = _integers("highs", value)
        return cls((0,) * len(highs), highs)

    def __len__(self) -> int:
        return len(self.highs)

    def size(self) -> int:
        """How many different token lists there are."""
        return math.prod(high - low for low, high in zip(self.lows, self.highs, strict=True))

    def check(self, tokens: Any) -> list[int]:
        """``tokens`` as a new list of plain integers; ConfigError (a ValueError) names the wrong one and its range."""
        if not is_listing(tokens):
            raise ConfigError(f"tokens are a list of {len(self)} integers, got {tokens!r}")
        if len(tokens) != len(self):
            raise ConfigError(f"expected {len(self)} tokens, got {len(tokens)}: {list(tokens)}")
        for position, (token, low, high) in enumerate(zip(tokens, self.lows, self.highs, strict=True)):
            if not is_integer(token):
                raise ConfigError(f"token {position} must be an integer of {low} ... {high - 1}, got {token!r}")
            if not low <= token < high:
                raise ConfigError(f"token {position} must be one of {low} ... {high - 1}, got {token}")
        return [int(token) for token in tokens]

    def random(self, rng: Any = None) -> list[int]:
        """Tokens drawn uniformly; ``rng`` as in `generator`."""
        return [int(token) for token in draw_integers(generator(rng), self.lows, self.highs)]

    def to_lists(self) -> list[list[int]]:
        """``[lows, highs]``, which JSON can hold and :meth:`of` reads."""
        return [list(self.lows), list(self.highs)]


def is_listing(value: Any) -> bool:
    """Whether ``value`` is a sequence of entries: a list, a tuple, a one-dimensional array; no text."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def is_integer(value: Any) -> bool:
    """Whether ``value`` is a whole number of Python or NumPy; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def generator(rng: Any = None) -> Any:
    """A NumPy generator from a `RandomSource`, a ``Generator``, a ``RandomState``, a seed, or None (a fresh one)."""
    rng = getattr(rng, "generator", rng)
    if isinstance(rng, np.random.Generator | np.random.RandomState):
        return rng
    if rng is None or is_integer(rng):
        return np.random.default_rng(rng)
    raise ConfigError(f"a random generator or a seed is needed, got {rng!r}")


def draw_integers(rng: np.random.Generator | np.random.RandomState, lows: Any, highs: Any) -> np.ndarray:
    """One integer of every half-open range, from either kind of NumPy generator."""
    return rng.randint(lows, highs) if isinstance(rng, np.random.RandomState) else rng.integers(lows, highs)


def _integers(what: str, values: Sequence[Any]) -> tuple[int, ...]:
    for position, value in enumerate(values):
        if not is_integer(value):
            raise ConfigError(f"range table: {what}[{position}] must be an integer, got {value!r}")
    return tuple(int(value) for value in values)
