"""The picture of a schedule: what a search does in which epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from numbers import Real
from pathlib import Path
from typing import Any

from paddle_darts.analysis.looks import ALL_KINDS
from paddle_darts.analysis.palette import FAINT, INK, op_style
from paddle_darts.io.files import write_atomic

Rows = Sequence[Mapping[str, Any]]

#: Titles of the panels by the keys of the lines that they hold; other numbers get a panel named by their key.
TITLES: dict[tuple[str, ...], str] = {
    ("lr",): "learning rate of the weights",
    ("cells",): "cells of the supernet",
    ("candidates_per_edge",): "operations per edge",
    ("partial_channels",): "K (one of K channels is searched)",
    ("skip_dropout",): "dropout after skip connections",
    ("temperature",): "temperature",
    tuple(f"available_{kind}" for kind in ALL_KINDS): "available operations per cell",
    tuple(f"undecided_{kind}" for kind in ALL_KINDS): "undecided edges per cell",
    ("batch_size",): "batch size",
}
_NOT_DRAWN = ("epoch", "stage", "arch")
_RESTS, _STAGE = "#f1f3f6", op_style("dil_conv_3x3").colour
_LINES = ((op_style("sep_conv_3x3").colour, "solid", 2.4), (op_style("dil_conv_5x5").colour, "dashed", 1.4))


def panels(rows: Rows) -> list[tuple[str, tuple[str, ...]]]:
    """(title, keys of its lines) of every panel: the learning rate, and whatever else changes over the epochs."""
    numeric = [key for key in (rows[0] if rows else {}) if all(isinstance(row.get(key), Real) for row in rows)]
    moving = {k for k in numeric if k not in _NOT_DRAWN and (k == "lr" or len({row[k] for row in rows}) > 1)}
    known = [(title, tuple(k for k in keys if k in numeric)) for keys, title in TITLES.items() if moving & set(keys)]
    others = [k for k in numeric if k in moving and not any(k in keys for keys in TITLES)]
    return known + [(key.replace("_", " "), (key,)) for key in others]


def draw_schedule(rows: Rows, base: str | Path, formats: Iterable[str] = ("svg",)) -> list[Path]:
    """Writes ``base``.svg (and other ``formats``): one panel over the other, epochs from left to right.

    ``rows`` are those of :func:`paddle_darts.engine.rehearsal.rehearse`, one per epoch. The epochs in which the
    architecture rests (``arch`` is false) are shaded, dotted lines say where a stage begins. Nothing is written for no
    rows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = panels(rows)
    if not found:
        return []
    figure = Figure(figsize=(7.2, 0.5 + 1.15 * len(found)), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, keys) in zip(grid, found, strict=True):
        _panel(axes, rows, title, keys)
    _name_stages(grid[0], rows)
    grid[-1].set_xlabel("epoch", color=INK)
    figure.set_layout_engine("constrained")
    return [_save(figure, Path(f"{base}.{name}"), name) for name in formats]


def _panel(axes: Any, rows: Rows, title: str, keys: tuple[str, ...]) -> None:
    """The lines of ``keys``, constant within every epoch, over shading and stages."""
    count = len(rows)
    for first, length in _resting(rows):
        axes.axvspan(first, first + length, color=_RESTS, linewidth=0)
    for epoch in _stage_begins(rows)[1:]:
        axes.axvline(epoch, color=_STAGE, linestyle="dotted", linewidth=1.2)
    for key, (colour, dash, width) in zip(keys, _LINES, strict=False):
        label = "normal" if key.endswith("_normal") else "reduction" if key.endswith("_reduce") else key
        values = [row[key] for row in rows]
        axes.stairs(values, range(count + 1), baseline=None, color=colour, linestyle=dash, linewidth=width, label=label)
    if len(keys) > 1:
        axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 0.96), ncols=2)
    axes.set_title(title, loc="left", color=INK, fontsize=9.5)
    axes.set_xlim(0, count)
    axes.margins(y=0.14)
    axes.locator_params(axis="x", integer=True)
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(colors=INK, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _resting(rows: Rows) -> list[tuple[int, int]]:
    """(first epoch, number of epochs) of every stretch in which the architecture rests."""
    found, first = [], 0
    for learns, group in groupby(rows, key=lambda row: row.get("arch", True)):
        length = len(list(group))
        if not learns:
            found.append((first, length))
        first += length
    return found


def _stage_begins(rows: Rows) -> list[int]:
    """The first epoch of every stage."""
    stages = [row.get("stage", 0) for row in rows]
    return [i for i, stage in enumerate(stages) if i == 0 or stage != stages[i - 1]]


def _name_stages(axes: Any, rows: Rows) -> None:
    """Names in the first panel: the stages, in a strip above its line, and what the shading means."""
    begins = _stage_begins(rows)
    if len(begins) > 1:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.25 * (high - low))
    place = {"xycoords": ("data", "axes fraction"), "fontsize": 8, "textcoords": "offset points"}
    for number, epoch in enumerate(begins if len(begins) > 1 else []):
        axes.annotate(f"stage {number}", (epoch, 1), xytext=(3, -9), color=_STAGE, **place)
    for first, _ in _resting(rows)[:1]:
        axes.annotate("architecture rests", (first, 0), xytext=(3, 4), color=FAINT, **place)


def _save(figure: Any, target: Path, name: str) -> Path:
    import matplotlib

    # no date and no random names: the same schedule gives the same file
    fixed = {"metadata": {"Date": None}} if name == "svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": target.name, "svg.fonttype": "path"}):
        return write_atomic(target, lambda part: figure.savefig(part, format=name, dpi=130, **fixed))
