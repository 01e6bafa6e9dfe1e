"""The DARTS cell space: eight candidate operations per edge, two cell kinds (arXiv 1806.09055)."""

from __future__ import annotations

from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import KINDS, PRIMITIVES
from paddle_darts.nn.blocks import DilConv, FactorizedReduce, SepConv, Zero, conv_7x1_1x7
from paddle_darts.nn.layers import AvgPool, max_pool
from paddle_darts.spaces.base import CellSpace, OpBuilder

OPS: dict[str, OpBuilder] = {
    "none": lambda c, stride, affine: Zero(stride),
    "max_pool_3x3": lambda c, stride, affine: max_pool(stride),
    "avg_pool_3x3": lambda c, stride, affine: AvgPool(stride),
    "skip_connect": lambda c, stride, affine: nn.Identity() if stride == 1 else FactorizedReduce(c, c, affine),
    "sep_conv_3x3": lambda c, stride, affine: SepConv(c, 3, stride, affine),
    "sep_conv_5x5": lambda c, stride, affine: SepConv(c, 5, stride, affine),
    "sep_conv_7x7": lambda c, stride, affine: SepConv(c, 7, stride, affine),
    "dil_conv_3x3": lambda c, stride, affine: DilConv(c, 3, stride, affine),
    "dil_conv_5x5": lambda c, stride, affine: DilConv(c, 5, stride, affine),
    "conv_7x1_1x7": lambda c, stride, affine: conv_7x1_1x7(c, stride, affine),
}


def reduction_positions(layers: int) -> tuple[int, ...]:
    """Where the reduction cells of a network of ``layers`` cells are: at one and two thirds of the depth.

    One cell has only position 0; two cells have 0 and 1 (both reduce).
    """
    return tuple(sorted({p for p in (layers // 3, 2 * layers // 3) if p < layers}))


def cell_kinds(layers: int, reductions: tuple[int, ...] | None = None) -> tuple[str, ...]:
    """The kind of each cell, "normal" or "reduce"; ``reductions`` replaces the rule of thirds."""
    positions = reduction_positions(layers) if reductions is None else tuple(reductions)
    if any(not 0 <= p < layers for p in positions):
        raise ConfigError(f"reduction cells must be among the cells 0 to {layers - 1}, got positions {positions}")
    return tuple("reduce" if i in positions else "normal" for i in range(layers))


def edge_stride(reduction: bool, source: int) -> int:
    """Edges that leave an input of a reduction cell have stride 2, all others 1."""
    return 2 if reduction and source < 2 else 1


DARTS = CellSpace(
    name="darts",
    primitives=tuple(PRIMITIVES),
    ops=OPS,
    skeleton="darts",
    kinds=KINDS,
    layout=cell_kinds,
    inputs=2,
    steps=4,
    multiplier=4,
    stem_multiplier=3,
    layers=8,
    every_edge=False,
    pool_bn=True,
    track_running_stats=True,
)
