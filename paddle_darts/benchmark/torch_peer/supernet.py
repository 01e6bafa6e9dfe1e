"""The search network in PyTorch."""

from __future__ import annotations

import torch
from torch import nn

from paddle_darts.benchmark.torch_peer.blocks import OPS, cell_inputs, stem
from paddle_darts.genotypes import PRIMITIVES

STEPS, MULTIPLIER, STEM_MULTIPLIER = 4, 4, 3
EDGES = sum(2 + node for node in range(STEPS))


class MixedOp(nn.Module):
    """All candidates of an edge and their weighted sum."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self._ops = nn.ModuleList()
        for name in PRIMITIVES:
            op = OPS[name](channels, stride, False)
            if "pool" in name:
                op = nn.Sequential(op, nn.BatchNorm2d(channels, affine=False))
            self._ops.append(op)

    def forward(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return sum(w * op(x) for w, op in zip(weights, self._ops, strict=True))


class SearchCell(nn.Module):
    def __init__(self, c_before: int, c_last: int, channels: int, reduction: bool, reduction_before: bool) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = cell_inputs(c_before, c_last, channels, reduction_before, False)
        strides = [2 if reduction and state < 2 else 1 for node in range(STEPS) for state in range(2 + node)]
        self._ops = nn.ModuleList([MixedOp(channels, stride) for stride in strides])

    def forward(self, s0: torch.Tensor, s1: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        row = 0
        for _ in range(STEPS):
            node = sum(self._ops[row + j](state, weights[row + j]) for j, state in enumerate(states))
            row += len(states)
            states.append(node)
        return torch.cat(states[-MULTIPLIER:], dim=1)


class Supernet(nn.Module):
    """Logits of images [B, 3, H, W] under the alphas (normal, reduce), each [14, 8], which are no part of it."""

    def __init__(self, channels: int, layers: int, classes: int = 10) -> None:
        super().__init__()
        width = STEM_MULTIPLIER * channels
        self.stem = stem(width)
        self.reductions = [index in (layers // 3, 2 * layers // 3) for index in range(layers)]
        c_before, c_last, reduction_before = width, width, False
        self.cells = nn.ModuleList()
        for reduction in self.reductions:
            channels = 2 * channels if reduction else channels
            self.cells.append(SearchCell(c_before, c_last, channels, reduction, reduction_before))
            c_before, c_last, reduction_before = c_last, MULTIPLIER * channels, reduction
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c_last, classes)

    def forward(self, x: torch.Tensor, alphas: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        s0 = s1 = self.stem(x)
        for cell, reduction in zip(self.cells, self.reductions, strict=True):
            s0, s1 = s1, cell(s0, s1, torch.softmax(alphas[reduction], dim=-1))
        return self.classifier(self.global_pooling(s1).flatten(1))


def initial_alphas(**factory: object) -> tuple[torch.Tensor, torch.Tensor]:
    """1e-3 * N(0, 1), normal and reduce."""
    normal, reduce = (1e-3 * torch.randn(EDGES, len(PRIMITIVES), **factory) for _ in range(2))
    return normal.requires_grad_(), reduce.requires_grad_()
