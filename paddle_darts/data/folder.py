"""Any images in folders: one sub-folder per class, with or without train/valid/test above them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paddle_darts.data.bundle import (
    ArrayDataset,
    DataBundle,
    channel_statistics,
    content_md5,
    default_augmentation,
)
from paddle_darts.data.images import SUFFIXES, decode, in_threads, probe
from paddle_darts.data.registry import register_dataset
from paddle_darts.data.split import TEST_SEED, split_off_test
from paddle_darts.errors import DataError

_HELP = "expected one sub-folder of images per class, either at once or inside train/ (valid/, test/)"
Files = dict[str, list[Path]]  # class -> image files


@register_dataset("folder")
def load_folder(data: Path | None = None, *, image_size: int | None = None, seed: int = 0, **_: object) -> DataBundle:
    """Images of a folder: ``DIR/<class>/*.png`` or ``DIR/train|valid|test/<class>/*.png``.

    Classes are the sub-folders sorted by name and must be the same in every part (``val`` is ``valid``);
    hidden files and files without an image's suffix are passed over. One channel if all images are grey, else
    all become RGB. ``image_size``: shorter side to this size, then centre crop; without it all images must be
    squares of one size. Without ``test``, 20 % of each class of the training images become the test part,
    chosen by a fixed seed plus ``seed``; an absent ``valid`` is left to `split_search`. Everything is decoded
    into memory (uint8). Raises DataError with the file or folder at fault.
    """
    if data is None:
        raise DataError(f"folder: say where the images are with --data DIR; {_HELP}")
    if not data.is_dir():
        raise DataError(f"folder: {data} is not a folder; {_HELP}")
    listed = {part: _list_classes(root) for part, root in _parts(data).items()}
    classes = _common_classes(listed)
    paths = [path for files in listed.values() for images in files.values() for path in images]
    channels, size = _form(paths, data, image_size)
    parts = {part: _decode_part(files, classes, channels, size) for part, files in listed.items()}
    train, test = parts["train"], parts.get("test")
    if test is None:
        train, test = split_off_test(train, TEST_SEED + seed)
        if not len(test):
            raise DataError(f"{data}: no test/ folder, and too few images (one per class) to make a test part")
    mean, std = channel_statistics(train.images)
    return DataBundle(
        name="folder",
        train=train,
        valid=parts.get("valid"),
        test=test,
        classes=classes,
        mean=mean,
        std=std,
        augmentation=default_augmentation(size, flip=True),
        split="stratified",
        source=str(data),
        checksum=content_md5(train, parts.get("valid"), test),
    )


def _parts(data: Path) -> dict[str, Path]:
    """Folder of each part; only "train" (``data`` itself) when the classes lie directly in ``data``."""
    present = {name: data / name for name in ("train", "valid", "val", "test") if (data / name).is_dir()}
    # a *class* may be called "train" or "test" too: a part has sub-folders, a class has images
    flat = [name for name, path in present.items() if not _folders(path)]
    if len(flat) == len(present):
        return {"train": data}
    if "train" not in present:
        raise DataError(f"{data}: it has {', '.join(present)} but no train/; {_HELP}")
    if flat:
        raise DataError(f"{data / flat[0]}: no class folders in it; {_HELP}")
    if "val" in present:
        if "valid" in present:
            raise DataError(f"{data}: it has both val/ and valid/; keep one of them")
        present["valid"] = present.pop("val")
    return present


def _entries(folder: Path) -> list[Path]:
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error})") from error
    return sorted(found, key=lambda path: path.name)


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _list_classes(root: Path) -> Files:
    found: Files = {}
    for folder in _folders(root):
        images = [path for path in _entries(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]
        if not images:
            raise DataError(f"{folder}: no image in this class folder ({', '.join(sorted(SUFFIXES))}); {_HELP}")
        found[folder.name] = images
    if len(found) < 2:
        raise DataError(f"{root}: {len(found)} class folders, at least 2 are needed; {_HELP}")
    return found


def _common_classes(listed: dict[str, Files]) -> tuple[str, ...]:
    classes = tuple(listed["train"])
    for part, files in listed.items():
        if odd := sorted(set(classes) ^ set(files)):
            where = [f"{name} ({'not in ' + part if name in classes else 'only in ' + part})" for name in odd]
            raise DataError(f"the classes of train and {part} differ: {', '.join(where[:10])}")
    return classes


def _form(paths: list[Path], data: Path, image_size: int | None) -> tuple[int, int]:
    """Channels and side [pixels] of all images, from their headers."""
    headers = list(in_threads(probe, paths))
    channels = 1 if all(grey for _, _, grey in headers) else 3
    if image_size is not None:
        return channels, image_size
    sizes = sorted({(width, height) for width, height, _ in headers})
    if len(sizes) > 1:
        examples = ", ".join(f"{width}x{height}" for width, height in sizes[:4])
        raise DataError(f"{data}: the images differ in size ({examples}, ...); choose one with --image_size")
    width, height = sizes[0]
    if width != height:
        raise DataError(f"{data}: the images are {width}x{height}, not square; crop them with --image_size")
    return channels, width


def _decode_part(files: Files, classes: tuple[str, ...], channels: int, size: int) -> ArrayDataset:
    paths = [path for name in classes for path in files[name]]
    try:
        images = np.empty((len(paths), channels, size, size), np.uint8)
    except MemoryError as error:
        raise DataError(
            f"{len(paths)} images of {size}x{size} do not fit into memory; use a smaller --image_size"
        ) from error
    decoded = in_threads(lambda path: decode(path, channels, size), paths)
    for target, image in zip(images, decoded, strict=True):
        target[:] = image
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files[name]) for name in classes])
    return ArrayDataset(images, labels)
