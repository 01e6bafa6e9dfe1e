"""From architecture weights to a genotype: the rule of each space, and a limit of skip connections for any rule.

A table of strengths is an array [edges, ops]; row = offset(node) + source, column = position in the primitives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import AnyGenotype, Edge, Genotype, Link, NasBench201Genotype
from paddle_darts.networks.spec import SupernetSpec
from paddle_darts.spaces import DARTS

Strengths = Mapping[str, np.ndarray]
Derivation = Callable[[Strengths], AnyGenotype]

SKIP = "skip_connect"


def node_rows(steps: int) -> list[range]:
    """The rows of the edges into each node of a DARTS cell: 0-1, 2-4, 5-8, ..."""
    return DARTS.node_rows(steps)


def output_states(steps: int, multiplier: int) -> tuple[int, ...]:
    """The states of the last ``multiplier`` nodes, which form the output of a cell."""
    return tuple(range(2 + steps - multiplier, steps + 2))


def without_none(strengths: np.ndarray, primitives: tuple[str, ...], value: float = -np.inf) -> np.ndarray:
    """A copy of the table in which `none` has ``value`` on every edge; equal to the table in a space without it."""
    considered = strengths.copy()
    if "none" in primitives:
        considered[:, primitives.index("none")] = value
    return considered


def top_two_per_node(
    strengths: np.ndarray, primitives: tuple[str, ...], steps: int, *, none_counts: bool = False
) -> list[Edge]:
    """The two strongest edges of every node, each with its strongest op; `none` never counts unless told.

    ``strengths`` [edges, ops] float32 are softmax probabilities (times edge weights where a method has them). Edges
    are emitted by decreasing strength; ties go to the smaller source, ties between ops to the smaller column.
    Source: quark0/darts, Network.genotype.
    """
    considered = strengths if none_counts else without_none(strengths, primitives)
    best_op, strength = considered.argmax(axis=1), considered.max(axis=1)
    chosen = []
    for rows in node_rows(steps):
        strongest = sorted(rows, key=lambda row: -strength[row])[:2]
        chosen += [Edge(primitives[best_op[row]], row - rows[0]) for row in strongest]
    return chosen


def darts_genotype(strengths: Strengths, primitives: tuple[str, ...], steps: int, multiplier: int) -> Genotype:
    """The genotype of both cell kinds; the last ``multiplier`` nodes form the output."""
    concat = output_states(steps, multiplier)
    return Genotype(
        normal=tuple(top_two_per_node(strengths["normal"], primitives, steps)),
        normal_concat=concat,
        reduce=tuple(top_two_per_node(strengths["reduce"], primitives, steps)),
        reduce_concat=concat,
    )


def best_on_every_edge(strengths: Strengths, primitives: tuple[str, ...]) -> NasBench201Genotype:
    """The NAS-Bench-201 cell of the strongest operations, `none` like any other; ties go to the smaller column.

    Source: D-X-Y/AutoDL-Projects, xautodl/models/cell_searchs/search_model_darts.py.
    """
    (table,) = strengths.values()
    return NasBench201Genotype(tuple(primitives[column] for column in table.argmax(axis=1)))


def genotype_of(strengths: Strengths, spec: SupernetSpec) -> AnyGenotype:
    """The genotype by the common rule of the space of ``spec``."""
    if spec.every_edge:
        return best_on_every_edge(strengths, spec.primitives)
    return darts_genotype(strengths, spec.primitives, spec.steps, spec.multiplier)


def edge_row(link: Link, inputs: int = 2) -> int:
    """The row of the table that an edge of a genotype came from; its cell has so many ``inputs``."""
    node = link.target - inputs
    return node * inputs + node * (node - 1) // 2 + link.source


def fewer_skips(derive: Derivation, strengths: Strengths, primitives: tuple[str, ...]) -> Iterator[AnyGenotype]:
    """The derived genotype, then one for each skip connection of the normal (or the only) cell that is taken away.

    Every round sets the strength of the weakest chosen skip (ties: the smallest row) to 0 and derives again; zeros
    stay. The edge falls back to its next best op or loses its place to another edge, which may be a skip itself, so
    the number of skips need not fall in every round. Ends when no chosen skip has a strength above 0. ``strengths``
    must not be negative; they are left as they are.
    """
    current = {kind: table.copy() for kind, table in strengths.items()}
    while True:
        genotype = derive(current)
        yield genotype
        main = genotype.kinds[0]
        rows = sorted(edge_row(link, genotype.inputs) for link in genotype.links(main) if link.op == SKIP)
        skips = {row: current[main][row, primitives.index(SKIP)] for row in rows}
        reducible = [row for row in rows if skips[row] > 0]
        if not reducible:
            return
        current[main][min(reducible, key=skips.__getitem__), primitives.index(SKIP)] = 0


def genotypes_by_skip_limit(
    derive: Derivation, strengths: Strengths, limits: Iterable[int], primitives: tuple[str, ...]
) -> dict[int, AnyGenotype]:
    """For every limit the first genotype of :func:`fewer_skips` whose normal cell keeps to it, by falling limit.

    Limits that cannot be kept are left out. ConfigError for a limit below 0.
    """
    wanted = sorted(set(limits), reverse=True)
    if wanted and wanted[-1] < 0:
        raise ConfigError(f"a limit of skip connections must be 0 or more, got {wanted[-1]}")
    found: dict[int, AnyGenotype] = {}
    for genotype in fewer_skips(derive, strengths, primitives):
        skips = genotype.count(SKIP, genotype.kinds[0])
        while wanted and skips <= wanted[0]:
            found[wanted.pop(0)] = genotype
        if not wanted:
            break
    return found


def limit_skips(derive: Derivation, strengths: Strengths, max_skips: int, primitives: tuple[str, ...]) -> AnyGenotype:
    """The genotype by ``derive`` with at most ``max_skips`` skip connections in the normal (or the only) cell.

    ``strengths`` maps kinds of cells to tables [edges, ops] without negative values, ``derive`` is any method's
    derivation from such tables. A genotype that keeps to the limit is returned as it is; else see
    :func:`fewer_skips`. The reduction cell is not restricted.

    Raises ConfigError for a limit below 0, GenotypeError when the operations left have no strength.
    Source: chenxin061/pdarts, which does this for its own derivation; with other derivations it is ours.
    """
    found = genotypes_by_skip_limit(derive, strengths, (max_skips,), primitives)
    if max_skips not in found:
        raise GenotypeError(
            f"the normal cell cannot keep to {max_skips} skip connections: the other operations of its edges have "
            "strength 0; allow more"
        )
    return found[max_skips]
