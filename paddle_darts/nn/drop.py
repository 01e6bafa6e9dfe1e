"""Stochastic depth inside cells (drop path) and the source of its random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle


class RandomSource:
    """Where networks and methods get random numbers from; a test may put recorded values in its place.

    Drawn with NumPy, so that the same seed gives the same numbers on every device, and the state is plain JSON.
    """

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.Generator(np.random.PCG64(seed))

    def keep_mask(self, keep_prob: float, shape: tuple[int, ...]) -> np.ndarray:
        """Ones with probability ``keep_prob``, else zeros."""
        return (self.generator.random(shape) < keep_prob).astype(np.float64)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal numbers."""
        return self.generator.standard_normal(shape)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.generator.bit_generator.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state


def drop_path(x: paddle.Tensor, drop_prob: float, source: RandomSource) -> paddle.Tensor:
    """Drops whole samples of ``x`` [B, C, H, W] with probability ``drop_prob`` and scales the others by 1/keep."""
    keep_prob = 1.0 - drop_prob
    mask = source.keep_mask(keep_prob, (x.shape[0],)).reshape(-1, 1, 1, 1)
    return x / keep_prob * paddle.to_tensor(mask, dtype=x.dtype, place=x.place)
