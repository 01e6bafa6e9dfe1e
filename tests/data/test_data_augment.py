"""Augmentation: against a slow per-image reference, and the recorded official cutout masks."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_darts.data.augment import Augmentation, augment, cutout_mask, normalize
from paddle_darts.errors import ConfigError

GOLDEN = Path(__file__).resolve().parents[1] / "goldens" / "darts" / "cutout.npz"
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def slow_augment(images, rng, how, mean, std):
    """One image and one pixel step at a time, drawing in the documented order."""
    count, channels, height, width = images.shape
    tops = lefts = flips = ys = xs = [None] * count
    if how.crop_padding:
        tops = rng.integers(0, 2 * how.crop_padding + 1, size=count)
        lefts = rng.integers(0, 2 * how.crop_padding + 1, size=count)
    if how.flip:
        flips = rng.random(count) < 0.5
    if how.cutout_length:
        ys, xs = rng.integers(0, height, size=count), rng.integers(0, width, size=count)
    out = np.empty(images.shape, np.float32)
    for b in range(count):
        image = images[b]
        if how.crop_padding:
            p = how.crop_padding
            canvas = np.zeros((channels, height + 2 * p, width + 2 * p), np.uint8)
            canvas[:, p : p + height, p : p + width] = image
            image = canvas[:, tops[b] : tops[b] + height, lefts[b] : lefts[b] + width]
        if how.flip and flips[b]:
            image = image[:, :, ::-1]
        for c in range(channels):
            scaled = image[c].astype(np.float32) / np.float32(255)
            out[b, c] = (scaled - np.float32(mean[c])) / np.float32(std[c])
        if how.cutout_length:
            out[b] *= cutout_mask(height, width, how.cutout_length, ys[b], xs[b])
    return out


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 7),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    padding=st.integers(0, 5),
    flip=st.booleans(),
    length=st.integers(0, 14),
    seed=st.integers(0, 2**32),
)
def test_equals_slow_reference(count, channels, height, width, padding, flip, length, seed):
    how = Augmentation(padding, flip, length)
    images = np.random.default_rng(seed).integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    before = images.copy()
    mean, std = MEAN[:channels], STD[:channels]
    got = augment(images, rng=np.random.default_rng(seed), augmentation=how, mean=mean, std=std)
    expected = slow_augment(images, np.random.default_rng(seed), how, mean, std)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(images, before)


def test_official_cutout_masks():
    with np.load(GOLDEN) as golden:
        cases = json.loads(str(golden["meta"]))["args"]["cases"]
        assert len(cases) == 6
        for case in cases:
            mask = cutout_mask(case["h"], case["w"], case["length"], case["y"], case["x"])
            assert mask.dtype == np.uint8
            np.testing.assert_array_equal(mask, golden[case["key"]])


def test_cutout_of_augment_is_the_mask():
    images = np.full((64, 3, 32, 32), 255, np.uint8)
    out = augment(images, rng=np.random.default_rng(1), augmentation=Augmentation(cutout_length=16), mean=MEAN, std=STD)
    rng = np.random.default_rng(1)
    ys, xs = rng.integers(32, size=64), rng.integers(32, size=64)
    for image, y, x in zip(out, ys, xs, strict=True):
        np.testing.assert_array_equal((image != 0).all(axis=0), cutout_mask(32, 32, 16, y, x))


def test_crop_reaches_every_offset_and_pads_with_black():
    images = np.full((4000, 1, 4, 4), 255, np.uint8)
    out = augment(images, rng=np.random.default_rng(0), augmentation=Augmentation(crop_padding=2), mean=[0], std=[1])
    assert set(np.unique(out)) == {0.0, 1.0}
    # the white square of 4 x 4 is shifted by -2..2 in both directions: 25 different pictures
    assert len({image.tobytes() for image in out}) == 25


def test_half_of_the_images_are_flipped():
    images = np.zeros((4000, 1, 1, 2), np.uint8)
    images[..., 1] = 255
    out = augment(images, rng=np.random.default_rng(0), augmentation=Augmentation(flip=True), mean=[0], std=[1])
    assert 0.46 < out[:, 0, 0, 0].mean() < 0.54


def test_normalize_in_float64():
    images = np.array([0, 128, 255], np.uint8).reshape(1, 1, 1, 3)
    got = normalize(images, [0.5], [0.25], np.float64)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got.ravel(), [-2, (128 / 255 - 0.5) * 4, 2], rtol=1e-15)


@pytest.mark.parametrize("field", ["crop_padding", "cutout_length"])
def test_negative_lengths_are_refused(field):
    with pytest.raises(ConfigError, match=f"{field} .* got -1"):
        Augmentation(**{field: -1})
