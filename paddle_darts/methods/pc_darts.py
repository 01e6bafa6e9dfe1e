"""PC-DARTS: partial channels and edge normalisation (arXiv 1907.05737; yuhuixu1993/PC-DARTS).

Deviations: an edge is computed once (the official ImageNet network computes it twice, which only moves running
statistics twice), channels that do not divide are refused, ``channel_sampling="random"`` really permutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.methods.gradient import GradientMethod, UnrolledOptions, parameter
from paddle_darts.networks.supernet import CellMix, SupernetSpec


@dataclass
class PcDartsOptions(UnrolledOptions):
    """Settings of PC-DARTS.

    Args:
        partial_channels: K: one of K channels goes through the candidates of an edge, the others pass by.
        channel_sampling: shuffle (the first channels, then interleaved), shift, or random (drawn per edge and pass).
    """

    learning_rate: float = 0.1
    learning_rate_min: float = 0.0
    arch_learning_rate: float = 6e-4
    arch_start_epoch: int = 15
    partial_channels: int = 4
    channel_sampling: Literal["shuffle", "shift", "random"] = "shuffle"


class PcDarts(GradientMethod):
    """DARTS on a part of the channels; betas weigh the edges that enter a node against each other."""

    name = "pc_darts"
    options_class = PcDartsOptions

    def first_spec(self, spec: SupernetSpec) -> SupernetSpec:
        o = self.options
        return replace(spec, partial_channels=o.partial_channels, channel_sampling=o.channel_sampling)

    def initial_arch(self) -> dict[str, paddle.Tensor]:
        s = self.spec
        betas = {f"betas_{k}": parameter(1e-3 * self.source.normal((s.num_edges,))) for k in s.kind_names}
        return {**super().initial_arch(), **betas}

    def cell_mix(self, kind: str) -> CellMix:
        return CellMix(F.softmax(self.alphas[kind], axis=-1), edges=self.edge_weights(kind))

    def edge_weights(self, kind: str) -> paddle.Tensor:
        """The weights [edges]: a softmax of the betas over the edges into each node."""
        return softmax_per_node(self.arch[f"betas_{kind}"], self.spec.node_rows)

    def strengths(self) -> dict[str, np.ndarray]:
        edges = {kind: self.edge_weights(kind).astype("float32").numpy() for kind in self.spec.kind_names}
        return {kind: table * edges[kind][:, None] for kind, table in self.probabilities().items()}


def softmax_per_node(values: paddle.Tensor, node_rows: Sequence[range]) -> paddle.Tensor:
    """Softmax of ``values`` [edges] over the edges that enter the same node, whose rows are given for each node."""
    return paddle.concat([F.softmax(values[rows.start : rows.stop], axis=0) for rows in node_rows])
