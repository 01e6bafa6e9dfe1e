"""The supernet as its definition reads: one call per operation and edge, added up."""

from __future__ import annotations

import paddle
from paddle import nn

from paddle_darts.networks import CellMix, Supernet
from paddle_darts.networks.supernet import SearchCell
from paddle_darts.nn.blocks import Zero


class OpByOp(nn.Layer):
    """Shares all layers with ``network``, and takes and gives the same."""

    def __init__(self, network: Supernet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: paddle.Tensor, mix: list[CellMix]) -> tuple[paddle.Tensor, dict[int, paddle.Tensor]]:
        network, features = self.network, {}
        if network.spec.stem == "cifar":
            s0 = s1 = network.stem(x)
        else:
            s0 = network.stem0(x)
            s1 = network.stem1(s0)
        for index, (cell, m) in enumerate(zip(network.cells, mix, strict=True)):
            s0, s1 = s1, cell_op_by_op(cell, s0, s1, m)
            features[index] = s1
        return network.classifier(network.global_pooling(s1).flatten(1)), features


def cell_op_by_op(cell: SearchCell, s0: paddle.Tensor, s1: paddle.Tensor, mix: CellMix) -> paddle.Tensor:
    states = [cell.preprocess0(s0), cell.preprocess1(s1)]
    rows = iter(range(len(cell.edges)))
    while len(states) < 2 + 1 + max(node for node, _ in cell.edges):
        total = Zero(2 if cell.reduction else 1)(states[0])
        for source, state in enumerate(states):
            row = next(rows)
            assert cell.edges[row] == (len(states) - 2, source)
            for column, op in enumerate(cell._ops[row]._ops):
                if isinstance(op, Zero) or not (mix.active is None or mix.active[row, column]):
                    continue
                y = op(state) * mix.ops[row, column]
                total = total + (y if mix.edges is None else y * mix.edges[row])
            if mix.offset is not None:
                total = total + mix.offset[row]
        states.append(total)
    return paddle.concat(states[-cell.multiplier :], axis=1)
