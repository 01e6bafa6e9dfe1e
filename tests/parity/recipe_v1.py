"""Weights that are not stored: every tensor has a random stream of its own, made of a seed and its official name."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def recipe_state(meta: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The official state dict that ``meta`` describes by names, shapes, seed and gain."""
    args = meta["args"]
    assert args["recipe"] == "recipe-v1"
    shapes = meta["tensor_names_shapes"]
    return {name: _filled(name, shape, args["recipe_seed"], args["recipe_gain"]) for name, shape in shapes.items()}


def _filled(name: str, shape: Sequence[int], seed: int, gain: float) -> np.ndarray:
    rng, last = np.random.default_rng([seed, zlib.crc32(name.encode("utf-8"))]), name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape)
    if last in ("running_mean", "bias"):
        values = 0.1 * rng.standard_normal(shape)
    elif len(shape) >= 2:
        values = gain * np.sqrt(2 / np.prod(shape[1:])) * rng.standard_normal(shape)
    else:
        values = 0.5 + rng.random(shape)
    return np.asarray(values).astype(np.float32)
