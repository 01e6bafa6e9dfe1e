"""Layered drawing of a cell without Graphviz: networkx ranks it, matplotlib draws it.

The steps are those of Sugiyama, Tagawa and Toda (1981): rank the boxes, split long arrows into one point per
rank, order each rank by barycentres, spread the points, then draw a smooth curve through them. Ranks are
doubled, so that every arrow, also each of two parallel ones, owns a point between boxes for its label.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from paddle_darts.analysis.graph import CellGraph
from paddle_darts.analysis.palette import FAINT, INK, op_style

_COLUMN, _ROW = 1.18, 0.44  # inches between neighbouring half ranks, and between points of a rank
_BOX_HEIGHT = 0.36
_WIDTH = {"input": 0.76, "node": 0.46, "output": 0.66}
# matplotlib knows the CSS names only; these are the X11 colours of the boxes that CSS lacks.
_X11 = {"darkseagreen2": "#b4eeb4"}


@dataclass
class Layout:
    """``place``: point -> (x, y) in inches; ``chains``: the points of each arrow from source to target."""

    place: dict[Any, tuple[float, float]]
    chains: list[list[Any]]


def layered_layout(graph: CellGraph) -> Layout:
    """Place boxes and arrows of a cell in columns from left to right."""
    import networkx as nx

    skeleton = nx.DiGraph()
    skeleton.add_nodes_from(node.name for node in graph.nodes)
    skeleton.add_edges_from((arrow.source, arrow.target) for arrow in graph.arrows)
    rank = {n: 2 * r for r, layer in enumerate(nx.topological_generations(skeleton)) for n in layer}
    for node in graph.nodes:
        if node.role == "input":
            rank[node.name] = 0
        elif not skeleton.in_degree(node.name) and node.role == "node":
            rank[node.name] = 2  # a node that nothing feeds stands with the first ones, not with the inputs
    output = next(node.name for node in graph.nodes if node.role == "output")
    rank[output] = max(2, *(r + 2 for name, r in rank.items() if name != output))

    points = nx.Graph()
    for node in graph.nodes:
        points.add_node(node.name, layer=rank[node.name])
    chains = []
    for index, arrow in enumerate(graph.arrows):
        between = range(rank[arrow.source] + 1, rank[arrow.target])
        chain = [arrow.source, *((index, layer) for layer in between), arrow.target]
        points.add_nodes_from(((index, layer), {"layer": layer}) for layer in between)
        nx.add_path(points, chain, weight=arrow.weight)
        chains.append(chain)
    layers: dict[int, list[Any]] = {}
    for point, layer in points.nodes(data="layer"):
        layers.setdefault(layer, []).append(point)
    height = _spread(points, layers)
    return Layout({p: (points.nodes[p]["layer"] * _COLUMN, y) for p, y in height.items()}, chains)


def _spread(points: Any, layers: dict[int, list[Any]]) -> dict[Any, float]:
    """Heights of all points: barycentre sweeps for the order, then averaging with that order kept."""
    height = {p: -_ROW * i for layer in layers.values() for i, p in enumerate(layer)}
    rank = points.nodes(data="layer")
    best, fewest = dict(height), _crossings(points, height)
    for sweep in range(24):
        backwards = bool(sweep % 2)
        for layer in sorted(layers, reverse=backwards):
            ahead = layer + 1 if backwards else layer - 1
            near = {p: [q for q in points[p] if rank[q] == ahead] for p in layers[layer]}
            layers[layer].sort(key=lambda p: -height[p])
            height.update(_place(points, layers[layer], near, height, reorder=True))
        crossings = _crossings(points, height)
        if crossings < fewest:
            best, fewest = dict(height), crossings
    for layer in layers.values():
        layer.sort(key=lambda p: -best[p])
    for sweep in range(12):  # both neighbours pull now, which straightens long arrows
        for layer in sorted(layers, reverse=bool(sweep % 2)):
            near = {p: list(points[p]) for p in layers[layer]}
            best.update(_place(points, layers[layer], near, best, reorder=False))
    return best


def _place(
    points: Any, layer: list[Any], near: dict[Any, list[Any]], height: dict[Any, float], reorder: bool
) -> dict[Any, float]:
    """New heights of one rank: the weighted mean of each point's neighbours, then pushed apart if too close."""
    pull = {p: {q: points.edges[p, q]["weight"] for q in near[p]} for p in layer}
    wish = {
        p: sum(w * height[q] for q, w in pull[p].items()) / sum(pull[p].values()) if pull[p] else height[p]
        for p in layer
    }
    if reorder:
        layer.sort(key=lambda p: -wish[p])
    hold = {p: max(pull[p].values(), default=1) for p in layer}  # who yields least when a rank is spread
    centre = sum(hold[p] * wish[p] for p in layer) / sum(hold.values())
    for above, below in itertools.pairwise(layer):
        wish[below] = min(wish[below], wish[above] - _ROW)
    shift = centre - sum(hold[p] * wish[p] for p in layer) / sum(hold.values())
    return {p: wish[p] + shift for p in layer}


