"""A cell of a supernet: candidates on every edge, mixed by weights that are fed in; the cell of the DARTS space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import paddle
from paddle import nn

from paddle_darts.networks import batched, edgewise, fused
from paddle_darts.networks.draws import draw
from paddle_darts.networks.mix import CellMix
from paddle_darts.networks.spec import SupernetSpec
from paddle_darts.nn.blocks import SwitchedOff, cell_input
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import BatchNorm
from paddle_darts.spaces import get_space
from paddle_darts.spaces.darts import edge_stride


def candidate_ops(spec: SupernetSpec, channels: int, stride: int, switches: Sequence[bool]) -> nn.LayerList:
    """The candidates of one edge, in the order of the columns of a mix.

    ``switches`` say which of them are built; the others have their place kept.
    """
    space, ops = get_space(spec.space), nn.LayerList()
    for name, on in zip(spec.primitives, switches, strict=True):
        op = space.build(name, channels, stride, spec.affine) if on else SwitchedOff(stride)
        if on and spec.pool_bn and "pool" in name:
            op = nn.Sequential(op, BatchNorm(channels, affine=False))
        ops.append(op)
    for norm in (layer for layer in ops.sublayers() if isinstance(layer, BatchNorm)):
        norm.tracked = spec.track_running_stats
    return ops


class MixedOp(nn.Layer):
    """Holds the candidates of one edge under the official name; cells compute them."""

    def __init__(self, ops: nn.LayerList) -> None:
        super().__init__()
        self._ops = ops


class SearchCell(nn.Layer, ABC):
    """A cell with candidates on every edge; its output joins the last ``multiplier`` states.

    ``wiring[row]`` = (node, source state) is an edge, ``candidates[row][column]`` one of its candidates. The states are
    first the inputs, brought to the cell's width by ``preprocess``, then the nodes. Candidates are not exchanged once
    the cell has run: what is computed together is planned from the first ones.
    """

    def __init__(self, spec: SupernetSpec, kind: str, channels: int) -> None:
        super().__init__()
        self.reduction = kind == "reduce"
        self.wiring, self.inputs = spec.edges, get_space(spec.space).inputs
        self.channels, self.multiplier = channels, spec.multiplier
        self.parts, self.sampling = spec.partial_channels, spec.channel_sampling
        self.tracked = spec.track_running_stats
        self.strides = [edge_stride(self.reduction, source) for _, source in self.wiring]
        self._switched_on = None if spec.switches is None else np.array(spec.switched_on(kind), dtype=bool)
        self._mix_shape = len(self.wiring), len(spec.primitives)

    def _built_candidates(self, spec: SupernetSpec, kind: str) -> list[nn.LayerList]:
        """The candidates of every edge, for a subclass to put where their official names are."""
        edges = zip(self.strides, spec.switched_on(kind), strict=True)
        return [candidate_ops(spec, self.channels // self.parts, stride, on) for stride, on in edges]

    @property
    @abstractmethod
    def candidates(self) -> list[nn.LayerList]:
        """The candidates of every edge."""

    @property
    @abstractmethod
    def preprocess(self) -> list[nn.Layer | None]:
        """The layer before each input state; None where the state is the input itself."""

    @cached_property
    def identities(self) -> list[list[int]]:
        """Per edge the columns of skip connections of stride 1."""
        return [[k for k, op in enumerate(ops) if isinstance(op, nn.Identity)] for ops in self.candidates]

    @property
    def batch_statistics(self) -> bool:
        """Whether norms use the statistics of the batch: while training, or always where none are tracked."""
        return self.training or not self.tracked

    def input_states(self, inputs: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """The first states, layer by layer."""
        return [x if layer is None else layer(x) for layer, x in zip(self.preprocess, inputs, strict=True)]

    def mixed(
        self, inputs: Sequence[paddle.Tensor], mix: CellMix, drop_prob: float, source: RandomSource
    ) -> paddle.Tensor:
        """Σ over edges and active candidates of weight * candidate, as [B, multiplier*C, H, W].

        ``drop_prob`` is the probability of dropout after skip connections of stride 1; ``source`` is drawn from edge by
        edge, for that and for channels in random order. ValueError for a mix of another shape.
        """
        mix.check(*self._mix_shape)
        mix = mix.restricted(self._switched_on)
        draws = draw(self, inputs[-1], mix, drop_prob, source)
        if draws.permutations:
            return edgewise.mixed_cell(self, inputs, mix, draws)
        output = fused.mixed_cell(self, inputs, mix, draws)
        return batched.mixed_cell(self, inputs, mix, draws) if output is None else output


class DartsCell(SearchCell):
    """A cell of the DARTS space: it reads the outputs of the two cells before."""

    def __init__(
        self,
        spec: SupernetSpec,
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        reduction: bool,
        reduction_prev: bool,
    ) -> None:
        kind = "reduce" if reduction else "normal"
        super().__init__(spec, kind, channels)
        self.preprocess0 = cell_input(c_prev_prev, channels, reduction_prev, spec.affine)
        self.preprocess1 = cell_input(c_prev, channels, False, spec.affine)
        self._ops = nn.LayerList([MixedOp(ops) for ops in self._built_candidates(spec, kind)])

    @property
    def candidates(self) -> list[nn.LayerList]:
        return [mixed._ops for mixed in self._ops]

    @property
    def preprocess(self) -> list[nn.Layer | None]:
        return [self.preprocess0, self.preprocess1]

    def forward(
        self, s0: paddle.Tensor, s1: paddle.Tensor, mix: CellMix, drop_prob: float, source: RandomSource
    ) -> paddle.Tensor:
        """The output for those of the two cells before; see :meth:`mixed`."""
        return self.mixed((s0, s1), mix, drop_prob, source)
