"""The type of a cell-based search space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from paddle import nn

from paddle_darts.errors import ConfigError, unknown

OpBuilder = Callable[[int, int, bool], nn.Layer]
Layout = Callable[[int, tuple[int, ...] | None], tuple[str, ...]]


@dataclass(frozen=True)
class CellSpace:
    """Operations and edges of a space of cells with densely connected nodes.

    ``primitives`` are the candidates of an edge in the order of the alpha columns; ``ops`` builds any known
    operation from (channels, stride, affine). A cell has ``inputs`` states that come from outside, and node i (from 0)
    has edges from the states 0..i+inputs-1. Edges are numbered node by node, so row = offset(node) + source.

    ``skeleton`` names the networks that hold the cells. ``kinds`` are the kinds of searched cells; ``layout`` says for
    (layers, reductions) which kind each searched cell of a network is. ``every_edge``: a genotype has one operation on
    every edge, `none` included (else the derivation chooses edges, and `none` is no choice). ``steps``, ``multiplier``,
    ``stem_multiplier``, ``layers``, ``pool_bn`` and ``track_running_stats`` are what supernets have where nothing else
    is asked for.
    """

    name: str
    primitives: tuple[str, ...]
    ops: dict[str, OpBuilder]
    skeleton: str
    kinds: tuple[str, ...]
    layout: Layout
    inputs: int
    steps: int
    multiplier: int
    stem_multiplier: int
    layers: int
    every_edge: bool
    pool_bn: bool
    track_running_stats: bool

    def edges(self, steps: int) -> list[tuple[int, int]]:
        """All (node, source state) pairs in the order of the alpha rows; 14 for 4 steps of DARTS."""
        return [(node, source) for node in range(steps) for source in range(node + self.inputs)]

    def node_rows(self, steps: int) -> list[range]:
        """The rows of the edges into each node: 0-1, 2-4, 5-8, ... with two inputs."""
        starts = [node * self.inputs + node * (node - 1) // 2 for node in range(steps + 1)]
        return [range(first, stop) for first, stop in pairwise(starts)]

    def build(self, op: str, channels: int, stride: int, affine: bool) -> nn.Layer:
        """One operation as a layer [B, channels, H, W] -> [B, channels, ceil(H/stride), ceil(W/stride)]."""
        if op not in self.ops:
            raise ConfigError(unknown("operation", op, self.ops))
        return self.ops[op](channels, stride, affine)
