"""The plots of a leaderboard: one small panel per method over the same axes, the other methods in the background."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddle_darts.analysis.palette import FAINT, FAINT_LINE, INK, op_style
from paddle_darts.io.files import write_atomic
from paddle_darts.leaderboard.results import Outcome, Row

COLUMNS = 4
#: Colour by kind; the panels keep the methods apart.
COLOURS = {"gradient": op_style("nor_conv_1x1").colour, "samples": op_style("dil_conv_3x3").colour}
_OTHERS = "#d5dae1"
#: Accuracies are drawn by their distance to the best, on a logarithmic scale that ends this far above it [percent].
_ABOVE_BEST = 0.3
_TICKS = (94.0, 93.0, 92.0, 90.0, 85.0, 80.0, 70.0, 50.0, 10.0)

#: x from 0 to 1, and [seeds, epochs].
Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def draw_accuracy(rows: Sequence[Row], outcomes: Sequence[Outcome], best: float, label: str, base: Path) -> list[Path]:
    """Write ``base``.svg and .png: true accuracy of the current architecture over the share of the budget.

    ``best`` is the best possible accuracy (dashed). The scale is logarithmic in the distance to it, so that the small
    differences among good cells show beside the large ones of bad cells.
    """
    figure, panels = _grid(rows, _curves(outcomes, "curve"), "share of the budget")
    known = [value for one in outcomes for value in one.curve if not math.isnan(value)]
    low = min(known, default=0.0)
    for axes in panels:
        axes.axhline(best, color=FAINT_LINE.colour, linestyle="dashed", linewidth=1.0)
        axes.set_yscale("function", functions=(lambda y: -_distance(y, best), lambda d: best + _ABOVE_BEST - 10**-d))
        axes.set_ylim(low - 0.25 * (best + _ABOVE_BEST - low), best + 0.5 * _ABOVE_BEST)
        ticks = [tick for tick in _TICKS if low - 1 <= tick < best]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    _words(figure, f"True {label} of the current architecture [%]; dashed: best possible, {best:.2f} %")
    return _save(figure, base)


def draw_skips(rows: Sequence[Row], outcomes: Sequence[Outcome], base: Path) -> list[Path]:
    """Write ``base``.svg and .png: the share of skip connections in the current architecture."""
    figure, panels = _grid(rows, _curves(outcomes, "skip_curve"), "share of the budget")
    for axes in panels:
        axes.set_ylim(-0.04, 1.04)
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    _words(figure, "Share of skip connections among the six edges of the current architecture")
    return _save(figure, base)


def _curves(outcomes: Sequence[Outcome], which: str) -> Curves:
    """By name; seeds that have another number of epochs than the first one are left out."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for one in outcomes:
        found.setdefault(one.entry.name, []).append(getattr(one, which))
    curves = {}
    for name, lines in found.items():
        same = np.array([line for line in lines if len(line) == len(lines[0])])
        curves[name] = (np.arange(1, same.shape[1] + 1) / same.shape[1], same)
    return curves


def _grid(rows: Sequence[Row], curves: Curves, xlabel: str) -> tuple[Any, list[Any]]:
    """A panel per row in the order of the table: mean line and band from the lowest to the highest seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, max(1, len(rows)))
    depth = max(1, math.ceil(len(rows) / columns))
    figure = Figure(figsize=(2.6 * columns + 0.7, 1.9 * depth + 0.8), facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(depth, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels[len(rows) :]:
        axes.set_axis_off()
    for axes, row in zip(panels, rows, strict=False):
        for name, (x, values) in curves.items():
            if name != row.name:
                axes.plot(x, _over_seeds(np.mean, values), color=_OTHERS, linewidth=0.8, zorder=1)
        x, values = curves[row.name]
        colour = COLOURS[row.kind]
        lowest, highest = _over_seeds(np.min, values), _over_seeds(np.max, values)
        axes.fill_between(x, lowest, highest, color=colour, alpha=0.22, linewidth=0, zorder=2)
        dots = {"marker": "o", "markersize": 3} if len(x) < 12 else {}
        axes.plot(x, _over_seeds(np.mean, values), color=colour, linewidth=1.8, zorder=3, **dots)
        axes.set_title(row.name, loc="left", color=colour, fontsize=10)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.grid(True, color="#e5e7eb", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[max(0, len(rows) - columns) : len(rows)]:
        axes.set_xlabel(xlabel, color=INK)
        axes.tick_params(labelbottom=True)
    return figure, list(panels[: len(rows)])


def _over_seeds(what: Any, values: np.ndarray) -> np.ndarray:
    """``what`` over the seeds that have a cell in an epoch; NaN where none has."""
    columns = (column[~np.isnan(column)] for column in values.T)
    return np.array([what(column) if column.size else math.nan for column in columns])


def _distance(accuracy: Any, best: float) -> Any:
    return np.log10(np.maximum(best + _ABOVE_BEST - np.asarray(accuracy, dtype=float), 1e-3))


def _words(figure: Any, title: str) -> None:
    note = "Line: mean over seeds; band: lowest to highest seed; grey: the means of the others"
    figure.text(0.012, 0.985, title, ha="left", va="top", color=INK, fontsize=11)
    figure.text(0.5, 0.008, note, ha="center", color=FAINT, fontsize=8.5)
    figure.set_layout_engine("tight", rect=(0, 0.03, 1, 0.955))


def _save(figure: Any, base: Path) -> list[Path]:
    return [
        write_atomic(base.with_name(f"{base.name}.{f}"), lambda part, f=f: figure.savefig(part, format=f, dpi=130))
        for f in ("svg", "png")
    ]
