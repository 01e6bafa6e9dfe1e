"""Crops of large images: against a slow reference, their statistics, and what they show."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from paddle_darts.data.crops import ATTEMPTS, RATIO, SCALE, centre_crop, crop_box, draw_crops, resized_crop


def slow_box(width, height, draws):
    """One attempt at a time, as the description of the official transform has it."""
    for k in range(ATTEMPTS):
        area = width * height * (SCALE[0] + draws[k] * (SCALE[1] - SCALE[0]))
        ratio = math.exp(math.log(RATIO[0]) + draws[ATTEMPTS + k] * (math.log(RATIO[1]) - math.log(RATIO[0])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = math.floor(draws[-2] * (width - w + 1)), math.floor(draws[-1] * (height - h + 1))
            return left, top, left + w, top + h
    w, h = width, height
    if width / height < RATIO[0]:
        h = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        w = round(height * RATIO[1])
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32))
def test_box_equals_slow_reference(width, height, seed):
    (draws,) = draw_crops(np.random.default_rng(seed), 1)
    box = crop_box(width, height, draws)
    assert box == slow_box(width, height, draws)
    left, top, right, bottom = box
    assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_statistics_of_the_boxes():
    side = 1000
    boxes = np.array([crop_box(side, side, d) for d in draw_crops(np.random.default_rng(0), 6000)])
    left, top, right, bottom = boxes.T
    widths, heights = right - left, bottom - top
    areas, ratios = widths * heights / side**2, widths / heights
    assert areas.min() > 0.079 and areas.max() <= 1
    assert ratios.min() > RATIO[0] - 0.01 and ratios.max() < RATIO[1] + 0.01
    # up to 3/4 of the area every ratio fits a square image: there the areas are uniform
    small = np.sort(areas[areas < 0.74])
    uniform = (small - SCALE[0]) / (0.74 - SCALE[0])
    assert np.abs(uniform - (np.arange(len(small)) + 0.5) / len(small)).max() < 1.63 / math.sqrt(len(small))
    logs = np.log(ratios[areas < 0.74]) / math.log(RATIO[1])  # uniform in -1..1
    assert abs(logs.mean()) < 0.03 and abs(logs.std() - 1 / math.sqrt(3)) < 0.02
    for position, room in ((left, side - widths), (top, side - heights)):
        share = position[room > 100] / room[room > 100]
        assert abs(share.mean() - 0.5) < 0.02 and share.min() < 0.01 and share.max() > 0.99


@pytest.mark.parametrize(("size", "expected"), [((10, 200), (0, 93, 10, 106)), ((300, 12), (142, 0, 158, 12))])
def test_extreme_images_give_their_middle(size, expected):
    for draws in draw_crops(np.random.default_rng(1), 20):
        assert crop_box(*size, draws) == expected


def test_resized_crop_shows_its_box():
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8), (160, 200))
    for draws in draw_crops(np.random.default_rng(2), 20):
        left, _, right, _ = crop_box(200, 160, draws)
        view = np.asarray(resized_crop(Image.fromarray(ramp), draws, (32, 24)))
        assert view.shape == (24, 32)
        assert view.min() >= left and view.max() <= right - 1
        assert abs(view.astype(float).mean() - (left + right - 1) / 2) < 1


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (256, 256), (300, 299), (97, 640)])
def test_centre_crop_is_the_official_test_view(width, height):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    scaled = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    resized = image if image.size == (256, 256) else image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = round((scaled[0] - 224) / 2), round((scaled[1] - 224) / 2)
    expected = np.asarray(resized)[top : top + 224, left : left + 224]
    np.testing.assert_array_equal(np.asarray(centre_crop(image, 224, 256)), expected)
    assert centre_crop(image, 64).size == (64, 64)
