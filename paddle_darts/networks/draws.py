"""What a search cell draws at random for one forward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import paddle

from paddle_darts.networks.mix import CellMix
from paddle_darts.nn.drop import RandomSource, dropout_factors

if TYPE_CHECKING:
    from paddle_darts.networks.search_cell import SearchCell


@dataclass(frozen=True, eq=False)
class Draws:
    """``masks``: what the output of a candidate is multiplied by, by (edge, column): 0 or 1/keep, [B, C/K, h, w].
    ``permutations``: the order of the channels of an edge's input, by edge."""

    masks: dict[tuple[int, int], paddle.Tensor] = field(default_factory=dict)
    permutations: dict[int, np.ndarray] = field(default_factory=dict)


def draw(cell: SearchCell, x: paddle.Tensor, mix: CellMix, drop_prob: float, source: RandomSource) -> Draws:
    """The draws of a cell for its last input ``x``, edge by edge; edges without any active candidate draw nothing.

    An edge draws its permutation first, then a mask for an active skip connection of stride 1 (if ``drop_prob`` > 0).
    """
    draws = Draws()
    randomly = cell.parts > 1 and cell.sampling == "random"
    if not randomly and drop_prob == 0.0:
        return draws
    stride = 2 if cell.reduction else 1
    size = [-(-n // stride) for n in x.shape[2:]]
    for row in range(len(cell.wiring)):
        active = None if mix.active is None else mix.active[row]
        if randomly and (active is None or active.any()):
            draws.permutations[row] = source.permutation(cell.channels)
        for column in cell.identities[row]:
            if drop_prob > 0.0 and (active is None or active[column]):
                factors = dropout_factors((x.shape[0], cell.channels // cell.parts, *size), drop_prob, source)
                draws.masks[row, column] = paddle.to_tensor(factors, dtype=x.dtype, place=x.place)
    return draws
