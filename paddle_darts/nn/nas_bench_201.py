"""The building blocks of NAS-Bench-201 networks, under the parameter names of the official programs.

Every block maps [B, C_in, H, W] to [B, C_out, ceil(H/stride), ceil(W/stride)]. Source: D-X-Y/AutoDL-Projects,
xautodl/models/cell_operations.py. Deviation: convolutions never have a bias. The official ones have one where the
batch norm behind them has no scale and shift; a batch norm takes it away again.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.nn.blocks import ReLUConvBN, Zero
from paddle_darts.nn.layers import AvgPool, BatchNorm, conv2d


class Pool(nn.Layer):
    """3x3 average pooling that does not count the border; before it a 1x1 convolution where the width changes."""

    def __init__(self, c_in: int, c_out: int, stride: int, affine: bool = True) -> None:
        super().__init__()
        self.preprocess = nn.Identity() if c_in == c_out else ReLUConvBN(c_in, c_out, 1, 1, 0, affine)
        self.op = AvgPool(stride)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.op(self.preprocess(x))


class WidthChange(nn.Layer):
    """A skip connection between widths: 1x1 convolution and batch norm, no ReLU."""

    def __init__(self, c_in: int, c_out: int, affine: bool = True) -> None:
        super().__init__()
        self.conv = conv2d(c_in, c_out, 1)
        self.bn = BatchNorm(c_out, affine)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.bn(self.conv(x))


class Halving(nn.Layer):
    """A skip connection of stride 2: ReLU, two 1x1 convolutions of stride 2 side by side, batch norm.

    The second convolution reads the map moved by one pixel, with a row and a column of zeros at its end. An odd width
    gives the second one channel more.
    """

    def __init__(self, c_in: int, c_out: int, affine: bool = True) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.convs = nn.LayerList([conv2d(c_in, c, 1, 2) for c in (c_out // 2, c_out - c_out // 2)])
        self.bn = BatchNorm(c_out, affine)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.relu(x)
        moved = F.pad(x, [0, 1, 0, 1])[:, :, 1:, 1:]
        return self.bn(paddle.concat([self.convs[0](x), self.convs[1](moved)], axis=1))


class ResidualBlock(nn.Layer):
    """Two ReLU-conv3x3-BN, the first strided, beside a shortcut; no ReLU behind the sum.

    The shortcut of stride 2 is 2x2 average pooling and a 1x1 convolution without batch norm. Deviation: of an odd size
    the last row and column are pooled for themselves (the official block fails there).
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(c_in, c_out, 3, stride, 1)
        self.conv_b = ReLUConvBN(c_out, c_out, 3, 1, 1)
        if stride == 2:
            self.downsample = nn.Sequential(nn.AvgPool2D(2, 2, ceil_mode=True), conv2d(c_in, c_out, 1))
        else:
            self.downsample = nn.Identity() if c_in == c_out else ReLUConvBN(c_in, c_out, 1, 1, 0)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.downsample(x) + self.conv_b(self.conv_a(x))


def build(op: str, c_in: int, c_out: int, stride: int, affine: bool) -> nn.Layer:
    """One of the operations of the space as a layer."""
    if op == "none" and c_in == c_out:
        return Zero(stride)
    if op == "none":
        return ZeroOfWidth(c_out, stride)
    if op == "avg_pool_3x3":
        # the plain layer where there is nothing else, so that cells see what it is
        return AvgPool(stride) if c_in == c_out else Pool(c_in, c_out, stride, affine)
    if op == "skip_connect" and stride == 1:
        return nn.Identity() if c_in == c_out else WidthChange(c_in, c_out, affine)
    if op == "skip_connect":
        return Halving(c_in, c_out, affine)
    kernel = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[op]
    return ReLUConvBN(c_in, c_out, kernel, stride, kernel // 2, affine)


class ZeroOfWidth(nn.Layer):
    """The op `none` between widths: zeros of ``channels`` channels."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self._channels, self._zero = channels, Zero(stride)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        zeros = self._zero(x[:, :1])
        return zeros.expand([-1, self._channels, -1, -1])
