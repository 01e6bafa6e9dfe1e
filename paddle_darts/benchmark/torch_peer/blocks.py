"""The operations of DARTS cells in PyTorch. All map [B, C, H, W]; stride 2 halves even sizes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def conv(
    c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int | tuple[int, int] = 1, padding=0, **more: int
) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False, **more)


class Block(nn.Module):
    """A chain of layers under the name that they have in the authors' program, ``op``."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.op = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.op(x)


def relu_conv_bn(c_in: int, c_out: int, affine: bool) -> Block:
    return Block(nn.ReLU(), conv(c_in, c_out, 1), nn.BatchNorm2d(c_out, affine=affine))


def separable(channels: int, kernel: int, stride: int, affine: bool) -> Block:
    """Twice ReLU, depthwise, 1x1, batch norm."""
    layers: list[nn.Module] = []
    for step in (stride, 1):
        depthwise = conv(channels, channels, kernel, step, kernel // 2, groups=channels)
        layers += [nn.ReLU(), depthwise, conv(channels, channels, 1), nn.BatchNorm2d(channels, affine=affine)]
    return Block(*layers)


def dilated(channels: int, kernel: int, stride: int, affine: bool) -> Block:
    """ReLU, depthwise with holes of one pixel, 1x1, batch norm."""
    depthwise = conv(channels, channels, kernel, stride, kernel - 1, dilation=2, groups=channels)
    return Block(nn.ReLU(), depthwise, conv(channels, channels, 1), nn.BatchNorm2d(channels, affine=affine))


class FactorizedReduce(nn.Module):
    """Two 1x1 convolutions of stride 2, the second on the map shifted by a pixel; even sizes only."""

    def __init__(self, c_in: int, c_out: int, affine: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv_1 = conv(c_in, c_out // 2, 1, 2)
        self.conv_2 = conv(c_in, c_out // 2, 1, 2)
        self.bn = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(x)
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], dim=1))


class Zero(nn.Module):
    """The input, thinned out to its new size, times zero."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, :: self.stride, :: self.stride] * 0.0


def wide(channels: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, 1x7 and 7x1 convolution, batch norm."""
    return nn.Sequential(
        nn.ReLU(),
        conv(channels, channels, (1, 7), (1, stride), (0, 3)),
        conv(channels, channels, (7, 1), (stride, 1), (3, 0)),
        nn.BatchNorm2d(channels, affine=affine),
    )


#: Operation by name, from (channels, stride, affine).
OPS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "none": lambda c, s, affine: Zero(s),
    "max_pool_3x3": lambda c, s, affine: nn.MaxPool2d(3, s, 1),
    "avg_pool_3x3": lambda c, s, affine: nn.AvgPool2d(3, s, 1, count_include_pad=False),
    "skip_connect": lambda c, s, affine: nn.Identity() if s == 1 else FactorizedReduce(c, c, affine),
    "sep_conv_3x3": lambda c, s, affine: separable(c, 3, s, affine),
    "sep_conv_5x5": lambda c, s, affine: separable(c, 5, s, affine),
    "sep_conv_7x7": lambda c, s, affine: separable(c, 7, s, affine),
    "dil_conv_3x3": lambda c, s, affine: dilated(c, 3, s, affine),
    "dil_conv_5x5": lambda c, s, affine: dilated(c, 5, s, affine),
    "conv_7x1_1x7": lambda c, s, affine: wide(c, s, affine),
}


def stem(channels: int) -> nn.Sequential:
    return nn.Sequential(conv(3, channels, 3, 1, 1), nn.BatchNorm2d(channels))


def cell_inputs(c_before: int, c_last: int, channels: int, halve: bool, affine: bool) -> tuple[nn.Module, nn.Module]:
    """Both inputs of a cell brought to its width; ``halve`` after a reduction cell."""
    first = FactorizedReduce(c_before, channels, affine) if halve else relu_conv_bn(c_before, channels, affine)
    return first, relu_conv_bn(c_last, channels, affine)
