"""The DARTS cell space as 32 tokens: which two predecessors each node has and through which operations."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import KINDS, PRIMITIVES, Edge, Genotype
from paddle_darts.genotypes import genotype as read_genotype
from paddle_darts.networks import SupernetSpec, build_network
from paddle_darts.networks.supernet import SearchNetwork
from paddle_darts.networks.supernets import build_supernet
from paddle_darts.search_space.base import SEARCHSPACE, Arch, SearchSpaceBase
from paddle_darts.spaces.tokens import draw_integers, generator

#: What an edge may be; official derivations never choose ``none``.
OPS = tuple(op for op in PRIMITIVES if op != "none")
NODES = 4
#: Where the tokens of the nodes begin, and how many predecessors each of them has.
BLOCKS = tuple((4 * (cell * NODES + node), node + 2) for cell in range(len(KINDS)) for node in range(NODES))
CONCAT = tuple(range(2, NODES + 2))
INITIAL = "DARTS_PADDLE"


@SEARCHSPACE.register
class DartsCellSpace(SearchSpaceBase):
    """A normal and a reduction cell of four nodes; a node is (predecessor, operation, predecessor, operation).

    The normal cell's 16 tokens come first, then the reduction cell's. Node i has i + 2 predecessors, and there are
    seven operations. The two predecessors of a node differ: where tokens name one twice, `validate` moves the second
    one on to the next, so that every list in range means a cell. Networks are those of `paddle_darts.build_network`.
    Source: DARTS (arXiv 1806.09055).
    """

    def init_tokens(self, tokens: list[int] | None = None) -> list[int]:
        """The cell DARTS_PADDLE."""
        return self.genotype2tokens(INITIAL) if tokens is None else self.validate(tokens)

    def range_table(self) -> list[int]:
        return [high for _, predecessors in BLOCKS for high in (predecessors, len(OPS), predecessors, len(OPS))]

    def validate(self, tokens: Any) -> list[int]:
        """``tokens`` as a new list with all second predecessors different from the first ones.

        ConfigError (a ValueError) naming the position and range of a wrong token.
        """
        checked = super().validate(tokens)
        for begin, predecessors in BLOCKS:
            if checked[begin] == checked[begin + 2]:
                checked[begin + 2] = (checked[begin] + 1) % predecessors
        return checked

    def random_tokens(self, rng: Any = None) -> list[int]:
        """Tokens drawn uniformly from those that `validate` leaves alone."""
        highs = np.array(self.range_table())
        seconds = [begin + 2 for begin, _ in BLOCKS]
        highs[seconds] -= 1
        tokens = [int(token) for token in draw_integers(generator(rng), 0, highs)]
        for second in seconds:
            tokens[second] += tokens[second] >= tokens[second - 2]
        return tokens

    def size(self) -> int:
        """How many token lists `validate` leaves alone; a cell has several, one for each order of a node's inputs."""
        found = 1
        for _, predecessors in BLOCKS:
            found *= predecessors * (predecessors - 1) * len(OPS) ** 2
        return found

    def tokens2genotype(self, tokens: list[int]) -> Genotype:
        tokens = self.validate(tokens)
        edges = [Edge(OPS[op], source) for source, op in zip(tokens[::2], tokens[1::2], strict=True)]
        half = len(edges) // 2
        return Genotype(edges[:half], CONCAT, edges[half:], CONCAT)

    def genotype2tokens(self, genotype: Any) -> list[int]:
        found = _held(read_genotype(genotype))
        return [token for edge in found.normal + found.reduce for token in (edge.source, OPS.index(edge.op))]

    def token2arch(self, tokens: list[int] | None = None) -> Arch:
        """``arch(num_classes=10, **options)`` with the options of `paddle_darts.build_network`."""
        return partial(build_network, self.tokens2genotype(self.init_tokens(tokens)), **self.options)

    def super_net(self, **options: Any) -> SearchNetwork:
        """The supernet that mixes all operations; ``options`` are fields of `SupernetSpec`."""
        return build_supernet(SupernetSpec(**{**self.options, **options}))


def _held(genotype: Any) -> Genotype:
    """``genotype`` if tokens can stand for it; GenotypeError saying why not."""
    if not isinstance(genotype, Genotype) or genotype.sparse:
        raise GenotypeError(f"DartsCellSpace holds DARTS cells with two inputs per node, got {genotype}")
    for kind in KINDS:
        nodes = genotype.nodes(kind)
        if len(nodes) != NODES or sorted(genotype.outputs(kind)) != list(CONCAT):
            raise GenotypeError(
                f"DartsCellSpace: the {kind} cell must have {NODES} nodes, all joined to its output, "
                f"got {len(nodes)} nodes and the outputs {list(genotype.outputs(kind))}"
            )
        for number, (first, second) in enumerate(nodes):
            for edge in (first, second):
                if edge.op not in OPS:
                    raise GenotypeError(
                        f"DartsCellSpace has no {edge.op!r} ({kind} cell, node {number}); it has {', '.join(OPS)}"
                    )
            if first.source == second.source:
                raise GenotypeError(
                    f"DartsCellSpace: node {number} of the {kind} cell reads state {first.source} twice; "
                    "the two predecessors of a node differ"
                )
    return genotype
