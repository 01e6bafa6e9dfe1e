"""Augmentation of whole batches: crop, flip, colours, normalise, cutout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from paddle_darts.data.autoaugment import POLICIES, auto_augment
from paddle_darts.data.colour import jitter
from paddle_darts.errors import ConfigError, unknown


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images; the default does nothing (test images).

    ``crop_padding`` [pixels] of black on every side before a random crop back to the old size; ``flip``
    mirrors left-right with probability 0.5; ``cutout_length`` [pixels] is the side of one erased box per
    image (0: none). ``random_resized_crop`` is asked of the data set, before everything else. ``color_jitter``
    holds the strengths of brightness, contrast, saturation and hue (see `colour.jitter`), ``auto_augment`` names a
    policy (see `autoaugment.POLICIES`). Raises ConfigError for negative lengths or strengths, a hue above 0.5 and
    unknown policies.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout_length: int = 0
    random_resized_crop: bool = False
    color_jitter: tuple[float, float, float, float] | None = None
    auto_augment: str | None = None

    def __post_init__(self) -> None:
        for field in ("crop_padding", "cutout_length"):
            value = getattr(self, field)
            if value < 0:
                raise ConfigError(f"{field} must be 0 or more pixels, got {value}")
        strengths = self.color_jitter or (0, 0, 0, 0)
        if len(strengths) != 4 or min(strengths) < 0 or strengths[3] > 0.5:
            raise ConfigError(f"color_jitter needs 4 strengths of 0 or more, the last (hue) up to 0.5, got {strengths}")
        if self.auto_augment not in (None, *POLICIES):
            raise ConfigError(unknown("AutoAugment policy", str(self.auto_augment), POLICIES))


def cutout_mask(height: int, width: int, length: int, y: int, x: int) -> np.ndarray:
    """uint8 [height, width]: 0 in the box around row y, column x, 1 elsewhere.

    The box is [y - L//2, y + L//2) x [x - L//2, x + L//2) clipped to the image, as in the official DARTS
    code: an odd L gives a box of side L - 1, and boxes at the border are smaller.
    """
    mask = np.ones((height, width), np.uint8)
    mask[_box(height, length, y), _box(width, length, x)] = 0
    return mask


def normalize(images: np.ndarray, mean: Sequence[float], std: Sequence[float], dtype=np.float32) -> np.ndarray:
    """(images / 255 - mean) / std per channel: uint8 [B, C, H, W] to ``dtype`` of the same shape."""
    out = images.astype(dtype)
    out /= 255
    out -= np.asarray(mean, dtype).reshape(1, -1, 1, 1)
    out /= np.asarray(std, dtype).reshape(1, -1, 1, 1)
    return out


def augment(
    images_u8: np.ndarray,
    *,
    rng: np.random.Generator,
    augmentation: Augmentation,
    mean: Sequence[float],
    std: Sequence[float],
    dtype=np.float32,
) -> np.ndarray:
    """Augment and normalise a batch: uint8 [B, C, H, W] to ``dtype`` [B, C, H, W]; the input is not changed.

    The order of the official transforms: random crop over black padding, flip, colour jitter, AutoAugment, /255,
    normalise, cutout (the box becomes 0, the mean colour). Everything random comes from ``rng``, drawn in this
    order, each step only when it is on: crop rows [B], crop columns [B], flips [B], what `colour.jitter` and
    `autoaugment.auto_augment` draw, cutout rows [B], cutout columns [B]. A random resized crop has been made
    before, when the images were read (`Dataset.pixels`).
    """
    count, _, height, width = images_u8.shape
    out = images_u8
    if augmentation.crop_padding:
        span = 2 * augmentation.crop_padding + 1
        rows, columns = rng.integers(span, size=count), rng.integers(span, size=count)
        out = _crop(out, augmentation.crop_padding, rows, columns)
    if augmentation.flip:
        flips = rng.random(count) < 0.5
        out = np.where(flips[:, None, None, None], out[..., ::-1], out)
    if augmentation.color_jitter:
        out = jitter(out, rng, augmentation.color_jitter)
    if augmentation.auto_augment:
        out = auto_augment(out, rng, augmentation.auto_augment)
    out = normalize(out, mean, std, dtype)
    if augmentation.cutout_length:
        length = augmentation.cutout_length
        rows, columns = rng.integers(height, size=count), rng.integers(width, size=count)
        for image, y, x in zip(out, rows.tolist(), columns.tolist(), strict=True):
            image[:, _box(height, length, y), _box(width, length, x)] = 0
    return out


def _crop(images: np.ndarray, padding: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The window of the old size at (rows, columns) [B] of each zero-padded image."""
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))  # a view: [B, C, 2p+1, 2p+1, H, W]
    return windows[np.arange(len(images)), :, rows, columns]


def _box(size: int, length: int, centre: int) -> slice:
    return slice(max(centre - length // 2, 0), min(centre + length // 2, size))
