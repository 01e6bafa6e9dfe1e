"""Random numbers of official runs, handed out in order instead of drawn ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from paddle_darts.nn.drop import RandomSource


class RecordedMasks(RandomSource):
    """Keep masks, of any shape with as many entries."""

    def __init__(self, masks: np.ndarray) -> None:
        self._masks = iter(masks)

    def keep_mask(self, keep_prob: float, shape: tuple[int, ...]) -> np.ndarray:
        return next(self._masks).reshape(shape).astype("float64")

    def exhausted(self) -> bool:
        return next(self._masks, None) is None


class RecordedDraws(RandomSource):
    """Arrays by the name of the draw, each of exactly the shape that is asked for."""

    def __init__(self, **draws: Iterable[np.ndarray]) -> None:
        self._draws = {name: list(arrays) for name, arrays in draws.items()}

    def _next(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        draw = self._draws[name].pop(0)
        assert draw.shape == tuple(shape)
        return draw

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._next("uniform", shape)

    def exponential(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._next("exponential", shape).astype("float64")

    def dirichlet(self, concentration: np.ndarray) -> np.ndarray:
        return self._next("dirichlet", concentration.shape).astype("float64")

    def integers(self, high: int, count: int) -> np.ndarray:
        draw = self._next("integers", (count,))
        assert draw.max(initial=0) < high
        return draw

    def exhausted(self) -> bool:
        return not any(self._draws.values())
