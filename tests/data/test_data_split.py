"""Splits, bundles, the registry and the embedded digits."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_darts.data import (
    ArrayDataset,
    Augmentation,
    DataBundle,
    list_datasets,
    load_dataset,
    split_search,
    stratified_indices,
)
from paddle_darts.data.bundle import channel_statistics
from paddle_darts.errors import ConfigError, DataError


def numbered(labels):
    """A data set whose first pixel is the image's number."""
    images = np.zeros((len(labels), 1, 2, 2), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return ArrayDataset(images, np.asarray(labels, np.int64))


def bundle(labels, split="stratified", valid=None):
    data = numbered(labels)
    return DataBundle(
        "toy",
        data,
        valid,
        data.subset(slice(0, 1)),
        ("a", "b"),
        (0.5,),
        (0.5,),
        Augmentation(),
        split,
        "test",
    )


def numbers(dataset):
    return dataset.images[:, 0, 0, 0].tolist()


def test_contiguous_takes_the_first_images_unshuffled():
    weights, architecture = split_search(bundle([0, 1] * 5 + [1], "contiguous"), 0.5)
    assert numbers(weights) == [0, 1, 2, 3, 4]
    assert numbers(architecture) == [5, 6, 7, 8, 9, 10]


def test_stratified_is_seeded_balanced_and_complete():
    toy = bundle([0] * 60 + [1] * 20)
    one, two = split_search(toy, 0.5, seed=1)
    assert np.bincount(one.labels).tolist() == np.bincount(two.labels).tolist() == [30, 10]
    assert sorted(numbers(one) + numbers(two)) == list(range(80))
    assert numbers(split_search(toy, 0.5, seed=1)[0]) == numbers(one)
    assert numbers(split_search(toy, 0.5, seed=2)[0]) != numbers(one)
    assert numbers(split_search(toy, 0.5, "contiguous")[0]) == list(range(40))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=80),
    st.floats(0.01, 0.99),
    st.integers(0, 1000),
)
def test_stratified_indices_properties(labels, portion, seed):
    labels = np.asarray(labels)
    first, second = stratified_indices(labels, portion, seed)
    assert sorted([*first, *second]) == list(range(len(labels)))
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        chosen = (labels[first] == label).sum()
        assert abs(chosen - portion * count) < 1 + 1e-9
        assert count < 2 or 0 < chosen < count


def test_own_validation_part_is_used_unless_a_split_is_asked_for():
    valid = numbered([1, 1, 0])
    toy = bundle([0, 1] * 4, valid=valid)
    assert split_search(toy) == (toy.train, valid)
    assert [len(part) for part in split_search(toy, 0.25, "contiguous")] == [2, 6]


@pytest.mark.parametrize("split", ["contiguous", "stratified"])
@pytest.mark.parametrize("portion", [0.0, 1.0, 0.01])
def test_empty_half_is_refused(split, portion):
    with pytest.raises(ConfigError, match=r"train_portion .* of 8 training images leaves [08] .* and [08] "):
        split_search(bundle([0, 1] * 4, split), portion)


def test_other_wrong_splits():
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split_search(bundle([0, 1] * 4), 1.5)
    with pytest.raises(ConfigError, match="did you mean 'stratified'"):
        split_search(bundle([0, 1] * 4), split="stratify")
    with pytest.raises(ConfigError, match="single image"):
        split_search(bundle([0, 1, 2, 3]))


def test_array_dataset_checks_its_form():
    images = np.zeros((2, 1, 4, 4), np.uint8)
    with pytest.raises(DataError, match="uint8"):
        ArrayDataset(images.astype(np.float32), np.zeros(2, np.int64))
    with pytest.raises(DataError, match=r"int64 \[2\]"):
        ArrayDataset(images, np.zeros(3, np.int64))
    assert len(ArrayDataset(images, np.zeros(2, np.int64)).subset([1])) == 1


def test_channel_statistics_equal_numpy():
    images = np.random.default_rng(0).integers(0, 200, (5, 3, 7, 6), dtype=np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)), atol=5.1e-7)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 2, 3)), atol=5.1e-7)
    assert all(round(value, 6) == value for value in mean + std)
    assert channel_statistics(np.full((2, 1, 3, 3), 51, np.uint8)) == ((0.2,), (1.0,))


def test_digits():
    from sklearn.datasets import load_digits

    digits = load_dataset("digits")
    assert (len(digits.train), len(digits.test), digits.num_classes) == (1437, 360, 10)
    assert (digits.channels, digits.image_size, digits.split) == (1, 16, "stratified")
    assert digits.train.images.shape == (1437, 1, 16, 16) and digits.valid is None
    assert not digits.augmentation.flip
    assert np.bincount(digits.test.labels).min() >= 34
    np.testing.assert_allclose(digits.mean, (digits.train.images / 255).mean(), atol=1e-6)
    other_seed = load_dataset("digits", seed=9)
    np.testing.assert_array_equal(digits.test.images, other_seed.test.images)
    assert digits.checksum == other_seed.checksum
    # at the original size all 1,797 images are there, unchanged but for the scale
    small = load_dataset("digits", image_size=8)
    got = np.concatenate([small.train.images, small.test.images])
    original = load_digits().images.astype(np.float64)
    np.testing.assert_array_equal(
        np.sort(got.reshape(len(got), -1).astype(np.int64).sum(axis=1)),
        np.sort(np.rint(original * 255 / 16).reshape(len(got), -1).astype(np.int64).sum(axis=1)),
    )


def test_registry():
    assert list_datasets() == ["cifar10", "cifar100", "digits", "folder", "imagenet", "imagenet16-120"]
    with pytest.raises(ConfigError, match="did you mean 'cifar10' or 'cifar100'"):
        load_dataset("cifar-10")
    for size in (0, -3, 2.5):
        with pytest.raises(ConfigError, match="image_size"):
            load_dataset("digits", image_size=size)


def test_no_paddle_import():
    code = "import sys; from paddle_darts.data import load_dataset as load; load('digits'); "
    code += "print('paddle' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
