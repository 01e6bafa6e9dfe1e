"""What pictures must know about the cells of a space; the one place where spaces look different."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paddle_darts.genotypes import GENOTYPES


@dataclass(frozen=True)
class CellLook:
    """How the states of a cell are named and how the cell ends.

    ``inputs`` are the names of the states that come from outside, ``output`` is the name of what the cell returns, and
    ``first`` is the number that the first node goes by. ``joined``: the output joins several states (an arrow from
    each), and is no state itself; else the last state is the output, and the states stand in a row. ``faint_none``:
    ``none`` is an ordinary choice here, drawn faintly so that the edges that carry something stand out.
    """

    inputs: tuple[str, ...]
    output: str
    first: int
    joined: bool
    faint_none: bool

    def state_names(self, states: int) -> list[str]:
        """Names of the states 0 to ``states`` - 1."""
        nodes = [str(self.first + node) for node in range(states - len(self.inputs))]
        if nodes and not self.joined:
            nodes[-1] = self.output
        return [*self.inputs, *nodes]

    def edges(self, rows: int) -> list[tuple[int, int]] | None:
        """(source, target) of each row of an architecture matrix; None when ``rows`` fill no whole number of nodes."""
        found: list[tuple[int, int]] = []
        target = len(self.inputs)
        while len(found) < rows:
            found += [(source, target) for source in range(target)]
            target += 1
        return found if len(found) == rows else None


#: The look of the cells of each search space.
LOOKS = {
    "darts": CellLook(("c_{k-2}", "c_{k-1}"), "c_{k}", first=0, joined=True, faint_none=False),
    "nas_bench_201": CellLook(("c_in",), "c_out", first=1, joined=False, faint_none=True),
}
#: Every kind of cell of any space.
ALL_KINDS = tuple(dict.fromkeys(kind for genotype in GENOTYPES.values() for kind in genotype.kinds))
_TITLES = {"cell": "cell"}
_ROLES = {
    "normal": "keeps the resolution",
    "reduce": "halves the resolution",
    "cell": "keeps the resolution; residual blocks between the groups halve it",
}


def look_of(genotype: Any) -> CellLook:
    """The look of a genotype's cells."""
    return LOOKS[genotype.space]


def cell_title(kind: str) -> str:
    """A kind of cells in words: "normal cell", and only "cell" where there is one kind."""
    return _TITLES.get(kind, f"{kind} cell")


def cell_role(kind: str) -> str:
    """What a kind of cells does in the network, or an empty text."""
    return _ROLES.get(kind, "")


def edge_labels(count: int) -> list[str]:
    """Names of the ``count`` rows of an architecture matrix, as the pictures name the states.

    2 + 3 + ... rows are those of a cell with two inputs (``c_{k-2} → 0``), 1 + 2 + ... rows those of a cell with one
    (``c_in → 1``); no count fits both. For other counts the rows are only numbered.
    """
    for look in LOOKS.values():
        edges = look.edges(count)
        if edges:
            names = look.state_names(edges[-1][1] + 1)
            return [f"{names[source]} → {names[target]}" for source, target in edges]
    return [f"edge {row}" for row in range(count)]
