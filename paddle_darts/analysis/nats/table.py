"""The known accuracy of every architecture of NAS-Bench-201, and what follows from knowing all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from paddle_darts.analysis.nats.universe import UNIVERSES
from paddle_darts.errors import ConfigError, DataError, nearest, unknown
from paddle_darts.genotypes import NasBench201Genotype

TABLE_DATASETS = ("cifar10", "cifar100", "imagenet16_120")
SPLITS = ("valid", "test")
COLUMNS = tuple(f"{dataset}_{split}" for dataset in TABLE_DATASETS for split in SPLITS)

#: What names an architecture: its text, its index, or its genotype.
Arch = str | int | NasBench201Genotype


class NatsTable:
    """Accuracies (percent) of all 15,625 architectures, one column per data set and split.

    A column is named ``<data set>_<split>``: `COLUMNS`. Rows are in benchmark order. Everywhere an architecture may be
    given as its text, its index, or its genotype (GenotypeError when it is none), and unknown columns raise DataError
    with the nearest name. Source: NATS-Bench (arXiv 2009.00437).

    Isomorphic cells are separate architectures with results of their own, as in the benchmark: they take part in
    ranks and percentiles one by one.
    """

    def __init__(self, columns: Mapping[str, Any], name: str = "table") -> None:
        """``columns``: 15,625 accuracies in [0, 100] each, in benchmark order. Raises DataError otherwise."""
        if not columns:
            raise DataError(f"{name}: no column of accuracies; known are {', '.join(COLUMNS)}")
        self._values = {column: _checked(column, values, name) for column, values in columns.items()}
        self._sorted = {column: np.sort(values) for column, values in self._values.items()}
        self.name = name

    def __len__(self) -> int:
        return len(UNIVERSES["tss"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {', '.join(self.columns)})"

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._values)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that have a column."""
        return tuple(dict.fromkeys(column.rpartition("_")[0] for column in self._values))

    def column(self, column: str) -> np.ndarray:
        """All accuracies of a column, float64 [15625], read-only."""
        if column not in self._values:
            raise DataError(f"{self.name}: {unknown('column', str(column), self._values)}")
        return self._values[column]

    def index(self, arch: Arch) -> int:
        """Position of an architecture in the benchmark."""
        return UNIVERSES["tss"].find(arch)

    def accuracy(self, arch: Arch, column: str) -> float:
        """Percent."""
        return float(self.column(column)[self.index(arch)])

    def row(self, arch: Arch) -> dict[str, float]:
        """The accuracy in every column."""
        index = self.index(arch)
        return {column: float(values[index]) for column, values in self._values.items()}

    def rank(self, arch: Arch, column: str) -> int:
        """1 for the best; one more than the number of strictly better architectures, so that equals share it."""
        better = len(self) - np.searchsorted(self._ordered(column), self.accuracy(arch, column), side="right")
        return int(better) + 1

    def percentile(self, arch: Arch, column: str) -> float:
        """Percent of all architectures, this one included, that are not better: 100 for the best."""
        not_better = np.searchsorted(self._ordered(column), self.accuracy(arch, column), side="right")
        return 100.0 * int(not_better) / len(self)

    def best(self, column: str) -> tuple[str, float]:
        """The best architecture and its accuracy; of equals the one with the lowest index."""
        return self.top(column, 1)[0]

    def top(self, column: str, count: int) -> list[tuple[str, float]]:
        """The ``count`` best architectures with their accuracies, best first, equals by index."""
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ConfigError(f"count must be a whole number from 0, got {count!r}")
        values = self.column(column)
        order = np.argsort(-values, kind="stable")[:count]
        return [(UNIVERSES["tss"].architecture(int(index)), float(values[index])) for index in order]

    def mean(self, column: str) -> float:
        """The mean over all architectures: what one architecture drawn at random is expected to reach."""
        return float(self.column(column).mean())

    def _ordered(self, column: str) -> np.ndarray:
        self.column(column)
        return self._sorted[column]


def true_accuracy(table: NatsTable, arch: Arch | None) -> dict[str, float | int | None]:
    """What ``table`` knows of an architecture, as plain JSON values for logs and reports; nulls for None.

    For each column: ``true_<column>`` (percent), ``true_<column>_rank`` (1 = best) and ``true_<column>_percentile``.
    It only looks things up; nothing of it may reach the search, which would then be graded on what it has seen.
    """
    looked_up = {"": table.accuracy, "_rank": table.rank, "_percentile": table.percentile}
    return {
        f"true_{column}{suffix}": None if arch is None else look_up(arch, column)
        for column in table.columns
        for suffix, look_up in looked_up.items()
    }


def check_columns(columns: list[str], where: str) -> None:
    """DataError for a column name that is unknown or stands twice; ``where`` begins the message."""
    for position, column in enumerate(columns):
        if column not in COLUMNS:
            close = nearest(column, COLUMNS, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ";"
            raise DataError(f"{where}: unknown column {column[:60]!r}{hint} Known: {', '.join(COLUMNS)}")
        if column in columns[:position]:
            raise DataError(f"{where}: the column {column!r} stands twice")


def _checked(column: str, values: Any, name: str) -> np.ndarray:
    check_columns([column], name)
    array = np.array(values, dtype=np.float64)
    count = len(UNIVERSES["tss"])
    if array.shape != (count,):
        raise DataError(f"{name}: column {column} has shape {array.shape}, not ({count},)")
    wrong = np.flatnonzero(~((array >= 0) & (array <= 100)))
    if wrong.size:
        raise DataError(
            f"{name}: column {column}: architecture {wrong[0]} has {array[wrong[0]]}, no accuracy in percent"
        )
    array.setflags(write=False)
    return array
