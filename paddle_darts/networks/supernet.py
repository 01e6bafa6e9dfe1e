"""The supernet of the DARTS space: every candidate operation on every edge, mixed by weights that are fed in.

It knows no method. What a method decides arrives per cell as a :class:`CellMix`; what is built rather than fed
stands in a :class:`SupernetSpec`. Source: quark0/darts, cnn/model_search.py (parameter names included).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import paddle
from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.networks import batched, fused
from paddle_darts.networks.evaluation import check_size
from paddle_darts.networks.mix import CellMix
from paddle_darts.networks.stems import cifar_stem, global_pool, imagenet_stems
from paddle_darts.nn.blocks import cell_input
from paddle_darts.nn.layers import BatchNorm, frozen, linear, running_statistics, trainable
from paddle_darts.spaces import get_space
from paddle_darts.spaces.darts import cell_kinds, edge_stride

GRADS = ("both", "weights", "arch")


@dataclass(frozen=True)
class SupernetSpec:
    """Everything that fixes the shape of a supernet; two equal specs build the same network."""

    space: str = "darts"
    in_channels: int = 3
    num_classes: int = 10
    init_channels: int = 16
    layers: int = 8
    steps: int = 4
    multiplier: int = 4
    stem_multiplier: int = 3
    stem: str = "cifar"
    reductions: tuple[int, ...] | None = None
    pool_bn: bool = True
    affine: bool = False

    def __post_init__(self) -> None:
        check_size(self.layers, self.init_channels)
        if self.steps < 1 or not 1 <= self.multiplier <= self.steps:
            raise ConfigError(
                f"steps must be at least 1 and multiplier between 1 and steps, got steps={self.steps}, "
                f"multiplier={self.multiplier}"
            )
        if self.stem not in ("cifar", "imagenet"):
            raise ConfigError(f"stem must be 'cifar' or 'imagenet', got {self.stem!r}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each cell, "normal" or "reduce"."""
        return cell_kinds(self.layers, self.reductions)

    @property
    def num_edges(self) -> int:
        return len(get_space(self.space).edges(self.steps))

    @property
    def primitives(self) -> tuple[str, ...]:
        return get_space(self.space).primitives


class MixedOp(nn.Layer):
    """All candidates of one edge, in the order of the columns of the weights; cells compute them."""

    def __init__(self, spec: SupernetSpec, channels: int, stride: int) -> None:
        super().__init__()
        space = get_space(spec.space)
        self._ops = nn.LayerList()
        for name in space.primitives:
            op = space.build(name, channels, stride, spec.affine)
            if spec.pool_bn and "pool" in name:
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
        self.edges = get_space(spec.space).edges(spec.steps)
        self._ops = nn.LayerList([MixedOp(spec, channels, edge_stride(reduction, source)) for _, source in self.edges])
        self.multiplier, self.reduction = spec.multiplier, reduction

    def forward(self, s0: paddle.Tensor, s1: paddle.Tensor, mix: CellMix) -> paddle.Tensor:
        """Σ over edges and active candidates of weight * candidate, as [B, multiplier*C, H, W]."""
        output = fused.mixed_cell(self, s0, s1, mix)
        return batched.mixed_cell(self, s0, s1, mix) if output is None else output


class Supernet(nn.Layer):
    """The search network of a :class:`SupernetSpec`."""

    def __init__(self, spec: SupernetSpec) -> None:
        super().__init__()
        self.spec = spec
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
        features = {}
        with held, running_statistics(track_stats):
            s0, s1 = self._stem_states(x)
            for index, (cell, m) in enumerate(zip(self.cells, mix, strict=True)):
                s0, s1 = s1, cell(s0, s1, mixes[id(m)])
                if index in taps:
                    features[index] = s1
            return self.classifier(self.global_pooling(s1).flatten(1)), features

    def _stem_states(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        if self.spec.stem == "cifar":
            s = fused.stem(self.stem, x)
            return s, s
        s0 = fused.stem(self.stem0, x)
        return s0, fused.stem(self.stem1, s0)
