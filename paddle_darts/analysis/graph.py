"""What a picture of a cell shows: boxes and arrows, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paddle_darts.analysis.palette import INPUT_FILL, NODE_FILL, OUTPUT_FILL
from paddle_darts.errors import ConfigError, unknown
from paddle_darts.genotypes import KINDS

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
    """An arrow between two boxes; ``op`` is None for those that join a node to the cell's output."""

    source: str
    target: str
    op: str | None = None


@dataclass(frozen=True)
class CellGraph:
    """Boxes in drawing order and arrows in genotype order (parallel arrows are kept)."""

    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]


def cell_graph(genotype: Any, kind: str) -> CellGraph:
    """The graph of one cell of a two-cell genotype.

    Source 0 is ``c_{k-2}``, 1 is ``c_{k-1}``, state j is node j - 2; every operation is an arrow of its own, so two
    boxes may be joined by several. Unlike the official pictures, which join every node to the output, only the
    nodes of the concatenation are joined to ``c_{k}``: the others are no part of what the cell returns. Of a sparse
    cell is drawn what it computes: nodes without input, and edges that come from them, are left out.
    Raises ConfigError for a kind other than "normal" and "reduce".
    """
    if kind not in KINDS:
        raise ConfigError(unknown("cell kind", kind, KINDS))
    links, outputs = genotype.used_links(kind), genotype.outputs(kind)
    names = {0: "c_{k-2}", 1: "c_{k-1}"}
    names |= {state: str(state - 2) for state in sorted(genotype.computed(kind))}
    nodes = [Node(name, "input" if state < 2 else "node") for state, name in names.items()]
    arrows = [Arrow(names[link.source], names[link.target], link.op) for link in links]
    arrows += [Arrow(names[state], "c_{k}") for state in outputs]
    return CellGraph((*nodes, Node("c_{k}", "output")), tuple(arrows))
