"""The state of every global random number generator, as plain JSON."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import paddle


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and Paddle (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    paddle.seed(seed)


def capture() -> dict[str, Any]:
    """The states of Python's, NumPy's and Paddle's global generators."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, [int(k) for k in keys], int(position), int(has_gauss), float(cached)],
        # a state object of Paddle consists of plain numbers and one list of numbers
        "paddle": [list(state.__getstate__()) for state in paddle.get_rng_state()],
    }


def restore(states: dict[str, Any]) -> None:
    """The inverse of :func:`capture`; generators of devices that are not here any more are skipped."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    fresh = []
    for current, saved in zip(paddle.get_rng_state(), states["paddle"], strict=False):
        state = type(current).__new__(type(current))  # Paddle ignores __setstate__ of an object that has a state
        state.__setstate__(tuple(saved))
        fresh.append(state)
    paddle.set_rng_state(fresh)
