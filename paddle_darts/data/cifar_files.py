"""Find the CIFAR archives or folders, check them and hand out their files."""

from __future__ import annotations

import gzip
import hashlib
import logging
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from paddle_darts.errors import DataError

logger = logging.getLogger(__name__)

HOME_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_MAX_MEMBER = 1 << 30  # bytes; the largest genuine file has 155 MB


@dataclass(frozen=True)
class Layout:
    """Names, checksums and sizes of one official CIFAR archive ("python version")."""

    name: str
    archive: str
    archive_md5: str
    folder: str
    train: dict[str, str]  # file -> md5
    test: dict[str, str]
    meta: str
    labels: str
    class_names: str
    num_classes: int
    paddle_class: str

    @property
    def batches(self) -> dict[str, str]:
        return {**self.train, **self.test}

    def advice(self) -> str:
        """How to get the data, for the end of an error message."""
        return (
            f"Get {self.archive} (md5 {self.archive_md5}) from {HOME_PAGE} and pass the archive, "
            f"or the folder that holds it or the extracted {self.folder}, with --data"
        )


CIFAR10 = Layout(
    name="cifar10",
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    meta="batches.meta",
    labels="labels",
    class_names="label_names",
    num_classes=10,
    paddle_class="Cifar10",
)
CIFAR100 = Layout(
    name="cifar100",
    archive="cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    meta="meta",
    labels="fine_labels",
    class_names="fine_label_names",
    num_classes=100,
    paddle_class="Cifar100",
)


def locate(layout: Layout, data: Path | None, download: bool) -> Path:
    """The archive or extracted folder to read: in ``data`` first, else in Paddle's cache, else downloaded."""
    found = None if data is None else _search(layout, data)
    return found or _from_paddle(layout, data, download)


def _search(layout: Layout, data: Path) -> Path | None:
    if data.is_file():
        return data
    if not data.is_dir():
        return None
    present = {f: [(f / name).is_file() for name in layout.batches] for f in (data, data / layout.folder)}
    folders = [folder for folder, files in present.items() if any(files)]
    complete = [folder for folder in folders if all(present[folder])]
    official = data / layout.archive
    archives = [official] if official.is_file() else _other_archives(layout, data)
    if not complete and len(archives) > 1:
        names = ", ".join(path.name for path in archives)
        raise DataError(f"{data}: several archives may be {layout.name}: {names}; pass one with --data")
    # a folder with missing files is only reported when there is no archive beside it
    return next(iter([*complete, *archives, *folders]), None)


def _other_archives(layout: Layout, data: Path) -> list[Path]:
    prefix = layout.archive.removesuffix("python.tar.gz").rstrip("-")  # cifar-10, cifar-100
    return sorted(
        path
        for path in data.glob(f"{prefix}*.tar.gz")
        if not path.name.startswith((f"{prefix}0", f"{prefix}-binary", f"{prefix}-matlab"))
    )


def _from_paddle(layout: Layout, data: Path | None, download: bool) -> Path:
    """Paddle's cached archive; its own data set class downloads and checks it when it is not there."""
    from paddle.dataset import common
    from paddle.vision import datasets

    cached = Path(common.DATA_HOME) / "cifar" / layout.archive
    looked = f"{cached} does not exist" if data is None else f"neither {data} nor Paddle's cache holds it"
    if cached.is_file() and (not download or file_md5(cached) == layout.archive_md5):
        return cached
    if not download:
        raise DataError(f"{layout.name}: {looked} and downloading is off. {layout.advice()}")
    if data is not None:
        logger.warning("%s: no %s in %s; downloading it through Paddle", layout.name, layout.archive, data)
    try:
        # the test part is the small one; here only the path of the checked archive is wanted
        return Path(getattr(datasets, layout.paddle_class)(mode="test", download=True).data_file)
    except Exception as error:  # network, disk and archive errors of several libraries
        raise DataError(
            f"{layout.name}: {looked}, and the download through Paddle failed "
            f"({type(error).__name__}: {error}). {layout.advice()}"
        ) from error


def file_md5(path: Path) -> str:
    """md5 (hex) of a file; DataError when it cannot be read."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    return digest.hexdigest()


def read_files(layout: Layout, source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every batch and the class names in ``source``; nothing is written to disk.

    What is missing is simply not there; a truncated or damaged archive raises DataError at the latest after
    the last file, when the archive's own check sum has been verified.
    """
    wanted = {*layout.batches, layout.meta}
    try:
        if source.is_dir():
            for name in sorted(wanted):
                if (source / name).is_file():
                    yield name, (source / name).read_bytes()
        else:
            yield from _archive_files(source, wanted)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"truncated, damaged or no tar archive ({type(error).__name__}: {error})") from error


def _archive_files(source: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    with source.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if packed else raw
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name not in wanted or not _safe(member):
                    continue
                if member.size > _MAX_MEMBER:
                    raise DataError(f"{member.name} has {member.size} bytes, far more than a CIFAR batch")
                yield name, archive.extractfile(member).read()
        while stream.read(1 << 20):  # gzip compares its check sum only at the very end
            pass


def _safe(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    return member.isfile() and not path.is_absolute() and ".." not in path.parts
