"""Images in files: right pixels, opened only when needed, the same batch at every visit, clear errors."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from image_trees import write_image
from PIL import Image

from paddle_darts.data import ArrayDataset, Augmentation, BatchStream, ImageList, image_list
from paddle_darts.data.colour import STANDARD
from paddle_darts.data.crops import crop_box, draw_crops
from paddle_darts.errors import DataError

ALL = Augmentation(flip=True, cutout_length=4, random_resized_crop=True, color_jitter=STANDARD, auto_augment="imagenet")


@pytest.fixture
def images(tmp_path: Path) -> ImageList:
    """23 images of different sizes."""
    names = [f"a/{i:02d}.png" for i in range(23)]
    for i, name in enumerate(names):
        write_image(tmp_path / name, i, (30 + 3 * (i % 5), 28 + 5 * (i % 4)))
    return ImageList(tmp_path, np.array([os.fsencode(n) for n in names]), np.arange(23) % 3, image_size=16)


def stream(dataset, batch_size=5, augmentation=ALL, **options):
    options = {"seed": 3, **options}
    return BatchStream(dataset, batch_size, mean=(0.5,) * 3, std=(0.25,) * 3, augmentation=augmentation, **options)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are opened, in order."""
    names: list[str] = []
    real = image_list.open_image

    def watched(path, channels):
        names.append(path.name)
        return real(path, channels)

    monkeypatch.setattr(image_list, "open_image", watched)
    return names


def test_test_view(images):
    got = images.pixels(np.array([4, 0]))
    assert got.shape == (2, 3, 16, 16) and got.dtype == np.uint8
    short = round(16 * 256 / 224)
    for view, index in zip(got, (4, 0), strict=True):
        image = Image.open(images.path(index))
        width, height = image.size
        scaled = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
        left, top = round((scaled[0] - 16) / 2), round((scaled[1] - 16) / 2)
        expected = np.asarray(image.resize(scaled, Image.Resampling.BILINEAR))[top : top + 16, left : left + 16]
        np.testing.assert_array_equal(view, expected.transpose(2, 0, 1))
    assert (ImageList(images.root, images.paths, images.labels).image_size, short) == (224, 18)
    own = ImageList(images.root, images.paths, images.labels, 16, resize=16).pixels(np.array([4]))
    assert not np.array_equal(own, got[:1])


def test_training_view(images):
    crops = draw_crops(np.random.default_rng(0), 3)
    got = images.pixels(np.array([1, 1, 20]), crops)
    for view, index, draws in zip(got, (1, 1, 20), crops, strict=True):
        image = Image.open(images.path(index))
        part = image.crop(crop_box(*image.size, draws)).resize((16, 16), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(view, np.asarray(part).transpose(2, 0, 1))
    assert not np.array_equal(got[0], got[1])


def test_grey_files_become_rgb_and_channels_can_be_one(images):
    write_image(images.root / "a" / "00.png", 0, mode="L")
    view = images.pixels(np.array([0]))
    assert view.shape[1] == 3 and np.array_equal(view[:, 0], view[:, 2])
    grey = ImageList(images.root, images.paths, images.labels, 16, channels=1)
    assert grey.pixels(np.array([0, 1])).shape == (2, 1, 16, 16)


def test_files_are_opened_when_a_batch_needs_them(images, opened):
    batches = stream(images)
    assert batches.steps_per_epoch == 5 and len(images.subset(slice(7))) == 7
    assert opened == []
    batch = batches.batch(0, 1)
    assert sorted(opened) == sorted(images.path(i).name for i in batch.indices)
    np.testing.assert_array_equal(batch.labels, images.labels[batch.indices])
    opened.clear()
    list(batches.iterate(0))
    assert sorted(opened) == [f"{i:02d}.png" for i in range(23)]


@pytest.mark.parametrize("draw", ["permutation", "fresh"])
def test_batches_are_pure_functions_of_their_position(images, draw):
    one, two = stream(images, draw=draw), stream(images, draw=draw)
    for position in (7, 0, 13, 7):
        assert same(one.pick(position), two.pick(position))
    later = list(zip(range(9), two.iterate_from(6), strict=False))
    assert all(same(batch, one.pick(6 + i)) for i, batch in later)
    assert not same(one.batch(0, 0), stream(images, draw=draw, seed=4).batch(0, 0))
    ordered = stream(images, shuffle=False)
    assert not np.array_equal(ordered.batch(0, 0).images, ordered.batch(1, 0).images)


def test_number_of_threads_does_not_matter(images, monkeypatch):
    expected = stream(images).batch(0, 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert same(stream(images).batch(0, 0), expected)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert same(stream(images).batch(0, 0), expected)
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if "ThreadPool" in t.name]


def test_test_images_are_the_same_in_every_epoch(images):
    plain = stream(images, augmentation=None, shuffle=False)
    assert same(plain.batch(0, 2), plain.batch(5, 2))
    np.testing.assert_allclose(
        plain.batch(0, 2).images, (images.pixels(np.arange(10, 15)) / 255 - 0.5) / 0.25, atol=1e-6
    )


def test_arrays_and_lists_share_their_batches(images, tmp_path):
    """The same pictures of one size from memory and from lossless files give the same batches."""
    arrays = np.random.default_rng(0).integers(0, 256, (9, 3, 16, 16), dtype=np.uint8)
    names = [f"{i}.png" for i in range(9)]
    for name, array in zip(names, arrays, strict=True):
        Image.fromarray(array.transpose(1, 2, 0)).save(tmp_path / name)
    labels = np.arange(9) % 2
    files = ImageList(tmp_path, np.array([os.fsencode(n) for n in names]), labels, 16, resize=16)
    memory = ArrayDataset(arrays, labels)
    assert (memory.channels, memory.image_size) == (files.channels, files.image_size) == (3, 16)
    for how in (None, ALL, Augmentation(crop_padding=2, flip=True, cutout_length=4)):
        for position in range(6):
            one, two = (stream(data, 4, how).pick(position) for data in (memory, files))
            assert same(one, two)
    assert stream(memory.subset(slice(0)), 4).steps_per_epoch == 0


def test_what_is_wrong_with_a_file(images):
    raw = images.path(3).read_bytes()
    images.path(3).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match=r"03\.png: not a readable image"):
        images.pixels(np.arange(5))
    images.path(3).unlink()
    with pytest.raises(DataError, match=r"03\.png: there is no such image"):
        list(stream(images).iterate(0))
    assert images.pixels(np.array([0, 1, 2])).shape[0] == 3


def test_form_is_checked(images):
    with pytest.raises(DataError, match=r"paths must be bytes \[N\], got <U"):
        ImageList(images.root, np.array(["a.png"]), np.zeros(1, np.int64))
    with pytest.raises(DataError, match=r"labels must be int64 \[23\] for 23 images, got int64 \[5\]"):
        ImageList(images.root, images.paths, images.labels[:5])
