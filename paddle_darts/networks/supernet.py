"""Supernets: every candidate operation on every edge, mixed by weights that are fed in.

They know no method. What a method decides arrives per cell as a :class:`CellMix`; what is built rather than fed stands
in a :class:`SupernetSpec`. This module holds what supernets of all spaces share and the one of the DARTS space. Source:
quark0/darts, cnn/model_search.py (parameter names included).
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence

import paddle
from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.networks import fused
from paddle_darts.networks.mix import CellMix
from paddle_darts.networks.search_cell import DartsCell, SearchCell
from paddle_darts.networks.spec import SupernetSpec
from paddle_darts.networks.stems import cifar_stem, global_pool, imagenet_stems
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import frozen, linear, running_statistics, trainable

GRADS = ("both", "weights", "arch")

#: Computes a searched cell, the next in the order of the mix, for its inputs.
NextCell = Callable[..., paddle.Tensor]


class SearchNetwork(nn.Layer, ABC):
    """What the search networks of all spaces share.

    ``skip_dropout_prob`` may be set between steps. ``random`` is the source of all that a forward pass draws, cell by
    cell and edge by edge.
    """

    def __init__(self, spec: SupernetSpec) -> None:
        super().__init__()
        self.spec, self.random, self._skip_dropout_prob = spec, RandomSource(), 0.0
        self._build(spec)
        # once: the walk over all layers is slow, and inside a pass that holds the weights still it would miss them
        self._weights = trainable(self)

    @abstractmethod
    def _build(self, spec: SupernetSpec) -> None:
        """Makes the layers."""

    @property
    @abstractmethod
    def searched_cells(self) -> list[SearchCell]:
        """The cells that a mix has an entry for, in its order."""

    @abstractmethod
    def _logits(self, x: paddle.Tensor, next_cell: NextCell) -> paddle.Tensor:
        """The pass over all layers; ``next_cell(*inputs)`` is the output of the next searched cell."""

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
        cells = self.searched_cells
        if len(mix) != len(cells):
            raise ConfigError(f"the mix has {len(mix)} cells, the supernet {len(cells)}")
        mixes = {id(m): m.detach() if grads == "weights" else m for m in mix}
        held = frozen(list(self.weights().values())) if grads == "arch" else contextlib.nullcontext()
        drop_prob = self.skip_dropout_prob if self.training else 0.0
        features: dict[int, paddle.Tensor] = {}
        order = enumerate(zip(cells, mix, strict=True))

        def next_cell(*inputs: paddle.Tensor) -> paddle.Tensor:
            index, (cell, m) = next(order)
            y = cell(*inputs, mixes[id(m)], drop_prob, self.random)
            if index in taps:
                features[index] = y
            return y

        with held, running_statistics(track_stats):
            return self._logits(x, next_cell), features


class Supernet(SearchNetwork):
    """The search network of the DARTS space."""

    def _build(self, spec: SupernetSpec) -> None:
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
            self.cells.append(DartsCell(spec, c_prev_prev, c_prev, channels, reduction, reduction_prev))
            reduction_prev = reduction
            c_prev_prev, c_prev = c_prev, spec.multiplier * channels
        self.global_pooling = global_pool()
        self.classifier = linear(c_prev, spec.num_classes)

    @property
    def searched_cells(self) -> list[SearchCell]:
        return list(self.cells)

    def _logits(self, x: paddle.Tensor, next_cell: NextCell) -> paddle.Tensor:
        s0, s1 = self._stem_states(x)
        for _ in self.cells:
            s0, s1 = s1, next_cell(s0, s1)
        return self.classifier(self.global_pooling(s1).flatten(1))

    def _stem_states(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        if self.spec.stem == "cifar":
            s = fused.stem(self.stem, x)
            return s, s
        s0 = fused.stem(self.stem0, x)
        return s0, fused.stem(self.stem1, s0)


__all__ = ["GRADS", "CellMix", "SearchCell", "SearchNetwork", "Supernet", "SupernetSpec"]
