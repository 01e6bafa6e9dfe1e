"""A search cell edge by edge, for edges that share nothing: each has its own order of the channels of its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import paddle

from paddle_darts.networks.draws import Draws
from paddle_darts.networks.mix import CellMix
from paddle_darts.networks.partial import bypass, joined
from paddle_darts.nn.blocks import Zero

if TYPE_CHECKING:
    from paddle_darts.networks.search_cell import SearchCell


def mixed_cell(cell: SearchCell, inputs: Sequence[paddle.Tensor], mix: CellMix, draws: Draws) -> paddle.Tensor:
    """The output [B, multiplier*C, h, w] of a cell with partial channels in the order of ``draws.permutations``."""
    states = cell.input_states(inputs)
    zeros = Zero(2 if cell.reduction else 1)(states[0])
    for row, (node, source) in enumerate(cell.wiring):
        if len(states) == cell.inputs + node:
            states.append(zeros)
        if row in draws.permutations:
            states[-1] = states[-1] + _edge(cell, row, states[source], mix, draws)
        if mix.offset is not None:
            states[-1] = states[-1] + mix.offset[row]
    return paddle.concat(states[-cell.multiplier :], axis=1)


def _edge(cell: SearchCell, row: int, x: paddle.Tensor, mix: CellMix, draws: Draws) -> paddle.Tensor:
    """The output of an edge, weighted."""
    stride, width = cell.strides[row], cell.channels // cell.parts
    x = paddle.index_select(x, paddle.to_tensor(draws.permutations[row], place=x.place), axis=1)
    part = x[:, :width]
    mixed = Zero(stride)(part)
    for column, op in enumerate(cell.candidates[row]):
        if isinstance(op, Zero) or not (mix.active is None or mix.active[row, column]):
            continue
        y = op(part)
        y = y * draws.masks[row, column] if (row, column) in draws.masks else y
        mixed = mixed + mix.ops[row, column] * y
    y = joined(mixed, bypass(x, width, stride), cell.parts, cell.sampling)
    return y if mix.edges is None else y * mix.edges[row]
