"""Geometry of the charts in the report: plain numbers and strings that the page's template turns into SVG.

The page draws its own lines instead of embedding the plots of :mod:`curves`: they follow the reader's light
or dark mode and answer to the pointer, and cost no matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from paddle_darts.analysis.curves import labels_of, matrix
from paddle_darts.analysis.looks import cell_title, look_of
from paddle_darts.analysis.palette import line_dash, op_style
from paddle_darts.analysis.panels import Panel, curve_panels, epochs_of, number, true_panels

WIDTH, HEIGHT = 400, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 12, 30
_DASH = {"solid": "none", "dashed": "6 4", "dotted": "2 3", "dashdot": "8 3 2 3"}
_SMALL_POINTS = 120  # a small plot is about this many pixels wide; more points only make the page heavy


def line_charts(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One chart per panel of :func:`panels.curve_panels`, ready for the template."""
    return [_chart(panel, epochs_of(history)) for panel in curve_panels(history)]


def true_charts(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same for :func:`panels.true_panels`: what a table knows of the architecture of every epoch."""
    return [_chart(panel, epochs_of(history)) for panel in true_panels(history)]


def _chart(panel: Panel, epochs: list[float]) -> dict[str, Any]:
    lines: list[dict[str, Any]] = [
        {"label": line.label, "dash": _DASH[line.dash], "style": line.style, "values": line.values}
        for line in panel.lines
    ]
    known = [value for line in lines for value in line["values"] if not math.isnan(value)]
    yticks = ticks(min(known), max(known), 5)
    low, high = min(yticks[0], *known), max(yticks[-1], *known)
    first, last = min(epochs), max(epochs)

    def x(epoch: float) -> float:
        share = (epoch - first) / (last - first) if last > first else 0.5
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    places = [x(epoch) for epoch in epochs]
    for line in lines:
        points = [(px, y(v)) for px, v in zip(places, line["values"], strict=True) if not math.isnan(v)]
        line["path"] = " ".join(f"{px},{py}" for px, py in points)
        line["dots"] = points if len(points) < min(12, len(places)) or len(points) == 1 else []
    hover = {
        "x": places,
        "epochs": [f"{epoch:g}" for epoch in epochs],
        "lines": [
            {
                "label": line["label"],
                "style": line["style"],
                "y": [None if math.isnan(v) else y(v) for v in line["values"]],
                "text": [None if math.isnan(v) else _reading(v, panel.unit) for v in line["values"]],
            }
            for line in lines
        ],
    }
    ends = [(line["label"], [v for v in line["values"] if not math.isnan(v)]) for line in lines]
    spoken = "; ".join(f"{name} from {_reading(v[0], panel.unit)} to {_reading(v[-1], panel.unit)}" for name, v in ends)
    return {
        "title": panel.heading,
        "description": f"{panel.title} over {len(epochs)} epochs: {spoken}",
        "lines": lines,
        "hover": hover,
        "xticks": [(x(t), f"{t:g}") for t in ticks(first, last, 5, whole=True) if first <= t <= last],
        "yticks": [(y(t), f"{t:.6g}") for t in yticks],
        "frame": {"left": _LEFT, "right": WIDTH - _RIGHT, "top": _TOP, "bottom": HEIGHT - _BOTTOM},
    }


def _reading(value: float, unit: str) -> str:
    return f"{value:.2f} %" if unit == "%" else f"{value:.4g}"


def ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """About ``count`` numbers that enclose ``low`` and ``high`` in steps of 1, 2 or 5 times ten's powers."""
    if high <= low:
        margin = 1.0 if whole else abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * f for f in (1, 2, 5, 10) if power * f >= raw * 0.999)
    if whole:
        step = max(1.0, step)
    return [round(step * i, 12) for i in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def weight_cells(rows: Sequence[Mapping[str, Any]], genotype: Any) -> list[dict[str, Any]]:
    """Per cell kind: the latest architecture weights as a coloured table, and a small chart per edge.

    ``rows`` are those of ``alphas.jsonl``. The operations that ``genotype`` (or None) keeps are marked in the
    table.
    """
    rows = [row for row in rows if row.get("probabilities") and row.get("ops")]
    if not rows:
        return []
    thinned = rows[:: max(1, math.ceil(len(rows) / _SMALL_POINTS))]
    if thinned[-1] is not rows[-1]:
        thinned.append(rows[-1])
    last, ops = rows[-1], [str(op) for op in rows[-1]["ops"]]
    cells = []
    for kind, table in last["probabilities"].items():
        values = [[number(v) for v in row] for row in matrix(table, len(ops)).tolist()]
        top = max((v for row in values for v in row if not math.isnan(v)), default=0.0) or 1.0
        kept = _kept(genotype, kind, len(values))
        past = [_by_name(row, kind, ops, len(values)) for row in thinned]
        peak = max([top, *(v for table in past for row in table for v in row if not math.isnan(v))])
        edges = []
        for index, (name, row) in enumerate(zip(labels_of(last, kind, len(values)), values, strict=True)):
            fields = [
                {
                    "text": "" if math.isnan(v) else f"{v:.2f}",
                    "share": 0 if math.isnan(v) else round(v / top, 3),
                }
                for v in row
            ]
            for field, op in zip(fields, ops, strict=True):
                field["kept"] = (index, op) in kept
            strongest = max(range(len(ops)), key=lambda k, row=row: -1.0 if math.isnan(row[k]) else row[k])
            edges.append(
                {
                    "name": name,
                    "fields": fields,
                    "strongest": f"{ops[strongest]} {row[strongest]:.2f}",
                    "paths": [_small_path([t[index][k] for t in past], peak) for k in range(len(ops))],
                }
            )
        cells.append({"title": cell_title(str(kind)), "edges": edges, "top": f"{top:.2f}", "peak": f"{peak:.2f}"})
    return cells


def operations(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Name, colours and dash of every operation of the latest row, for the legend and the style sheet."""
    ops = [str(op) for op in rows[-1].get("ops") or []] if rows else []
    looks = [(op, op_style(op), _DASH[line_dash(op, ops)]) for op in ops]
    return [{"name": op, "light": s.colour, "dark": s.on_dark, "dash": dash} for op, s, dash in looks]


def _by_name(row: Mapping[str, Any], kind: str, ops: list[str], edges: int) -> list[list[float]]:
    """[edges][ops] of an older row in the latest order of operations (staged searches drop some)."""
    then = [str(op) for op in row["ops"]]
    table = matrix(row["probabilities"].get(kind, [])[:edges], len(then)).tolist()
    table += [[math.nan] * len(then)] * (edges - len(table))
    return [[r[then.index(op)] if op in then else math.nan for op in ops] for r in table]


def _small_path(values: list[float], peak: float) -> str:
    """Points in a box of 100 x 48, left out where there is no value."""
    span = max(1, len(values) - 1)
    known = [(100 * i / span, 47 - 46 * v / peak) for i, v in enumerate(values) if not math.isnan(v)]
    if len(known) == 1:
        known = [(0.0, known[0][1]), (100.0, known[0][1])]
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in known)


def _kept(genotype: Any, kind: str, edges: int) -> set[tuple[int, str]]:
    """(row, operation) of the genotype's edges, when the rows are those of such a cell."""
    ends = look_of(genotype).edges(edges) if genotype is not None and kind in genotype.kinds else None
    if ends is None:
        return set()
    rows = {end: row for row, end in enumerate(ends)}
    links = genotype.links(kind)
    if any((link.source, link.target) not in rows for link in links):
        return set()
    return {(rows[link.source, link.target], link.op) for link in links}
