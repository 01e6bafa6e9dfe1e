"""Drop-path masks that a test can name."""

from __future__ import annotations

import numpy as np

from paddle_darts.nn.drop import RandomSource


class Counting(RandomSource):
    """Masks that keep one sample each, in turn; remembers them."""

    def __init__(self) -> None:
        self.masks: list[np.ndarray] = []

    def keep_mask(self, keep_prob: float, shape: tuple[int, ...]) -> np.ndarray:
        mask = np.zeros(shape)
        mask[len(self.masks) % shape[0]] = 1
        self.masks.append(mask)
        return mask
