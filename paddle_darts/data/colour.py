"""Colour jitter: random brightness, contrast, saturation and hue, in a random order per image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paddle_darts.data.images import edit_images

if TYPE_CHECKING:
    from PIL.Image import Image

#: Brightness, contrast, saturation and hue of the official ImageNet trainings.
STANDARD = (0.4, 0.4, 0.4, 0.2)


def jitter(
    images: np.ndarray, rng: np.random.Generator, strengths: tuple[float, float, float, float] = STANDARD
) -> np.ndarray:
    """Changes the colours of a batch uint8 [B, C, H, W]; the input is left alone.

    ``strengths`` of brightness, contrast, saturation (factor uniform in 1 +- strength, not below 0) and hue (shift
    uniform in +- strength turns of the colour circle). Draws from ``rng``: [B, 4] for the orders, [B, 4] for the
    amounts. Same distribution as torchvision's ColorJitter of the official ImageNet programs.
    """
    orders = rng.random((len(images), 4)).argsort(axis=1)
    low = np.array([max(0.0, 1 - s) for s in strengths[:3]] + [-strengths[3]])
    high = np.array([1 + s for s in strengths[:3]] + [strengths[3]])
    amounts = low + (high - low) * rng.random((len(images), 4))
    return edit_images(
        images, [lambda image, row=row: adjust(image, *row) for row in zip(orders, amounts, strict=True)]
    )


def adjust(image: Image, order: np.ndarray, amounts: np.ndarray) -> Image:
    """The four changes in ``order``; ``amounts`` = factors of brightness, contrast and saturation, and hue turns."""
    from PIL import ImageEnhance

    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for kind in order.tolist():
        amount = float(amounts[kind])
        image = shift_hue(image, amount) if kind == 3 else enhancers[kind](image).enhance(amount)
    return image


def shift_hue(image: Image, turns: float) -> Image:
    """Turns the hues of an RGB image around the colour circle of 256 steps; grey images have none."""
    from PIL import Image as pillow

    if image.mode != "RGB" or not turns:
        return image
    hue, saturation, value = image.convert("HSV").split()
    turned = np.asarray(hue) + np.uint8(int(turns * 255) % 256)  # wraps around
    return pillow.merge("HSV", (pillow.fromarray(turned), saturation, value)).convert("RGB")
