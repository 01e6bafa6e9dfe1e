"""The decisions of P-DARTS as pure functions (arXiv 1904.12760; chenxin061/pdarts: train_search.py).

Which operations an edge still has is a table of *switches*, bool [edges, ops], one per cell kind. Probabilities are
tables [edges, ops] with zeros where an operation is off, so that a column means the same in all stages; official
arrays [edges, ON ops] become such tables by :func:`spread`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import AnyGenotype, Edge, Genotype, NetworkOptions
from paddle_darts.methods.parts.derivation import (
    Derivation,
    Strengths,
    best_on_every_edge,
    genotypes_by_skip_limit,
    limit_skips,
    node_rows,
    output_states,
    top_two_per_node,
    without_none,
)
from paddle_darts.networks.spec import SupernetSpec

Switches = Mapping[str, np.ndarray]
NETWORK = NetworkOptions(aux_bn=True)  # the evaluation network of the authors
log = logging.getLogger(__name__)


def spread(values: np.ndarray, switches: np.ndarray) -> np.ndarray:
    """``values`` [edges, ON ops] as a table [edges, ops], zero where ``switches`` are off.

    A table [edges, ops] is accepted too; its entries that are off become zero. ConfigError for other shapes.
    """
    on = switches.sum(axis=1)
    if values.shape == switches.shape:
        return np.where(switches, values, values.dtype.type(0))
    if values.ndim != 2 or len(values) != len(switches) or (on != values.shape[1]).any():
        raise ConfigError(
            f"values of shape {list(values.shape)} do not fit switches {list(switches.shape)} "
            f"with {on.min()} to {on.max()} operations on per edge"
        )
    table = np.zeros(switches.shape, values.dtype)
    table[switches] = values.ravel()
    return table


def on_probabilities(alphas: np.ndarray, switches: np.ndarray) -> np.ndarray:
    """Softmax of every edge over the operations that are on, float32 [edges, ops], zero where off.

    ``alphas`` [edges, ON ops] or [edges, ops]. The terms are added one by one in the order of the columns, as the
    official program does for few operations: decisions compare edges for equality, so the last bit counts.
    """
    table = spread(np.asarray(alphas, dtype=np.float32), switches)
    table[~switches] = -np.inf
    powers = np.exp(table - table.max(axis=1, keepdims=True))
    return powers / np.add.accumulate(powers, axis=1)[:, -1:]


def drop_weakest(probabilities: np.ndarray, switches: np.ndarray, count: int) -> np.ndarray:
    """Switches after ``count`` more operations of every edge are off: the least probable, ties from the left.

    `none` is an operation like any other. The end of every stage but the last. ConfigError if an edge would lose
    all its operations.
    """
    fewest = int(switches.sum(axis=1).min())
    if not 0 <= count < fewest:
        raise ConfigError(f"an edge has {fewest} operations on; 0 to {fewest - 1} of them can be dropped, got {count}")
    weakest = np.where(switches, probabilities, np.inf).argsort(axis=1, kind="stable")[:, :count]
    left = switches.copy()
    np.put_along_axis(left, weakest, False, axis=1)
    return left


def keep_one(probabilities: np.ndarray, switches: np.ndarray, primitives: tuple[str, ...]) -> np.ndarray:
    """Switches with one operation per edge: `none` goes first, then the least probable, ties from the left.

    The end of the last stage. ``probabilities`` of `none` have no influence; an edge that has nothing else keeps it.
    """
    eligible = switches.copy()
    if "none" in primitives:
        others = switches.sum(axis=1) > switches[:, primitives.index("none")]
        eligible[others, primitives.index("none")] = False
    masked = np.where(eligible, probabilities, -np.inf)
    last_best = masked.shape[1] - 1 - masked[:, ::-1].argmax(axis=1)  # whoever is dropped last survives
    left = np.zeros_like(switches)
    left[np.arange(len(left)), last_best] = True
    return left


def progressive_edges(
    probabilities: np.ndarray, switches: np.ndarray, primitives: tuple[str, ...], steps: int
) -> list[Edge]:
    """The edges of one cell: two rows per node in increasing order, each with its last operation.

    An edge is as strong as its most probable operation other than `none`; nothing is normalised anew, so a probable
    `none` makes an edge weak. Ties go to the larger source, unlike in DARTS.
    """
    operation = keep_one(probabilities, switches, primitives).argmax(axis=1)
    strength = without_none(np.where(switches, probabilities, 0), primitives, value=0).max(axis=1)
    kept = []
    for rows in node_rows(steps):
        strongest = sorted(rows, key=strength.__getitem__)[-2:]
        kept += [Edge(primitives[operation[row]], row - rows[0]) for row in sorted(strongest)]
    return kept


def progressive_genotype(
    strengths: Strengths, switches: Switches, primitives: tuple[str, ...], steps: int, multiplier: int
) -> Genotype:
    """The genotype after the last stage, before skip connections are restricted.

    ``strengths``: probabilities [edges, ops] of the last stage by cell kind, ``switches``: what was on in that stage.
    """
    concat = output_states(steps, multiplier)
    normal, reduce = (progressive_edges(strengths[k], switches[k], primitives, steps) for k in ("normal", "reduce"))
    return Genotype(tuple(normal), concat, tuple(reduce), concat, network=NETWORK)


def restricted_genotype(
    strengths: Strengths, switches: Switches, primitives: tuple[str, ...], steps: int, multiplier: int, max_skips: int
) -> Genotype:
    """:func:`progressive_genotype` with at most ``max_skips`` skip connections in the normal cell (the authors: 2).

    GenotypeError where the official program would not end: every other operation of the edges has probability 0.
    """
    derive = partial(progressive_genotype, switches=switches, primitives=primitives, steps=steps, multiplier=multiplier)
    return limit_skips(derive, strengths, max_skips, primitives)


def restricted_genotypes(
    derive: Derivation, strengths: Strengths, limits: Iterable[int], primitives: tuple[str, ...]
) -> dict[int, AnyGenotype]:
    """The genotypes by ``derive`` for all ``limits`` of skip connections, by limit.

    Limits above the number of skips have the unrestricted genotype; limits that cannot be kept are left out with a
    warning.
    """
    found = genotypes_by_skip_limit(derive, strengths, limits, primitives)
    lowest = min(found)
    if lowest:
        log.warning(
            "no genotype with less than %d skip connections: the other operations of their edges have probability 0",
            lowest,
        )
    return found


def derivation(spec: SupernetSpec, switches: Switches, with_none: bool = False) -> Derivation:
    """The rule of the last stage in the space of ``spec`` with the candidates ``switches`` left.

    Where a genotype has one operation on every edge, each takes its most probable one, `none` like any other: there
    is no official program for such a space.
    """
    if spec.every_edge:
        return partial(_best_that_is_on, switches=switches, primitives=spec.primitives)
    rule = with_none_genotype if with_none else progressive_genotype
    return partial(rule, switches=switches, primitives=spec.primitives, steps=spec.steps, multiplier=spec.multiplier)


def _best_that_is_on(strengths: Strengths, switches: Switches, primitives: tuple[str, ...]) -> AnyGenotype:
    return best_on_every_edge({k: np.where(switches[k], table, -1.0) for k, table in strengths.items()}, primitives)


def with_none_genotype(
    strengths: Strengths, switches: Switches, primitives: tuple[str, ...], steps: int, multiplier: int
) -> Genotype:
    """The genotype when `none` counts like any other operation, the two strongest edges of a node first to last.

    Our reading of published cells that contain `none`; there is no official program. Ties as in DARTS. Warns when
    `none` is chosen: such a cell has fewer connections than it lists.
    """
    concat = output_states(steps, multiplier)
    tables = {kind: np.where(switches[kind], table, -np.inf) for kind, table in strengths.items()}
    normal, reduce = (top_two_per_node(tables[k], primitives, steps, none_counts=True) for k in ("normal", "reduce"))
    genotype = Genotype(tuple(normal), concat, tuple(reduce), concat, network=NETWORK)
    if genotype.contains_none:
        log.warning("the derived cells contain 'none' %d times; these edges are empty", genotype.count("none"))
    return genotype


def skip_dropout(rate: float, epoch: int, epochs: int, warm_up_epochs: int, decay: float = 0.2) -> float:
    """Dropout probability after stride-1 skip connections in ``epoch`` (from 0) of a stage with initial ``rate``.

    Falls linearly while only weights learn, towards 0 at ``epochs``; jumps back to ``rate`` when the architecture
    starts to learn at ``warm_up_epochs``, and from there falls by the factor exp(-``decay``) per epoch.
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"the initial dropout of a stage must be at least 0 and below 1, got {rate}")
    if epoch < warm_up_epochs:
        return rate * (epochs - epoch - 1) / epochs
    return rate * math.exp(-(epoch - warm_up_epochs) * decay)
