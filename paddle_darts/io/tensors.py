"""Paddle tensors in safetensors files."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle
from safetensors import SafetensorError
from safetensors.numpy import load, save

from paddle_darts.errors import RunError


def save_tensors(path: Path, tensors: Mapping[str, paddle.Tensor]) -> int:
    """Writes name -> tensor, values and precision bit by bit; returns the CRC-32 of the file.

    Raises OSError as any writing does (safetensors' own writer hides the errno and makes files for the owner alone).
    """
    # not ascontiguousarray: it gives a scalar a dimension
    content = save({name: np.asarray(t.numpy(), order="C") for name, t in tensors.items()})
    path.write_bytes(content)
    return zlib.crc32(content)


def load_tensors(path: Path, checksum: int | None = None) -> dict[str, paddle.Tensor]:
    """The tensors of a file by name; RunError when it is missing, damaged, or has another CRC-32 than ``checksum``."""
    try:
        content = path.read_bytes()
        arrays = load(content)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as a safetensors file: {error}") from error
    if checksum is not None and zlib.crc32(content) != checksum:
        raise RunError(f"{path} is damaged: its content is not what was written")
    return {name: paddle.to_tensor(array) for name, array in arrays.items()}
