"""The type of a cell-based search space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paddle import nn

from paddle_darts.errors import ConfigError, unknown

OpBuilder = Callable[[int, int, bool], nn.Layer]


@dataclass(frozen=True)
class CellSpace:
    """Operations and edges of a space whose cells have two inputs and densely connected nodes.

    ``primitives`` are the candidates of an edge in the order of the alpha columns; ``ops`` builds any known
    operation from (channels, stride, affine). Node i (from 0) has edges from the states 0..i+1; states 0 and 1
    are the cell's inputs. Edges are numbered node by node, so row = offset(node) + source.
    """

    name: str
    primitives: tuple[str, ...]
    ops: dict[str, OpBuilder]

    def edges(self, steps: int) -> list[tuple[int, int]]:
        """All (node, source state) pairs in the order of the alpha rows; 14 for 4 steps."""
        return [(node, source) for node in range(steps) for source in range(node + 2)]

    def build(self, op: str, channels: int, stride: int, affine: bool) -> nn.Layer:
        """One operation as a layer [B, channels, H, W] -> [B, channels, ceil(H/stride), ceil(W/stride)]."""
        if op not in self.ops:
            raise ConfigError(unknown("operation", op, self.ops))
        return self.ops[op](channels, stride, affine)
