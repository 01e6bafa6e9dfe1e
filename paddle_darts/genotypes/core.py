"""The genotype of a DARTS cell: an immutable value that is checked when it is made.

The two cells of a network are written as in the DARTS code base (quark0/darts, arXiv:1806.09055): a flat
list of ``(operation, source state)`` pairs, two per node. States 0 and 1 are the outputs of the two previous
cells, node i computes state i + 2. The order of the pairs is part of the model: it numbers the layers of a
checkpoint.
"""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
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
KINDS = ("normal", "reduce")
FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")

_KNOWN_OPS = PRIMITIVES + EVAL_ONLY_OPS


class Edge(NamedTuple):
    """One input of a node: the operation and the state that it reads."""

    op: str
    source: int


@dataclass(frozen=True)
class NetworkOptions:
    """What a cell needs besides its edges so that the network is built as its authors built it.

    ``aux_bn``: batch norm after the 768-channel convolution of the ImageNet auxiliary head; P-DARTS has it,
    DARTS and PC-DARTS do not. ``reductions``: positions of the reduction cells, None for those at one and two
    thirds of the depth.
    """

    aux_bn: bool = False
    reductions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.aux_bn, bool):
            raise GenotypeError(f"network option aux_bn must be true or false, got {self.aux_bn!r}")
        if self.reductions is not None:
            cells = tuple(_index(c, "network option reductions") for c in _items(self.reductions, "reductions"))
            if cells and (cells[0] < 0 or any(a >= b for a, b in pairwise(cells))):
                raise GenotypeError(f"network option reductions must be ascending cell positions, got {list(cells)}")
            object.__setattr__(self, "reductions", cells)

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> NetworkOptions:
        """Inverse of :meth:`to_dict`; a missing key keeps its default, an unknown one is an error."""
        if not isinstance(options, Mapping):
            raise GenotypeError(f"network options must be a mapping, got {_shown(options)}")
        known = [f.name for f in fields(cls)]
        for key in options:
            if key not in known:
                raise GenotypeError(unknown("network option", str(key)[:60], known))
        return cls(**options)


