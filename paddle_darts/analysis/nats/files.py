"""Tables on disk: CSV, a compact ``.npz``, and the files of the official benchmark."""

from __future__ import annotations

import csv
import logging
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from paddle_darts.analysis.nats.api import NATSBench
from paddle_darts.analysis.nats.conventions import DATASETS, convention
from paddle_darts.analysis.nats.table import COLUMNS, TABLE_DATASETS, NatsTable, check_columns
from paddle_darts.analysis.nats.universe import UNIVERSES
from paddle_darts.errors import ConfigError, DataError, GenotypeError, unknown
from paddle_darts.io.files import write_atomic

log = logging.getLogger(__name__)

ARCH = "arch"
READERS = ("own", "nats_bench")
FORMAT = "nats_table_1"
#: Records call the data sets otherwise than the columns of a table do.
RECORDED = dict(zip(TABLE_DATASETS, DATASETS[1:], strict=True))


def read_table(path: str | os.PathLike[str], reader: str = "own") -> NatsTable:
    """The table in ``path``: a ``.csv``, a ``.npz`` of :func:`write_table`, or the official ``-simple`` folder.

    The folder takes minutes: read it once and keep it with :func:`write_table`. ``reader`` is for it alone: "own"
    opens only plain values, "nats_bench" uses the package of that name, which unpickles whatever is in the files.
    Raises DataError naming what is missing or the line that is wrong.
    """
    path = Path(path)
    if reader not in READERS:
        raise ConfigError(unknown("reader", reader, READERS))
    if path.is_dir():
        return official_table(path, reader)
    if not path.is_file():
        raise DataError(
            f"no such table: {path}; give a .csv with the columns {ARCH},{','.join(COLUMNS[:2])},... or the folder "
            "of the official benchmark (NATS-tss-v1_0-3ffb9-simple, see the README of D-X-Y/NATS-Bench)"
        )
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix != ".csv":
        raise DataError(f"{path}: a table is a .csv or .npz file, or the '-simple' folder of the official benchmark")
    return _read_csv(path)


def write_table(table: NatsTable, path: str | os.PathLike[str]) -> Path:
    """Writes ``table`` as ``.csv`` or ``.npz``, by the suffix; both keep every digit. ConfigError for another one."""
    path = Path(path)
    writers: dict[str, Callable[[NatsTable, Path], None]] = {".csv": _write_csv, ".npz": _write_npz}
    if path.suffix not in writers:
        raise ConfigError(f"{path}: a table is written as .csv or .npz")
    return write_atomic(path, lambda part: writers[path.suffix](table, part))


def official_table(folder: Path, reader: str = "own") -> NatsTable:
    """The papers' convention from the official files: mean over the seeds, full training, all six columns."""
    return collect(NATSBench(folder, "tss").accuracy if reader == "own" else _package(folder), str(folder))


def collect(accuracy: Callable[[int, str, str], float], name: str) -> NatsTable:
    """A table from ``accuracy(index, data set, "valid" or "test")``, asked architecture by architecture."""
    count = len(UNIVERSES["tss"])
    values = {column: np.empty(count) for column in COLUMNS}
    for index in range(count):
        for column in COLUMNS:
            dataset, _, split = column.rpartition("_")
            values[column][index] = accuracy(index, RECORDED[dataset], split)
        if (index + 1) % 1000 == 0:
            log.info("%s: %d of %d architectures read", name, index + 1, count)
    return NatsTable(values, name)


def _package(folder: Path) -> Callable[[int, str, str], float]:
    """Through the user's own ``nats_bench``, one architecture in memory at a time."""
    try:
        import nats_bench
    except ImportError as error:
        raise DataError("the reader nats_bench needs the package: run `pip install nats_bench`") from error
    api = nats_bench.create(str(folder), "tss", fast_mode=True, verbose=False)

    def accuracy(index: int, dataset: str, split: str) -> float:
        trained_on, _ = convention(dataset, split)
        if index not in api.arch2infos_dict:
            api.arch2infos_dict.clear()  # officially every architecture ever asked for is kept
        try:
            info = api.get_more_info(index, trained_on, hp="200", is_random=False)
            return info[f"{split}-accuracy"]
        except (AssertionError, KeyError, OSError, ValueError) as error:
            raise DataError(f"{folder}: nats_bench has no {split} accuracy of {index} on {dataset}: {error}") from error

    return accuracy


# ---- CSV
def _read_csv(path: Path) -> NatsTable:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            columns = _header([name.strip() for name in next(reader, [])], path)
            values = _values(((reader.line_num, row) for row in reader), len(columns), path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: it cannot be read as CSV: {error}") from error
    return NatsTable(dict(zip(columns, values.T, strict=True)), str(path))


def _header(header: list[str], path: Path) -> list[str]:
    """The columns of a header ``arch,<column>,...``."""
    if not header:
        raise DataError(f"{path}: the file is empty; it needs a header {ARCH},{','.join(COLUMNS[:2])},...")
    if header[0] != ARCH or len(header) == 1:
        shown = ",".join(header)[:80]
        raise DataError(f"{path}, line 1: expected the header {ARCH},<column>,... got {shown!r}; a column is "
                        f"one of {', '.join(COLUMNS)}")  # fmt: skip
    check_columns(header[1:], f"{path}, line 1")
    return header[1:]


def _values(rows: Iterator[tuple[int, list[str]]], columns: int, path: Path) -> np.ndarray:
    """Accuracies [15625, columns] in benchmark order from numbered rows; every architecture once."""
    count = len(UNIVERSES["tss"])
    values, lines = np.empty((count, columns)), np.zeros(count, dtype=np.int64)
    for line, row in rows:
        if not row:
            continue
        where = f"{path}, line {line}"
        if len(row) != columns + 1:
            raise DataError(f"{where}: {len(row)} fields, the header has {columns + 1}")
        try:
            index = UNIVERSES["tss"].find(row[0].strip())
        except GenotypeError as error:
            raise DataError(f"{where}: unknown architecture: {error}") from error
        if lines[index]:
            raise DataError(f"{where}: {row[0]} stands twice, first in line {lines[index]}")
        lines[index] = line
        values[index] = [_percent(text, where) for text in row[1:]]
    missing = np.flatnonzero(lines == 0)
    if missing.size:
        first = UNIVERSES["tss"].architecture(int(missing[0]))
        raise DataError(f"{path}: {missing.size} of {count} architectures are missing, the first is {first}")
    return values


def _percent(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{where}: {text[:40]!r} is no number") from None
    if not math.isfinite(value) or not 0 <= value <= 100:
        raise DataError(f"{where}: {text[:40]!r} is no accuracy in percent (0 to 100)")
    return value


def _write_csv(table: NatsTable, path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([ARCH, *table.columns])
        columns = [table.column(column).tolist() for column in table.columns]
        writer.writerows(zip(UNIVERSES["tss"].architectures(), *columns, strict=True))


# ---- npz
def _read_npz(path: Path) -> NatsTable:
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["format"]) != FORMAT:
                raise DataError(f"{path}: format {file['format']}, expected {FORMAT}")
            return NatsTable(dict(zip(file["columns"].tolist(), file["accuracies"], strict=True)), str(path))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no table of accuracies: {error}") from error


def _write_npz(table: NatsTable, path: Path) -> None:
    accuracies = np.stack([table.column(column) for column in table.columns])
    np.savez_compressed(path, format=FORMAT, columns=np.array(table.columns), accuracies=accuracies)
