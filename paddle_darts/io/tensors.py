"""Paddle tensors in safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from paddle_darts.errors import RunError


def save_tensors(path: Path, tensors: Mapping[str, paddle.Tensor]) -> None:
    """Writes name -> tensor; values and precision are kept bit by bit."""
    save_file({name: np.ascontiguousarray(t.numpy()) for name, t in tensors.items()}, path)


def load_tensors(path: Path) -> dict[str, paddle.Tensor]:
    """The tensors of a file by name; RunError when it is missing or damaged."""
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as a safetensors file: {error}") from error
    return {name: paddle.to_tensor(array) for name, array in arrays.items()}
