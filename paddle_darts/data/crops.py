"""The two views of large images: a random resized crop to train on, the centre to test on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SCALE = (0.08, 1.0)  # share of the image's area
RATIO = (3 / 4, 4 / 3)  # width over height
ATTEMPTS = 10

Box = tuple[int, int, int, int]  # left, top, right, bottom


def draw_crops(rng: np.random.Generator, count: int) -> np.ndarray:
    """float64 [count, 2 * ATTEMPTS + 2] in [0, 1): all that the crops of ``count`` images of unknown size need.

    Per row: the areas of the attempts, their aspect ratios, then the horizontal and the vertical position. Drawn
    before the images are opened, so that the order in which threads decode them has no influence.
    """
    return rng.random((count, 2 * ATTEMPTS + 2))


def crop_box(width: int, height: int, draws: np.ndarray) -> Box:
    """The part of an image of ``width`` x ``height`` that one row of `draw_crops` chooses.

    The first of ten attempts that fits: its area is uniform in SCALE of the image, its aspect ratio log-uniform in
    RATIO. When none fits, the centre with the nearest possible ratio. Same distribution as torchvision's
    RandomResizedCrop, which the official ImageNet programs use.
    """
    areas = width * height * (SCALE[0] + (SCALE[1] - SCALE[0]) * draws[:ATTEMPTS])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratios = np.exp(low + (high - low) * draws[ATTEMPTS : 2 * ATTEMPTS])
    widths, heights = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    if fits.any():
        first = int(fits.argmax())
        w, h = int(widths[first]), int(heights[first])
        left, top = int(draws[-2] * (width - w + 1)), int(draws[-1] * (height - h + 1))
    else:
        w, h = _widest(width, height)
        left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def resized_crop(image: Image, draws: np.ndarray, size: tuple[int, int]) -> Image:
    """The chosen part of ``image`` at ``size`` (width, height), bilinear with antialiasing."""
    from PIL import Image as pillow

    # cropped first: a resize with a box would mix in pixels from outside of it
    return image.crop(crop_box(*image.size, draws)).resize(size, pillow.Resampling.BILINEAR)


def centre_crop(image: Image, size: int, short: int | None = None) -> Image:
    """The shorter side to ``short`` (default: ``size``) pixels, bilinear; then the ``size`` x ``size`` in the middle.

    Rounds as torchvision's Resize and CenterCrop do.
    """
    from PIL import Image as pillow

    short = size if short is None else short
    width, height = image.size
    if min(width, height) != short:
        scaled = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
        image = image.resize(scaled, pillow.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def _widest(width: int, height: int) -> tuple[int, int]:
    """The largest part of an image whose aspect ratio is in RATIO."""
    if width / height < RATIO[0]:
        return width, round(width / RATIO[0])
    if width / height > RATIO[1]:
        return round(height * RATIO[1]), height
    return width, height
