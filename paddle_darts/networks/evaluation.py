"""The networks that are trained from a genotype: NetworkCIFAR and NetworkImageNet.

Layer and parameter names follow the official programs, so that their checkpoints load. Sources: quark0/darts,
cnn/model.py; the heads of PC-DARTS and P-DARTS; the cells of FairDARTS. The form of the genotype's edges decides which
cells are built, its options which heads and norms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import Genotype
from paddle_darts.networks.evaluation_cells import EvaluationCell, SparseEvaluationCell
from paddle_darts.networks.fused import stem
from paddle_darts.networks.stems import AuxiliaryHead, cifar_stem, global_pool, imagenet_stems
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import linear, running_statistics, tracking_statistics
from paddle_darts.spaces.base import CellSpace
from paddle_darts.spaces.darts import DARTS, cell_kinds


class EvaluationNetwork(nn.Layer, ABC):
    """What the CIFAR and the ImageNet network have in common: the cells, the heads and the forward pass.

    ``forward(x)`` maps images [B, in_channels, H, W] to ``(logits [B, classes], auxiliary logits or None)``; the
    auxiliary logits exist in training mode when ``auxiliary``. ``drop_path_prob`` may be set between steps,
    ``random`` is the source of its masks.
    """

    AUX_POOL_STRIDE: int

    def __init__(self, auxiliary: bool, drop_path_prob: float) -> None:
        super().__init__()
        self.auxiliary = auxiliary
        self.drop_path_prob = drop_path_prob
        self.random = RandomSource()

    @abstractmethod
    def _stem_states(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """The two inputs of the first cell."""

    def _build_cells(
        self,
        space: CellSpace,
        genotype: Genotype,
        layers: int,
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        reduction_prev: bool,
        num_classes: int,
        aux_bn: bool,
    ) -> None:
        self.cells = nn.LayerList()
        self._aux_index = 2 * layers // 3
        for index, kind in enumerate(cell_kinds(layers, genotype.network.reductions)):
            reduction = kind == "reduce"
            channels = channels * 2 if reduction else channels
            cell = build_cell(space, genotype, kind, c_prev_prev, c_prev, channels, reduction_prev)
            self.cells.append(cell)
            reduction_prev = reduction
            c_prev_prev, c_prev = c_prev, cell.out_channels
            if self.auxiliary and index == self._aux_index:
                self.auxiliary_head = AuxiliaryHead(c_prev, num_classes, self.AUX_POOL_STRIDE, aux_bn)
        self.global_pooling = global_pool()
        self.classifier = linear(c_prev, num_classes)

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor | None]:
        with running_statistics(tracking_statistics()):
            return self._forward(x)

    def _forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor | None]:
        s0, s1 = self._stem_states(x)
        drop_prob = self.drop_path_prob if self.training else 0.0
        logits_aux = None
        for index, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1, drop_prob, self.random)
            if self.auxiliary and self.training and index == self._aux_index:
                logits_aux = self.auxiliary_head(s1)
                # the official head applies its first ReLU in place on the cell's output
                s1 = F.relu(s1)
        return self.classifier(self.global_pooling(s1).flatten(1)), logits_aux


class NetworkCIFAR(EvaluationNetwork):
    """Evaluation network for small images (32x32): full-resolution stem, two reductions."""

    AUX_POOL_STRIDE = 3

    def __init__(
        self,
        genotype: Genotype,
        num_classes: int = 10,
        init_channels: int = 36,
        layers: int = 20,
        auxiliary: bool = False,
        drop_path_prob: float = 0.0,
        in_channels: int = 3,
        stem_multiplier: int = 3,
        space: CellSpace = DARTS,
    ) -> None:
        super().__init__(auxiliary, drop_path_prob)
        width = stem_multiplier * init_channels
        self.stem = cifar_stem(in_channels, width)
        self._build_cells(space, genotype, layers, width, width, init_channels, False, num_classes, aux_bn=True)

    def _stem_states(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        s = stem(self.stem, x)
        return s, s


class NetworkImageNet(EvaluationNetwork):
    """Evaluation network for large images (224x224): the stems reduce to an eighth, the cells by four more."""

    AUX_POOL_STRIDE = 2

    def __init__(
        self,
        genotype: Genotype,
        num_classes: int = 1000,
        init_channels: int = 48,
        layers: int = 14,
        auxiliary: bool = False,
        drop_path_prob: float = 0.0,
        in_channels: int = 3,
        space: CellSpace = DARTS,
    ) -> None:
        super().__init__(auxiliary, drop_path_prob)
        self.stem0, self.stem1 = imagenet_stems(in_channels, init_channels)
        self._build_cells(
            space,
            genotype,
            layers,
            init_channels,
            init_channels,
            init_channels,
            True,
            num_classes,
            genotype.network.aux_bn,
        )

    def _stem_states(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        s0 = stem(self.stem0, x)
        return s0, stem(self.stem1, s0)


def build_cell(
    space: CellSpace,
    genotype: Genotype,
    kind: str,
    c_prev_prev: int,
    c_prev: int,
    channels: int,
    reduction_prev: bool,
) -> EvaluationCell | SparseEvaluationCell:
    """The ``kind`` ("normal" or "reduce") cell of a genotype, whichever form its edges ask for."""
    size = (c_prev_prev, c_prev, channels, kind == "reduce", reduction_prev, genotype.network.pool_bn)
    if genotype.sparse:
        return SparseEvaluationCell(space, getattr(genotype, kind), *size)
    return EvaluationCell(space, getattr(genotype, kind), genotype.outputs(kind), *size)


STEMS = {"cifar": NetworkCIFAR, "imagenet": NetworkImageNet}


def check_size(layers: int, init_channels: int, odd: bool = False) -> None:
    """Sizes that no network can have, said clearly before anything is built; ``odd``: whether its width may be."""
    if layers < 1:
        raise ConfigError(f"layers must be at least 1, got {layers}")
    if odd and init_channels < 1:
        raise ConfigError(f"init_channels must be at least 1, got {init_channels}")
    if not odd and (init_channels < 2 or init_channels % 2):
        raise ConfigError(f"init_channels must be an even number of at least 2, got {init_channels}")
