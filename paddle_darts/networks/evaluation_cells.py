"""The cells of evaluation networks: two inputs per node, or any number (sparse cells).

Sources: quark0/darts, cnn/model.py (Cell); xiaomi-automl/FairDARTS, fairdarts/model.py (DCOCell).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import nn

from paddle_darts.genotypes import Edge, TargetEdge
from paddle_darts.genotypes.edges import links_of, used_links
from paddle_darts.kernels.plan import NONE, Plan
from paddle_darts.networks.fused import Link, cell_plan, plan_of, run, usable
from paddle_darts.nn.blocks import Zero, cell_input
from paddle_darts.nn.drop import RandomSource, drop_path_factors, scale_samples
from paddle_darts.nn.layers import AvgPool, BatchNorm
from paddle_darts.spaces.base import CellSpace
from paddle_darts.spaces.darts import edge_stride


class Wire(NamedTuple):
    """An operation that takes part: it reads the state at position ``source`` and adds to that at ``target``.

    Positions 0 and 1 are the inputs, then come the nodes in the order of computation. ``key`` says where among the
    cell's ``_ops`` the layer is. Wires of equal ``mask`` are dropped together by drop path; those of the mask None
    never are.
    """

    key: Hashable
    source: int
    target: int
    mask: Hashable


class _Cell(nn.Layer, ABC):
    """What all evaluation cells share: the preprocessing of both inputs, drop path, and two ways to compute.

    ``forward(s0, s1, drop_prob, source)`` maps [B, c_prev_prev, H, W] (twice as large behind a reduction) and
    [B, c_prev, H, W] to [B, out_channels, H, W] (half as large in a reduction cell).
    """

    def __init__(self, c_prev_prev: int, c_prev: int, channels: int, reduction: bool, reduction_prev: bool) -> None:
        super().__init__()
        self.preprocess0 = cell_input(c_prev_prev, channels, reduction_prev, affine=True)
        self.preprocess1 = cell_input(c_prev, channels, False, affine=True)
        self._stride = 2 if reduction else 1

    @abstractmethod
    def _op(self, key: Any) -> nn.Layer:
        """The layer of a wire."""

    def _connect(self, wires: list[Wire], outputs: Sequence[int]) -> None:
        """To be called at the end of construction: the wires node by node, the positions that make up the output."""
        self._wires = wires
        self._outputs = list(outputs)
        self._masks = list(dict.fromkeys(wire.mask for wire in wires if wire.mask is not None))
        self._nodes = [self._summed(node) for node in _groups(wires, "target")]

    def _summed(self, node: list[Wire]) -> list[list[Wire]]:
        """The wires whose outputs are added up to a node, those that are dropped together in one list.

        Adding the zeros of `none` changes nothing; a node of nothing else is all zeros.
        """
        real = [wire for wire in node if not isinstance(self._op(wire.key), Zero)]
        return _groups(real or node[:1], "mask")

    def forward(self, s0: paddle.Tensor, s1: paddle.Tensor, drop_prob: float, source: RandomSource) -> paddle.Tensor:
        factors: dict[Hashable, np.ndarray] = {}
        if drop_prob > 0.0:
            factors = {mask: drop_path_factors(s0.shape[0], drop_prob, source) for mask in self._masks}
        fused = self._fused(s0, s1, factors)
        return self._by_operator(s0, s1, factors) if fused is None else fused

    def _fused(self, s0: paddle.Tensor, s1: paddle.Tensor, factors: dict[Hashable, np.ndarray]) -> paddle.Tensor | None:
        """The cell as one call of the CPU kernels; None if they cannot."""
        if not usable(s1, self._stride):
            return None
        rows = {mask: row for row, mask in enumerate(factors)}

        def write() -> Plan:
            links = [Link(self._op(w.key), w.source, w.target, scale=rows.get(w.mask, NONE)) for w in self._wires]
            inputs, preprocess = [s0.shape[1], s1.shape[1]], [self.preprocess0, self.preprocess1]
            strides = [self._stride] * len(self._nodes)
            return cell_plan(inputs, preprocess, strides, links, self._outputs, self.training)

        scales = paddle.to_tensor(np.stack(list(factors.values())), dtype=s0.dtype) if factors else None
        plan = plan_of(self, (self.training, bool(factors)), write)
        return None if plan is None else run(plan, [s0, s1], self.training, scales=scales)

    def _by_operator(self, s0: paddle.Tensor, s1: paddle.Tensor, factors: dict[Hashable, np.ndarray]) -> paddle.Tensor:
        """The cell op by op."""
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        for node in self._nodes:
            parts = []
            for together in node:
                y = _sum([self._op(wire.key)(states[wire.source]) for wire in together])
                mask = together[0].mask
                parts.append(scale_samples(y, factors[mask]) if mask in factors else y)
            states.append(_sum(parts))
        return paddle.concat([states[i] for i in self._outputs], axis=1)


class EvaluationCell(_Cell):
    """A cell with two chosen edges per node.

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
        pool_bn: bool = False,
    ) -> None:
        super().__init__(c_prev_prev, c_prev, channels, reduction, reduction_prev)
        self._ops = nn.LayerList(
            [_build(space, edge.op, channels, edge_stride(reduction, edge.source), pool_bn) for edge in edges]
        )
        identities = [isinstance(op, nn.Identity) for op in self._ops]
        wires = [Wire(k, e.source, 2 + k // 2, None if identities[k] else k) for k, e in enumerate(edges)]
        self._connect(wires, concat)
        self.out_channels = len(concat) * channels

    def _op(self, key: int) -> nn.Layer:
        return self._ops[key]


class SparseEvaluationCell(_Cell):
    """A cell whose nodes have any number of inputs: FairDARTS' "DCO" cell.

    ``_ops[target][source][n]`` is the n-th operation between two states, so parameters are called
    ``_ops.<target>.<source>.<n>``. Nodes are computed in the order in which the genotype first names them and all of
    them make up the output, in that order: ``out_channels`` differs between cells. Drop path draws one mask per
    node and scales its sum, also that of a lone identity.

    An edge whose source nothing computes has its layers (checkpoints hold them), but they are not used. A node
    without any other edge does not exist; the official code fails there.
    """

    def __init__(
        self,
        space: CellSpace,
        edges: tuple[TargetEdge, ...],
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        reduction: bool,
        reduction_prev: bool,
        pool_bn: bool = False,
    ) -> None:
        super().__init__(c_prev_prev, c_prev, channels, reduction, reduction_prev)
        links = links_of(edges)
        self._ops = nn.LayerDict()
        for op, source, target in links:
            between = _entry(_entry(self._ops, target, nn.LayerDict), source, nn.LayerList)
            between.append(_build(space, op, channels, edge_stride(reduction, source), pool_bn))
        used = used_links(links)
        position = {state: i for i, state in enumerate(dict.fromkeys((0, 1, *(link.target for link in used))))}
        count: Counter[tuple[int, int]] = Counter()
        wires = []
        for _, source, target in used:
            key = (str(target), str(source), count[source, target])
            wires.append(Wire(key, position[source], position[target], mask=target))
            count[source, target] += 1
        self._connect(wires, range(2, len(position)))
        self.out_channels = (len(position) - 2) * channels

    def _op(self, key: tuple[str, str, int]) -> nn.Layer:
        target, source, n = key
        return self._ops[target][source][n]


def _entry(layers: nn.LayerDict, state: int, kind: type[nn.Layer]) -> nn.Layer:
    """The entry of ``state``, which is made when it is missing."""
    if str(state) not in layers:
        layers[str(state)] = kind()
    return layers[str(state)]


def _build(space: CellSpace, op: str, channels: int, stride: int, pool_bn: bool) -> nn.Layer:
    """An operation; poolings with ``pool_bn`` under the names ``op.0`` and ``op.1`` (norm), as DrNAS calls them."""
    layer = space.build(op, channels, stride, True)
    if pool_bn and isinstance(layer, nn.MaxPool2D | AvgPool):
        return nn.Sequential(("op", nn.Sequential(layer, BatchNorm(channels, affine=False))))
    return layer


def _groups(wires: list[Wire], field: str) -> list[list[Wire]]:
    """The wires that agree in a field together, in the order of their first one."""
    found: dict[Hashable, list[Wire]] = {}
    for wire in wires:
        found.setdefault(getattr(wire, field), []).append(wire)
    return list(found.values())


def _sum(parts: list[paddle.Tensor]) -> paddle.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
