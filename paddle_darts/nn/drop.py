"""Stochastic depth inside cells (drop path), dropout, and the source of their random numbers."""

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

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers in [0, 1)."""
        return self.generator.random(shape)

    def exponential(self, shape: tuple[int, ...]) -> np.ndarray:
        """Exp(1) numbers E; -log(E) is Gumbel(0, 1)."""
        return self.generator.standard_exponential(shape)

    def dirichlet(self, concentration: np.ndarray) -> np.ndarray:
        """A point of the simplex for every row of ``concentration`` [rows, K]."""
        gammas = self.generator.standard_gamma(concentration)
        return gammas / gammas.sum(axis=-1, keepdims=True)

    def integers(self, high: int, count: int) -> np.ndarray:
        """``count`` numbers of 0 ... high-1."""
        return self.generator.integers(high, size=count)

    def permutation(self, count: int) -> np.ndarray:
        """The numbers 0 ... count-1 in random order."""
        return self.generator.permutation(count)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.generator.bit_generator.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state


def drop_path_factors(batch: int, drop_prob: float, source: RandomSource) -> np.ndarray:
    """What each of ``batch`` samples is multiplied by: 0 with probability ``drop_prob``, else 1/keep. Shape [B]."""
    keep_prob = 1.0 - drop_prob
    return source.keep_mask(keep_prob, (batch,)).reshape(batch) / keep_prob


def dropout_factors(shape: tuple[int, ...], drop_prob: float, source: RandomSource) -> np.ndarray:
    """What each element of a map [B, C, H, W] is multiplied by: 0 with probability ``drop_prob``, else 1/keep."""
    keep_prob = 1.0 - drop_prob
    return source.keep_mask(keep_prob, shape).reshape(shape) / keep_prob


def scale_samples(x: paddle.Tensor, factors: np.ndarray) -> paddle.Tensor:
    """``x`` [B, C, H, W] times ``factors`` [B]."""
    return x * paddle.to_tensor(factors.reshape(-1, 1, 1, 1), dtype=x.dtype, place=x.place)
