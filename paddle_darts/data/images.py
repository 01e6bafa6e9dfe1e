"""Decode and resize images with Pillow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from paddle_darts.data.crops import centre_crop
from paddle_darts.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
R = TypeVar("R")

SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"])
_GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})


def resize_images(images: np.ndarray, size: int) -> np.ndarray:
    """Bilinear resize of uint8 [N, C, H, W] to [N, C, size, size]; the same array when it already fits."""
    from PIL import Image

    if images.shape[2:] == (size, size):
        return images
    out = np.empty((*images.shape[:2], size, size), np.uint8)
    for target, image in zip(out.reshape(-1, size, size), images.reshape(-1, *images.shape[2:]), strict=True):
        target[:] = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
    return out


def probe(path: Path) -> tuple[int, int, bool]:
    """Width, height and whether it is grey, from the header alone; DataError when it is no image."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return (*image.size, image.mode in _GREY)
    except Exception as error:
        raise _unreadable(path, error) from error


def open_image(path: Path, channels: int) -> Image:
    """The decoded image, grey for 1 channel and RGB for 3.

    Transparency is dropped, 16-bit grey keeps its upper 8 bits. Raises DataError with the file's name when it is
    missing, truncated or no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            return _eight_bit(opened).convert("L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more
        raise _unreadable(path, error) from error


def decode(path: Path, channels: int, size: int | None) -> np.ndarray:
    """The image as uint8 [channels, H, W]; errors as `open_image`.

    With ``size`` its shorter side becomes ``size`` (bilinear), then the centre is cut out.
    """
    image = open_image(path, channels)
    return to_array(image if size is None else centre_crop(image, size))


def to_array(image: Image) -> np.ndarray:
    """uint8 [C, H, W] of a grey or RGB image."""
    array = np.asarray(image, np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def to_image(array: np.ndarray) -> Image:
    """The image of uint8 [C, H, W]; DataError unless there are 1 or 3 channels."""
    from PIL import Image

    if array.shape[0] not in (1, 3):
        raise DataError(f"only grey and RGB images can be cropped and recoloured, got {array.shape[0]} channels")
    return Image.fromarray(array[0] if array.shape[0] == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def edit_images(images: np.ndarray, edits: Sequence[Callable[[Image], Image]]) -> np.ndarray:
    """A new batch: every image of uint8 [B, C, H, W] changed by its own function, which keeps size and mode."""
    out = np.empty_like(images)

    def edit(i: int) -> None:
        out[i] = to_array(edits[i](to_image(images[i])))

    for _ in in_threads(edit, range(len(images))):
        pass
    return out


def in_threads(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """``function`` of every item, in order; Pillow's work releases the interpreter lock, so threads help."""
    step = 1024  # bounds what is made ahead of its use
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for first in range(0, len(items), step):
            yield from pool.map(function, items[first : first + step])


def _eight_bit(image: Image) -> Image:
    from PIL import Image as pillow

    if not image.mode.startswith("I"):
        return image
    # Pillow's own conversion to 8 bits cuts everything above 255 to white.
    values = np.asarray(image).astype(np.int64) >> 8
    return pillow.fromarray(values.clip(0, 255).astype(np.uint8))


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: there is no such image; restore it, or take it out of the list")
    return DataError(f"{path}: not a readable image ({type(error).__name__}: {error}); replace or remove this file")
