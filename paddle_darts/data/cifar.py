"""CIFAR-10 and CIFAR-100 from the official archives, extracted folders, or Paddle's download."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np

from paddle_darts.data.bundle import ArrayDataset, DataBundle, content_md5, default_augmentation
from paddle_darts.data.cifar_files import CIFAR10, CIFAR100, Layout, file_md5, locate, read_files
from paddle_darts.data.images import resize_images
from paddle_darts.data.registry import register_dataset
from paddle_darts.errors import DataError
from paddle_darts.io import unpickle

logger = logging.getLogger(__name__)

SIZE = 32
#: CIFAR-10's constants of the official DARTS code, which uses them for CIFAR-100 as well.
MEAN = (0.49139968, 0.48215827, 0.44653124)
STD = (0.24703233, 0.24348505, 0.26158768)


@register_dataset("cifar10")
def load_cifar10(
    data: Path | None = None, *, image_size: int | None = None, download: bool = True, **_: object
) -> DataBundle:
    """CIFAR-10: 50,000 training and 10,000 test images, 10 classes, 3 x 32 x 32.

    ``data`` is the archive, the extracted folder, or a folder that holds either; when it has none of them
    (or is None) Paddle's cache is used, downloading if needed. A readable archive other than the official
    one is used with a warning. Raises DataError, saying which file, what was expected and how to get it.
    """
    return _load(CIFAR10, data, image_size, download)


@register_dataset("cifar100")
def load_cifar100(
    data: Path | None = None, *, image_size: int | None = None, download: bool = True, **_: object
) -> DataBundle:
    """CIFAR-100 with its 100 fine classes; everything else as `load_cifar10`."""
    return _load(CIFAR100, data, image_size, download)


def _load(layout: Layout, data: Path | None, image_size: int | None, download: bool) -> DataBundle:
    source = locate(layout, data, download)
    got = "" if source.is_dir() else file_md5(source)
    try:
        train, test, classes, strange = _read(layout, source)
    except DataError as error:
        found = f" (its md5 is {got})" if got not in ("", layout.archive_md5) else ""
        raise DataError(f"{layout.name}: {source}{found}: {error}. {layout.advice()}") from error
    if got and got != layout.archive_md5:
        strange = f"md5 {layout.archive_md5} expected, {got} got"
    elif got:
        strange = ""
    if strange:
        logger.warning(
            "%s: %s is not the official %s: %s; using its %d training and %d test images",
            *(layout.name, source, layout.archive, strange, len(train), len(test)),
        )
    checksum = got or content_md5(train, test)
    size = image_size or SIZE
    train, test = (ArrayDataset(resize_images(part.images, size), part.labels) for part in (train, test))
    return DataBundle(
        name=layout.name,
        train=train,
        valid=None,
        test=test,
        classes=classes,
        mean=MEAN,
        std=STD,
        augmentation=default_augmentation(size, flip=True),
        split="contiguous",
        source=str(source),
        checksum=checksum,
    )


def _read(layout: Layout, source: Path) -> tuple[ArrayDataset, ArrayDataset, tuple[str, ...], str]:
    """Training part, test part, class names, and a remark on the first file that is not the official one."""
    parts: dict[str, ArrayDataset] = {}
    classes = tuple(str(label) for label in range(layout.num_classes))
    strange = ""
    for name, content in read_files(layout, source):
        if name == layout.meta:
            classes = _class_names(layout, content)
            continue
        parts[name] = _batch(layout, name, content)
        if source.is_dir() and not strange:
            strange = _compare(name, content, layout.batches[name])
    if missing := [name for name in layout.batches if name not in parts]:
        raise DataError(f"missing {', '.join(missing)} of the expected {', '.join(layout.batches)}")
    train, test = (
        ArrayDataset(
            np.concatenate([parts[name].images for name in names]),
            np.concatenate([parts[name].labels for name in names]),
        )
        for names in (layout.train, layout.test)
    )
    return train, test, classes, strange


def _compare(name: str, content: bytes, expected: str) -> str:
    got = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return "" if got == expected else f"{name} has md5 {got}, expected {expected}"


def _mapping(name: str, content: bytes) -> dict[str, object]:
    value = unpickle.load(content, name=name)
    if not isinstance(value, dict):
        raise DataError(f"{name}: expected a dictionary, got {type(value).__name__}")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): part for key, part in value.items()}


def _batch(layout: Layout, name: str, content: bytes) -> ArrayDataset:
    batch = _mapping(name, content)
    if missing := [key for key in ("data", layout.labels) if key not in batch]:
        raise DataError(f"{name}: no {missing[0]!r} in it; found {', '.join(sorted(batch)) or 'nothing'}")
    data, values = batch["data"], 3 * SIZE * SIZE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (values,):
        form = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{name}: expected images as uint8 [N, {values}], got {form}")
    if not len(data):
        raise DataError(f"{name}: there are no images in it")
    labels = _labels(layout, name, batch[layout.labels])
    if len(labels) != len(data):
        raise DataError(f"{name}: {len(data)} images but {len(labels)} labels")
    return ArrayDataset(data.reshape(-1, 3, SIZE, SIZE), labels)


def _labels(layout: Layout, name: str, values: object) -> np.ndarray:
    try:
        labels = np.asarray(values)
    except ValueError:  # lists of different lengths
        labels = np.empty(0, object)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{name}: expected one whole number per image as label")
    bad = labels[(labels < 0) | (labels >= layout.num_classes)]
    if bad.size:
        raise DataError(f"{name}: label {bad[0]} is outside 0..{layout.num_classes - 1}")
    return labels.astype(np.int64)


def _class_names(layout: Layout, content: bytes) -> tuple[str, ...]:
    names = _mapping(layout.meta, content).get(layout.class_names)
    if not isinstance(names, list) or len(names) != layout.num_classes:
        raise DataError(f"{layout.meta}: expected {layout.num_classes} names as {layout.class_names!r}")
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)
