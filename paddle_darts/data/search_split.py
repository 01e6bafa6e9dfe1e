"""The images of a large data set that a search uses: a few per class for the weights, others for the architecture."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from paddle_darts.data.images import in_threads, open_image
from paddle_darts.data.listing import Listing, scan_folder, write_list
from paddle_darts.errors import ConfigError, DataError
from paddle_darts.io.files import PARTIAL, write_json

MARKER = "split.json"
TRAIN, VAL = "train", "val"  # names of the lists (and, with copies or links, of the folders)
SCHEMA = 1


@dataclass(frozen=True)
class SplitSettings:
    """How a split is made: ``mode`` "lists" writes index lists only, "copy" and "symlink" folders of images as well.

    ``train_portion`` and ``val_portion`` are shares of each class. Raises ConfigError for shares that are not above
    0 or together above 1, and for a negative seed.
    """

    train_portion: float = 0.1
    val_portion: float = 0.025
    seed: int = 0
    mode: Literal["lists", "copy", "symlink"] = "lists"

    def __post_init__(self) -> None:
        for name in ("train_portion", "val_portion"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        if self.train_portion + self.val_portion > 1 + 1e-9:
            raise ConfigError(
                f"train_portion {self.train_portion} and val_portion {self.val_portion} exceed 1 together"
            )
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {self.seed}")


class Split(NamedTuple):
    """A split on disk: its lists are relative to ``images``; ``source`` is the data set that it was made from."""

    images: Path
    source: Path


class Summary(NamedTuple):
    """Numbers of images and classes, and whether the split was there before."""

    train: int
    val: int
    classes: int
    existed: bool


def make_split(src: Path, dst: Path, settings: SplitSettings, check: bool = False) -> Summary:
    """Chooses images of ``src/train/<class>/`` and writes ``train.txt``, ``val.txt`` and ``split.json`` to ``dst``.

    A list has one "relative/path label" per line; paths are relative to ``src``, with copies or links to ``dst``.
    The same settings and images give the same lists on every machine; a second call changes nothing, one after an
    interruption finishes the work. ``check`` decodes every chosen image before anything is written.
    Raises ConfigError when ``dst`` holds another split or something else, DataError for a missing or damaged source.
    Deviation from the official programs, which copy images and depend on the file system's order: classes and files
    are sorted, and each class has a random generator of its own.
    """
    listing = scan_folder(src / "train", "train/")
    train, val = choose(listing, settings)
    document = {
        "schema": SCHEMA,
        **asdict(settings),
        "classes": len(listing.classes or ()),
        "train_md5": train.md5(),
        "val_md5": val.md5(),
    }
    existed = _refuse_other(dst, document)
    if check:
        check_images(src, train, val)
    where = {"source": str(src.resolve()), "relative": os.path.relpath(src.resolve(), dst.resolve())}
    if not existed:
        # before the images: an interrupted call must be able to recognise its own work
        write_json(dst / MARKER, {**document, **where, "complete": False})
    if settings.mode != "lists":
        places = np.char.replace(val.paths, b"train/", b"val/", count=1)
        _place(src, train.paths, dst, train.paths, settings.mode)
        _place(src, val.paths, dst, places, settings.mode)
        val = val._replace(paths=places)
    for name, part in ((TRAIN, train), (VAL, val)):
        write_list(dst / f"{name}.txt", part)
    write_json(dst / MARKER, {**document, **where, "complete": True})
    return Summary(len(train.labels), len(val.labels), document["classes"], existed)


def choose(listing: Listing, settings: SplitSettings) -> tuple[Listing, Listing]:
    """Two disjoint parts with round(portion x n) images of each class of n, at least 1; sorted as ``listing`` is.

    The random numbers of a class depend on the seed and its name, not on the other classes. DataError for a class
    with a single image.
    """
    train, val = [], []
    for label, name in enumerate(listing.classes or ()):
        members = np.flatnonzero(listing.labels == label)
        if len(members) < 2:
            raise DataError(f"class {name} has 1 image; a split needs at least 2 of each class")
        key = [settings.seed, zlib.crc32(os.fsencode(name))]
        order = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))).permutation(members)
        first = min(max(1, round(settings.train_portion * len(members))), len(members) - 1)
        second = min(max(1, round(settings.val_portion * len(members))), len(members) - first)
        train.append(np.sort(order[:first]))
        val.append(np.sort(order[first : first + second]))
    one, two = (
        Listing(listing.paths[i], listing.labels[i], listing.classes) for i in map(np.concatenate, (train, val))
    )
    return one, two


def check_images(src: Path, *parts: Listing) -> None:
    """Decodes every image; DataError with the first damaged ones."""
    paths = [src / os.fsdecode(path) for part in parts for path in part.paths.tolist()]
    damaged = [problem for problem in tqdm(in_threads(_problem, paths), "check", len(paths)) if problem]
    if damaged:
        shown = "\n  ".join(damaged[:10])
        raise DataError(f"{len(damaged)} of {len(paths)} images cannot be read:\n  {shown}")


def read_split(folder: Path) -> Split | None:
    """The split in ``folder``, None when there is none; DataError when it is unfinished or its images are gone."""
    try:
        document = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        mode, places = document["mode"], [(folder.resolve() / document["relative"]).resolve(), Path(document["source"])]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / MARKER}: not the description of a split ({error!r}); make the split again"
        ) from error
    if not document.get("complete"):
        raise DataError(f"{folder}: this split is not finished; call imagenet_split again with the same settings")
    source = next((place for place in places if place.is_dir()), places[1])
    if mode == "lists" and not source.is_dir():
        raise DataError(f"{folder}: the images that its lists name were in {source}, which is not there any more")
    return Split(source if mode == "lists" else folder, source)


def _refuse_other(dst: Path, document: dict[str, Any]) -> bool:
    """Whether this very split is there already, finished or not; ConfigError when something else is."""
    if not dst.exists() or (dst.is_dir() and all(path.name.startswith(PARTIAL) for path in dst.iterdir())):
        return False
    try:
        found = json.loads((dst / MARKER).read_text(encoding="utf-8"))
        different = [name for name, value in document.items() if found.get(name) != value]
    except (OSError, ValueError, AttributeError):
        raise ConfigError(f"{dst} is not empty and holds no split of this tool; choose another --dst") from None
    if different:
        facts = ", ".join(f"{name} {found.get(name)} there, {document[name]} asked for" for name in different)
        raise ConfigError(f"{dst} holds another split ({facts}); delete it or choose another --dst")
    return True


def _place(src: Path, chosen: np.ndarray, dst: Path, places: np.ndarray, mode: str) -> None:
    """Copies or links of the chosen images; what is there already stays."""
    for name, place in zip(chosen.tolist(), places.tolist(), strict=True):
        image, target = src.resolve() / os.fsdecode(name), dst / os.fsdecode(place)
        if target.exists() and target.stat().st_size == image.stat().st_size:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.parent / (PARTIAL + target.name)
        part.unlink(missing_ok=True)
        if mode == "copy":
            shutil.copyfile(image, part)
        else:
            part.symlink_to(image)
        os.replace(part, target)


def _problem(path: Path) -> str:
    try:
        open_image(path, 3)
    except DataError as error:
        return str(error)
    return ""
