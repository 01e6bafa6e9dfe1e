"""What a picture of a cell shows: boxes and arrows, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paddle_darts.analysis.looks import look_of
from paddle_darts.analysis.palette import FAINT_LINE, INPUT_FILL, NODE_FILL, OUTPUT_FILL, OpStyle, op_style
from paddle_darts.errors import ConfigError, unknown

_ROW_WEIGHT = 20  # of the arrows between neighbours where the states stand in a row
_FILL = {"input": INPUT_FILL, "node": NODE_FILL, "output": OUTPUT_FILL}


@dataclass(frozen=True)
class Node:
    """A box of the picture; ``role`` is "input", "node" or "output"."""

    name: str
    role: str

    @property
    def fill(self) -> str:
        """Its X11 colour name, the same as in the official pictures."""
        return _FILL[self.role]


@dataclass(frozen=True)
class Arrow:
    """An arrow between two boxes; ``op`` is None for those that join a node to the cell's output.

    ``faint``: its line stands back, so that the other arrows are seen first. ``weight``: how strongly a layout keeps it
    short and straight.
    """

    source: str
    target: str
    op: str | None = None
    faint: bool = False
    weight: int = 1

    @property
    def line(self) -> OpStyle:
        """How the line of an arrow with an operation is drawn; the label has the operation's own colour."""
        return FAINT_LINE if self.faint else op_style(str(self.op))


@dataclass(frozen=True)
class CellGraph:
    """Boxes in drawing order and arrows in genotype order (parallel arrows are kept)."""

    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]


def cell_graph(genotype: Any, kind: str) -> CellGraph:
    """The graph of one cell of a genotype of any space.

    In a DARTS cell source 0 is ``c_{k-2}``, 1 is ``c_{k-1}``, state j is node j - 2; in a NAS-Bench-201 cell state 0 is
    ``c_in`` and the last one ``c_out``. Every operation is an arrow of its own, so two boxes may be joined by several.
    Unlike the official pictures, which join every node to the output, only the nodes of the concatenation are joined to
    ``c_{k}``: the others are no part of what the cell returns. Of a sparse cell is drawn what it computes: nodes
    without input, and edges that come from them, are left out. The six edges of a NAS-Bench-201 cell are all drawn,
    those with ``none`` faintly. Raises ConfigError for a kind that the genotype does not have.
    """
    if kind not in genotype.kinds:
        raise ConfigError(unknown("cell kind", kind, genotype.kinds))
    look = look_of(genotype)
    links = genotype.used_links(kind) if look.joined else genotype.links(kind)
    states = [*range(len(look.inputs)), *sorted({link.target for link in links})]
    names = look.state_names(states[-1] + 1)
    nodes = [Node(names[state], "input" if state < len(look.inputs) else "node") for state in states]
    arrows = [
        Arrow(
            names[link.source],
            names[link.target],
            link.op,
            faint=look.faint_none and link.op == "none",
            weight=1 if look.joined or link.target > link.source + 1 else _ROW_WEIGHT,
        )
        for link in links
    ]
    if not look.joined:
        return CellGraph((*nodes[:-1], Node(look.output, "output")), tuple(arrows))
    arrows += [Arrow(names[state], look.output) for state in genotype.outputs(kind)]
    return CellGraph((*nodes, Node(look.output, "output")), tuple(arrows))
