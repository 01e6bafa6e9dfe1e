"""Decode and resize images with Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paddle_darts.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

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


def decode(path: Path, channels: int, size: int | None) -> np.ndarray:
    """The image as uint8 [channels, H, W].

    With ``size`` its shorter side becomes ``size`` (bilinear), then the centre is cut out. ``channels`` is 1
    (grey) or 3 (RGB); transparency is dropped, 16-bit grey keeps its upper 8 bits. Raises DataError with the
    file's name when it is truncated or no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = _eight_bit(opened).convert("L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more
        raise _unreadable(path, error) from error
    if size is not None and image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        image = image.crop((left, top, left + size, top + size))
    array = np.asarray(image, np.uint8)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _eight_bit(image: Image) -> Image:
    from PIL import Image as pillow

    if not image.mode.startswith("I"):
        return image
    # Pillow's own conversion to 8 bits cuts everything above 255 to white.
    values = np.asarray(image).astype(np.int64) >> 8
    return pillow.fromarray(values.clip(0, 255).astype(np.uint8))


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a readable image ({type(error).__name__}: {error}); replace or remove this file")
