"""Convolution, linear layer and batch norm with the numbers of the official (PyTorch) programs.

Paddle's own defaults differ in initialisation and in the running variance; networks whose parameters must be
exchangeable with published checkpoints therefore take their layers from here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.nn.initializer import Uniform

_track_running_statistics = True


@contextlib.contextmanager
def running_statistics(track: bool) -> Iterator[None]:
    """Inside this context batch norms in training mode update their running statistics, or leave them be.

    The forward pass at the unrolled weights of second-order DARTS must not leave traces in the network.
    """
    global _track_running_statistics
    before, _track_running_statistics = _track_running_statistics, track
    try:
        yield
    finally:
        _track_running_statistics = before


def tracking_statistics() -> bool:
    """Whether batch norms in training mode update their running statistics here."""
    return _track_running_statistics


class BatchNorm(nn.BatchNorm2D):
    """Batch norm over [B, C, H, W] whose running statistics are PyTorch's.

    Paddle accumulates the biased batch variance (PyTorch: the unbiased one, factor n/(n-1) with n = B*H*W) and
    rounds the momentum to float32 even in float64; so the batch statistics are taken from the kernel (momentum 0)
    and averaged here. Outputs and gradients are Paddle's. ``momentum`` 0.9 is PyTorch's 0.1. ``affine=False`` has
    neither scale nor shift (supernets). With n = 1 Paddle's kernels hand the input through unchanged; the running
    statistics then stay as they are (PyTorch refuses such a batch).
    """

    def __init__(self, channels: int, affine: bool = True) -> None:
        attr = None if affine else False
        super().__init__(channels, momentum=0.9, epsilon=1e-5, weight_attr=attr, bias_attr=attr)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if not self.training:
            return super().forward(x)
        mean, variance = paddle.zeros_like(self._mean), paddle.zeros_like(self._variance)
        y = F.batch_norm(x, mean, variance, self.weight, self.bias, training=True, momentum=0.0, epsilon=self._epsilon)
        n = x.shape[0] * x.shape[2] * x.shape[3]
        if _track_running_statistics and n > 1:
            with paddle.no_grad():
                self._average(self._mean, mean, 1.0)
                self._average(self._variance, variance, n / (n - 1))
        return y

    def _average(self, running: paddle.Tensor, batch: paddle.Tensor, factor: float) -> None:
        """running = momentum * running + (1 - momentum) * factor * batch, in place."""
        momentum = self._momentum
        paddle.assign(running * momentum + batch * ((1.0 - momentum) * factor), running)


def conv2d(
    c_in: int,
    c_out: int,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2D:
    """Convolution without bias, weights U(-b, b) with b = 1/sqrt(fan_in) (PyTorch's default)."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    bound = 1.0 / math.sqrt(c_in // groups * height * width)
    return nn.Conv2D(
        c_in,
        c_out,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        weight_attr=paddle.ParamAttr(initializer=Uniform(-bound, bound)),
        bias_attr=False,
    )


def linear(features: int, classes: int) -> nn.Linear:
    """Linear layer, weight [features, classes] and bias U(-b, b) with b = 1/sqrt(features) (PyTorch's default)."""
    bound = 1.0 / math.sqrt(features)
    attr = paddle.ParamAttr(initializer=Uniform(-bound, bound))
    return nn.Linear(features, classes, weight_attr=attr, bias_attr=attr)


def max_pool(stride: int) -> nn.MaxPool2D:
    """3x3 max pooling; the border is padded with minus infinity."""
    return nn.MaxPool2D(3, stride=stride, padding=1)


class AvgPool(nn.AvgPool2D):
    """3x3 average pooling over the pixels that exist (the padding is not counted)."""

    def __init__(self, stride: int) -> None:
        super().__init__(3, stride=stride, padding=1, exclusive=True)
        self._step = stride

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        # Paddle's CPU gradient divides in float32 whatever the precision; double precision is summed by hand.
        return _window_mean(x, self._step) if x.dtype == paddle.float64 else super().forward(x)


def _window_mean(x: paddle.Tensor, stride: int) -> paddle.Tensor:
    """Mean over 3x3 windows with a border of one, the border not counted."""

    def window_sum(values: paddle.Tensor) -> paddle.Tensor:
        padded = F.pad(values, [1, 1, 1, 1])
        height, width = values.shape[2:]
        rows = paddle.add_n([padded[:, :, i : i + height : stride, :] for i in range(3)])
        return paddle.add_n([rows[:, :, :, i : i + width : stride] for i in range(3)])

    return window_sum(x) / window_sum(paddle.ones([1, 1, *x.shape[2:]], dtype=x.dtype))


def trainable(layer: nn.Layer) -> dict[str, paddle.Tensor]:
    """The trained parameters of ``layer`` by structured name, in definition order.

    ``Layer.named_parameters()`` alone also yields the running statistics of batch norms.
    """
    return {name: p for name, p in layer.named_parameters() if not p.stop_gradient}


def copy_into(own: Mapping[str, paddle.Tensor], saved: Mapping[str, paddle.Tensor]) -> None:
    """Sets every tensor of ``own`` to the value of the same name in ``saved``; KeyError when one is missing."""
    for name, tensor in own.items():
        tensor.set_value(saved[name])


@contextlib.contextmanager
def frozen(parameters: list[paddle.Tensor]) -> Iterator[None]:
    """No graph is recorded towards ``parameters`` by what is computed inside this context."""
    for parameter in parameters:
        parameter.stop_gradient = True
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.stop_gradient = False
