"""What a picture of a cell shows: boxes and arrows, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paddle_darts.analysis.palette import INPUT_FILL, NODE_FILL, OUTPUT_FILL
from paddle_darts.errors import ConfigError, unknown

KINDS = ("normal", "reduce")
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

    Pair K of the genotype's list feeds node K // 2; source 0 is ``c_{k-2}``, 1 is ``c_{k-1}``, j is node
    j - 2. Unlike the official pictures, which join every node to the output, only the nodes of the
    concatenation are joined to ``c_{k}``: the others are no part of what the cell returns.
    Raises ConfigError for a kind other than "normal" and "reduce".
    """
    if kind not in KINDS:
        raise ConfigError(unknown("cell kind", kind, KINDS))
    edges = getattr(genotype, kind)
    concat = getattr(genotype, f"{kind}_concat")
    inputs = ("c_{k-2}", "c_{k-1}")
    steps = max([(len(edges) + 1) // 2, *(state - 1 for state in concat)])
    state_names = [*inputs, *(str(node) for node in range(steps))]
    nodes = [Node(name, "input") for name in inputs]
    nodes += [Node(name, "node") for name in state_names[2:]]
    arrows = [Arrow(state_names[j], str(k // 2), op) for k, (op, j) in enumerate(edges)]
    arrows += [Arrow(state_names[state], "c_{k}") for state in concat]
    return CellGraph((*nodes, Node("c_{k}", "output")), tuple(arrows))
