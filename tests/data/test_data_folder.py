"""Images in folders: layouts, sizes, channels, and files that are not what they seem."""

import numpy as np
import pytest
from PIL import Image

from paddle_darts.data import load_dataset, split_search
from paddle_darts.errors import DataError


def write(path, size=(8, 8), mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    array = rng.integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return array


def fill(root, classes=("cat", "dog"), count=5, **options):
    for c, name in enumerate(classes):
        for i in range(count):
            write(root / name / f"{i}.png", seed=100 * c + i, **options)
    return root


def load(root, **options):
    return load_dataset("folder", root, **options)


def test_classes_without_parts(tmp_path):
    fill(tmp_path, ("dog", "cat", "ant"), count=10)
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / ".hidden.png").write_text("no image")
    bundle = load(tmp_path)
    assert bundle.classes == ("ant", "cat", "dog")
    assert np.bincount(bundle.train.labels).tolist() == [8, 8, 8]
    assert np.bincount(bundle.test.labels).tolist() == [2, 2, 2]
    assert bundle.valid is None and bundle.split == "stratified"
    assert (bundle.channels, bundle.image_size) == (3, 8)
    every = {image.tobytes() for part in (bundle.train, bundle.test) for image in part.images}
    assert len(every) == 30
    np.testing.assert_allclose(bundle.mean, (bundle.train.images / 255).mean(axis=(0, 2, 3)), atol=1e-6)
    again, other = load(tmp_path), load(tmp_path, seed=1)
    assert again.checksum == bundle.checksum != other.checksum
    np.testing.assert_array_equal(again.test.images, bundle.test.images)


def test_pixels_and_labels_are_right(tmp_path):
    expected = {}
    for c, name in enumerate(["a", "b"]):
        for i in range(5):
            expected[write(tmp_path / name / f"{i}.png", seed=10 * c + i).transpose(2, 0, 1).tobytes()] = c
    bundle = load(tmp_path)
    for part in (bundle.train, bundle.test):
        for image, label in zip(part.images, part.labels, strict=True):
            assert expected.pop(image.tobytes()) == label
    assert not expected


@pytest.mark.parametrize("valid", ["valid", "val"])
def test_parts(tmp_path, valid):
    fill(tmp_path / "train", count=4)
    fill(tmp_path / valid, count=3)
    fill(tmp_path / "test", count=2)
    bundle = load(tmp_path)
    assert [len(p) for p in (bundle.train, bundle.valid, bundle.test)] == [8, 6, 4]
    assert split_search(bundle) == (bundle.train, bundle.valid)


def test_train_part_alone_gives_up_a_fifth(tmp_path):
    fill(tmp_path / "train", count=5)
    fill(tmp_path / "valid", count=2)
    bundle = load(tmp_path)
    assert [len(p) for p in (bundle.train, bundle.valid, bundle.test)] == [8, 4, 2]


def test_classes_may_be_called_train_and_test(tmp_path):
    fill(tmp_path, ("bus", "test", "train"))
    assert load(tmp_path).classes == ("bus", "test", "train")


def test_channels_follow_the_files(tmp_path):
    fill(tmp_path / "grey", mode="L")
    grey = load(tmp_path / "grey")
    assert grey.channels == 1 and len(grey.mean) == 1
    fill(tmp_path / "mixed", mode="L")
    write(tmp_path / "mixed" / "cat" / "colour.png")
    mixed = load(tmp_path / "mixed")
    assert mixed.channels == 3 and len(mixed.std) == 3
    fill(tmp_path / "alpha", mode="RGBA")
    assert load(tmp_path / "alpha").channels == 3


def test_16_bit_grey_keeps_its_upper_bits(tmp_path):
    for name, value in [("dark", 256), ("light", 60000)]:
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / name / f"{i}.png")
    bundle = load(tmp_path)
    assert bundle.channels == 1
    assert [image.max() for image in bundle.train.images] == [1, 60000 >> 8]


def test_resize_and_centre_crop(tmp_path):
    for name in ("a", "b"):
        for i in range(2):
            array = np.zeros((20, 60), np.uint8)
            array[:, 20:40] = 200  # the middle third of a wide image
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / name / f"{i}.png")
    bundle = load(tmp_path, image_size=10)
    assert bundle.train.images.shape == (2, 1, 10, 10) and bundle.image_size == 10
    assert bundle.train.images[:, :, :, 1:-1].min() == 200  # the crop shows the middle and nothing else


def test_sizes_must_be_known(tmp_path):
    fill(tmp_path)
    write(tmp_path / "cat" / "other.png", size=(9, 8))
    with pytest.raises(DataError, match=r"differ in size \(8x8, 9x8.*--image_size"):
        load(tmp_path)
    assert load(tmp_path, image_size=8).image_size == 8
    fill(tmp_path / "wide", size=(12, 8))
    with pytest.raises(DataError, match=r"12x8, not square.*--image_size"):
        load(tmp_path / "wide")


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_damaged_image_is_named(tmp_path, damage, suffix):
    fill(tmp_path)
    path = tmp_path / "dog" / f"broken{suffix}"
    write(path, seed=5)
    raw = path.read_bytes()
    path.write_bytes({"truncated": raw[: len(raw) * 2 // 3], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(DataError, match=r"dog.broken\.(png|jpg): not a readable image"):
        load(tmp_path)


def test_class_sets_must_agree(tmp_path):
    fill(tmp_path / "train", ("a", "b", "c"))
    fill(tmp_path / "test", ("a", "b", "d"))
    with pytest.raises(DataError, match=r"train and test differ: c \(not in test\), d \(only in test\)"):
        load(tmp_path)


def test_wrong_layouts(tmp_path):
    with pytest.raises(DataError, match="--data DIR"):
        load(None)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="0 class folders"):
        load(tmp_path)
    fill(tmp_path / "one", ("a",))
    with pytest.raises(DataError, match="1 class folders, at least 2"):
        load(tmp_path / "one")
    fill(tmp_path / "two")
    (tmp_path / "two" / "owl").mkdir()
    with pytest.raises(DataError, match=r"owl: no image"):
        load(tmp_path / "two")
    fill(tmp_path / "three" / "test")
    with pytest.raises(DataError, match="it has test but no train/"):
        load(tmp_path / "three")
    fill(tmp_path / "four" / "train")
    (tmp_path / "four" / "test").mkdir()
    with pytest.raises(DataError, match=r"four.test: no class folders"):
        load(tmp_path / "four")
    for part in ("train", "val", "valid"):
        fill(tmp_path / "five" / part)
    with pytest.raises(DataError, match="both val/ and valid/"):
        load(tmp_path / "five")
    fill(tmp_path / "six", count=1)
    with pytest.raises(DataError, match="too few images"):
        load(tmp_path / "six")
