"""Which image files there are: read from a text list, or found in folders; always as plain arrays."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paddle_darts.data.images import SUFFIXES
from paddle_darts.errors import DataError
from paddle_darts.io.files import write_atomic


class Listing(NamedTuple):
    """paths bytes [N] relative to some folder, labels int64 [N], and the class names where folders give them."""

    paths: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...] | None

    def text(self) -> str:
        """One "path label" per line."""
        rows = zip(self.paths.tolist(), self.labels.tolist(), strict=True)
        return "".join(f"{os.fsdecode(path)} {label}\n" for path, label in rows)

    def md5(self) -> str:
        """md5 (hex) of paths and labels: it changes when images come, go or change their label."""
        return hashlib.md5(os.fsencode(self.text()), usedforsecurity=False).hexdigest()


def make_listing(paths: list[str], labels: list[int], classes: tuple[str, ...] | None = None) -> Listing:
    """A listing from lists."""
    return Listing(np.array([os.fsencode(path) for path in paths], "S"), np.array(labels, np.int64), classes)


def scan_folder(folder: Path, prefix: str = "") -> Listing:
    """The images of ``folder/<class>/``; labels count the classes, both classes and files sorted by name.

    Paths begin with ``prefix``. Hidden files and files without an image's suffix are passed over. Raises DataError
    for less than two classes and for a class without images. Files are listed, not opened: a scan of ImageNet takes
    seconds.
    """
    classes = sorted(entry.name for entry in _entries(folder) if entry.is_dir())
    if len(classes) < 2:
        raise DataError(f"{folder}: {len(classes)} class folders, at least 2 are needed, each with its images")
    paths, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(image_names(folder / name))
        if not found:
            raise DataError(f"{folder / name}: no image in this class folder ({', '.join(sorted(SUFFIXES))})")
        paths += [f"{prefix}{name}/{image}" for image in found]
        labels += [label] * len(found)
    return make_listing(paths, labels, tuple(classes))


def image_names(folder: Path) -> list[str]:
    """Names of the image files in a folder, in no certain order."""
    names = (entry.name for entry in _entries(folder) if entry.is_file())
    return [name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES]


def read_list(path: Path) -> Listing:
    """A text file with one "relative/path label" per line (labels from 0, blanks in paths are fine); DataError if not.

    Class names are the folders of the images, when each label has one of its own.
    """
    try:
        lines = os.fsdecode(path.read_bytes()).split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    paths, labels = [], []
    for number, line in enumerate(lines, start=1):
        words = line.strip().rsplit(maxsplit=1)
        if not words:
            continue
        if len(words) < 2 or not (words[1].isascii() and words[1].isdigit()):
            raise DataError(f'{path}, line {number}: expected "relative/path label", got {line[:80]!r}')
        paths.append(words[0])
        labels.append(int(words[1]))
    if not paths:
        raise DataError(f"{path}: there are no images in it")
    return make_listing(paths, labels, _class_names(paths, labels))


def write_list(path: Path, listing: Listing) -> Path:
    """The inverse of `read_list`; the file is never half there."""
    # as bytes: a file name need not be valid text
    return write_atomic(path, lambda part: part.write_bytes(os.fsencode(listing.text())))


def _class_names(paths: list[str], labels: list[int]) -> tuple[str, ...] | None:
    names: dict[int, str] = {}
    for path, label in zip(paths, labels, strict=True):
        folder = os.path.basename(os.path.dirname(path))
        if names.setdefault(label, folder) != folder:
            return None
    distinct = len(set(names.values())) == len(names) == max(names) + 1
    return tuple(names[label] for label in range(len(names))) if distinct else None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error})") from error
