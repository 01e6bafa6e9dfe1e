"""The table of a leaderboard as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from paddle_darts.io.files import write_json, write_text
from paddle_darts.leaderboard.config import LeaderboardConfig
from paddle_darts.leaderboard.entries import Entry
from paddle_darts.leaderboard.results import Outcome, Reference, Row, Spread, noise
from paddle_darts.leaderboard.settings import threads_of

#: How columns of the table are headed.
TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16_120": "ImageNet16-120"}
#: How much larger than its standard error a difference is that noise alone hardly makes (5 % of the time, normal).
_TWO_SIDED = 1.96


class Board:
    """All that a table says: finished entries, their rows, what to hold them against, and what is not there."""

    def __init__(
        self,
        config: LeaderboardConfig,
        outcomes: Sequence[Outcome],
        rows: Sequence[Row],
        references: Sequence[Reference],
        missing: Sequence[Entry],
    ) -> None:
        self.config, self.outcomes, self.rows, self.references = config, outcomes, rows, references
        self.missing = missing
        self.columns = list(references[0].accuracy)

    def write(self, base: Path) -> list[Path]:
        """``base``.json, .csv and .md."""
        document = {
            "schema": 1,
            "protocol": asdict(self.config),
            "columns": self.columns,
            "rows": [asdict(row) for row in self.rows],
            "references": [asdict(reference) for reference in self.references],
            "noise": {column: noise(self.rows, column) for column in self.columns},
            "entries": [found.as_dict() for found in self.outcomes],
            "missing": [{"name": e.name, "seed": e.seed, "error": e.failure} for e in self.missing],
        }
        return [
            write_json(base.with_suffix(".json"), document),
            write_text(base.with_suffix(".csv"), self.csv()),
            write_text(base.with_suffix(".md"), self.markdown()),
        ]

    def csv(self) -> str:
        """One line per row, numbers in full; the references come last."""
        head = [f"{c}_{what}" for c in self.columns for what in ("mean", "std")]
        rest = ["percentile", "valid", "skip_connections", "seconds", "peak_mb", "seeds"]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "kind", *head, *rest])
        for row in self.rows:
            tail = [row.percentile, row.valid, row.skips, row.seconds, row.peak_mb, len(row.seeds)]
            writer.writerow([row.name, row.kind, *self._numbers(row), *tail])
        for reference in self.references:
            writer.writerow([reference.name, "", *self._numbers(reference), *[None] * len(rest)])
        return text.getvalue()

    def markdown(self) -> str:
        """The table with what must be known to read it."""
        heads = ["method", "kind", *map(column_title, self.columns)]
        heads += ["percentile", "valid", "skips of 6", "search s", "peak MB", "seeds"]
        lines = [_line(heads), _line(["---"] * 2 + ["---:"] * (len(heads) - 2))]
        for row in self.rows:
            accuracy = [_shown(row.accuracy[c]) for c in self.columns]
            tail = [_number(row.percentile, 1), f"{row.valid}/{len(row.seeds)}", _number(row.skips, 1)]
            tail += [f"{row.seconds:.0f}", f"{row.peak_mb:.0f}", str(len(row.seeds))]
            lines.append(_line([f"`{row.name}`", row.kind, *accuracy, *tail]))
        for reference in self.references:
            accuracy = [_shown(reference.accuracy[c]) for c in self.columns]
            lines.append(_line([f"*{reference.name}*", "", *accuracy, *[""] * 6]))
        return "\n".join([*lines, "", *self._notes()]) + "\n"

    def _numbers(self, row: Row | Reference) -> list[float | None]:
        return [value for c in self.columns for value in (row.accuracy[c].mean, row.accuracy[c].std)]

    def _notes(self) -> list[str]:
        """How it was made, what the numbers are, what is missing."""
        c = self.config
        size = f"images of {c.image_size} pixels" if c.image_size else "images as they are"
        notes = [
            f"Protocol: {c.dataset}, {size}, {c.train_portion:g} of the training images for the weights and the rest "
            f"for the architecture, batch size {c.batch_size}, {c.init_channels} channels, {c.layers} cells, a budget "
            f"of {c.epochs} epochs; {c.jobs} searches at a time with {threads_of(c)} CPU threads each.",
            "Accuracy: what the benchmark reports for the cell that a search ends with, in percent, mean ± standard "
            "deviation over seeds; the search has not seen it. Percentile: share of all cells that are not better "
            f"in {column_title(self.columns[0])}. Seconds: mean per search; peak memory: largest of all.",
            *(f"`{name}`: {_settings(own)}." for name, own in c.per_method.items() if own),
        ]
        spread = noise(self.rows, self.columns[0])
        if spread is not None:
            count = min(row.accuracy[self.columns[0]].count for row in self.rows)
            line = f"Noise: seeds of one entry differ by {spread:.2f} in {column_title(self.columns[0])} (pooled)"
            if count:
                gap = _TWO_SIDED * spread * (2 / count) ** 0.5
                line += f"; two means over {count} seeds that differ by less than {gap:.2f} cannot be told apart"
            notes.append(f"{line}.")
        notes += [f"Failed: {entry.title}: {entry.failure}" for entry in self.missing if entry.failure]
        left = [entry.title for entry in self.missing if not entry.failure]
        notes += [f"Not done: {', '.join(left)}"] if left else []
        return [f"- {note}" for note in notes]


def column_title(column: str) -> str:
    """``cifar10_test`` as "CIFAR-10 test"."""
    dataset, _, split = column.rpartition("_")
    return f"{TITLES.get(dataset, dataset)} {split}"


def _settings(own: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in own.items())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _shown(spread: Spread) -> str:
    std = "" if spread.std is None else f" ± {spread.std:.2f}"
    return _number(spread.mean, 2) + std


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