@dataclass(frozen=True)
class Genotype:
    """A normal and a reduction cell.

    ``normal`` and ``reduce`` take pairs ``(op, source)``, flat or grouped by node; ``normal_concat`` and
    ``reduce_concat`` the states that are joined to the output of the cell. Everything is kept as tuples. Two
    genotypes are equal when their cells are; ``network`` and ``name`` only travel along. Cells that no
    network can be built from raise `GenotypeError`.
    """

    normal: tuple[Edge, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Edge, ...]
    reduce_concat: tuple[int, ...]
    network: NetworkOptions = field(default=NetworkOptions(), compare=False)
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.network, NetworkOptions):
            raise GenotypeError(f"network must be NetworkOptions, got {_shown(self.network)}")
        for kind in KINDS:
            edges = _edges(kind, getattr(self, kind))
            object.__setattr__(self, kind, edges)
            concat = _concat(kind, getattr(self, f"{kind}_concat"), len(edges) // 2)
            object.__setattr__(self, f"{kind}_concat", concat)

    def nodes(self, kind: str) -> tuple[tuple[Edge, Edge], ...]:
        """The pairs of inputs of the ``kind`` ("normal" or "reduce") cell, one pair per node."""
        edges = self._cell(kind)
        return tuple(zip(edges[::2], edges[1::2], strict=True))

    @property
    def steps(self) -> int:
        """Number of nodes of the normal cell."""
        return len(self.normal) // 2

    @property
    def ops_used(self) -> tuple[str, ...]:
        """The operations that occur in either cell, in the order of `PRIMITIVES` and `EVAL_ONLY_OPS`."""
        used = {edge.op for edge in self.normal + self.reduce}
        return tuple(op for op in _KNOWN_OPS if op in used)

    @property
    def contains_none(self) -> bool:
        """Whether an edge carries ``none``, which official derivations never choose."""
        return "none" in self.ops_used

    def count(self, op: str, kind: str | None = None) -> int:
        """How many edges of one cell (of both when ``kind`` is None) carry ``op``."""
        if op not in _KNOWN_OPS:
            raise GenotypeError(unknown("operation", str(op), _KNOWN_OPS))
        edges = self.normal + self.reduce if kind is None else self._cell(kind)
        return sum(edge.op == op for edge in edges)

    def to_dict(self) -> dict[str, list]:
        """The cells as JSON values: ``{"normal": [["op", source], ...], "normal_concat": [...], ...}``."""
        return {key: [list(v) if isinstance(v, Edge) else v for v in getattr(self, key)] for key in FIELDS}

    @classmethod
    def from_dict(cls, cells: Mapping[str, Any], **kwargs: Any) -> Genotype:
        """Inverse of :meth:`to_dict`; edges may be grouped by node. ``kwargs``: ``network`` and ``name``."""
        if not isinstance(cells, Mapping):
            raise GenotypeError(f"a genotype must be a mapping with {', '.join(FIELDS)}; got {_shown(cells)}")
        for key in cells:
            if key not in FIELDS:
                raise GenotypeError(unknown("genotype field", str(key)[:60], FIELDS))
        missing = [key for key in FIELDS if key not in cells]
        if missing:
            raise GenotypeError(f"genotype without {', '.join(missing)}; it needs {', '.join(FIELDS)}")
        return cls(**cells, **kwargs)

    def __str__(self) -> str:
        """The literal that the official DARTS search prints."""
        return "Genotype({})".format(", ".join(f"{key}={self._literal(key)}" for key in FIELDS))

    def _literal(self, key: str) -> str:
        value = getattr(self, key)
        if key in KINDS:
            return repr([tuple(edge) for edge in value])
        return concat_literal(value)

    def _cell(self, kind: str) -> tuple[Edge, ...]:
        if kind not in KINDS:
            raise GenotypeError(unknown("cell kind", str(kind), KINDS))
        return getattr(self, kind)


def concat_literal(states: Sequence[int]) -> str:
    """``range(2, 6)`` where the states are consecutive, else a list."""
    first, stop = states[0], states[0] + len(states)
    return f"range({first}, {stop})" if list(states) == list(range(first, stop)) else repr(list(states))


def _edges(kind: str, value: Any) -> tuple[Edge, ...]:
    """Checked edges of one cell from pairs, flat or grouped by node."""
    items = _items(value, f"{kind} cell")
    if not items:
        raise GenotypeError(f"the {kind} cell has no edges; every node needs two")
    if not any(_is_pair(item) for item in items):
        nodes = [_items(node, f"{kind} cell, node {i}") for i, node in enumerate(items)]
        for i, node in enumerate(nodes):
            if len(node) != 2:
                raise GenotypeError(f"{kind} cell, node {i}: a node has two edges, got {len(node)} ({_shown(node)})")
        items = [edge for node in nodes for edge in node]
    if len(items) % 2:
        raise GenotypeError(f"the {kind} cell has {len(items)} edges; it needs an even number, two per node")
    return tuple(_edge(f"{kind} cell, node {k // 2}, edge {k % 2}", k // 2, item) for k, item in enumerate(items))


def _edge(where: str, node: int, item: Any) -> Edge:
    """One checked edge into ``node``."""
    if not _is_pair(item):
        raise GenotypeError(f"{where}: expected a pair (operation, source state), got {_shown(item)}")
    op, source = str(item[0]), _index(item[1], f"{where}: the source state")
    if op not in _KNOWN_OPS:
        raise GenotypeError(f"{where}: {unknown('operation', op[:60], _KNOWN_OPS)}")
    if not 0 <= source < node + 2:
        raise GenotypeError(
            f"{where}: source state {source} is not available; node {node} reads states 0 to {node + 1}"
        )
    return Edge(op, source)


def _concat(kind: str, value: Any, nodes: int) -> tuple[int, ...]:
    """Checked states of one cell's output; any state may be joined, inputs included, each once."""
    where = f"{kind}_concat"
    states = tuple(_index(state, where) for state in _items(value, where))
    if not states:
        raise GenotypeError(f"{where} is empty; name the states that make up the output, such as range(2, {nodes + 2})")
    for state in states:
        if not 0 <= state < nodes + 2:
            raise GenotypeError(f"{where}: no state {state}; a cell of {nodes} nodes has states 0 to {nodes + 1}")
    if len(set(states)) < len(states):
        raise GenotypeError(f"{where} names a state twice: {_shown(states)}")
    return states


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str)


def _items(value: Any, where: str) -> list:
    if isinstance(value, (list, tuple, range)):
        return list(value)
    raise GenotypeError(f"{where}: expected a list, got {_shown(value)}")


def _index(value: Any, where: str) -> int:
    """``value`` as int; NumPy integers count, booleans and floats do not."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise GenotypeError(f"{where} must be an integer, got {_shown(value)}")


def _shown(value: Any) -> str:
    """A representation short enough for an error message."""
    return reprlib.repr(value)
