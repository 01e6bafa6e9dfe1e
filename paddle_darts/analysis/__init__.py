"""Looking at results: pictures of cells, plots and animation of a search, the report of a run, benchmark tables.

Pictures and reports need no PaddlePaddle, and matplotlib is loaded only when something is drawn. The tables know the
search space with its layers, which load Paddle: their names are imported at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from paddle_darts.analysis.cells import dot_source, draw_cell, draw_genotype, render_cell
from paddle_darts.analysis.curves import draw_arch_weights, draw_curves, draw_true_accuracy
from paddle_darts.analysis.gif import gif_from_run, search_gif
from paddle_darts.analysis.graph import CellGraph, cell_graph
from paddle_darts.analysis.heat import draw_probabilities, heatmap
from paddle_darts.analysis.looks import CellLook, edge_labels, look_of
from paddle_darts.analysis.plots import refresh_plots
from paddle_darts.analysis.report import write_report

if TYPE_CHECKING:
    from paddle_darts.analysis.nats import NATSBench, NatsTable, read_table, true_accuracy, write_table

__all__ = [
    "CellGraph",
    "CellLook",
    "NATSBench",
    "NatsTable",
    "cell_graph",
    "dot_source",
    "draw_arch_weights",
    "draw_cell",
    "draw_curves",
    "draw_genotype",
    "draw_probabilities",
    "draw_true_accuracy",
    "edge_labels",
    "gif_from_run",
    "heatmap",
    "look_of",
    "read_table",
    "refresh_plots",
    "render_cell",
    "search_gif",
    "true_accuracy",
    "write_report",
    "write_table",
]

_TABLES = ("NATSBench", "NatsTable", "read_table", "true_accuracy", "write_table")


def __getattr__(name: str) -> Any:
    if name in _TABLES:
        return getattr(importlib.import_module("paddle_darts.analysis.nats"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
