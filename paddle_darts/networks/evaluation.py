"""The networks that are trained from a genotype: NetworkCIFAR and NetworkImageNet.

Layer and parameter names follow the official programs, so that their checkpoints load. Sources: quark0/darts,
cnn/model.py; the heads of PC-DARTS and P-DARTS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import Edge, Genotype
from paddle_darts.kernels.plan import NONE, Plan
from paddle_darts.networks.fused import Link, cell_plan, plan_of, run, stem, usable
from paddle_darts.networks.stems import AuxiliaryHead, cifar_stem, global_pool, imagenet_stems
from paddle_darts.nn.blocks import Zero, cell_input
from paddle_darts.nn.drop import RandomSource, drop_path_factors, scale_samples
from paddle_darts.nn.layers import linear, running_statistics, tracking_statistics
from paddle_darts.spaces.base import CellSpace
from paddle_darts.spaces.darts import DARTS, cell_kinds, edge_stride


class EvaluationCell(nn.Layer):
    """One cell with the two chosen edges per node.

    ``_ops[k]`` is the op of the k-th pair of the genotype; pairs 2i and 2i+1 feed node i. Every op output except
    that of an identity is subject to drop path, in the order node by node, first input then second.
    """

    def __init__(
        self,
        space: CellSpace,
        edges: tuple[Edge, ...],
        concat: tuple[int, ...],
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        reduction: bool,
        reduction_prev: bool,
    ) -> None:
        super().__init__()
        self.preprocess0 = cell_input(c_prev_prev, channels, reduction_prev, affine=True)
        self.preprocess1 = cell_input(c_prev, channels, False, affine=True)
        self._ops = nn.LayerList(
            [space.build(edge.op, channels, edge_stride(reduction, edge.source), True) for edge in edges]
        )
        self._sources = [edge.source for edge in edges]
        self._concat = concat
        self._stride = 2 if reduction else 1
        self.out_channels = len(concat) * channels

    def forward(self, s0: paddle.Tensor, s1: paddle.Tensor, drop_prob: float, source: RandomSource) -> paddle.Tensor:
        factors = {}
        if drop_prob > 0.0:
            dropped = [k for k, op in enumerate(self._ops) if not isinstance(op, nn.Identity)]
            factors = {k: drop_path_factors(s0.shape[0], drop_prob, source) for k in dropped}
        fused = self._fused(s0, s1, factors)
        return self._by_operator(s0, s1, factors) if fused is None else fused

    def _fused(self, s0: paddle.Tensor, s1: paddle.Tensor, factors: dict[int, np.ndarray]) -> paddle.Tensor | None:
        """The cell as one call of the CPU kernels; None if they cannot."""
        if not usable(s1, self._stride):
            return None
        rows = {k: row for row, k in enumerate(factors)}

        def write() -> Plan:
            links = [Link(op, self._sources[k], 2 + k // 2, scale=rows.get(k, NONE)) for k, op in enumerate(self._ops)]
            strides = [self._stride] * (len(links) // 2)
            inputs, preprocess = [s0.shape[1], s1.shape[1]], [self.preprocess0, self.preprocess1]
            return cell_plan(inputs, preprocess, strides, links, self._concat, self.training)

        scales = paddle.to_tensor(np.stack(list(factors.values())), dtype=s0.dtype) if factors else None
        plan = plan_of(self, (self.training, bool(factors)), write)
        return None if plan is None else run(plan, [s0, s1], self.training, scales=scales)

    def _by_operator(self, s0: paddle.Tensor, s1: paddle.Tensor, factors: dict[int, np.ndarray]) -> paddle.Tensor:
        """The cell op by op."""
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        for node in range(len(self._sources) // 2):
            inputs = []
            for k in (2 * node, 2 * node + 1):
                op, y = self._ops[k], self._ops[k](states[self._sources[k]])
                inputs.append((op, scale_samples(y, factors[k]) if k in factors else y))
            # adding the zeros of `none` changes nothing; a node of two `none` is all zeros
            real = [y for op, y in inputs if not isinstance(op, Zero)] or [inputs[0][1]]
            states.append(real[0] if len(real) == 1 else real[0] + real[1])
        return paddle.concat([states[i] for i in self._concat], axis=1)


class _EvaluationNetwork(nn.Layer, ABC):
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
            edges, concat = (
                (genotype.reduce, genotype.reduce_concat) if reduction else (genotype.normal, genotype.normal_concat)
            )
            cell = EvaluationCell(space, edges, concat, c_prev_prev, c_prev, channels, reduction, reduction_prev)
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


class NetworkCIFAR(_EvaluationNetwork):
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


class NetworkImageNet(_EvaluationNetwork):
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


STEMS = {"cifar": NetworkCIFAR, "imagenet": NetworkImageNet}


def check_size(layers: int, init_channels: int) -> None:
    """Sizes that no network can have, said clearly before anything is built."""
    if layers < 1:
        raise ConfigError(f"layers must be at least 1, got {layers}")
    if init_channels < 2 or init_channels % 2:
        raise ConfigError(f"init_channels must be an even number of at least 2, got {init_channels}")
