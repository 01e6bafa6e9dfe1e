"""ImageNet's forms on disk: folders, lists, splits; what each part is, and what is refused when."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from image_trees import CLASSES, write_classes, write_image, write_imagenet

from paddle_darts.data import BatchStream, load_dataset, split_search
from paddle_darts.data import images as decoding
from paddle_darts.data.listing import read_list, scan_folder, write_list
from paddle_darts.data.search_split import SplitSettings, make_split
from paddle_darts.errors import DataError


def load(root, **options):
    return load_dataset("imagenet", root, **{"image_size": 32, **options})


def files(part):
    return [part.path(i) for i in range(len(part))]


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    return write_imagenet(tmp_path / "imagenet")


def test_folders(imagenet, monkeypatch):
    monkeypatch.setattr(decoding, "open_image", None)  # loading opens nothing
    (imagenet / "train" / "n01" / "notes.txt").write_text("no image")
    (imagenet / "train" / ".hidden").mkdir()
    bundle = load(imagenet)
    assert (bundle.name, bundle.classes, bundle.num_classes) == ("imagenet", CLASSES, 3)
    assert (len(bundle.train), bundle.valid, len(bundle.test)) == (24, None, 9)
    assert (bundle.channels, bundle.image_size, load(imagenet, image_size=None).image_size) == (3, 32, 224)
    assert bundle.mean == (0.485, 0.456, 0.406) and bundle.std == (0.229, 0.224, 0.225)
    assert bundle.augmentation.random_resized_crop and bundle.augmentation.flip
    assert bundle.augmentation.color_jitter is None and bundle.augmentation.crop_padding == 0
    for part in (bundle.train, bundle.test):
        for path, label in zip(files(part), part.labels, strict=True):
            assert path.is_file() and path.parent.name == CLASSES[label]
    assert files(bundle.test)[0].parent.parent.name == "val"
    again = load(imagenet.parent)  # holds a folder called imagenet
    assert again.checksum == bundle.checksum and again.source == bundle.source == str(imagenet)
    (imagenet / "train" / "n01" / "n01_000.JPEG").unlink()
    assert load(imagenet).checksum != bundle.checksum


def test_batches_of_a_training(imagenet):
    bundle = load(imagenet)
    batches = BatchStream(bundle.train, 10, mean=bundle.mean, std=bundle.std, augmentation=bundle.augmentation)
    seen = list(batches.iterate(0))
    assert [batch.images.shape for batch in seen] == [(10, 3, 32, 32), (10, 3, 32, 32), (4, 3, 32, 32)]
    assert sorted(np.concatenate([batch.indices for batch in seen])) == list(range(24))


def test_search_without_a_split_of_its_own(imagenet):
    bundle = load(imagenet)
    weights, architecture = split_search(bundle, 0.75, seed=1)
    assert np.bincount(weights.labels).tolist() == [6] * 3 and np.bincount(architecture.labels).tolist() == [2] * 3
    assert set(files(weights)).isdisjoint(files(architecture))
    assert sorted(files(weights) + files(architecture)) == files(bundle.train)


def test_own_validation_part(imagenet):
    write_classes(imagenet / "valid", 2, seed=500)
    bundle = load(imagenet)
    assert (len(bundle.train), len(bundle.valid), len(bundle.test)) == (24, 6, 9)
    assert split_search(bundle) == (bundle.train, bundle.valid)


@pytest.mark.parametrize("mode", ["lists", "copy", "symlink"])
def test_split_for_a_search(imagenet, tmp_path, mode):
    split = tmp_path / "split"
    made = make_split(imagenet, split, SplitSettings(0.5, 0.25, mode=mode))
    bundle = load(split)
    assert (len(bundle.train), len(bundle.valid), len(bundle.test)) == (made.train, made.val, 9) == (12, 6, 9)
    assert split_search(bundle) == (bundle.train, bundle.valid) and bundle.classes == CLASSES
    inside = split if mode != "lists" else imagenet
    for name, part in (("train", bundle.train), ("valid", bundle.valid)):
        assert all(path.is_relative_to(inside) and path.is_file() for path in files(part)), name
    assert bundle.valid.pixels(np.arange(6)).shape == (6, 3, 32, 32)
    assert all(path.is_relative_to(imagenet / "val") for path in files(bundle.test))

    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(imagenet, moved / "imagenet")
    shutil.move(split, moved / "split")
    if mode == "symlink":
        return  # the links name the old place
    again = load(moved / "split")
    assert again.train.pixels(np.arange(3)).shape[0] == 3 and len(again.test) == 9
    shutil.rmtree(moved / "imagenet")
    if mode == "lists":
        with pytest.raises(DataError, match="which is not there any more"):
            load(moved / "split")
    else:
        assert load(moved / "split").train.pixels(np.arange(3)).shape[0] == 3


def test_test_images_are_missed_only_by_those_who_need_them(imagenet):
    shutil.rmtree(imagenet / "val")
    bundle = load(imagenet)
    assert len(split_search(bundle)[0]) == 12
    with pytest.raises(DataError, match=r"there are no test images: .* has no val or test"):
        BatchStream(bundle.test, 4, mean=bundle.mean, std=bundle.std)
    write_image(imagenet / "val" / "ILSVRC2012_val_00000001.JPEG", 0)
    with pytest.raises(DataError, match=r"val: 0 class folders"):
        len(load(imagenet).test)
    write_classes(imagenet / "val", 1, ("n01", "n02", "n04"))
    with pytest.raises(DataError, match=r"the classes of train and test differ: n03, n04"):
        len(load(imagenet).test)


@pytest.mark.parametrize("inside", [False, True])
def test_lists(imagenet, inside):
    """Relative to the data folder, or, as Caffe's lists are, to the folder of the part."""
    expected = load(imagenet)
    listing = scan_folder(imagenet / "train", "" if inside else "train/")
    write_list(imagenet / "train.txt", listing)
    lines = [f"{p.name} {label}" for p, label in zip(files(expected.test), expected.test.labels, strict=True)]
    for path in files(expected.test):
        shutil.move(path, imagenet / "val" / path.name)  # flat, as ImageNet's archive has them
    (imagenet / "val.txt").write_text("\r\n".join(lines[::-1]) + "\n\n")
    bundle = load(imagenet)
    assert files(bundle.train) == files(expected.train) and bundle.classes == CLASSES
    np.testing.assert_array_equal(bundle.train.labels, expected.train.labels)
    assert [path.name for path in files(bundle.test)] == [path.name for path in files(expected.test)[::-1]]
    np.testing.assert_array_equal(bundle.test.labels, expected.test.labels[::-1])
    assert all(path.is_file() for part in (bundle.train, bundle.test) for path in files(part))


