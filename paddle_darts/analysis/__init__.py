"""Looking at results: pictures of cells, plots and animation of a search, the report of a run.

Nothing here needs PaddlePaddle, and matplotlib is loaded only when something is drawn.
"""

from paddle_darts.analysis.cells import dot_source, draw_cell, draw_genotype, render_cell
from paddle_darts.analysis.curves import draw_arch_weights, draw_curves, edge_labels
from paddle_darts.analysis.gif import gif_from_run, search_gif
from paddle_darts.analysis.graph import CellGraph, cell_graph
from paddle_darts.analysis.heat import draw_probabilities, heatmap
from paddle_darts.analysis.plots import refresh_plots
from paddle_darts.analysis.report import write_report

__all__ = [
    "CellGraph",
    "cell_graph",
    "dot_source",
    "draw_arch_weights",
    "draw_cell",
    "draw_curves",
    "draw_genotype",
    "draw_probabilities",
    "edge_labels",
    "gif_from_run",
    "heatmap",
    "refresh_plots",
    "render_cell",
    "search_gif",
    "write_report",
]
