"""ImageNet (ILSVRC 2012), or anything in its form: far too many images for memory, decoded batch by batch."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paddle_darts.data.augment import Augmentation
from paddle_darts.data.bundle import DataBundle
from paddle_darts.data.dataset import Dataset, MissingDataset
from paddle_darts.data.image_list import ImageList
from paddle_darts.data.listing import Listing, read_list, scan_folder
from paddle_darts.data.registry import register_dataset
from paddle_darts.data.search_split import TRAIN, VAL, read_split
from paddle_darts.errors import DataError

logger = logging.getLogger(__name__)

SIZE = 224
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
#: Where each part may lie, as a list (.txt) or a folder. ImageNet's `val` are the images that papers report on; a
#: validation part of one's own, for the architecture, is `valid`.
STEMS = {"train": ("train",), "valid": ("valid",), "test": ("val", "test")}
_HELP = (
    "expected train/<class>/*.JPEG and val/<class>/*.JPEG, lists train.txt and val.txt, or a split of imagenet_split"
)


class Part(NamedTuple):
    """Images of one part; the paths of ``listing`` are relative to ``root``."""

    root: Path
    listing: Listing


@register_dataset("imagenet")
def load_imagenet(data: Path | None = None, *, image_size: int | None = None, **_: object) -> DataBundle:
    """Image files that are listed now and decoded when a batch needs them; RGB, 224 x 224 or ``image_size``.

    ``data`` holds ``train/<class>/*`` and ``val/<class>/*`` (the test part), or lists ``train.txt`` and ``val.txt``
    of "relative/path label" lines (relative to ``data`` or to ``data/train``), or is what `imagenet_split` made: its
    10 % of each class become the training part, its 2.5 % the validation part, and the test part is the ``val`` of
    the images it was made from. Own validation images may lie in ``valid/`` or ``valid.txt``. A folder that holds
    ImageNet as ``imagenet/`` will do, too. Training: random resized crop and flip; test: shorter side to 256/224 of
    the size, then the centre.
    Raises DataError when the training part is missing, classes differ or labels have gaps; a missing or unusable
    test part only when it is needed, a damaged image when it is decoded.
    """
    if data is None:
        raise DataError(f"imagenet: say where the images are with --data DIR; {_HELP}")
    root = next((d for d in (data, data / "imagenet") if _part(d, "train")), None)
    if root is None:
        raise DataError(f"imagenet: {data} has no training images; {_HELP}")
    train, valid, test = _split_parts(root) or _plain_parts(root)
    size = image_size or SIZE
    classes = _classes(train)
    if valid is not None:
        _check_classes("valid", valid, train, classes)
    return DataBundle(
        name="imagenet",
        train=_images(train, size),
        valid=None if valid is None else _images(valid, size),
        test=_test_images(test, train, classes, size),
        classes=classes,
        mean=MEAN,
        std=STD,
        augmentation=Augmentation(flip=True, random_resized_crop=True),
        split="stratified",
        source=str(root),
        checksum=train.listing.md5(),
        auto_augment="imagenet",
        whole=str(test) if test != root else None,
    )


def _split_parts(root: Path) -> tuple[Part, Part, Path] | None:
    """The two parts of a search split, and the folder that has the test images; None when there is no split."""
    split = read_split(root)
    if split is None:
        return None
    train, val = (Part(split.images, read_list(root / f"{name}.txt")) for name in (TRAIN, VAL))
    return train, val, split.source


def _plain_parts(root: Path) -> tuple[Part, Part | None, Path]:
    train = _read(root, "train")
    return train, _read(root, "valid") if _part(root, "valid") else None, root


def _part(root: Path, name: str) -> Path | None:
    """The list or the folder of a part."""
    paths = [root / form for stem in STEMS[name] for form in (f"{stem}.txt", stem)]
    return next((path for path in paths if (path.is_file() if path.suffix == ".txt" else path.is_dir())), None)


def _read(root: Path, name: str) -> Part:
    path = _part(root, name)
    if path is None:
        raise DataError(f"imagenet: {root} has no {' or '.join(STEMS[name])}; {_HELP}")
    if path.is_dir():
        return Part(path, scan_folder(path))
    listing = read_list(path)
    inside = path.with_suffix("")
    first = os.fsdecode(listing.paths[0].item())
    return Part(inside if (inside / first).exists() and not (root / first).exists() else root, listing)


def _classes(train: Part) -> tuple[str, ...]:
    """Names of the classes (numbers where the images lie in no folders); every one needs training images."""
    labels = np.unique(train.listing.labels)
    if len(gaps := np.flatnonzero(labels != np.arange(len(labels)))):
        raise DataError(
            f"imagenet: the labels of the training images in {train.root} go up to {labels[-1]}, but no image has "
            f"the label {gaps[0]}; labels count the classes from 0"
        )
    return train.listing.classes or tuple(str(label) for label in labels)


def _check_classes(name: str, part: Part, train: Part, classes: tuple[str, ...]) -> None:
    if (highest := int(part.listing.labels.max())) >= len(classes):
        raise DataError(f"imagenet: {name} has the label {highest}, but there are {len(classes)} classes in train")
    given = part.listing.classes
    if given is not None and train.listing.classes is not None and given != classes[: len(given)]:
        odd = sorted(set(given) ^ set(classes))[:10]
        raise DataError(f"imagenet: the classes of train and {name} differ: {', '.join(odd) or 'their order'}")


def _test_images(root: Path, train: Part, classes: tuple[str, ...], size: int) -> Dataset:
    """The test part, which a search can do without: what is wrong with it is told to those who use it."""
    try:
        part = _read(root, "test")
        _check_classes("test", part, train, classes)
    except DataError as error:
        logger.info("no test images (a search needs none): %s", error)
        return MissingDataset(f"there are no test images: {error}")
    return _images(part, size)


def _images(part: Part, size: int) -> ImageList:
    return ImageList(part.root, part.listing.paths, part.listing.labels, size)
