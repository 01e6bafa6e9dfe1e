"""The NAS-Bench-201 topology space as six tokens."""

from __future__ import annotations

from functools import partial
from typing import Any

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import genotype as read_genotype
from paddle_darts.genotypes.nas_bench_201 import EDGES, OPS, NasBench201Genotype
from paddle_darts.networks import DEFAULT_SIZES, SupernetSpec, build_network
from paddle_darts.networks.supernet import SearchNetwork
from paddle_darts.networks.supernets import build_supernet
from paddle_darts.search_space.base import SEARCHSPACE, Arch, SearchSpaceBase

#: The benchmark's own size, also of the supernet.
SIZE = DEFAULT_SIZES["nas_bench_201"]._asdict()


@SEARCHSPACE.register
class NB201Space(SearchSpaceBase):
    """Token i is the operation of edge i, a number of ``OPS`` = none, skip_connect, 1x1, 3x3 convolution, pooling.

    The edges in order: 0-1, 0-2, 1-2, 0-3, 1-3, 2-3. All 15,625 token lists are valid, also those of cells that
    nothing passes through. Networks have 16 channels and 17 layers unless ``options`` say otherwise.
    Source: NAS-Bench-201 (arXiv 2001.00326).
    """

    def init_tokens(self, tokens: list[int] | None = None) -> list[int]:
        """3x3 convolutions everywhere."""
        return [OPS.index("nor_conv_3x3")] * len(EDGES) if tokens is None else self.validate(tokens)

    def range_table(self) -> list[int]:
        return [len(OPS)] * len(EDGES)

    def tokens2genotype(self, tokens: list[int]) -> NasBench201Genotype:
        return NasBench201Genotype(tuple(OPS[token] for token in self.validate(tokens)))

    def genotype2tokens(self, genotype: Any) -> list[int]:
        found = read_genotype(genotype)
        if not isinstance(found, NasBench201Genotype):
            raise GenotypeError(f"NB201Space holds NAS-Bench-201 cells, got {found}")
        return [OPS.index(op) for op in found.ops]

    def token2arch(self, tokens: list[int] | None = None) -> Arch:
        """``arch(num_classes=10, **options)`` with the options of `paddle_darts.build_network`."""
        return partial(build_network, self.tokens2genotype(self.init_tokens(tokens)), **self.options)

    def super_net(self, **options: Any) -> SearchNetwork:
        """The supernet that mixes all operations; ``options`` are fields of `SupernetSpec`."""
        return build_supernet(SupernetSpec(space="nas_bench_201", **{**SIZE, **self.options, **options}))
