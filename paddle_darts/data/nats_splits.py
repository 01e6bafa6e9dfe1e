"""The fixed parts of NATS-Bench (and NAS-Bench-201): which images train, validate and test."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

import numpy as np

from paddle_darts.data.bundle import DataBundle
from paddle_darts.errors import ConfigError, unknown

#: What `DataBundle.split` says of data cut by these masks.
NATS = "nats"
#: Bit masks (`numpy.packbits`), one array per data set: 1 = the image belongs to the first part.
_MASKS = "nats_splits.npz"


class NatsSplit(NamedTuple):
    """Sorted, disjoint image numbers int64 that together are all of one official part of a data set.

    ``of`` says which part is divided: the training images (``first`` trains, ``second`` validates) or the test images
    (``first`` is "x-valid", ``second`` is "x-test").
    """

    of: Literal["train", "test"]
    first: np.ndarray
    second: np.ndarray


#: Data set -> the part that is divided, its number of images, the number of images of the other part.
_DIVIDED: dict[str, tuple[Literal["train", "test"], int, int]] = {
    "cifar10": ("train", 50_000, 10_000),
    "cifar100": ("test", 10_000, 50_000),
    "imagenet16-120": ("test", 6_000, 151_700),
}


@cache
def nats_split(dataset: str) -> NatsSplit:
    """The image numbers of the NATS-Bench split of ``dataset``, in the official files' order (read-only arrays).

    Sizes: cifar10 25,000 + 25,000 of the training images (no plain cut), cifar100 5,000 + 5,000 and imagenet16-120
    3,000 + 3,000 of the test images. Raises ConfigError for other data sets.
    Source: arXiv 2009.00437, D-X-Y/AutoDL-Projects (split files of configs/nas-benchmark).
    """
    if dataset not in _DIVIDED:
        raise ConfigError(unknown("data set with a NATS-Bench split", dataset, _DIVIDED))
    of, total, _ = _DIVIDED[dataset]
    with files(__package__).joinpath(_MASKS).open("rb") as stream, np.load(stream, allow_pickle=False) as masks:
        first = np.unpackbits(masks[dataset], count=total).astype(bool)
    parts = np.flatnonzero(first), np.flatnonzero(~first)
    for part in parts:
        part.flags.writeable = False
    return NatsSplit(of, *parts)


def nats_bundle(bundle: DataBundle) -> DataBundle:
    """The data with the training, validation and test part of NATS-Bench; data that have them already stay.

    cifar10: one half of the training images, the other half, all test images ("cifar10-valid" of the benchmark).
    cifar100 and imagenet16-120: all training images, x-valid, x-test. In a search the validation part trains the
    architecture. Raises ConfigError for other data sets, and for other numbers of images than the official ones.
    """
    if bundle.split == NATS:
        return bundle
    split = nats_split(bundle.name)
    _check_sizes(bundle)
    whole = bundle.train if split.of == "train" else bundle.test
    first, second = whole.subset(split.first), whole.subset(split.second)
    if split.of == "train":
        return replace(bundle, train=first, valid=second, split=NATS)
    return replace(bundle, valid=first, test=second, split=NATS)


def _check_sizes(bundle: DataBundle) -> None:
    of, divided, other = _DIVIDED[bundle.name]
    train, test = (divided, other) if of == "train" else (other, divided)
    if bundle.valid is not None or (len(bundle.train), len(bundle.test)) != (train, test):
        own = "" if bundle.valid is None else " and validation images of their own"
        raise ConfigError(
            f"split nats is for the official {bundle.name} with {train} training and {test} test images; these data "
            f"have {len(bundle.train)} and {len(bundle.test)}{own}. Choose split contiguous or stratified"
        )
