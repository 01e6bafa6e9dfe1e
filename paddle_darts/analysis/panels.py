"""What the plots of a history show, before anything is drawn: panels of named lines over epochs.

Read are the rows of ``history.jsonl``. Rows may lack any value; lines without a value are left out, and so are panels
without a line. ``true_<column>`` is the accuracy (percent) that a table knows of the architecture of that epoch, with
``_rank`` (1 = best), ``_percentile`` and ``_best`` (the best of the whole table) behind it for more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

History = Sequence[Mapping[str, Any]]

_COLOURS, _DASHES = ("#0067a5", "#b4500b", "#00745a"), ("solid", "dashed", "dashdot")
_TRUE = "true_"
_TRUE_FACTS = ("rank", "percentile", "best")


@dataclass(frozen=True)
class Line:
    """One value per row, NaN where there is none; ``style`` is the position of the line among those of its panel."""

    label: str
    values: list[float]
    colour: str
    dash: str
    style: int


@dataclass(frozen=True)
class Panel:
    """Lines that share a pair of axes."""

    title: str
    unit: str
    lines: tuple[Line, ...]

    @property
    def heading(self) -> str:
        """The title with the unit."""
        return self.title + (f" ({self.unit})" if self.unit else "")


# (title, unit, [(history key, label)]); the order is that of the panels.
_PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Loss", "", (("train_loss", "train"), ("valid_loss", "valid"))),
    ("Accuracy", "%", (("train_top1", "train"), ("valid_top1", "valid"), ("test_top1", "test"))),
    ("Share of skip connections", "", (("skip_share", "normal cell"), ("skip_share_reduce", "reduction cell"))),
    ("Learning rate", "", (("lr", "learning rate"),)),
)
_OWN_COLOURS = {"lr": "#5a4fb0"}


def number(value: Any) -> float:
    """A finite number as a float, anything else (None, text, NaN) as NaN."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return math.nan
    return float(value)


def epochs_of(history: History) -> list[float]:
    """The epoch of every row; a row without one stands at its position."""
    numbers = [number(row.get("epoch")) for row in history]
    return [float(i) if math.isnan(epoch) else epoch for i, epoch in enumerate(numbers)]


def curve_panels(history: History) -> list[Panel]:
    """Loss, accuracy (percent), share of skip connections and learning rate."""
    panels = []
    one_kind = not any("skip_share_reduce" in row for row in history)
    for title, unit, series in _PANELS:
        lines = []
        for style, (key, label) in enumerate(series):
            label = "cell" if key == "skip_share" and one_kind else label
            colour = _OWN_COLOURS.get(key, _COLOURS[style])
            lines.append(Line(label, _values(history, key), colour, _DASHES[style], style))
        panels.append(Panel(title, unit, tuple(lines)))
    return _filled(panels)


def true_panels(history: History) -> list[Panel]:
    """The true accuracy of the current architecture with the best possible one, a panel per column; then percentiles.

    The best possible accuracy is one number for the whole run and is drawn through all epochs.
    """
    columns = true_columns(history)
    panels = []
    for column in columns:
        now = Line("current architecture", _values(history, _TRUE + column), _COLOURS[0], _DASHES[0], 0)
        known = [v for v in _values(history, f"{_TRUE}{column}_best") if not math.isnan(v)]
        top = [known[-1]] * len(history) if known else []
        best = Line("best possible", top, _COLOURS[1], _DASHES[1], 1)
        panels.append(Panel(f"True accuracy, {column_title(column)}", "%", (now, best)))
    ranks = tuple(
        Line(
            column_title(column),
            _values(history, f"{_TRUE}{column}_percentile"),
            _COLOURS[i % 3],
            _DASHES[(i + i // 3) % 3],  # the colours come back after three lines, the pairs after nine
            i % 3,
        )
        for i, column in enumerate(columns)
    )
    return _filled([*panels, Panel("Rank percentile", "%", ranks)])


def true_columns(history: History) -> list[str]:
    """The columns of the table, in the order in which they first appear with a value."""
    found = (true_fact(key) for row in history for key, value in row.items() if not math.isnan(number(value)))
    return list(dict.fromkeys(fact[0] for fact in found if fact))


def true_fact(key: str) -> tuple[str, str] | None:
    """(column, "accuracy" | "rank" | "percentile" | "best") that a key of the history stands for; None for others."""
    if not key.startswith(_TRUE):
        return None
    column, _, last = key.removeprefix(_TRUE).rpartition("_")
    return (column, last) if column and last in _TRUE_FACTS else (key.removeprefix(_TRUE), "accuracy")


def column_title(column: str) -> str:
    """``cifar10_test`` as "cifar10 test"."""
    return column.replace("_", " ")


def _values(history: History, key: str) -> list[float]:
    return [number(row.get(key)) for row in history]


def _filled(panels: list[Panel]) -> list[Panel]:
    """The panels and lines that have any value."""
    kept = (
        Panel(panel.title, panel.unit, tuple(line for line in panel.lines if not all(map(math.isnan, line.values))))
        for panel in panels
    )
    return [panel for panel in kept if panel.lines]
