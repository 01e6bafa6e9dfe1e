"""Pictures of cells, drawn by Graphviz or, without it, by matplotlib."""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paddle_darts.analysis.graph import CellGraph, cell_graph
from paddle_darts.analysis.layered import draw_layered
from paddle_darts.analysis.palette import FAINT, INK, op_style
from paddle_darts.errors import ConfigError, unknown
from paddle_darts.io.files import write_atomic

log = logging.getLogger(__name__)

BACKENDS = ("auto", "dot", "networkx")
FORMATS = ("svg", "png")
DOT_TEXT = "dot"  # the source of the picture for Graphviz; writing it needs no program
_warned_no_dot = False


def draw_cell(
    genotype: Any,
    kind: str,
    path: str | Path,
    formats: Iterable[str] = FORMATS,
    caption: str | None = None,
    backend: str = "auto",
) -> list[Path]:
    """Draw one cell to ``path`` + ".svg" / ".png" (/ ".dot" on request) and return the files written.

    ``formats`` are names of `FORMATS`, or "dot" for the Graphviz text of the cell. ``backend`` is "dot" (Graphviz),
    "networkx" (no program needed) or "auto": Graphviz where its ``dot`` program is installed. Raises ConfigError for
    an unknown kind, format or backend.
    """
    formats = list(formats)
    for name in formats:
        if name not in (*FORMATS, DOT_TEXT):
            raise ConfigError(unknown("picture format", name, (*FORMATS, DOT_TEXT)))
    graph = cell_graph(genotype, kind)
    base = Path(path)
    draw = _with_dot if choose_backend(backend) == "dot" else _with_matplotlib
    return [_write(draw, graph, caption, base.with_name(f"{base.name}.{name}"), name) for name in formats]


def _write(draw: Any, graph: CellGraph, caption: str | None, target: Path, name: str) -> Path:
    if name == DOT_TEXT:
        return write_atomic(target, lambda part: part.write_text(dot_source(graph, caption).source, "utf-8"))
    return write_atomic(target, lambda part: part.write_bytes(draw(graph, caption, name)))


def _with_dot(graph: CellGraph, caption: str | None, name: str) -> bytes:
    # In SVG the unit is the point whatever the resolution; another one only cuts the picture off.
    return dot_source(graph, caption, dpi=144 if name == "png" else None).pipe(format=name)


def _with_matplotlib(graph: CellGraph, caption: str | None, name: str) -> bytes:
    buffer = io.BytesIO()
    draw_layered(graph, caption).savefig(buffer, format=name, dpi=144)
    return buffer.getvalue()


def render_cell(genotype: Any, kind: str, backend: str = "auto", dpi: int = 144) -> Any:
    """One cell on white as a PIL image in RGB."""
    from PIL import Image

    graph, buffer = cell_graph(genotype, kind), io.BytesIO()
    if choose_backend(backend) == "dot":
        buffer.write(dot_source(graph, dpi=dpi).pipe(format="png"))
    else:
        draw_layered(graph).savefig(buffer, format="png", dpi=dpi)
    buffer.seek(0)
    with Image.open(buffer) as opened:
        picture = opened.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def draw_genotype(
    genotype: Any,
    directory: str | Path,
    stem: str = "",
    backend: str = "auto",
    formats: Iterable[str] = FORMATS,
) -> list[Path]:
    """Draw every kind of cell: normal.svg, normal.png, reduce.svg, ... or cell.svg, cell.png.

    The names follow ``stem`` + "_" when given; ``formats`` and ``backend`` are those of :func:`draw_cell`.
    """
    formats, written = list(formats), []
    for kind in genotype.kinds:
        name = f"{stem}_{kind}" if stem else kind
        written += draw_cell(genotype, kind, Path(directory) / name, formats, backend=backend)
    return written


def choose_backend(backend: str = "auto") -> str:
    """ "dot" or "networkx"; "auto" falls back to the latter with one warning per process."""
    global _warned_no_dot
    if backend not in BACKENDS:
        raise ConfigError(unknown("drawing backend", backend, BACKENDS))
    if backend != "auto":
        return backend
    if shutil.which("dot"):
        return "dot"
    if not _warned_no_dot:
        log.warning("the Graphviz program 'dot' is not installed; cells are drawn with networkx and matplotlib")
        _warned_no_dot = True
    return "networkx"


def dot_source(graph: CellGraph, caption: str | None = None, dpi: int | None = None) -> Any:
    """The cell as a ``graphviz.Digraph`` (its ``.source`` is the DOT text and needs no program)."""
    import graphviz

    font = "Helvetica"
    digraph = graphviz.Digraph("cell")
    digraph.attr("graph", rankdir="LR", bgcolor="transparent", pad="0.15", nodesep="0.28", ranksep="0.45")
    digraph.attr("graph", fontname=font, fontsize="14", fontcolor=INK)
    if dpi:
        digraph.attr("graph", dpi=str(dpi))
    digraph.attr("node", shape="box", style="filled,rounded", color="#00000055", penwidth="1", height="0.42")
    digraph.attr("node", fontname=font, fontsize="15", fontcolor=INK, margin="0.14,0.06", width="0.5")
    digraph.attr("edge", fontname=font, fontsize="12.5", arrowsize="0.75")
    if caption:
        digraph.attr("graph", label=graphviz.escape(caption), labelloc="b")
    for node in graph.nodes:
        digraph.node(node.name, fillcolor=node.fill)
    for arrow in graph.arrows:
        if arrow.op is None:
            digraph.edge(arrow.source, arrow.target, color=FAINT, penwidth="1.1")
            continue
        look = arrow.line
        label = graphviz.escape(f" {arrow.op} ")
        digraph.edge(
            arrow.source,
            arrow.target,
            label=label,
            color=look.colour,
            fontcolor=op_style(arrow.op).colour,
            penwidth=str(look.width),
            style=look.dash,
            **({"weight": str(arrow.weight)} if arrow.weight > 1 else {}),
        )
    return digraph
