"""ImageNet16-120: the first 120 classes of ImageNet at 16 x 16 pixels, from the official pickled batches."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paddle_darts.data.bundle import DataBundle, content_md5, default_augmentation
from paddle_darts.data.dataset import ArrayDataset
from paddle_darts.data.images import resize_images
from paddle_darts.data.registry import register_dataset
from paddle_darts.errors import DataError
from paddle_darts.io import unpickle

logger = logging.getLogger(__name__)

NAME = "imagenet16-120"
#: The folder's name in the NATS-Bench authors' tree; looked for inside the folder that the user names.
FOLDER = "ImageNet16"
SIZE = 16
NUM_CLASSES = 120
#: Classes in the files, which hold all of ImageNet.
ALL_CLASSES = 1000
#: The constants of NATS-Bench, there given for pixels of 0..255.
MEAN = tuple(value / 255 for value in (122.68, 116.66, 104.01))
STD = tuple(value / 255 for value in (63.22, 61.26, 65.09))
#: Official files and their md5.
TRAIN = {
    "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
    "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
    "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
    "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
    "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
    "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
    "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
    "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
    "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
    "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
}
VALIDATION = {"val_data": "3410e3017fdaefba8d5073aaa65e4bd6"}
ADVICE = (
    "Get Imagenet16_train.zip and Imagenet16_val.zip (downsampled ImageNet) from https://image-net.org/download-images"
    ", or the folder ImageNet16 that https://github.com/D-X-Y/NATS-Bench links to, and pass the folder with "
    "train_data_batch_1 to train_data_batch_10 and val_data, or the one that holds ImageNet16, with --data"
)


class Strange(NamedTuple):
    """A file whose md5 is not the official one."""

    name: str
    got: str
    expected: str


@register_dataset(NAME)
def load_imagenet16_120(data: Path | None = None, *, image_size: int | None = None, **_: object) -> DataBundle:
    """ImageNet16-120: 151,700 training and 6,000 test images (ImageNet's validation images), 3 x 16 x 16.

    ``data`` is the folder with the eleven batches of downsampled ImageNet, or one that holds them in ``ImageNet16``;
    nothing is downloaded. Of the 1,000 classes the first 120 are kept, in the files' order, so that the indices of
    `nats_split` fit; they are named by number, because the files hold no names. Other files of the same form are used
    with a warning. Raises DataError when one is missing or not of that form.
    Source: arXiv 1707.08819 (files), arXiv 2009.00437 and D-X-Y/AutoDL-Projects (classes, constants, check sums).
    """
    folder = _locate(data)
    train, strange = _read(folder, TRAIN)
    test, strange_test = _read(folder, VALIDATION)
    if strange := strange + strange_test:
        first = strange[0]
        logger.warning(
            "%s: %s: not the official %s (md5 of %s: %s expected, %s got); using %d training and %d test images",
            *(NAME, folder, ", ".join(file.name for file in strange), first.name, first.expected, first.got),
            *(len(train), len(test)),
        )
    checksum = content_md5(train, test)
    size = image_size or SIZE
    train, test = (ArrayDataset(resize_images(part.images, size), part.labels) for part in (train, test))
    return DataBundle(
        name=NAME,
        train=train,
        valid=None,
        test=test,
        classes=tuple(str(label) for label in range(NUM_CLASSES)),
        mean=MEAN,
        std=STD,
        augmentation=default_augmentation(size, flip=True),
        split="stratified",
        source=str(folder),
        checksum=checksum,
        auto_augment="imagenet",
    )


def _locate(data: Path | None) -> Path:
    """The folder that has all batches; DataError names those that are missing."""
    if data is None:
        raise DataError(f"{NAME} is not downloaded automatically. {ADVICE}")
    names = [*TRAIN, *VALIDATION]
    missing = {folder: [name for name in names if not (folder / name).is_file()] for folder in (data, data / FOLDER)}
    folder = min(missing, key=lambda place: len(missing[place]))
    if len(missing[folder]) == len(names):
        raise DataError(f"{NAME}: neither {data} nor {data / FOLDER} holds its batches. {ADVICE}")
    if missing[folder]:
        raise DataError(f"{NAME}: {folder}: missing {', '.join(missing[folder])}. {ADVICE}")
    return folder


def _read(folder: Path, files: dict[str, str]) -> tuple[ArrayDataset, list[Strange]]:
    """The images of the first 120 classes in ``files``, in order, and the files that are not the official ones."""
    parts, strange = [], []
    for name, expected in files.items():
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise DataError(f"{NAME}: {folder / name}: cannot be read ({error})") from error
        got = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if got != expected:
            strange.append(Strange(name, got, expected))
        try:
            parts.append(_batch(name, content))
        except DataError as error:
            found = "" if got == expected else f" (its md5 is {got}, the official one's {expected})"
            raise DataError(f"{NAME}: {folder}: {error}{found}. {ADVICE}") from error
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if not len(labels):
        raise DataError(
            f"{NAME}: {folder}: no image of the first {NUM_CLASSES} classes in {', '.join(files)}. {ADVICE}"
        )
    return ArrayDataset(images, labels), strange


def _batch(name: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 3, 16, 16] and labels int64 [N] from 0 of the first 120 classes in one file."""
    batch = unpickle.load(content, name=name, encoding="latin1")
    if not isinstance(batch, dict):
        raise DataError(f"{name}: expected a dictionary, got {type(batch).__name__}")
    if missing := [key for key in ("data", "labels") if key not in batch]:
        raise DataError(f"{name}: no {missing[0]!r} in it; found {', '.join(map(str, batch)) or 'nothing'}")
    data, values = batch["data"], 3 * SIZE * SIZE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (values,):
        form = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{name}: expected images as uint8 [N, {values}], got {form}")
    labels = _labels(name, batch["labels"])
    if len(labels) != len(data):
        raise DataError(f"{name}: {len(data)} images but {len(labels)} labels")
    kept = labels <= NUM_CLASSES
    return data[kept].reshape(-1, 3, SIZE, SIZE), labels[kept] - 1


def _labels(name: str, values: object) -> np.ndarray:
    """int64 [N] of 1..1000, as in the file."""
    try:
        labels = np.asarray(values)
    except ValueError:  # lists of different lengths
        labels = np.empty((), object)
    if labels.ndim != 1 or (labels.size and labels.dtype.kind not in "iu"):
        raise DataError(f"{name}: expected one whole number per image as label")
    if (bad := labels[(labels < 1) | (labels > ALL_CLASSES)]).size:
        raise DataError(f"{name}: label {bad[0]} is outside 1..{ALL_CLASSES}")
    return labels.astype(np.int64)
