"""Plots of a run: loss, accuracy and learning rate by epoch, and how the architecture weights moved.

matplotlib is imported only when something is drawn, and used without pyplot: no window, no global state, safe
to call from any thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddle_darts.analysis.looks import cell_title, edge_labels
from paddle_darts.analysis.palette import FAINT, INK, line_dash, op_style
from paddle_darts.analysis.panels import Panel, curve_panels, epochs_of, number, true_panels
from paddle_darts.io.files import write_atomic


def matrix(probabilities: Sequence[Sequence[Any]], ops: int) -> np.ndarray:
    """[edges, ops] float64; values that are missing (dropped operations, short rows) are NaN."""
    table = np.full((len(probabilities), ops), np.nan)
    for row, values in enumerate(probabilities):
        cells = [number(value) for value in values][:ops]
        table[row, : len(cells)] = cells
    return table


def draw_curves(history: Sequence[Mapping[str, Any]], directory: str | Path) -> list[Path]:
    """Write curves.svg and curves.png: loss, accuracy (percent), skip connections and learning rate over epochs.

    Rows may lack any value (None or no key); a panel without any value is left out, and with no panel at all
    nothing is written.
    """
    return _draw_panels(curve_panels(history), epochs_of(history), Path(directory) / "curves")


def draw_true_accuracy(history: Sequence[Mapping[str, Any]], directory: str | Path) -> list[Path]:
    """Write true_accuracy.svg and true_accuracy.png: what a table knows of the architecture of every epoch.

    One panel per ``true_<column>`` of the history, with the best possible as a dashed line where it is known, and one
    of the percentiles. Nothing is written for a run without such values.
    """
    return _draw_panels(true_panels(history), epochs_of(history), Path(directory) / "true_accuracy")


def _draw_panels(panels: list[Panel], epochs: list[float], base: Path) -> list[Path]:
    """The panels side by side; nothing when there is none."""
    if not panels:
        return []
    figure = _figure(4.6 * len(panels), 3.3)
    for column, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), column + 1)
        for line in panel.lines:
            # Values that were not due are skipped, not drawn as gaps: validation may come every few epochs.
            known = [(x, y) for x, y in zip(epochs, line.values, strict=True) if not math.isnan(y)]
            dots = {"marker": "o", "markersize": 3.5} if len(known) < min(12, len(line.values)) else {}
            look = {"color": line.colour, "linestyle": line.dash, "linewidth": 1.8, "label": line.label}
            axes.plot(*zip(*known, strict=True), **look, **dots)
        axes.set_title(panel.heading, loc="left", color=INK, fontsize=11)
        axes.set_xlabel("epoch", color=INK)
        axes.locator_params(axis="x", integer=True)
        axes.grid(True, color="#e5e7eb", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if len(panel.lines) > 1:
            axes.legend(frameon=False, fontsize=9)
    figure.set_layout_engine("tight")
    return _save(figure, base, ("svg", "png"))


def draw_arch_weights(rows: Sequence[Mapping[str, Any]], directory: str | Path) -> list[Path]:
    """Write arch_weights.svg and arch_weights.png: one small plot per edge, one line per operation.

    ``rows`` are those of ``alphas.jsonl``: ``{"epoch", "ops", "probabilities": {kind: [edges][ops]}}``.
    All plots of a cell share one pair of axes, which draws tens of times faster than a subplot each.
    """
    rows = [row for row in rows if row.get("probabilities") and row.get("ops")]
    if not rows:
        return []
    ops = list(rows[-1]["ops"])
    kinds = list(rows[-1]["probabilities"])
    counts = [len(rows[-1]["probabilities"][kind]) for kind in kinds]
    columns = min(7, max(1, *counts))
    depths = [math.ceil(count / columns) for count in counts]
    figure = _figure(1.75 * columns + 0.4, 1.45 * sum(depths) + 0.5 * len(kinds) + 0.4)
    height = sum(depths) + 0.34 * len(kinds) + 0.25
    bottom = 1.0
    for kind, depth in zip(kinds, depths, strict=True):
        share = (depth + 0.34) / height
        bottom -= share
        axes = figure.add_axes((0.01, bottom, 0.98, share), xlim=(-0.12, columns), ylim=(-depth, 0.34))
        axes.set_axis_off()
        axes.text(0, 0.22, cell_title(kind), color=INK, fontsize=12, fontweight="bold", va="center")
        _edge_plots(axes, _history_of(rows, kind, ops), rows[-1], kind, ops, columns)
    _legend(figure, ops)
    return _save(figure, Path(directory) / "arch_weights", ("svg", "png"))


def _history_of(rows: Sequence[Mapping[str, Any]], kind: str, ops: list[str]) -> np.ndarray:
    """[epochs, edges, ops]: operations are matched by name, for a staged search drops some on its way."""
    edges = len(rows[-1]["probabilities"][kind])
    values = np.full((len(rows), edges, len(ops)), np.nan)
    for at, row in enumerate(rows):
        then = list(row["ops"])
        table = matrix(row["probabilities"].get(kind, [])[:edges], len(then))
        for column, op in enumerate(ops):
            if op in then:
                values[at, : len(table), column] = table[:, then.index(op)]
    return values


def _edge_plots(
    axes: Any, values: np.ndarray, last: Mapping[str, Any], kind: str, ops: list[str], columns: int
) -> None:
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.patches import Rectangle

    names = labels_of(last, kind, values.shape[1])
    top = max(float(np.nanmax(values, initial=0.0)), 1e-9)
    at = np.linspace(0, 0.9, len(values)) if len(values) > 1 else np.array([0.45])
    frames = []
    lines: list[list[np.ndarray]] = [[] for _ in ops]
    for edge, name in enumerate(names):
        row, column = divmod(edge, columns)
        frames.append(Rectangle((column, -row - 0.78), 0.9, 0.72))
        axes.text(column, -row + 0.01, name, color=INK, fontsize=8, va="center")
        if column == 0:  # all plots of a cell have the same scale
            axes.text(-0.015, -row - 0.06, f"{top:.2f}", color=FAINT, fontsize=6.5, ha="right", va="top")
            axes.text(-0.015, -row - 0.78, "0", color=FAINT, fontsize=6.5, ha="right")
        for k in range(len(ops)):
            heights = -row - 0.78 + 0.72 * values[:, edge, k] / top
            points = np.stack([column + at, heights], axis=1)
            if len(points) == 1:  # one epoch: a short dash instead of an invisible point
                points = points + np.array([[-0.05, 0], [0.05, 0]])
            lines[k].append(points)
    axes.add_collection(PatchCollection(frames, facecolor="#f8fafc", edgecolor="#d5dae1", linewidth=0.7))
    for op, paths in zip(ops, lines, strict=True):
        look = op_style(op)
        axes.add_collection(LineCollection(paths, colors=look.colour, linewidths=1.2, linestyles=line_dash(op, ops)))


def _legend(figure: Any, ops: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=op_style(op).colour, linestyle=line_dash(op, ops), label=op) for op in ops]
    figure.legend(handles=handles, loc="lower center", ncols=min(8, len(ops)), frameon=False, fontsize=9)


def labels_of(row: Mapping[str, Any], kind: str, count: int) -> list[str]:
    """Edge names of a row of ``alphas.jsonl``: its own ``edge_labels[kind]`` if any, else the usual ones."""
    own = row.get("edge_labels") or {}
    names = own.get(kind) if isinstance(own, Mapping) else None
    return [str(name) for name in names] if names and len(names) == count else edge_labels(count)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, base: Path, formats: Sequence[str]) -> list[Path]:
    written = []
    for name in formats:
        target = base.with_name(f"{base.name}.{name}")
        written.append(write_atomic(target, lambda part, name=name: figure.savefig(part, format=name, dpi=130)))
    return written
