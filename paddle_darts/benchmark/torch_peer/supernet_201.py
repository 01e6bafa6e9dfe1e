"""The search network of NAS-Bench-201 in PyTorch.

Source: NAS-Bench-201 (arXiv 2001.00326; D-X-Y/AutoDL-Projects), written plainly like the rest of the peer: a module per
operation and edge, with the biases that the authors give to convolutions before batch norms without scale and shift.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from paddle_darts.benchmark.torch_peer.blocks import Block, Zero, conv, stem
from paddle_darts.genotypes.nas_bench_201 import EDGES, OPS
from paddle_darts.spaces.nas_bench_201 import GROUPS, cells_per_group


def relu_conv_norm(channels: int, kernel: int) -> Block:
    """A candidate: its batch norm has neither scale and shift nor running statistics, so its convolution has a bias."""
    return Block(
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=True),
        nn.BatchNorm2d(channels, affine=False, track_running_stats=False),
    )


#: Candidate by name, from its channels.
CANDIDATES: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda c: Zero(1),
    "skip_connect": lambda c: nn.Identity(),
    "nor_conv_1x1": lambda c: relu_conv_norm(c, 1),
    "nor_conv_3x3": lambda c: relu_conv_norm(c, 3),
    "avg_pool_3x3": lambda c: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
}


class SearchCell201(nn.Module):
    """Four nodes, of which each is the sum of the mixed operations on all nodes before it; the last is the output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {f"{t}<-{s}": nn.ModuleList([CANDIDATES[op](channels) for op in OPS]) for t, s in EDGES}
        )

    def forward(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        nodes: dict[int, torch.Tensor] = {0: x}
        for row, (target, source) in enumerate(EDGES):
            candidates = self.edges[f"{target}<-{source}"]
            mixed = sum(w * op(nodes[source]) for w, op in zip(weights[row], candidates, strict=True))
            nodes[target] = nodes[target] + mixed if target in nodes else mixed
        return nodes[max(nodes)]


class Residual(nn.Module):
    """The block between two groups of cells: stride 2, two convolutions beside a pooled shortcut without norm."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv_a = Block(nn.ReLU(), conv(c_in, c_out, 3, 2, 1), nn.BatchNorm2d(c_out))
        self.conv_b = Block(nn.ReLU(), conv(c_out, c_out, 3, 1, 1), nn.BatchNorm2d(c_out))
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), conv(c_in, c_out, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.downsample(x) + self.conv_b(self.conv_a(x))


class Supernet201(nn.Module):
    """Logits of images [B, 3, H, W] under the alphas, one tensor [6, 5], which is no part of it."""

    def __init__(self, channels: int, layers: int, classes: int = 10) -> None:
        super().__init__()
        self.stem = stem(channels)
        self.cells = nn.ModuleList()
        for group in range(GROUPS):
            if group > 0:
                self.cells.append(Residual(channels, 2 * channels))
                channels *= 2
            self.cells.extend(SearchCell201(channels) for _ in range(cells_per_group(layers)))
        self.lastact = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor, alphas: tuple[torch.Tensor]) -> torch.Tensor:
        weights = torch.softmax(alphas[0], dim=-1)
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x, weights) if isinstance(cell, SearchCell201) else cell(x)
        return self.classifier(self.global_pooling(self.lastact(x)).flatten(1))


def initial_alphas_201(**factory: object) -> tuple[torch.Tensor]:
    """1e-3 * N(0, 1)."""
    return ((1e-3 * torch.randn(len(EDGES), len(OPS), **factory)).requires_grad_(),)
