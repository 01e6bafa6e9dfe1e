"""What the entries have come to: per entry, per method, and what to hold it against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paddle_darts.analysis.nats import NatsTable
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.genotypes.nas_bench_201 import EDGES
from paddle_darts.leaderboard.entries import Entry
from paddle_darts.methods import METHODS
from paddle_darts.methods.gradient import GradientMethod


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of ``count`` values; None where there are too few."""

    mean: float | None
    std: float | None
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        mean = float(np.mean(values)) if values else None
        return Spread(mean, float(np.std(values, ddof=1)) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Outcome:
    """A finished entry. ``accuracy`` and ``percentile`` by column of the table, None when no cell was derived;
    ``curve`` is the accuracy in the first column after each epoch, ``skip_curve`` the share of skips, NaN where no
    cell was derived."""

    entry: Entry
    genotype: str | None
    valid: bool
    skips: int | None
    accuracy: Mapping[str, float] | None
    percentile: Mapping[str, float] | None
    seconds: float
    peak_mb: float
    curve: tuple[float, ...]
    skip_curve: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON, without the curves, which the histories of the runs hold."""
        names = ("genotype", "valid", "skips", "accuracy", "percentile", "seconds", "peak_mb")
        entry = {"name": self.entry.name, "method": self.entry.method, "seed": self.entry.seed}
        return {**entry, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True)
class Row:
    """A line of the table: an entry over its finished seeds."""

    name: str
    kind: str
    accuracy: Mapping[str, Spread]
    percentile: float | None
    valid: int
    skips: float | None
    seconds: float
    peak_mb: float
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Reference:
    """What the table itself says: the best of all, and one cell drawn at random (its spread is that of all cells)."""

    name: str
    accuracy: Mapping[str, Spread]


def columns_of(table: NatsTable) -> tuple[str, ...]:
    """The columns to report: test accuracies if there are any."""
    return tuple(c for c in table.columns if c.endswith("_test")) or table.columns


def outcome(entry: Entry, table: NatsTable) -> Outcome:
    """What a finished search has found, graded by the table."""
    history = entry.history
    columns = columns_of(table)
    cells = [row.get("genotype") for row in history]
    last = cells[-1] if cells else None
    genotype = NasBench201Genotype.parse(last) if last else None
    return Outcome(
        entry=entry,
        genotype=last,
        valid=genotype is not None and genotype.valid,
        skips=None if genotype is None else genotype.count("skip_connect"),
        accuracy=None if last is None else {c: table.accuracy(last, c) for c in columns},
        percentile=None if last is None else {c: table.percentile(last, c) for c in columns},
        seconds=round(sum(row["seconds"] for row in history), 1),
        peak_mb=max(row["peak_rss_mb"] for row in history),
        curve=tuple(math.nan if cell is None else table.accuracy(cell, columns[0]) for cell in cells),
        skip_curve=tuple(math.nan if cell is None else _skip_share(cell) for cell in cells),
    )


def rows_of(outcomes: Sequence[Outcome], table: NatsTable) -> list[Row]:
    """One row per name, the highest mean accuracy in the first column first."""
    main = columns_of(table)[0]
    names = dict.fromkeys(found.entry.name for found in outcomes)
    rows = [_row(name, [found for found in outcomes if found.entry.name == name], columns_of(table)) for name in names]
    return sorted(rows, key=lambda row: -(row.accuracy[main].mean or 0.0))


def references(table: NatsTable) -> list[Reference]:
    columns = columns_of(table)
    return [
        Reference("best possible", {c: Spread(table.best(c)[1], None, 1) for c in columns}),
        Reference("one random cell", {c: _of_all(table, c) for c in columns}),
    ]


def noise(rows: Sequence[Row], column: str) -> float | None:
    """The standard deviation between seeds of the same entry, pooled over all entries; None without two seeds."""
    parts = [(one.count - 1, one.std) for one in (row.accuracy[column] for row in rows) if one.std is not None]
    freedom = sum(part[0] for part in parts)
    return math.sqrt(sum(f * std**2 for f, std in parts) / freedom) if freedom else None


def kind_of(method: str) -> str:
    """How a method searches."""
    return "gradient" if issubclass(METHODS[method], GradientMethod) else "samples"


def _row(name: str, found: Sequence[Outcome], columns: Sequence[str]) -> Row:
    derived = [one for one in found if one.accuracy is not None and one.percentile is not None]
    skips = [one.skips for one in found if one.skips is not None]
    return Row(
        name=name,
        kind=kind_of(found[0].entry.method),
        accuracy={c: Spread.of([one.accuracy[c] for one in derived if one.accuracy]) for c in columns},
        percentile=Spread.of([one.percentile[columns[0]] for one in derived if one.percentile]).mean,
        valid=sum(one.valid for one in found),
        skips=Spread.of(skips).mean,
        seconds=float(np.mean([one.seconds for one in found])),
        peak_mb=max(one.peak_mb for one in found),
        seeds=tuple(sorted(one.entry.seed for one in found)),
    )


def _of_all(table: NatsTable, column: str) -> Spread:
    return Spread(table.mean(column), float(table.column(column).std()), len(table))


def _skip_share(cell: str) -> float:
    return NasBench201Genotype.parse(cell).count("skip_connect") / len(EDGES)