def test_lists_without_folders_number_their_classes(tmp_path):
    (tmp_path / "train.txt").write_text("one image.png 0\nb.png 1\nc.png\t1\n")
    bundle = load(tmp_path)
    assert bundle.classes == ("0", "1") and bundle.train.labels.tolist() == [0, 1, 1]
    assert [path.name for path in files(bundle.train)] == ["one image.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png 0\nb.png x\n", r'train\.txt, line 2: expected "relative/path label", got \'b\.png x\''),
        ("a.png 0\n7\n", r"train\.txt, line 2: expected"),
        ("a.png 0\nb.png -1\n", r"train\.txt, line 2: expected"),
        ("\n", r"train\.txt: there are no images in it"),
        ("a.png 0\nb.png 2\n", r"go up to 2, but no image has the label 1"),
        ("a.png 123456789\n", r"go up to 123456789, but no image has the label 0"),
    ],
)
def test_wrong_lists(tmp_path, text, message):
    (tmp_path / "train.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_names_that_are_no_text(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a/\xff\xfe.png 0\nb/x.png 1\n")
    listing = read_list(tmp_path / "list.txt")
    assert listing.paths.tolist() == [b"a/\xff\xfe.png", b"b/x.png"]
    write_list(tmp_path / "again.txt", listing)
    assert (tmp_path / "again.txt").read_bytes() == (tmp_path / "list.txt").read_bytes()


def test_wrong_folders(tmp_path):
    with pytest.raises(DataError, match="--data DIR"):
        load(None)
    with pytest.raises(DataError, match=r"has no training images; expected train/<class>"):
        load(tmp_path / "nowhere")
    (tmp_path / "train" / "n01").mkdir(parents=True)
    with pytest.raises(DataError, match="1 class folders, at least 2"):
        load(tmp_path)
    (tmp_path / "train" / "n02").mkdir()
    with pytest.raises(DataError, match=r"n01: no image in this class folder"):
        load(tmp_path)
    write_classes(tmp_path / "train", 2)
    write_classes(tmp_path / "valid", 2, ("n01", "n05", "n03"))
    with pytest.raises(DataError, match="the classes of train and valid differ: n02, n05"):
        load(tmp_path)
    shutil.rmtree(tmp_path / "valid")
    (tmp_path / "valid.txt").write_text("train/n01/n01_000.JPEG 3\n")
    with pytest.raises(DataError, match="valid has the label 3, but there are 3 classes"):
        load(tmp_path)


def test_a_damaged_image_is_named_by_its_batch(imagenet):
    (imagenet / "train" / "n02" / "n02_003.JPEG").write_bytes(b"\xff\xd8 not a picture")
    bundle = load(imagenet)
    batches = BatchStream(bundle.train, 8, mean=bundle.mean, std=bundle.std)
    with pytest.raises(DataError, match=r"n02.n02_003\.JPEG: not a readable image"):
        list(batches.iterate(0))
