"""Cut a data set in two: the halves of a search, and a test part for data that have none."""

from __future__ import annotations

import math

import numpy as np

from paddle_darts.data.bundle import DataBundle
from paddle_darts.data.dataset import ArrayDataset, Dataset
from paddle_darts.data.nats_splits import NATS, nats_bundle
from paddle_darts.errors import ConfigError, unknown

SPLITS = ("contiguous", "stratified", NATS)
#: Share of the images that becomes the test part of data that come without one.
TEST_PORTION = 0.2
#: Seed of that test part. Not the seed of a run: search, retraining and evaluation must agree on it.
TEST_SEED = 20190423


def split_search(
    bundle: DataBundle, train_portion: float = 0.5, split: str | None = None, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """The data that train the weights and the data that train the architecture, without a common image.

    ``split`` None means: the bundle's own validation part if it has one (used as it is), else the bundle's
    default. "contiguous": the first floor(portion x N) training images, unshuffled, as in the official CIFAR
    searches. "stratified": seeded, with the same share of every class. "nats": the training and the validation part
    of `nats_bundle`, whatever the portion. Raises ConfigError when one side would be empty or ``split`` is unknown.
    The test images take no part (of CIFAR-100 and ImageNet16-120, "nats" uses those that it calls x-valid).
    """
    if split == NATS:
        bundle, split = nats_bundle(bundle), None
    if split is None and bundle.valid is not None:
        return bundle.train, bundle.valid
    method = split or bundle.split
    if method not in SPLITS:
        raise ConfigError(unknown("split", method, SPLITS))
    total = len(bundle.train)
    if not 0 <= train_portion <= 1:
        raise ConfigError(f"train_portion must be between 0 and 1, got {train_portion}")
    first = math.floor(train_portion * total)
    if not 0 < first < total:
        raise ConfigError(
            f"train_portion {train_portion} of {total} training images leaves {first} for the weights and "
            f"{total - first} for the architecture; both need at least 1"
        )
    if method == "contiguous":
        return bundle.train.subset(slice(first)), bundle.train.subset(slice(first, None))
    weights, architecture = stratified_indices(bundle.train.labels, train_portion, seed)
    if not len(architecture):
        raise ConfigError(
            f"a stratified split of {total} images with train_portion {train_portion} leaves "
            f"{len(weights)} and {len(architecture)}; every class has a single image"
        )
    return bundle.train.subset(weights), bundle.train.subset(architecture)


def stratified_indices(labels: np.ndarray, portion: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sorted index arrays that together are all of ``labels``; the first holds ``portion`` of each class.

    A class of n images gives floor(portion x n) or one more; the odd images go where the rounding lost most,
    so that the total is near portion x N. Every class of two or more images is on both sides, a class of one
    image is in the first.
    """
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}")
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * portion
    quota = np.floor(exact).astype(np.int64)
    spare = math.floor(portion * len(labels)) - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[: max(spare, 0)]] += 1
    quota = np.clip(quota, 1, np.maximum(counts - 1, 1))
    chosen = np.zeros(len(labels), bool)
    for label, size in zip(classes, quota, strict=True):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:size]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def split_off_test(dataset: ArrayDataset, seed: int = TEST_SEED) -> tuple[ArrayDataset, ArrayDataset]:
    """Training and test part (20 % of every class) of data that come in one piece; seeded, stratified."""
    train, test = stratified_indices(dataset.labels, 1 - TEST_PORTION, seed)
    return dataset.subset(train), dataset.subset(test)