def _crossings(points: Any, height: dict[Any, float]) -> int:
    """How many pairs of arrow pieces cross between neighbouring ranks."""
    rank = points.nodes(data="layer")
    pieces: dict[int, list[tuple[float, float]]] = {}
    for a, b in points.edges:
        a, b = sorted((a, b), key=lambda p: rank[p])
        pieces.setdefault(rank[a], []).append((height[a], height[b]))
    pairs = (pair for group in pieces.values() for pair in itertools.combinations(group, 2))
    return sum((a0 - b0) * (a1 - b1) < 0 for (a0, a1), (b0, b1) in pairs)


def draw_layered(graph: CellGraph, caption: str | None = None) -> Any:
    """The cell as a ``matplotlib.figure.Figure`` of fitting size (no pyplot, safe in threads)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    layout = layered_layout(graph)
    xs, ys = zip(*layout.place.values(), strict=True)
    left, right = min(xs) - 0.55, max(xs) + 0.55
    low, high = min(ys) - (0.75 if caption else 0.4), max(ys) + 0.4
    figure = Figure(figsize=(right - left, high - low))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(low, high))
    axes.set_axis_off()

    role = {node.name: node.role for node in graph.nodes}
    for arrow, chain in zip(graph.arrows, layout.chains, strict=True):
        look = arrow.line if arrow.op is not None else None
        path = _smooth([layout.place[p] for p in chain], _WIDTH[role[arrow.source]], _WIDTH[role[arrow.target]])
        style = {"color": look.colour, "linewidth": look.width} if look else {"color": FAINT, "linewidth": 1.0}
        dashes = look.dash if look else "solid"
        patch = FancyArrowPatch(
            path=path, arrowstyle="-|>", mutation_scale=11, shrinkA=0, shrinkB=0, linestyle=dashes, **style
        )
        axes.add_patch(patch)
        if look:
            spots = chain[1:-1:2]
            x, y = layout.place[spots[(len(spots) - 1) // 2]]
            ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            ink = op_style(arrow.op).colour
            axes.text(x, y, arrow.op, color=ink, fontsize=9, ha="center", va="center", bbox=ground, zorder=4)
    for node in graph.nodes:
        x, y = layout.place[node.name]
        width = _WIDTH[node.role]
        corner, round_ = (x - width / 2, y - _BOX_HEIGHT / 2), "round,pad=0,rounding_size=0.06"
        fill = _X11.get(node.fill, node.fill)
        axes.add_patch(FancyBboxPatch(corner, width, _BOX_HEIGHT, round_, fc=fill, ec="#0006", lw=0.8, zorder=5))
        axes.text(x, y, node.name, color=INK, fontsize=11, ha="center", va="center", zorder=6)
    if caption:
        axes.text((left + right) / 2, low + 0.25, caption, color=INK, fontsize=11, ha="center", va="center")
    return figure


def _smooth(stations: list[tuple[float, float]], first_width: float, last_width: float) -> Any:
    """A curve between the sides of two boxes of these widths, level at its ends, through every station."""
    from matplotlib.path import Path as Curve

    (x_first, y_first), *between, (x_last, y_last) = stations
    stations = [(x_first + first_width / 2, y_first), *between, (x_last - last_width / 2, y_last)]
    slopes = [0.0] * len(stations)
    for i in range(1, len(stations) - 1):
        (x0, y0), (_, y), (x1, y1) = stations[i - 1 : i + 2]
        if (y - y0) * (y1 - y) > 0:  # a turning point stays level, so that the curve never overshoots
            slopes[i] = (y1 - y0) / (x1 - x0)
    vertices, codes = [stations[0]], [Curve.MOVETO]
    for i, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(stations)):
        third = (x1 - x0) / 2.6
        vertices += [(x0 + third, y0 + slopes[i] * third), (x1 - third, y1 - slopes[i + 1] * third), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    return Curve(vertices, codes)
