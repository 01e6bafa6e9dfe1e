"""What is made once for a layer and kept as long as the layer lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from paddle import nn

from paddle_darts.nn.stages import Description, Nothing, describe

if TYPE_CHECKING:
    from paddle_darts.networks.search_cell import SearchCell

T = TypeVar("T")
_MISSING = object()


class LayerCache(Generic[T]):
    """Values by layer and key. Of each layer the ``limit`` that were asked for last are kept.

    Copies of a layer have values of their own. A value must not refer to its layer, or neither is ever let go of.
    """

    def __init__(self, limit: int = 8) -> None:
        self._limit = limit
        self._kept: weakref.WeakKeyDictionary[nn.Layer, dict[Hashable, T]] = weakref.WeakKeyDictionary()

    def get(self, owner: nn.Layer, key: Hashable, make: Callable[[], T]) -> T:
        """The value of ``owner`` under ``key``, made if it is not there."""
        kept = self._kept.setdefault(owner, {})
        value = kept.pop(key, _MISSING)
        if value is _MISSING:
            value = make()
            while len(kept) >= self._limit:
                del kept[next(iter(kept))]
        kept[key] = value  # behind all others
        return value

    def count(self, owner: nn.Layer) -> int:
        """How many values of ``owner`` are kept."""
        return len(self._kept.get(owner, ()))


_candidates: LayerCache[list[list[Description | nn.Layer]]] = LayerCache(limit=1)


def described_candidates(cell: SearchCell) -> list[list[Description | nn.Layer]]:
    """The candidates of each edge as descriptions, as layers where their form is unknown."""

    def described(op: nn.Layer) -> Description | nn.Layer:
        try:
            return describe(op)
        except TypeError:
            return op

    return _candidates.get(cell, None, lambda: [[described(op) for op in ops] for ops in cell.candidates])


_computed: LayerCache[np.ndarray] = LayerCache(limit=1)


def computed_candidates(cell: SearchCell) -> np.ndarray:
    """Which candidates there is anything to compute for: bool [edges, ops]. Not to be written to."""
    return _computed.get(
        cell,
        None,
        lambda: np.array([[not isinstance(what, Nothing) for what in row] for row in described_candidates(cell)]),
    )
