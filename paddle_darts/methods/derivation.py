"""From architecture weights to a genotype."""

from __future__ import annotations

import numpy as np

from paddle_darts.genotypes import Edge, Genotype


def top_two_per_node(strengths: np.ndarray, primitives: tuple[str, ...], steps: int) -> list[Edge]:
    """The two strongest edges of every node, each with its strongest op; `none` never counts.

    ``strengths`` [edges, ops] float32 are softmax probabilities (times edge weights where a method has them). Edges
    are emitted by decreasing strength; ties go to the smaller source, ties between ops to the smaller column.
    Source: quark0/darts, Network.genotype.
    """
    considered = strengths.copy()
    if "none" in primitives:
        considered[:, primitives.index("none")] = -np.inf
    best_op, strength = considered.argmax(axis=1), considered.max(axis=1)
    chosen, start = [], 0
    for node in range(steps):
        rows = range(start, start + node + 2)
        strongest = sorted(rows, key=lambda row: -strength[row])[:2]
        chosen += [Edge(primitives[best_op[row]], row - start) for row in strongest]
        start += node + 2
    return chosen


def darts_genotype(
    strengths: dict[str, np.ndarray], primitives: tuple[str, ...], steps: int, multiplier: int
) -> Genotype:
    """The genotype of both cell kinds; the last ``multiplier`` nodes form the output."""
    concat = tuple(range(2 + steps - multiplier, steps + 2))
    return Genotype(
        normal=tuple(top_two_per_node(strengths["normal"], primitives, steps)),
        normal_concat=concat,
        reduce=tuple(top_two_per_node(strengths["reduce"], primitives, steps)),
        reduce_concat=concat,
    )
