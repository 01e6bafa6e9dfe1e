"""What a client sends is checked here before a controller sees it."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from paddle_darts.errors import ConfigError
from paddle_darts.spaces.tokens import RangeTable

MAX_TOKENS = 100_000
MAX_REQUEST = 100
#: Tokens and step numbers beyond this are nonsense in any search space.
_BIG = 2**31


class RequestError(Exception):
    """A request that is refused; its text goes back to the client."""


class TokenRange:
    """The range that every token must lie in, from a controller's ``range_table``.

    Args:
        table: ``(lows, highs)`` or a list of highs, both exclusive above, or None when nothing is known: then tokens
            must be integers from 0, as many as in the first proposal.
    """

    def __init__(self, table: Any = None) -> None:
        self._table = None if table is None else RangeTable.of(table)
        self._length = None if self._table is None else len(self._table)

    def learn(self, tokens: Sequence[int]) -> None:
        """A proposal of the controller itself: from now on tokens have this length."""
        if self._length is None:
            self._length = len(tokens)

    def check(self, value: Any) -> tuple[int, ...]:
        """The tokens, or a RequestError that names position and range."""
        if not isinstance(value, list) or not 0 < len(value) <= MAX_TOKENS:
            raise RequestError(f"tokens must be a list of 1 to {MAX_TOKENS} integers")
        if self._length is not None and len(value) != self._length:
            raise RequestError(f"{len(value)} tokens; this search has {self._length}")
        for position, token in enumerate(value):
            low, high = (self._table.lows[position], self._table.highs[position]) if self._table else (0, _BIG)
            if type(token) is not int or not low <= token < high:
                raise RequestError(
                    f"token {position} is {_short(token)}; an integer from {low} to {high - 1} is allowed"
                )
        return tuple(value)


def check_reward(value: Any) -> float:
    """A finite number (booleans and texts are none)."""
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise RequestError(f"the reward must be a finite number, not {_short(value)}")


def check_iter(value: Any) -> int | None:
    """The client's own count of steps: an integer from 0, or nothing."""
    if value is None or (type(value) is int and 0 <= value < _BIG):
        return value
    raise RequestError(f"iter must be an integer from 0 or null, not {_short(value)}")


def check_text(value: Any, what: str, optional: bool = False) -> str:
    """A short text; the empty one when it is optional and missing."""
    if value is None and optional:
        return ""
    if isinstance(value, str) and 0 < len(value) <= MAX_REQUEST and value.isprintable():
        return value
    raise RequestError(f"{what} must be a text of 1 to {MAX_REQUEST} printable characters, not {_short(value)}")


def whole_numbers(tokens: Sequence[Any]) -> list[int]:
    """Plain integers of what may be NumPy's; ConfigError for anything that is not whole."""
    try:
        return [operator.index(token) for token in tokens]
    except TypeError:
        raise ConfigError(f"tokens must be a sequence of integers, not {_short(tokens)}") from None


def _short(value: Any) -> str:
    """The value for a message, kept short whatever it is."""
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return f"a very long {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
