"""PaddleSlim's ``DartsSpace``: how wide each of the 20 cells of a DARTS network is."""

from __future__ import annotations

from functools import partial

import paddle
from paddle import nn

from paddle_darts.genotypes import Genotype, genotype
from paddle_darts.networks.evaluation import EvaluationNetwork, build_cell
from paddle_darts.networks.fused import stem
from paddle_darts.networks.stems import AuxiliaryHead, cifar_stem, global_pool
from paddle_darts.nn.layers import linear
from paddle_darts.search_space.base import SEARCHSPACE, Arch, SearchSpaceBase
from paddle_darts.spaces.darts import DARTS, cell_kinds

#: The widths that tokens stand for: channels of every node of a cell, whose output is four times as wide.
WIDTHS = (4, 8, 12, 16, 20, 36, 54, 72, 90, 108, 144, 180, 216, 252)
CELLS = 20
STEM_CHANNELS = 108
CELL = "DARTS_PADDLE"


@SEARCHSPACE.register
class DartsSpace(SearchSpaceBase):
    """Token i is the width of cell i, a number of ``WIDTHS``; the cell itself is always DARTS_PADDLE.

    Cells 6 and 13 reduce. The initial tokens are the widths 36, 72 and 144 of the published network.
    Source: paddleslim/nas/search_space/darts_space.py (2.6.0). Deviation: networks are layers that draw their own
    drop path, so ``arch`` takes ``num_classes``, ``auxiliary``, ``drop_path_prob``, ``in_channels`` and
    ``stem_channels`` instead of masks.
    """

    def init_tokens(self, tokens: list[int] | None = None) -> list[int]:
        """Widths 36, 72 and 144, doubled at the reductions."""
        return [5] * 6 + [7] * 7 + [10] * 7 if tokens is None else self.validate(tokens)

    def range_table(self) -> list[int]:
        return [len(WIDTHS)] * CELLS

    def widths(self, tokens: list[int]) -> tuple[int, ...]:
        """The channels of each cell."""
        return tuple(WIDTHS[token] for token in self.validate(tokens))

    def tokens2genotype(self, tokens: list[int]) -> Genotype:
        """The cell DARTS_PADDLE, whatever the widths."""
        self.validate(tokens)
        return genotype(CELL)

    def token2arch(self, tokens: list[int] | None = None) -> Arch:
        """``arch(num_classes=10, **options)``, the options of `WidthNetwork`."""
        return partial(WidthNetwork, self.widths(self.init_tokens(tokens)), **self.options)


class WidthNetwork(EvaluationNetwork):
    """The evaluation network for small images of a cell, with one width per cell.

    ``forward`` maps [B, in_channels, H, W] to ``(logits [B, classes], auxiliary logits or None)``; with the widths of
    the published network it is `NetworkCIFAR` of 36 channels and 20 cells, down to the names of its parameters.
    """

    AUX_POOL_STRIDE = 3

    def __init__(
        self,
        widths: tuple[int, ...],
        num_classes: int = 10,
        auxiliary: bool = False,
        drop_path_prob: float = 0.0,
        in_channels: int = 3,
        stem_channels: int = STEM_CHANNELS,
        cell: Genotype | str = CELL,
    ) -> None:
        super().__init__(auxiliary, drop_path_prob)
        cells, layers = genotype(cell), len(widths)
        self.stem = cifar_stem(in_channels, stem_channels)
        self.cells = nn.LayerList()
        self._aux_index = 2 * layers // 3
        c_prev_prev, c_prev, reduction_prev = stem_channels, stem_channels, False
        for width, kind in zip(widths, cell_kinds(layers, cells.network.reductions), strict=True):
            built = build_cell(DARTS, cells, kind, c_prev_prev, c_prev, width, reduction_prev)
            self.cells.append(built)
            c_prev_prev, c_prev, reduction_prev = c_prev, built.out_channels, kind == "reduce"
        if auxiliary:
            head_input = self.cells[self._aux_index].out_channels
            self.auxiliary_head = AuxiliaryHead(head_input, num_classes, self.AUX_POOL_STRIDE)
        self.global_pooling = global_pool()
        self.classifier = linear(c_prev, num_classes)

    def _stem_states(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        s = stem(self.stem, x)
        return s, s
