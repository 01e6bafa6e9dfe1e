"""Which cells of NAS-Bench-201 compute the same."""

from __future__ import annotations

import functools

from paddle_darts.analysis.nats.universe import UNIVERSES
from paddle_darts.genotypes import NasBench201Genotype


@functools.cache
def _classes() -> dict[str, tuple[int, ...]]:
    """Indices by unique text."""
    classes: dict[str, list[int]] = {}
    for index, arch in enumerate(UNIVERSES["tss"].architectures()):
        classes.setdefault(NasBench201Genotype.parse(arch).unique, []).append(index)
    return {unique: tuple(indices) for unique, indices in classes.items()}


def unique_count() -> int:
    """How many of the 15,625 cells are different by `NasBench201Genotype.unique`: 6,466, as in arXiv 2001.00326.

    The published text keeps a mark for every nothing that is added, so that some cells that compute the same count
    as different; a count without these marks would be lower.
    """
    return len(_classes())


def isomorphic(cell: NasBench201Genotype) -> tuple[int, ...]:
    """The benchmark's indices, ascending, of all cells with the unique text of ``cell``, itself included."""
    return _classes()[cell.unique]
