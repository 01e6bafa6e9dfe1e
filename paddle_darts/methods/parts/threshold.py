"""FairDARTS: cells by thresholds, and the zero-one losses (arXiv 1911.12126; xiaomi-automl/FairDARTS).

Strengths are tables [edges, ops] of independent sigmoids. Cells by threshold are lists of (op, target, source): a
node may have no input, one or several per edge. `none` never counts, though FairDARTS' own space does not have it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError, GenotypeError, unknown
from paddle_darts.genotypes import Genotype, NasBench201Genotype
from paddle_darts.methods.parts.derivation import (
    Strengths,
    best_on_every_edge,
    darts_genotype,
    node_rows,
    output_states,
    top_two_per_node,
    without_none,
)

Pair = tuple[str, int]
Triple = tuple[str, int, int]

log = logging.getLogger(__name__)


def strongest_triples(strengths: np.ndarray, primitives: tuple[str, ...], steps: int) -> list[Triple]:
    """The edges of DARTS' derivation with their targets: the two strongest of every node, by falling strength."""
    edges = top_two_per_node(strengths, primitives, steps)
    return [(edge.op, 2 + k // 2, edge.source) for k, edge in enumerate(edges)]


def threshold_sparse(
    strengths: np.ndarray, primitives: tuple[str, ...], steps: int, threshold: float = 0.85
) -> list[Triple]:
    """Of the two strongest edges of every node those whose best op reaches ``threshold``; may be empty."""
    reaches = without_none(strengths, primitives).max(axis=1) >= threshold
    rows = node_rows(steps)
    triples = strongest_triples(strengths, primitives, steps)
    return [(op, target, source) for op, target, source in triples if reaches[rows[target - 2][source]]]


def threshold_edge(
    strengths: np.ndarray, primitives: tuple[str, ...], steps: int, threshold: float = 0.85
) -> list[Triple]:
    """Of every edge the two strongest ops, the weaker first, where they reach ``threshold``; may be empty.

    Edges in the order of their rows; between equal ops the larger columns count and come in column order.
    """
    considered = without_none(strengths, primitives)
    pairs = considered.argsort(axis=1, kind="stable")[:, -2:]
    reaches = considered >= threshold
    return [
        (primitives[column], 2 + node, source)
        for node, rows in enumerate(node_rows(steps))
        for source, row in enumerate(rows)
        for column in pairs[row]
        if reaches[row, column]
    ]


THRESHOLD_METHODS: dict[str, Callable[..., list[Triple]]] = {
    "threshold_sparse": threshold_sparse,
    "threshold_edge": threshold_edge,
}
PARSE_METHODS = ("darts", *THRESHOLD_METHODS)


def parse_cell(
    strengths: np.ndarray,
    primitives: tuple[str, ...],
    steps: int,
    parse_method: str = "threshold_sparse",
    threshold: float = 0.85,
) -> list[Pair] | list[Triple]:
    """The edges of one cell by a rule of ``PARSE_METHODS``: pairs for "darts" (no threshold), else triples."""
    if parse_method == "darts":
        return [tuple(edge) for edge in top_two_per_node(strengths, primitives, steps)]
    if parse_method not in THRESHOLD_METHODS:
        raise ConfigError(unknown("parse method", parse_method, PARSE_METHODS))
    return THRESHOLD_METHODS[parse_method](strengths, primitives, steps, threshold)


def dead_cell(kind: str, edges: list[Triple], highest: float, threshold: float) -> str:
    """Why a cell has no use, for messages."""
    cell = "reduction" if kind == "reduce" else kind
    if edges:
        return f"no operation on an edge from the inputs reaches the threshold {threshold:g} in the {cell} cell"
    return f"no operation reaches the threshold {threshold:g} in the {cell} cell (highest: {highest:.4g})"


def threshold_genotype(
    strengths: Strengths,
    primitives: tuple[str, ...],
    steps: int,
    multiplier: int,
    parse_method: str = "threshold_sparse",
    threshold: float = 0.85,
    fallback: str | None = None,
) -> Genotype:
    """The genotype of both cell kinds by a rule of ``PARSE_METHODS``.

    ``multiplier`` counts for "darts" only; the output of a cell by threshold is made of all its nodes. A cell without
    an edge from its inputs raises GenotypeError, or with ``fallback="darts"`` takes the edges of DARTS' rule, with a
    warning (the official program crashes later).
    """
    if fallback not in (None, "darts"):
        raise ConfigError(unknown("fallback", str(fallback), ("darts",)))
    if parse_method == "darts":
        return darts_genotype(strengths, primitives, steps, multiplier)
    kinds = ("normal", "reduce")
    cells = {kind: parse_cell(strengths[kind], primitives, steps, parse_method, threshold) for kind in kinds}
    for kind, edges in cells.items():
        if any(source < 2 for _, _, source in edges):
            continue
        message = dead_cell(kind, edges, without_none(strengths[kind], primitives).max(), threshold)
        if fallback is None:
            raise GenotypeError(f"{message}; lower it, or let the cell fall back to the rule 'darts'")
        log.warning("%s; its edges are those of the rule 'darts'", message)
        cells[kind] = strongest_triples(strengths[kind], primitives, steps)
    concat = output_states(steps, steps)
    return Genotype(tuple(cells["normal"]), concat, tuple(cells["reduce"]), concat)


def threshold_cell(
    strengths: Strengths,
    primitives: tuple[str, ...],
    parse_method: str = "threshold_sparse",
    threshold: float = 0.85,
    fallback: str | None = None,
) -> NasBench201Genotype:
    """The genotype of a space that has one operation on every edge: the strongest, or `none` below ``threshold``.

    There is no official program for such a space; both rules with a threshold are the same there, and "darts" has
    none. A cell without a way from its input to its output raises GenotypeError, or with ``fallback="darts"`` takes the
    strongest operations, with a warning.
    """
    if fallback not in (None, "darts"):
        raise ConfigError(unknown("fallback", str(fallback), ("darts",)))
    strongest = best_on_every_edge(strengths, primitives)
    if parse_method == "darts":
        return strongest
    if parse_method not in THRESHOLD_METHODS:
        raise ConfigError(unknown("parse method", parse_method, PARSE_METHODS))
    (table,) = strengths.values()
    reaches = table.max(axis=1) >= threshold
    ops = [op if on else "none" for op, on in zip(strongest.ops, reaches, strict=True)]
    found = NasBench201Genotype(tuple(ops))
    if found.valid:
        return found
    message = f"the operations that reach the threshold {threshold:g} make no way through the cell"
    if fallback is None:
        raise GenotypeError(
            f"{message} (highest: {table.max():.4g}); lower it, or let it fall back to the rule 'darts'"
        )
    log.warning("%s; it takes the strongest operation on every edge", message)
    return strongest


ZERO_ONE_LOSSES: dict[str, Callable[[paddle.Tensor], paddle.Tensor]] = {
    "l1": lambda distance: -distance.abs().mean(),
    "l2": lambda distance: -distance.square().mean(),
}


def zero_one_loss(alphas: Iterable[paddle.Tensor], form: str = "l2") -> paddle.Tensor:
    """How undecided the sigmoids of ``alphas`` are, 0-D: minus the mean distance to 1/2 over all entries together.

    "l2" squares the distance (range -1/4 to 0), "l1" takes its size (-1/2 to 0). FairDARTS adds ten times this to the
    cross entropy. At alpha = 0 the gradient is 0 in both forms.
    """
    if form not in ZERO_ONE_LOSSES:
        raise ConfigError(unknown("zero-one loss", form, ZERO_ONE_LOSSES))
    entries = paddle.concat([F.sigmoid(alpha).flatten() for alpha in alphas])
    return ZERO_ONE_LOSSES[form](entries - 0.5)
