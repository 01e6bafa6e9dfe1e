"""The network that is trained from a genotype, for 32x32 images, in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from paddle_darts.benchmark.torch_peer.blocks import OPS, cell_inputs, conv, stem
from paddle_darts.genotypes import Genotype

STEM_MULTIPLIER = 3


def drop_path(x: torch.Tensor, drop_prob: float) -> torch.Tensor:
    """Drops whole samples, in place, and scales the others up."""
    keep = 1.0 - drop_prob
    mask = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
    return x.div_(keep).mul_(mask)


class Cell(nn.Module):
    def __init__(
        self,
        edges: Sequence[tuple[str, int]],
        concat: Sequence[int],
        c_before: int,
        c_last: int,
        channels: int,
        reduction: bool,
        reduction_before: bool,
    ) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = cell_inputs(c_before, c_last, channels, reduction_before, True)
        self._ops = nn.ModuleList([OPS[op](channels, 2 if reduction and at < 2 else 1, True) for op, at in edges])
        self._sources = [source for _, source in edges]
        self._concat = list(concat)

    def forward(self, s0: torch.Tensor, s1: torch.Tensor, drop_prob: float) -> torch.Tensor:
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        for first in range(0, len(self._ops), 2):
            parts = []
            for k in (first, first + 1):
                y = self._ops[k](states[self._sources[k]])
                if drop_prob > 0.0 and self.training and not isinstance(self._ops[k], nn.Identity):
                    y = drop_path(y, drop_prob)
                parts.append(y)
            states.append(parts[0] + parts[1])
        return torch.cat([states[i] for i in self._concat], dim=1)


class AuxiliaryHead(nn.Module):
    """Classifier on 8x8 maps."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.AvgPool2d(5, stride=3, padding=0, count_include_pad=False),
            conv(channels, 128, 1),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            conv(128, 768, 2),
            nn.BatchNorm2d(768),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


class NetworkCIFAR(nn.Module):
    """(logits, auxiliary logits in training mode) of images [B, 3, 32, 32]."""

    def __init__(
        self, genotype: Genotype, channels: int, layers: int, classes: int = 10, drop_path_prob: float = 0.0
    ) -> None:
        super().__init__()
        self.drop_path_prob = drop_path_prob
        self.auxiliary_at = 2 * layers // 3
        reductions = genotype.network.reductions
        positions = (layers // 3, 2 * layers // 3) if reductions is None else reductions
        width = STEM_MULTIPLIER * channels
        self.stem = stem(width)
        c_before, c_last, reduction_before = width, width, False
        self.cells = nn.ModuleList()
        for index in range(layers):
            reduction = index in positions
            channels = 2 * channels if reduction else channels
            edges = genotype.reduce if reduction else genotype.normal
            concat = genotype.reduce_concat if reduction else genotype.normal_concat
            self.cells.append(Cell(edges, concat, c_before, c_last, channels, reduction, reduction_before))
            c_before, c_last, reduction_before = c_last, len(concat) * channels, reduction
            if index == self.auxiliary_at:
                c_auxiliary = c_last
        self.auxiliary_head = AuxiliaryHead(c_auxiliary, classes)
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c_last, classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        s0 = s1 = self.stem(x)
        auxiliary = None
        for index, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1, self.drop_path_prob)
            if index == self.auxiliary_at and self.training:
                auxiliary = self.auxiliary_head(s1)
        return self.classifier(self.global_pooling(s1).flatten(1)), auxiliary
