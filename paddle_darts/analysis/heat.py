"""Heat maps of architecture weights: as an array for a dashboard, as a picture for the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddle_darts.analysis.curves import labels_of, matrix
from paddle_darts.analysis.looks import cell_title
from paddle_darts.analysis.palette import FAINT, INK
from paddle_darts.io.files import write_atomic

# From white to deep blue with evenly falling lightness: the same in greyscale and for colour-blind eyes.
_STOPS = ("#ffffff", "#d6e6f4", "#8fc1e0", "#3f8fc5", "#135c9e", "#08306b")


def heatmap(
    probabilities: Sequence[Sequence[float | None]],
    edge_labels: Sequence[str],
    ops: Sequence[str],
    title: str = "",
) -> np.ndarray:
    """The architecture weights of one cell as a picture, uint8 RGB [H, W, 3].

    ``probabilities`` is [edges][ops]; None or NaN (a dropped operation) stays blank. The colour scale runs
    from 0 to the largest value; every field shows its number.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    table = matrix(probabilities, len(ops))
    edges = len(table)
    width, height = 1.7 + 0.72 * len(ops), 1.25 + 0.3 * edges
    figure = Figure(figsize=(width, height), facecolor="white", dpi=110)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((1.15 / width, 0.12 / height, 0.72 * len(ops) / width, 0.3 * edges / height))
    top = max(float(np.nanmax(table, initial=0.0)), 1e-9)
    colours = LinearSegmentedColormap.from_list("weights", _STOPS)
    axes.imshow(np.ma.masked_invalid(table), cmap=colours, vmin=0, vmax=top, aspect="auto")
    for (edge, k), value in np.ndenumerate(table):
        if np.isfinite(value):
            ink = "white" if value > 0.55 * top else INK
            axes.text(k, edge, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_yticks(range(edges), list(edge_labels), fontsize=8, color=INK)
    axes.set_xticks(range(len(ops)), list(ops), fontsize=8, color=INK, rotation=32, ha="left")
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.spines[:].set_color(FAINT)
    if title:
        figure.text(0.08 / width, 1 - 0.1 / height, title, fontsize=10, fontweight="bold", color=INK, va="top")
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def draw_probabilities(row: Mapping[str, Any], path: str | Path) -> list[Path]:
    """Write the heat maps of all cells of one row of ``alphas.jsonl`` below each other into one PNG."""
    from PIL import Image

    ops = list(row.get("ops") or [])
    tables = {kind: table for kind, table in (row.get("probabilities") or {}).items() if table}
    if not ops or not tables:
        return []
    maps = [
        heatmap(table, labels_of(row, kind, len(table)), ops, f"{cell_title(kind)}, epoch {row.get('epoch', '?')}")
        for kind, table in tables.items()
    ]
    sheet = Image.new("RGB", (max(m.shape[1] for m in maps), sum(m.shape[0] for m in maps)), "white")
    down = 0
    for picture in maps:
        sheet.paste(Image.fromarray(picture), (0, down))
        down += picture.shape[0]
    return [write_atomic(Path(path), lambda part: sheet.save(part))]
