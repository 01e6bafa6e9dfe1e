"""The supernet as its definition reads: one call per operation and edge, added up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.networks import CellMix, Supernet, SupernetSpec
from paddle_darts.networks.search_cell import SearchCell
from paddle_darts.nn.blocks import SwitchedOff, Zero


class OpByOp(nn.Layer):
    """Shares all layers with ``network``, and takes and gives the same; draws from its random source."""

    def __init__(self, network: Supernet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: paddle.Tensor, mix: list[CellMix]) -> tuple[paddle.Tensor, dict[int, paddle.Tensor]]:
        network, features = self.network, {}
        if network.spec.space == "nas_bench_201":
            return self.nas_bench_201(x, iter(mix))
        if network.spec.stem == "cifar":
            s0 = s1 = network.stem(x)
        else:
            s0 = network.stem0(x)
            s1 = network.stem1(s0)
        for index, (cell, m) in enumerate(zip(network.cells, mix, strict=True)):
            s0, s1 = s1, cell_op_by_op(network, cell, s0, s1, m)
            features[index] = s1
        return network.classifier(network.global_pooling(s1).flatten(1)), features

    def nas_bench_201(self, x: paddle.Tensor, mixes) -> tuple[paddle.Tensor, dict[int, paddle.Tensor]]:
        network, features = self.network, []
        x = network.stem(x)
        for cell in network.cells:
            if isinstance(cell, SearchCell):
                x = states_op_by_op(network, cell, [x], next(mixes))
                features.append(x)
            else:
                x = cell.downsample(x) + cell.conv_b(cell.conv_a(x))
        x = F.adaptive_avg_pool2d(network.lastact(x), 1).flatten(1)
        return network.classifier(x), dict(enumerate(features))


def cell_op_by_op(network: Supernet, cell: SearchCell, s0: paddle.Tensor, s1: paddle.Tensor, mix: CellMix):
    return states_op_by_op(network, cell, [cell.preprocess0(s0), cell.preprocess1(s1)], mix)


def states_op_by_op(network: Supernet, cell: SearchCell, states: list[paddle.Tensor], mix: CellMix):
    rows, inputs = iter(range(len(cell.wiring))), len(states)
    while len(states) < inputs + 1 + max(node for node, _ in cell.wiring):
        total = Zero(2 if cell.reduction else 1)(states[0])
        for source, state in enumerate(states):
            row = next(rows)
            assert cell.wiring[row] == (len(states) - inputs, source)
            active = [not isinstance(op, SwitchedOff) for op in cell.candidates[row]]
            if mix.active is not None:
                active = [built and on for built, on in zip(active, mix.active[row], strict=True)]
            if any(active):
                y = edge_op_by_op(network, cell, row, state, mix.ops[row], active)
                total = total + (y if mix.edges is None else y * mix.edges[row])
            if mix.offset is not None:
                total = total + mix.offset[row]
        states.append(total)
    return paddle.concat(states[-cell.multiplier :], axis=1)


def edge_op_by_op(
    network: Supernet, cell: SearchCell, row: int, x: paddle.Tensor, weights: paddle.Tensor, active: list[bool]
) -> paddle.Tensor:
    spec, channels = network.spec, x.shape[1]
    stride = 2 if cell.reduction and cell.wiring[row][1] < 2 else 1
    if spec.partial_channels == 1:
        return mixed_op_by_op(network, cell, row, x, weights, active, stride)
    width = channels // spec.partial_channels
    if spec.channel_sampling == "random":
        order = network.random.permutation(channels)
        x = paddle.stack([x[:, int(c)] for c in order], axis=1)
    mixed = mixed_op_by_op(network, cell, row, x[:, :width], weights, active, stride)
    rest = x[:, width:]
    if stride == 2:
        # pixels beyond the border are never the largest
        odd = [x.shape[3] % 2, x.shape[2] % 2]
        rest = F.max_pool2d(F.pad(rest, [0, odd[0], 0, odd[1]], value=-1e30), 2, 2)
    y = paddle.concat([mixed, rest], axis=1)
    if spec.channel_sampling == "shuffle":
        groups = paddle.split(y, spec.partial_channels, axis=1)
        return paddle.stack(groups, axis=2).reshape(y.shape)
    return paddle.concat([y[:, width:], y[:, :width]], axis=1) if spec.channel_sampling == "shift" else y


def mixed_op_by_op(
    network: Supernet,
    cell: SearchCell,
    row: int,
    x: paddle.Tensor,
    weights: paddle.Tensor,
    active: list[bool],
    stride: int,
) -> paddle.Tensor:
    total = Zero(stride)(x)
    for column, op in enumerate(cell.candidates[row]):
        if isinstance(op, Zero) or not active[column]:
            continue
        y = op(x)
        name = network.spec.primitives[column]
        keep = 1.0 - network.skip_dropout_prob
        if name == "skip_connect" and stride == 1 and network.training and keep < 1.0:
            mask = network.random.keep_mask(keep, tuple(y.shape))
            y = y * paddle.to_tensor(mask / keep, dtype=y.dtype)
        total = total + y * weights[column]
    return total


def random_switches(spec: SupernetSpec, rng: np.random.Generator, share: float = 0.6) -> SupernetSpec:
    """``spec`` with about ``share`` of its candidates built, the others switched off."""
    shape = (len(spec.kind_names), spec.num_edges, len(spec.primitives))
    return replace(spec, switches=(rng.random(shape) < share).tolist())
