"""The genotype of the NAS-Bench-201 topology space: one operation on each of six edges.

A cell has four nodes; node 0 is its input, node 3 its output, and every node reads all nodes before it. In text, from
node 1 to node 3: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``. Source: NAS-Bench-201 (arXiv 2001.00326;
D-X-Y/AutoDL-Projects, xautodl/models/cell_searchs/genotypes.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paddle_darts.errors import GenotypeError, unknown
from paddle_darts.genotypes.edges import Link, as_list, shown
from paddle_darts.genotypes.options import NetworkOptions

#: The order is significant: it is the column of alpha and counts in the benchmark's index.
OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
#: (target, source) of each edge: the rows of alpha, and the order of the text form.
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
KIND = "cell"

#: A cell among other text, which may have bars and pluses of its own.
_NODE = r"\|(?:[^|+~\s]+~[0-9]\|)+"
_CELL = re.compile(rf"{_NODE}(?:\s*\+\s*{_NODE}){{2}}")


@dataclass(frozen=True)
class NasBench201Genotype:
    """A cell of the NAS-Bench-201 topology space.

    ``ops`` are the operations of `EDGES`. Two genotypes are equal when their operations are; ``network`` and ``name``
    only travel along. Operations that the space does not have raise `GenotypeError`.
    """

    ops: tuple[str, ...]
    network: NetworkOptions = field(default=NetworkOptions(), compare=False)
    name: str | None = field(default=None, compare=False)

    #: The search space, as documents name it.
    space = "nas_bench_201"
    #: The kinds of cells of a network.
    kinds = (KIND,)
    #: States of a cell that come from outside.
    inputs = 1

    def __post_init__(self) -> None:
        ops = tuple(str(op) for op in as_list(self.ops, "a NAS-Bench-201 cell"))
        if len(ops) != len(EDGES):
            raise GenotypeError(f"a NAS-Bench-201 cell has {len(EDGES)} operations, got {len(ops)}: {shown(ops)}")
        for (target, source), op in zip(EDGES, ops, strict=True):
            if op not in OPS:
                raise GenotypeError(f"edge {source} to {target}: {unknown('operation', op[:60], OPS)}")
        object.__setattr__(self, "ops", ops)

    # ---- what it says
    def links(self, kind: str = KIND) -> tuple[Link, ...]:
        """The edges with source and target, in the order of `EDGES`."""
        self._check(kind)
        return tuple(Link(op, source, target) for op, (target, source) in zip(self.ops, EDGES, strict=True))

    def count(self, op: str, kind: str | None = None) -> int:
        """How many edges carry ``op``."""
        self._check(kind or KIND)
        if op not in OPS:
            raise GenotypeError(unknown("operation", str(op), OPS))
        return self.ops.count(op)

    @property
    def ops_used(self) -> tuple[str, ...]:
        """The operations that occur, in the order of `OPS`."""
        return tuple(op for op in OPS if op in self.ops)

    @property
    def contains_none(self) -> bool:
        """Whether an edge carries ``none``, which this space may choose like any other operation."""
        return "none" in self.ops

    @property
    def valid(self) -> bool:
        """Whether anything of the cell's input reaches its output."""
        reached = {0}
        for target in (1, 2, 3):
            if any(link.target == target and link.op != "none" and link.source in reached for link in self.links()):
                reached.add(target)
        return 3 in reached

    @property
    def unique(self) -> str:
        """A text that is equal only for cells that compute the same; there are 6,466 of them in the space.

        A node is the sorted sum of what its edges give: nothing ("#"), the source itself (a skip), or an operation on
        it. Source: the benchmark's check of isomorphism, with zeros considered. As there, a sum of nothings ("#+#") is
        not taken for nothing, nor "#" left out of a sum, so that some cells that compute the same differ.
        """
        nodes = ["0"]
        for target in (1, 2, 3):
            parts = [_part(link.op, nodes[link.source]) for link in self.links() if link.target == target]
            nodes.append("+".join(sorted(parts)))
        return nodes[-1]

    # ---- texts and JSON
    def __str__(self) -> str:
        nodes = [
            "".join(f"|{link.op}~{link.source}" for link in self.links() if link.target == t) + "|" for t in (1, 2, 3)
        ]
        return "+".join(nodes)

    @classmethod
    def parse(cls, text: str, **kwargs: Any) -> NasBench201Genotype:
        """The inverse of ``str``; edges of a node may stand in any order, and those left out are ``none``.

        ``kwargs``: ``network`` and ``name``. `GenotypeError` naming the node and the edge that is wrong.
        """
        nodes = [node.strip() for node in text.strip().split("+")]
        if len(nodes) != 3:
            raise GenotypeError(f"a NAS-Bench-201 cell has three nodes joined by '+', got {len(nodes)}: {shown(text)}")
        found = {edge: op for number, node in enumerate(nodes, start=1) for edge, op in _node(number, node)}
        return cls(tuple(found.get(edge, "none") for edge in EDGES), **kwargs)

    @classmethod
    def find(cls, text: str) -> NasBench201Genotype | None:
        """The only or last cell in a text such as a log; None if there is none."""
        cells = _CELL.findall(text)
        return cls.parse(cells[-1]) if cells else None

    def to_dict(self) -> dict[str, Any]:
        """The cell as a JSON value: ``{"arch": text}``."""
        return {"arch": str(self)}

    @classmethod
    def from_dict(cls, cells: Mapping[str, Any], **kwargs: Any) -> NasBench201Genotype:
        """Inverse of :meth:`to_dict`. ``kwargs``: ``network`` and ``name``."""
        if not isinstance(cells, Mapping) or set(cells) != {"arch"} or not isinstance(cells["arch"], str):
            raise GenotypeError(f"a NAS-Bench-201 genotype is {{'arch': text}}, got {shown(cells)}")
        return cls.parse(cells["arch"], **kwargs)

    def _check(self, kind: str) -> None:
        if kind != KIND:
            raise GenotypeError(unknown("cell kind", str(kind), self.kinds))


def _part(op: str, source: str) -> str:
    """What an edge adds to a node of the unique text."""
    if op == "none" or source == "#":
        return "#"
    return source if op == "skip_connect" else f"({source})@{op}"


def _node(number: int, text: str) -> Iterable[tuple[tuple[int, int], str]]:
    """The edges ((target, source), op) of one node's text ``|op~source|...|``."""
    if len(text) < 2 or text[0] != "|" or text[-1] != "|":
        raise GenotypeError(f"node {number}: expected |operation~source|...|, got {shown(text)}")
    seen = set()
    for part in text[1:-1].split("|"):
        op, mark, source = part.strip().partition("~")
        if not mark or not re.fullmatch(r"[0-9]", source):
            raise GenotypeError(f"node {number}: expected operation~source, got {shown(part)}")
        edge = (number, int(source))
        if edge not in EDGES:
            raise GenotypeError(f"node {number}: it reads the nodes 0 to {number - 1}, got source {source}")
        if edge in seen:
            raise GenotypeError(f"node {number}: the source {source} stands twice")
        seen.add(edge)
        yield edge, op
