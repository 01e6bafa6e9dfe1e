"""ImageNet16-120: batches of the official form are read, warned about, or refused with one clear error."""

import hashlib
import logging
import os
import pickle

import numpy as np
import pytest

from paddle_darts.data import BatchStream, imagenet16, list_datasets, load_dataset
from paddle_darts.errors import DataError

NAMES = [f"train_data_batch_{i}" for i in range(1, 11)]
HOW = r"Get Imagenet16_train\.zip and Imagenet16_val\.zip.*image-net\.org/download-images.*--data"


def batch(numbers, /, seed=0, **changes):
    data = np.random.default_rng(seed).integers(0, 256, (len(numbers), 768), dtype=np.uint8)
    content = {"data": data, "labels": list(numbers), "mean": np.full(768, 120.5), **changes}
    return {name: value for name, value in content.items() if value is not None}


def official(**replaced):
    """Two kept images and one beyond the 120 classes per training batch, three kept ones for validation."""
    files = {name: batch([i, 121, 120 - i], seed=i) for i, name in enumerate(NAMES, 1)}
    files["val_data"] = batch([1000, 120, 1, 60], seed=99)
    return {name: value for name, value in {**files, **replaced}.items() if value is not None}


def write(folder, files, protocol=2):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return folder


def load(data, **options):
    return load_dataset("imagenet16-120", data, **options)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("place", ["folder", "parent"])
def test_first_120_classes_in_order(place, protocol, tmp_path):
    files = official()
    folder = write(tmp_path / "ImageNet16" if place == "parent" else tmp_path / "mine", files, protocol)
    bundle = load(str(tmp_path) if place == "parent" else folder)
    assert bundle.source == str(folder) and bundle.valid is None
    # batch 10 after batch 9, not after batch 1; label 1 of the file is class 0
    assert bundle.train.labels.tolist() == [label - 1 for i in range(1, 11) for label in (i, 120 - i)]
    assert bundle.test.labels.tolist() == [119, 0, 59]
    pixels = np.concatenate([files[name]["data"][[0, 2]] for name in NAMES]).reshape(-1, 3, 16, 16)
    np.testing.assert_array_equal(bundle.train.images, pixels)
    np.testing.assert_array_equal(bundle.test.images, files["val_data"]["data"][1:].reshape(-1, 3, 16, 16))


def test_facts(tmp_path):
    bundle = load(write(tmp_path, official()))
    assert "imagenet16-120" in list_datasets()
    assert (bundle.name, bundle.num_classes, bundle.channels, bundle.image_size) == ("imagenet16-120", 120, 3, 16)
    np.testing.assert_allclose(np.array(bundle.mean) * 255, [122.68, 116.66, 104.01], rtol=1e-12)
    np.testing.assert_allclose(np.array(bundle.std) * 255, [63.22, 61.26, 65.09], rtol=1e-12)
    assert bundle.augmentation.crop_padding == 2 and bundle.augmentation.flip
    assert not bundle.augmentation.cutout_length
    stream = BatchStream(bundle.train, 8, mean=bundle.mean, std=bundle.std, augmentation=bundle.augmentation)
    assert stream.batch(0, 0).images.shape == (8, 3, 16, 16)


def test_resized(tmp_path):
    bundle = load(write(tmp_path, official()), image_size=32)
    assert bundle.train.images.shape == (20, 3, 32, 32) and bundle.test.images.shape == (3, 3, 32, 32)
    assert bundle.augmentation.crop_padding == 4


def test_labels_may_be_an_array(tmp_path):
    bundle = load(write(tmp_path, official(val_data=batch([3, 500], labels=np.array([3, 500], np.int16)))))
    assert bundle.test.labels.tolist() == [2] and bundle.test.labels.dtype == np.int64


def test_a_batch_without_the_first_classes_is_fine_but_not_all(tmp_path):
    assert len(load(write(tmp_path / "one", official(train_data_batch_4=batch([121, 999])))).train) == 18
    with pytest.raises(DataError, match=r"no image of the first 120 classes in val_data") as caught:
        load(write(tmp_path / "all", official(val_data=batch([121, 1000]))))
    assert caught.match(HOW)


@pytest.fixture
def known(tmp_path, monkeypatch):
    """Files whose md5 the reader takes for the official ones."""
    folder = write(tmp_path / "ImageNet16", official())
    digests = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(imagenet16, "TRAIN", {name: digests[name] for name in NAMES})
    monkeypatch.setattr(imagenet16, "VALIDATION", {"val_data": digests["val_data"]})
    return folder


