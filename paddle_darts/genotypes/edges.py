"""Edges of a cell: the two notations that are published, checked, and one view of both.

A *pair* ``(operation, source)`` belongs to a cell in which every node has two inputs: pairs 2i and 2i+1 feed node i.
A *triple* ``(operation, target, source)`` names the node itself; such a cell is *sparse*: a node may have any number
of inputs, several operations may join the same two states, and nodes may be missing. States 0 and 1 are the outputs
of the two previous cells, node i computes state i + 2.
"""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from paddle_darts.errors import GenotypeError, unknown

# The order is significant: it is the column of alpha and it breaks ties.
PRIMITIVES = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
# Only evaluation networks know these; hand-crafted and evolved cells (NASNet, AmoebaNet) use them.
EVAL_ONLY_OPS = ("sep_conv_7x7", "conv_7x1_1x7")
KNOWN_OPS = PRIMITIVES + EVAL_ONLY_OPS


class Edge(NamedTuple):
    """One of the two inputs of a node: the operation and the state that it reads."""

    op: str
    source: int


class TargetEdge(NamedTuple):
    """One input of the node that computes the state ``target``: the operation and the state that it reads."""

    op: str
    target: int
    source: int


class Link(NamedTuple):
    """An edge of either notation: ``op`` reads the state ``source`` and adds to the state ``target``."""

    op: str
    source: int
    target: int


def links_of(edges: Sequence[Edge] | Sequence[TargetEdge]) -> tuple[Link, ...]:
    """The edges of a cell with their targets, in the order of the genotype."""
    return tuple(
        Link(edge.op, edge.source, edge.target if isinstance(edge, TargetEdge) else 2 + k // 2)
        for k, edge in enumerate(edges)
    )


def used_links(links: Iterable[Link]) -> tuple[Link, ...]:
    """The links that something flows through, node by node in the order in which the nodes are computed.

    Nodes are computed in the order in which they first appear as a target. A link whose source does not exist by
    then adds nothing; a node that nothing is added to does not exist either.
    """
    into: dict[int, list[Link]] = {}
    for link in links:
        into.setdefault(link.target, []).append(link)
    known, used = {0, 1}, []
    for target, candidates in into.items():
        fed = [link for link in candidates if link.source in known]
        if fed:
            known.add(target)
            used += fed
    return tuple(used)


def checked_edges(kind: str, value: Any) -> tuple[Edge, ...] | tuple[TargetEdge, ...]:
    """Checked edges of the ``kind`` cell from pairs (flat, or grouped by node) or from triples.

    The length of the first edge tells which. Raises `GenotypeError` naming the edge that does not fit.
    """
    items = as_list(value, f"{kind} cell")
    if not items:
        raise GenotypeError(f"the {kind} cell has no edges, so nothing can be built from it")
    lengths = [len(item) for item in items if _is_edge(item)]
    return _triples(kind, items) if lengths[:1] == [3] else _pairs(kind, items, nested=not lengths)


def _pairs(kind: str, items: list, nested: bool) -> tuple[Edge, ...]:
    if nested:
        nodes = [as_list(node, f"{kind} cell, node {i}") for i, node in enumerate(items)]
        for i, node in enumerate(nodes):
            if len(node) != 2:
                raise GenotypeError(f"{kind} cell, node {i}: a node has two edges, got {len(node)} ({shown(node)})")
        items = [edge for node in nodes for edge in node]
    if len(items) % 2:
        raise GenotypeError(f"the {kind} cell has {len(items)} edges; it needs an even number, two per node")
    return tuple(_pair(f"{kind} cell, node {k // 2}, edge {k % 2}", k // 2, item) for k, item in enumerate(items))


def _pair(where: str, node: int, item: Any) -> Edge:
    """One checked edge into ``node``."""
    if not _is_edge(item) or len(item) != 2:
        raise GenotypeError(f"{where}: expected a pair (operation, source state), got {shown(item)}")
    source = as_index(item[1], f"{where}: the source state")
    op = _known_op(where, item[0])
    if not 0 <= source < node + 2:
        raise GenotypeError(
            f"{where}: source state {source} is not available; node {node} reads states 0 to {node + 1}"
        )
    return Edge(op, source)


def _triples(kind: str, items: list) -> tuple[TargetEdge, ...]:
    edges = tuple(_triple(f"{kind} cell, edge {k}", item) for k, item in enumerate(items))
    if not used_links(links_of(edges)):
        raise GenotypeError(
            f"the {kind} cell is not connected to its inputs: no edge leads from state 0 or 1 to a node"
        )
    return edges


def _triple(where: str, item: Any) -> TargetEdge:
    if not _is_edge(item) or len(item) != 3:
        raise GenotypeError(f"{where}: expected a triple (operation, target state, source state), got {shown(item)}")
    target, source = (
        as_index(v, f"{where}: the {w} state") for v, w in zip(item[1:], ("target", "source"), strict=True)
    )
    op = _known_op(where, item[0])
    if target < 2:
        raise GenotypeError(f"{where}: target state {target} is an input of the cell; nodes begin with state 2")
    if not 0 <= source < target:
        raise GenotypeError(f"{where}: source state {source} is not available; state {target} reads 0 to {target - 1}")
    return TargetEdge(op, target, source)


def checked_concat(kind: str, value: Any, states: int | None) -> tuple[int, ...]:
    """Checked states of one cell's output; any state may be joined, inputs included, each once.

    ``states`` is how many there are; None in sparse cells, where the field is written but decides nothing.
    """
    where = f"{kind}_concat"
    joined = tuple(as_index(state, where) for state in as_list(value, where))
    if not joined:
        raise GenotypeError(
            f"{where} is empty; name the states that make up the output, such as range(2, {states or 6})"
        )
    for state in joined:
        if state < 0:
            raise GenotypeError(f"{where}: no state {state}; states are numbered from 0")
        if states is not None and state >= states:
            raise GenotypeError(f"{where}: no state {state}; a cell of {states - 2} nodes has states 0 to {states - 1}")
    if len(set(joined)) < len(joined):
        raise GenotypeError(f"{where} names a state twice: {shown(joined)}")
    return joined


def _known_op(where: str, value: str) -> str:
    op = str(value)
    if op not in KNOWN_OPS:
        raise GenotypeError(f"{where}: {unknown('operation', op[:60], KNOWN_OPS)}")
    return op


def _is_edge(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) in (2, 3) and isinstance(item[0], str)


def as_list(value: Any, where: str) -> list:
    """``value`` as a list; text and mappings are none."""
    if isinstance(value, (list, tuple, range)):
        return list(value)
    raise GenotypeError(f"{where}: expected a list, got {shown(value)}")


def as_index(value: Any, where: str) -> int:
    """``value`` as int; NumPy integers count, booleans and floats do not."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise GenotypeError(f"{where} must be an integer, got {shown(value)}")


def shown(value: Any) -> str:
    """A representation short enough for an error message."""
    return reprlib.repr(value)
