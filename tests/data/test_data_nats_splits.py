"""The split files of NATS-Bench, and searches on them."""

import hashlib

import numpy as np
import pytest

from paddle_darts.data import ArrayDataset, Augmentation, DataBundle, nats_bundle, nats_split, split_search
from paddle_darts.engine import SearchController
from paddle_darts.errors import ConfigError

SIZES = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000), "imagenet16-120": (151_700, 6_000)}


def numbered(count, offset=0):
    """One-pixel images; the label of each is its number."""
    return ArrayDataset(np.zeros((count, 1, 1, 1), np.uint8), np.arange(offset, offset + count, dtype=np.int64))


def bundle(name, train=None, test=None, valid=None):
    sizes = SIZES.get(name, (10, 10))
    train, test = numbered(train or sizes[0]), numbered(test or sizes[1], offset=1_000_000)
    facts = {"mean": (0.5,), "std": (0.5,), "augmentation": Augmentation(), "split": "contiguous", "source": "test"}
    return DataBundle(name=name, train=train, valid=valid, test=test, classes=("a", "b"), **facts)


# md5: of the first part's numbers in the official split files, written one after the other with spaces between
@pytest.mark.parametrize(
    ("name", "of", "total", "md5"),
    [
        ("cifar10", "train", 50_000, "0690712f1bb4c9407943828080bf4475"),
        ("cifar100", "test", 10_000, "ae6750180cc72aedabc933203a2912c4"),
        ("imagenet16-120", "test", 6_000, "9f7935f77f702f906db9f10ff8c5acf2"),
    ],
)
def test_masks(name, of, total, md5):
    split = nats_split(name)
    assert split.of == of and len(split.first) == len(split.second) == total // 2
    assert split.first.dtype == split.second.dtype == np.int64
    assert np.all(np.diff(split.first) > 0) and np.all(np.diff(split.second) > 0)
    np.testing.assert_array_equal(np.sort(np.concatenate([split.first, split.second])), np.arange(total))
    text = " ".join(map(str, split.first.tolist()))
    assert hashlib.md5(text.encode()).hexdigest() == md5


def test_split_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        nats_split("cifar10").first[0] = 1


def test_unknown_data_set():
    with pytest.raises(ConfigError, match=r"'cifar11'; did you mean 'cifar10'.*imagenet16-120"):
        nats_split("cifar11")
    with pytest.raises(ConfigError, match="'digits'"):
        nats_bundle(bundle("digits"))


def test_cifar10_halves_its_training_images():
    weights, architecture = split_search(bundle("cifar10"), 0.9, "nats", seed=5)
    split = nats_split("cifar10")
    np.testing.assert_array_equal(weights.labels, split.first)
    np.testing.assert_array_equal(architecture.labels, split.second)
    parts = nats_bundle(bundle("cifar10"))
    assert len(parts.test) == 10_000 and parts.split == "nats"


@pytest.mark.parametrize("name", ["cifar100", "imagenet16-120"])
def test_others_halve_their_test_images(name):
    whole = bundle(name)
    weights, architecture = split_search(whole, split="nats")
    assert weights is whole.train
    split = nats_split(name)
    np.testing.assert_array_equal(architecture.labels, 1_000_000 + split.first)
    parts = nats_bundle(whole)
    np.testing.assert_array_equal(parts.test.labels, 1_000_000 + split.second)
    assert whole.valid is None and len(whole.test) == SIZES[name][1]


def test_only_once():
    parts = nats_bundle(bundle("cifar100"))
    assert nats_bundle(parts) is parts
    for split in ("nats", None):
        assert split_search(parts, split=split) == (parts.train, parts.valid)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"train": 5000, "test": 1000}, "these data have 5000 and 1000"),
        ({"train": 49_999}, "these data have 49999 and 10000"),
        ({"test": 9_999}, "these data have 50000 and 9999"),
        ({"valid": numbered(3)}, "these data have 50000 and 10000 and validation images of their own"),
    ],
)
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_other_numbers_of_images(name, options, found):
    with pytest.raises(ConfigError, match=f"official {name} with 50000 training and 10000 test images; {found}"):
        split_search(bundle(name, **options), split="nats")


@pytest.mark.parametrize(("name", "changed"), [("imagenet16-120", {"test": 50_000}), ("imagenet16-120", {"train": 7})])
def test_other_numbers_of_imagenet_images(name, changed):
    with pytest.raises(ConfigError, match="151700 training and 6000 test images"):
        split_search(bundle(name, **changed), split="nats")


def coloured(count, seed):
    rng = np.random.default_rng(seed)
    return ArrayDataset(rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), rng.integers(0, 2, count))


def test_a_search_on_these_parts(tmp_path):
    data = DataBundle(
        "cifar10", coloured(50_000, 0), None, coloured(10_000, 1), ("a", "b"), (0.5,) * 3, (0.5,) * 3,
        Augmentation(), "contiguous", "test",
    )  # fmt: skip
    settings = {"method": "darts", "dataset": "cifar10", "split": "nats", "epochs": 1, "batch_size": 4}
    small = {"init_channels": 2, "layers": 3, "steps": 1, "multiplier": 1, "threads": 1}
    search = SearchController(bundle=data, run_dir=str(tmp_path / "run"), **settings, **small)
    train, valid = search.batch_at(0, 0)
    split = nats_split("cifar10")
    np.testing.assert_array_equal(train.labels, data.train.labels[split.first[train.indices]])
    np.testing.assert_array_equal(valid.labels, data.train.labels[split.second[valid.indices]])
    assert np.isfinite(search.step()["loss"]) and search.config["split"] == "nats"


def test_a_search_on_a_subset_is_refused(tmp_path):
    data = DataBundle(
        "cifar10", coloured(50, 0), None, coloured(10, 1), ("a", "b"), (0.5,) * 3, (0.5,) * 3,
        Augmentation(), "contiguous", "test",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="these data have 50 and 10"):
        SearchController(bundle=data, split="nats", dataset="cifar10", run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
