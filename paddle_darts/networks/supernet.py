"""The supernet of the DARTS space: every candidate operation on every edge, mixed by weights that are fed in.

It knows no method. What a method decides arrives per cell as a :class:`CellMix`; what is built rather than fed
stands in a :class:`SupernetSpec`. Source: quark0/darts, cnn/model_search.py (parameter names included).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence

import numpy as np
import paddle
from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.networks import batched, edgewise, fused
from paddle_darts.networks.draws import draw
from paddle_darts.networks.mix import CellMix
from paddle_darts.networks.spec import SupernetSpec
from paddle_darts.networks.stems import cifar_stem, global_pool, imagenet_stems
from paddle_darts.nn.blocks import SwitchedOff, cell_input
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import BatchNorm, frozen, linear, running_statistics, trainable
from paddle_darts.spaces import get_space
from paddle_darts.spaces.darts import edge_stride

GRADS = ("both", "weights", "arch")


class MixedOp(nn.Layer):
    """All candidates of one edge, in the order of the columns of the weights; cells compute them.

    ``switches`` say which of them are built; the others have their place kept.
    """

    def __init__(self, spec: SupernetSpec, channels: int, stride: int, switches: Sequence[bool]) -> None:
        super().__init__()
        space = get_space(spec.space)
        self._ops = nn.LayerList()
        for name, on in zip(spec.primitives, switches, strict=True):
            op = space.build(name, channels, stride, spec.affine) if on else SwitchedOff(stride)
            if on and spec.pool_bn and "pool" in name:
                op = nn.Sequential(op, BatchNorm(channels, affine=False))
            self._ops.append(op)


class SearchCell(nn.Layer):
    """A cell with a mixed op on every edge; its output joins the last ``multiplier`` states.

    ``_ops[row]._ops[column]`` is a candidate of the edge ``edges[row]`` = (node, source state). They are not exchanged
    once the cell has run: what is computed together is planned from the first ones.
    """

    def __init__(
        self,
        spec: SupernetSpec,
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        reduction: bool,
        reduction_prev: bool,
    ) -> None:
        super().__init__()
        self.preprocess0 = cell_input(c_prev_prev, channels, reduction_prev, spec.affine)
        self.preprocess1 = cell_input(c_prev, channels, False, spec.affine)
        self.edges = spec.edges
        switches = spec.switched_on("reduce" if reduction else "normal")
        strides = [edge_stride(reduction, source) for _, source in self.edges]
        self._ops = nn.LayerList(
            [
                MixedOp(spec, channels // spec.partial_channels, stride, on)
                for stride, on in zip(strides, switches, strict=True)
            ]
        )
        self.channels, self.multiplier, self.reduction = channels, spec.multiplier, reduction
        self.parts, self.sampling = spec.partial_channels, spec.channel_sampling
        self._switched_on = None if spec.switches is None else np.array(switches, dtype=bool)
        #: per edge the columns of skip connections of stride 1
        self.identities = [[k for k, op in enumerate(m._ops) if isinstance(op, nn.Identity)] for m in self._ops]
        self._mix_shape = len(self.edges), len(spec.primitives)

    def forward(
        self, s0: paddle.Tensor, s1: paddle.Tensor, mix: CellMix, drop_prob: float, source: RandomSource
    ) -> paddle.Tensor:
        """Σ over edges and active candidates of weight * candidate, as [B, multiplier*C, H, W].

        ``drop_prob`` is the probability of dropout after skip connections of stride 1; ``source`` is drawn from edge by
        edge, for that and for channels in random order. ValueError for a mix of another shape.
        """
        mix.check(*self._mix_shape)
        mix = mix.restricted(self._switched_on)
        draws = draw(self, s1, mix, drop_prob, source)
        if draws.permutations:
            return edgewise.mixed_cell(self, s0, s1, mix, draws)
        output = fused.mixed_cell(self, s0, s1, mix, draws)
        return batched.mixed_cell(self, s0, s1, mix, draws) if output is None else output


class Supernet(nn.Layer):
    """The search network of a :class:`SupernetSpec`.

    ``skip_dropout_prob`` may be set between steps. ``random`` is the source of all that a forward pass draws, cell by
    cell and edge by edge.
    """

    def __init__(self, spec: SupernetSpec) -> None:
        super().__init__()
        self.spec, self.random, self._skip_dropout_prob = spec, RandomSource(), 0.0
        width = spec.stem_multiplier * spec.init_channels
        if spec.stem == "cifar":
            self.stem = cifar_stem(spec.in_channels, width)
        else:
            self.stem0, self.stem1 = imagenet_stems(spec.in_channels, width)
        c_prev_prev, c_prev, channels = width, width, spec.init_channels
        reduction_prev = spec.stem == "imagenet"
        self.cells = nn.LayerList()
        for kind in spec.kinds:
            reduction = kind == "reduce"
            channels = channels * 2 if reduction else channels
            self.cells.append(SearchCell(spec, c_prev_prev, c_prev, channels, reduction, reduction_prev))
            reduction_prev = reduction
            c_prev_prev, c_prev = c_prev, spec.multiplier * channels
        self.global_pooling = global_pool()
        self.classifier = linear(c_prev, spec.num_classes)
        # once: the walk over all layers is slow, and inside a pass that holds the weights still it would miss them
        self._weights = trainable(self)

    @property
    def skip_dropout_prob(self) -> float:
        """The probability with which an element of a skip connection of stride 1 is dropped while training."""
        return self._skip_dropout_prob

    @skip_dropout_prob.setter
    def skip_dropout_prob(self, value: float) -> None:
        if not 0.0 <= value < 1.0:
            raise ConfigError(f"skip_dropout_prob must be at least 0 and below 1, got {value}")
        if value > 0.0 and not self.spec.skip_dropout:
            raise ConfigError(f"this supernet was built without skip_dropout, got skip_dropout_prob={value}")
        self._skip_dropout_prob = float(value)

    def weights(self) -> dict[str, paddle.Tensor]:
        """The trained weights by name; alphas are never among them."""
        return dict(self._weights)

    def forward(
        self,
        x: paddle.Tensor,
        mix: Sequence[CellMix],
        *,
        taps: Collection[int] = (),
        grads: str = "both",
        track_stats: bool = True,
    ) -> tuple[paddle.Tensor, dict[int, paddle.Tensor]]:
        """Logits [B, classes] of images ``x`` [B, C, H, W], and the outputs of the cells listed in ``taps``.

        ``mix`` has one entry per cell. ``grads`` says which gradients this pass will be asked for: "both",
        "weights" or "arch". ``track_stats=False`` leaves running statistics untouched.
        """
        if grads not in GRADS:
            raise ConfigError(f"grads must be one of {', '.join(GRADS)}, got {grads!r}")
        if len(mix) != len(self.cells):
            raise ConfigError(f"the mix has {len(mix)} cells, the supernet {len(self.cells)}")
        mixes = {id(m): m.detach() if grads == "weights" else m for m in mix}
        held = frozen(list(self.weights().values())) if grads == "arch" else contextlib.nullcontext()
        drop_prob = self.skip_dropout_prob if self.training else 0.0
        features = {}
        with held, running_statistics(track_stats):
            s0, s1 = self._stem_states(x)
            for index, (cell, m) in enumerate(zip(self.cells, mix, strict=True)):
                s0, s1 = s1, cell(s0, s1, mixes[id(m)], drop_prob, self.random)
                if index in taps:
                    features[index] = s1
            return self.classifier(self.global_pooling(s1).flatten(1)), features

    def _stem_states(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        if self.spec.stem == "cifar":
            s = fused.stem(self.stem, x)
            return s, s
        s0 = fused.stem(self.stem0, x)
        return s0, fused.stem(self.stem1, s0)


__all__ = ["GRADS", "CellMix", "MixedOp", "SearchCell", "Supernet", "SupernetSpec"]
