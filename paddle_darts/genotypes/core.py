"""The genotype of a cell network: an immutable value that is checked when it is made.

The two cells of a network are written as in the DARTS code base (quark0/darts, arXiv:1806.09055): a flat list of
``(operation, source state)`` pairs, two per node. The order of the pairs is part of the model: it numbers the layers
of a checkpoint. FairDARTS (xiaomi-automl/FairDARTS, arXiv:1911.12126) writes ``(operation, target, source)`` instead,
for cells whose nodes may have any number of inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paddle_darts.errors import GenotypeError, unknown
from paddle_darts.genotypes.edges import (
    EVAL_ONLY_OPS,
    KNOWN_OPS,
    PRIMITIVES,
    Edge,
    Link,
    TargetEdge,
    checked_concat,
    checked_edges,
    links_of,
    shown,
    used_links,
)
from paddle_darts.genotypes.options import NetworkOptions

__all__ = ["EVAL_ONLY_OPS", "FIELDS", "KINDS", "PRIMITIVES", "Edge", "Genotype", "NetworkOptions", "concat_literal"]

KINDS = ("normal", "reduce")
FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")


@dataclass(frozen=True)
class Genotype:
    """A normal and a reduction cell.

    ``normal`` and ``reduce`` take pairs ``(op, source)``, flat or grouped by node, or both of them triples ``(op,
    target, source)``; the length of the edges tells which. ``normal_concat`` and ``reduce_concat`` are the states
    that are joined to the output of the cell; cells of triples join every node that they compute, and only carry
    the field. Everything is kept as tuples. Two genotypes are equal when their cells are; ``network`` and ``name``
    only travel along. Cells that no network can be built from raise `GenotypeError`.
    """

    normal: tuple[Edge, ...] | tuple[TargetEdge, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Edge, ...] | tuple[TargetEdge, ...]
    reduce_concat: tuple[int, ...]
    network: NetworkOptions = field(default=NetworkOptions(), compare=False)
    name: str | None = field(default=None, compare=False)

    #: The search space, as documents name it.
    space = "darts"
    #: The kinds of cells of a network.
    kinds = KINDS
    #: States of a cell that come from outside.
    inputs = 2

    def __post_init__(self) -> None:
        if not isinstance(self.network, NetworkOptions):
            raise GenotypeError(f"network must be NetworkOptions, got {shown(self.network)}")
        for kind in KINDS:
            object.__setattr__(self, kind, checked_edges(kind, getattr(self, kind)))
        if type(self.normal[0]) is not type(self.reduce[0]):
            found = {kind: "triples" if isinstance(getattr(self, kind)[0], TargetEdge) else "pairs" for kind in KINDS}
            raise GenotypeError(
                f"the normal cell has {found['normal']}, the reduce cell {found['reduce']}; "
                "write both with pairs (operation, source) or both with triples (operation, target, source)"
            )
        for kind in KINDS:
            states = None if self.sparse else len(self._cell(kind)) // 2 + 2
            concat = checked_concat(kind, getattr(self, f"{kind}_concat"), states)
            object.__setattr__(self, f"{kind}_concat", concat)

    @property
    def sparse(self) -> bool:
        """Whether the edges name their targets, so that nodes may have any number of inputs or be missing."""
        return isinstance(self.normal[0], TargetEdge)

    def links(self, kind: str) -> tuple[Link, ...]:
        """All edges of the ``kind`` ("normal" or "reduce") cell with source and target, in genotype order."""
        return links_of(self._cell(kind))

    def used_links(self, kind: str) -> tuple[Link, ...]:
        """The links that something flows through, node by node in the order of computation.

        In a cell of pairs these are all. In a sparse cell a link is in vain when nothing computes its source.
        """
        return used_links(self.links(kind))

    def computed(self, kind: str) -> tuple[int, ...]:
        """The states that the cell's nodes compute, in the order of computation."""
        return tuple(dict.fromkeys(link.target for link in self.used_links(kind)))

    def outputs(self, kind: str) -> tuple[int, ...]:
        """The states that are joined to the cell's output; sparse cells join all that they compute."""
        return self.computed(kind) if self.sparse else getattr(self, f"{kind}_concat")

    def nodes(self, kind: str) -> tuple[tuple[Edge, Edge], ...]:
        """The pairs of inputs of one cell, one pair per node; `GenotypeError` for a sparse one, which has none."""
        edges = self._cell(kind)
        if self.sparse:
            raise GenotypeError("the nodes of a sparse cell have no pairs of inputs; read its links instead")
        return tuple(zip(edges[::2], edges[1::2], strict=True))

    @property
    def steps(self) -> int:
        """Number of nodes of the normal cell, up to the last one that is named."""
        if self.sparse:
            return max(*(edge.target for edge in self.normal), *self.normal_concat) - 1
        return len(self.normal) // 2

    @property
    def ops_used(self) -> tuple[str, ...]:
        """The operations that occur in either cell, in the order of `PRIMITIVES` and `EVAL_ONLY_OPS`."""
        used = {edge.op for edge in self.normal + self.reduce}
        return tuple(op for op in KNOWN_OPS if op in used)

    @property
    def contains_none(self) -> bool:
        """Whether an edge carries ``none``, which official derivations never choose."""
        return "none" in self.ops_used

    def count(self, op: str, kind: str | None = None) -> int:
        """How many edges of one cell (of both when ``kind`` is None) carry ``op``."""
        if op not in KNOWN_OPS:
            raise GenotypeError(unknown("operation", str(op), KNOWN_OPS))
        edges = self.normal + self.reduce if kind is None else self._cell(kind)
        return sum(edge.op == op for edge in edges)

    def to_dict(self) -> dict[str, list]:
        """The cells as JSON values: ``{"normal": [["op", source], ...], "normal_concat": [...], ...}``.

        Edges of sparse cells are ``["op", target, source]``.
        """
        return {key: [list(v) if isinstance(v, tuple) else v for v in getattr(self, key)] for key in FIELDS}

    @classmethod
    def from_dict(cls, cells: Mapping[str, Any], **kwargs: Any) -> Genotype:
        """Inverse of :meth:`to_dict`; pairs may be grouped by node. ``kwargs``: ``network`` and ``name``."""
        if not isinstance(cells, Mapping):
            raise GenotypeError(f"a genotype must be a mapping with {', '.join(FIELDS)}; got {shown(cells)}")
        for key in cells:
            if key not in FIELDS:
                raise GenotypeError(unknown("genotype field", str(key)[:60], FIELDS))
        missing = [key for key in FIELDS if key not in cells]
        if missing:
            raise GenotypeError(f"genotype without {', '.join(missing)}; it needs {', '.join(FIELDS)}")
        return cls(**cells, **kwargs)

    def __str__(self) -> str:
        """The literal that the official search prints."""
        return "Genotype({})".format(", ".join(f"{key}={self._literal(key)}" for key in FIELDS))

    def _literal(self, key: str) -> str:
        value = getattr(self, key)
        if key in KINDS:
            return repr([tuple(edge) for edge in value])
        return concat_literal(value)

    def _cell(self, kind: str) -> tuple[Any, ...]:
        if kind not in KINDS:
            raise GenotypeError(unknown("cell kind", str(kind), KINDS))
        return getattr(self, kind)


def concat_literal(states: Sequence[int]) -> str:
    """``range(2, 6)`` where the states are consecutive, else a list."""
    first, stop = states[0], states[0] + len(states)
    return f"range({first}, {stop})" if list(states) == list(range(first, stop)) else repr(list(states))
