"""Colour jitter: against Pillow's own operations, its range, and hues against the standard library."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from paddle_darts.data import Augmentation, augment
from paddle_darts.data.colour import STANDARD, jitter, shift_hue
from paddle_darts.errors import ConfigError


def batch(count, channels=3, size=9, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)


def slow_jitter(images, rng, strengths):
    """The documented draws, then Pillow, one image at a time."""
    orders = np.argsort(rng.random((len(images), 4)), axis=1)
    amounts = rng.random((len(images), 4))
    out = []
    for image, order, u in zip(images, orders, amounts, strict=True):
        picture = Image.fromarray(image.transpose(1, 2, 0))
        for kind in order:
            s = strengths[kind]
            if kind == 3:
                hsv = np.array(picture.convert("HSV")).astype(int)
                hsv[..., 0] = (hsv[..., 0] + int((2 * u[3] - 1) * s * 255)) % 256
                picture = Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB")
            else:
                enhancer = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[kind]
                low = max(0, 1 - s)
                picture = enhancer(picture).enhance(low + (1 + s - low) * u[kind])
        out.append(np.asarray(picture).transpose(2, 0, 1))
    return np.stack(out)


@pytest.mark.parametrize("strengths", [STANDARD, (1.5, 0.0, 0.7, 0.5)])
def test_equals_pillow(strengths):
    images = batch(40)
    before = images.copy()
    got = jitter(images, np.random.default_rng(7), strengths)
    np.testing.assert_array_equal(got, slow_jitter(images, np.random.default_rng(7), strengths))
    np.testing.assert_array_equal(images, before)
    assert (got != images).any(axis=(1, 2, 3)).all()


def test_brightness_stays_in_its_range_and_uses_it():
    images = np.full((600, 3, 2, 2), 100, np.uint8)
    got = jitter(images, np.random.default_rng(0), (0.4, 0, 0, 0))[:, 0, 0, 0].astype(float)
    assert 59 <= got.min() < 62 and 138 < got.max() <= 140 and abs(got.mean() - 100) < 4


def test_hues_turn_as_they_should():
    for turns in (0.2, -0.2, 1 / 3, 0.5):
        (turned,) = shift_hue(Image.new("RGB", (1, 1), (200, 80, 40)), turns).getcolors()
        h, s, v = colorsys.rgb_to_hsv(200 / 255, 80 / 255, 40 / 255)
        expected = 255 * np.array(colorsys.hsv_to_rgb((h + turns) % 1, s, v))
        np.testing.assert_allclose(turned[1], expected, atol=6)  # a step of the hue is worth up to 4 levels
    grey = Image.new("L", (2, 2), 77)
    assert shift_hue(grey, 0.3) is grey


def test_grey_images_and_no_strength():
    grey = batch(5, channels=1)
    assert jitter(grey, np.random.default_rng(0)).shape == grey.shape
    images = batch(5)
    np.testing.assert_array_equal(jitter(images, np.random.default_rng(0), (0, 0, 0, 0)), images)


def test_place_in_the_augmentation():
    images = batch(6)
    how = Augmentation(crop_padding=2, flip=True, cutout_length=4, color_jitter=STANDARD)
    got = augment(images, rng=np.random.default_rng(3), augmentation=how, mean=(0,) * 3, std=(1,) * 3)
    rng = np.random.default_rng(3)
    rows, columns = rng.integers(5, size=6), rng.integers(5, size=6)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    moved = np.stack([p[:, r : r + 9, c : c + 9] for p, r, c in zip(padded, rows, columns, strict=True)])
    flips = rng.random(6) < 0.5
    moved[flips] = moved[flips][..., ::-1]
    expected = slow_jitter(moved, rng, STANDARD).astype(np.float32) / 255
    ys, xs = rng.integers(9, size=6), rng.integers(9, size=6)
    for image, y, x in zip(expected, ys, xs, strict=True):
        image[:, max(y - 2, 0) : y + 2, max(x - 2, 0) : x + 2] = 0
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("strengths", [(-0.1, 0, 0, 0), (0, 0, 0, 0.6), (0.4, 0.4, 0.4)])
def test_impossible_strengths(strengths):
    with pytest.raises(ConfigError, match="color_jitter needs 4 strengths"):
        Augmentation(color_jitter=strengths)


def test_other_numbers_of_channels():
    from paddle_darts.errors import DataError

    with pytest.raises(DataError, match="got 2 channels"):
        jitter(batch(2, channels=2), np.random.default_rng(0))
