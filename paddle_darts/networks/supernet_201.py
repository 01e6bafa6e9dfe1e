"""The supernet of the NAS-Bench-201 space: three groups of cells with residual blocks between them.

Source: NAS-Bench-201 (arXiv 2001.00326; D-X-Y/AutoDL-Projects, xautodl/models/cell_searchs/search_model_darts.py;
parameter names included). Deviation: candidates' convolutions have no bias, see :mod:`paddle_darts.nn.nas_bench_201`.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes.nas_bench_201 import KIND
from paddle_darts.networks import fused
from paddle_darts.networks.evaluation_201 import Reduction
from paddle_darts.networks.mix import CellMix
from paddle_darts.networks.search_cell import SearchCell
from paddle_darts.networks.spec import SupernetSpec
from paddle_darts.networks.stems import cifar_stem, global_pool
from paddle_darts.networks.supernet import NextCell, SearchNetwork
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import BatchNorm, linear
from paddle_darts.spaces.nas_bench_201 import GROUPS, cells_per_group


class NasBench201Cell(SearchCell):
    """A cell whose nodes 0 to 3 all read all nodes before them; node 0 is the input, node 3 the output."""

    def __init__(self, spec: SupernetSpec, channels: int) -> None:
        super().__init__(spec, KIND, channels)
        names = [f"{node + 1}<-{source}" for node, source in self.wiring]
        self.edges = nn.LayerDict(dict(zip(names, self._built_candidates(spec, KIND), strict=True)))

    @property
    def candidates(self) -> list[nn.LayerList]:
        return list(self.edges.values())

    @property
    def preprocess(self) -> list[nn.Layer | None]:
        return [None]

    def forward(self, x: paddle.Tensor, mix: CellMix, drop_prob: float, source: RandomSource) -> paddle.Tensor:
        """The output [B, C, H, W] for the cell's input; see :meth:`mixed`."""
        return self.mixed((x,), mix, drop_prob, source)


class NasBench201Supernet(SearchNetwork):
    """The search network of the NAS-Bench-201 space.

    ``cells`` are searched ones and, between the groups, residual blocks that double the channels and halve the map.
    """

    def _build(self, spec: SupernetSpec) -> None:
        if spec.stem != "cifar":
            raise ConfigError(f"NAS-Bench-201 networks take small images and have the stem 'cifar', got {spec.stem!r}")
        channels = spec.init_channels
        self.stem = cifar_stem(spec.in_channels, channels)
        self.cells = nn.LayerList()
        for group in range(GROUPS):
            if group > 0:
                self.cells.append(Reduction(channels, 2 * channels))
                channels *= 2
            for _ in range(cells_per_group(spec.layers)):
                self.cells.append(NasBench201Cell(spec, channels))
        self.lastact = nn.Sequential(BatchNorm(channels), nn.ReLU())
        self.global_pooling = global_pool()
        self.classifier = linear(channels, spec.num_classes)

    @property
    def searched_cells(self) -> list[SearchCell]:
        return [cell for cell in self.cells if isinstance(cell, SearchCell)]

    def _logits(self, x: paddle.Tensor, next_cell: NextCell) -> paddle.Tensor:
        y = fused.stem(self.stem, x)
        for cell in self.cells:
            y = next_cell(y) if isinstance(cell, SearchCell) else cell(y)
        y = F.relu(self.lastact[0](y))
        return self.classifier(self.global_pooling(y).flatten(1))