def test_official_files_give_no_warning(known, caplog):
    with caplog.at_level(logging.WARNING):
        load(known)
    assert not caplog.records


def test_wrong_check_sums_are_a_warning_that_names_the_files(known, caplog):
    expected = imagenet16.TRAIN["train_data_batch_3"]
    write(known, {"train_data_batch_3": batch([5]), "val_data": batch([7, 8])})
    got = hashlib.md5((known / "train_data_batch_3").read_bytes()).hexdigest()
    with caplog.at_level(logging.WARNING):
        load(known)
    (record,) = caplog.records
    text = record.getMessage()
    assert f"{known}: not the official train_data_batch_3, val_data (" in text
    assert f"md5 of train_data_batch_3: {expected} expected, {got} got" in text
    assert "19 training and 2 test images" in text


def test_damaged_official_file_is_an_error_with_its_check_sum(known):
    content = (known / "train_data_batch_7").read_bytes()[:-50]
    (known / "train_data_batch_7").write_bytes(content)
    with pytest.raises(DataError, match="train_data_batch_7: not a readable pickle") as caught:
        load(known)
    assert f"its md5 is {hashlib.md5(content).hexdigest()}, the official one's" in str(caught.value)
    assert caught.match(HOW) and str(known) in str(caught.value)


BAD = {
    "not a pickle": (b"garbage", "train_data_batch_2: not a readable pickle"),
    "empty file": (b"", "train_data_batch_2: not a readable pickle"),
    "payload": (b"cos\nsystem\n(S'true'\ntR.", r"train_data_batch_2: refused: it asks for os\.system"),
    "no dictionary": ([1, 2], "expected a dictionary, got list"),
    "no data": (batch([1], data=None), "no 'data' in it; found labels, mean"),
    "no labels": (batch([1], labels=None), "no 'labels' in it"),
    "images of CIFAR": (
        batch([1, 2], data=np.zeros((2, 3072), np.uint8)),
        r"uint8 \[N, 768\], got uint8 \[2, 3072\]",
    ),
    "wrong type": (batch([1, 2], data=np.zeros((2, 768), np.float32)), r"got float32 \[2, 768\]"),
    "no dimension": (batch([1], data=np.array(3, np.uint8)), r"got uint8 \[\]"),
    "list of images": (batch([1], data=[1]), "got list"),
    "too few labels": (batch([1, 2, 3], labels=[1, 2]), "3 images but 2 labels"),
    "no labels at all": (batch([1, 2], labels=[]), "2 images but 0 labels"),
    "label 0": (batch([1, 0, 2]), r"label 0 is outside 1\.\.1000"),
    "label too large": (batch([1, 1001]), r"label 1001 is outside 1\.\.1000"),
    "label negative": (batch([1, -1]), r"label -1 is outside 1\.\.1000"),
    "label text": (batch([1, "a"]), "whole number"),
    "label fraction": (batch([1, 0.5]), "whole number"),
    "label list": (batch([[1], [2, 3]]), "whole number"),
    "one label": (batch([1], labels=5), "whole number"),
}


@pytest.mark.parametrize("kind", BAD)
def test_damaged_batches(kind, tmp_path):
    content, message = BAD[kind]
    with pytest.raises(DataError, match=message) as caught:
        load(write(tmp_path, official(train_data_batch_2=content)))
    assert caught.match(HOW) and str(tmp_path) in str(caught.value)


def test_missing_batches_are_named(tmp_path):
    write(tmp_path / "ImageNet16", official(train_data_batch_10=None, val_data=None))
    for place in (tmp_path, tmp_path / "ImageNet16"):
        with pytest.raises(DataError, match=r"ImageNet16: missing train_data_batch_10, val_data\.") as caught:
            load(place)
        assert caught.match(HOW)


def test_nothing_there(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for place in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(DataError, match=r"neither .* nor .*ImageNet16 holds its batches") as caught:
            load(place)
        assert caught.match(HOW)
    with pytest.raises(DataError, match="not downloaded automatically") as caught:
        load(None)
    assert caught.match(HOW)


def test_unreadable_file(tmp_path, monkeypatch):
    write(tmp_path, official())
    real = type(tmp_path).read_bytes

    def fail(path):
        if path.name == "val_data":
            raise PermissionError(13, os.strerror(13))
        return real(path)

    monkeypatch.setattr(type(tmp_path), "read_bytes", fail)
    with pytest.raises(DataError, match=r"val_data: cannot be read \(.*Permission denied"):
        load(tmp_path)
