"""Convolution, linear layer and batch norm with the numbers of the official (PyTorch) programs.

Paddle's own defaults differ in initialisation and in the running variance; networks whose parameters must be
exchangeable with published checkpoints therefore take their layers from here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import paddle
from paddle import _legacy_C_ops, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Uniform

#: PyTorch's 0.1, the other way round.
MOMENTUM = 0.9

_track_running_statistics = True
_collected: _BatchStatistics | None = None


@contextlib.contextmanager
def running_statistics(track: bool) -> Iterator[None]:
    """Inside this context batch norms in training mode update their running statistics, or leave them be.

    The forward pass at the unrolled weights of second-order DARTS must not leave traces in the network. Running
    statistics move when the context is left, all of them in a handful of operator calls; after an error they do not
    move. (Outside any context every batch norm moves its own at once, in about as many calls.)
    """
    global _track_running_statistics, _collected
    before = _track_running_statistics, _collected
    _track_running_statistics, _collected = track, _BatchStatistics()
    try:
        yield
        _collected.average()
    finally:
        _track_running_statistics, _collected = before


def tracking_statistics() -> bool:
    """Whether batch norms in training mode update their running statistics here."""
    return _track_running_statistics


class BatchNorm(nn.BatchNorm2D):
    """Batch norm over [B, C, H, W] whose running statistics are PyTorch's.

    Paddle accumulates the biased batch variance (PyTorch: the unbiased one, factor n/(n-1) with n = B*H*W) and rounds
    the momentum to float32 even in float64; so the batch statistics are taken from the kernel (momentum 0) and averaged
    here. Outputs and gradients are Paddle's. ``momentum`` 0.9 is PyTorch's 0.1. ``affine=False`` has neither scale nor
    shift (supernets). One that is not ``tracked`` always uses the statistics of the batch and leaves its running ones
    alone (PyTorch's ``track_running_stats=False``). With n = 1 Paddle's kernels hand the input through unchanged; the
    running statistics then stay as they are (PyTorch refuses such a batch).
    """

    def __init__(self, channels: int, affine: bool = True) -> None:
        attr = None if affine else False
        super().__init__(channels, momentum=MOMENTUM, epsilon=1e-5, weight_attr=attr, bias_attr=attr)
        self.tracked = True

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return batch_norm(x, [self])


def batch_norm(x: paddle.Tensor, norms: Sequence[BatchNorm]) -> paddle.Tensor:
    """Several batch norms in one call, each on its own part of the channels of ``x`` [B, C, H, W], in order.

    While training, norms without scale may together have a multiple of C channels: then ``x`` stands for that many
    equal inputs. It is normalised once, and the running statistics of all of them follow.
    """
    first = norms[0]
    scale = None if first.weight is None else _join([norm.weight for norm in norms])
    shift = None if first.bias is None else _join([norm.bias for norm in norms])
    if first.tracked and not first.training:
        mean, variance = _join([norm._mean for norm in norms]), _join([norm._variance for norm in norms])
        return F.batch_norm(x, mean, variance, scale, shift, epsilon=first._epsilon)
    mean, variance = (paddle.zeros([x.shape[1]], first._mean.dtype) for _ in range(2))
    y = F.batch_norm(x, mean, variance, scale, shift, training=True, momentum=0.0, epsilon=first._epsilon)
    n = x.shape[0] * x.shape[2] * x.shape[3]
    if _track_running_statistics and first.tracked and n > 1:
        statistics = _BatchStatistics() if _collected is None else _collected
        statistics.add(norms, mean, variance, n)
        if _collected is None:
            statistics.average()
    return y


class _BatchStatistics:
    """Batch statistics that are still to be averaged into running ones."""

    def __init__(self) -> None:
        self._noted: list[tuple[Sequence[BatchNorm], paddle.Tensor, paddle.Tensor, int]] = []
        self._seen: set[int] = set()

    def add(self, norms: Sequence[BatchNorm], mean: paddle.Tensor, variance: paddle.Tensor, n: int) -> None:
        """Notes mean and biased variance of ``n`` values per channel; see :func:`batch_norm` for ``norms``."""
        if not self._seen.isdisjoint(map(id, norms)):
            self.average()  # a layer that is used twice moves twice
        self._seen.update(map(id, norms))
        self._noted.append((norms, mean, variance, n))

    @paddle.no_grad()
    def average(self) -> None:
        """running = momentum * running + (1 - momentum) * batch for all that was noted, the variance unbiased."""
        if not self._noted:
            return
        noted = sorted(self._noted, key=lambda note: note[-1])
        norms = [norm for owners, *_ in noted for norm in owners]
        batch = [_join([part for owners, mean, _, _ in noted for part in _copies(mean, owners)])]
        for n, alike in groupby(noted, key=lambda note: note[-1]):
            biased = _join([part for owners, _, variance, _ in alike for part in _copies(variance, owners)])
            batch.append(biased * (n / (n - 1)))
        running = [norm._mean for norm in norms] + [norm._variance for norm in norms]
        _fill(running, _join(running) * MOMENTUM + _join(batch) * (1.0 - MOMENTUM))
        self._noted.clear()
        self._seen.clear()


def _copies(statistic: paddle.Tensor, norms: Sequence[BatchNorm]) -> list[paddle.Tensor]:
    """``statistic`` as often as it takes to have a value for every channel of ``norms``."""
    return [statistic] * (sum(norm._num_features for norm in norms) // statistic.shape[0])


def _fill(tensors: list[paddle.Tensor], flat: paddle.Tensor) -> None:
    """Writes ``flat`` into ``tensors``, one after the other."""
    sizes = [tensor.shape[0] for tensor in tensors]
    if not paddle.in_dynamic_mode():
        for tensor, part in zip(tensors, paddle.split(flat, sizes), strict=True):
            paddle.assign(part, tensor)
        return
    # the time that a split takes grows with the square of its parts
    chunks = [slice(start, start + 256) for start in range(0, len(sizes), 256)]
    for chunk, part in zip(chunks, paddle.split(flat, [sum(sizes[chunk]) for chunk in chunks]), strict=True):
        # the one operator that fills many tensors that exist; Paddle's data parallel uses it for the same
        _legacy_C_ops.split(part, tensors[chunk], "sections", sizes[chunk], "axis", 0)
    for tensor in tensors:
        tensor._bump_inplace_version()  # the operator does not, and a graph that holds the old values must notice


def _join(parts: Sequence[paddle.Tensor]) -> paddle.Tensor:
    return parts[0] if len(parts) == 1 else paddle.concat(list(parts))


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
