"""The building blocks of DARTS cells, under the parameter names of the official programs.

Every block maps [B, C_in, H, W] to [B, C_out, ceil(H/stride), ceil(W/stride)]. ``affine`` concerns the batch
norms only: off in supernets, on in evaluation networks. Source: quark0/darts, cnn/operations.py.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError
from paddle_darts.nn.layers import BatchNorm, conv2d


class ReLUConvBN(nn.Layer):
    """ReLU, convolution, batch norm."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, padding: int, affine: bool = True) -> None:
        super().__init__()
        self.op = nn.Sequential(nn.ReLU(), conv2d(c_in, c_out, kernel, stride, padding), BatchNorm(c_out, affine))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.op(x)


class DilConv(nn.Layer):
    """ReLU, dilated depthwise convolution, 1x1 convolution, batch norm."""

    def __init__(self, channels: int, kernel: int, stride: int, affine: bool = True, dilation: int = 2) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.op = nn.Sequential(
            nn.ReLU(),
            conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels),
            conv2d(channels, channels, 1),
            BatchNorm(channels, affine),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.op(x)


class SepConv(nn.Layer):
    """Two depthwise-separable convolutions (ReLU, depthwise, 1x1, batch norm); only the first one is strided."""

    def __init__(self, channels: int, kernel: int, stride: int, affine: bool = True) -> None:
        super().__init__()
        layers: list[nn.Layer] = []
        for s in (stride, 1):
            layers += [
                nn.ReLU(),
                conv2d(channels, channels, kernel, s, kernel // 2, groups=channels),
                conv2d(channels, channels, 1),
                BatchNorm(channels, affine),
            ]
        self.op = nn.Sequential(*layers)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.op(x)


class FactorizedReduce(nn.Layer):
    """Halves the map by two 1x1 convolutions of stride 2, one of them on the map shifted by one pixel.

    Deviation: the official block fails on odd sizes; here the shifted map gets a row or column of zeros at its
    end, so that both halves have ceil(H/2) rows. Even sizes are not affected.
    """

    def __init__(self, c_in: int, c_out: int, affine: bool = True) -> None:
        super().__init__()
        if c_out % 2:
            raise ConfigError(f"a stride-2 skip needs an even number of channels, got {c_out}; change init_channels")
        self.relu = nn.ReLU()
        self.conv_1 = conv2d(c_in, c_out // 2, 1, 2)
        self.conv_2 = conv2d(c_in, c_out // 2, 1, 2)
        self.bn = BatchNorm(c_out, affine)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.relu(x)
        shifted = x[:, :, 1:, 1:]
        odd_h, odd_w = x.shape[2] % 2, x.shape[3] % 2
        if odd_h or odd_w:
            shifted = F.pad(shifted, [0, odd_w, 0, odd_h])
        return self.bn(paddle.concat([self.conv_1(x), self.conv_2(shifted)], axis=1))


def cell_input(c_in: int, c_out: int, halve: bool, affine: bool) -> nn.Layer:
    """Brings an input of a cell to the cell's width; ``halve`` where it is twice as large as the other input."""
    return FactorizedReduce(c_in, c_out, affine) if halve else ReLUConvBN(c_in, c_out, 1, 1, 0, affine)


class Zero(nn.Layer):
    """The op `none`: zeros of the right shape (so that NaN and Inf of the input do not spread)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        batch, channels, height, width = x.shape
        size = [batch, channels, -(-height // self.stride), -(-width // self.stride)]
        return paddle.zeros(size, dtype=x.dtype)


class SwitchedOff(Zero):
    """The place of a candidate that a supernet does not have: it keeps the names and columns of the others."""


def conv_7x1_1x7(channels: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, 1x7 and 7x1 convolution (stride on one axis each), batch norm; only AmoebaNet's cells use it."""
    return nn.Sequential(
        nn.ReLU(),
        conv2d(channels, channels, (1, 7), (1, stride), (0, 3)),
        conv2d(channels, channels, (7, 1), (stride, 1), (3, 0)),
        BatchNorm(channels, affine),
    )
