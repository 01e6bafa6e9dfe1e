"""What a candidate operation computes, read off its layers.

Every operation of the cell spaces is `none`, an identity, a pooling, or a chain of *stages*: an optional ReLU, an
optional depthwise convolution, a dense convolution and an optional batch norm. Whoever computes operations another
way than layer by layer (many edges at once, or in the kernels) starts from this description.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.nn.blocks import DilConv, FactorizedReduce, ReLUConvBN, SepConv, Zero
from paddle_darts.nn.layers import AvgPool, BatchNorm


@dataclass(frozen=True, eq=False)
class Stage:
    """ReLU (if ``relu``), ``depthwise`` (or None), ``dense``, ``norm`` (or None).

    ``dense`` is one convolution, or the two of a factorised reduction: the second reads the map shifted by one pixel
    and their outputs are joined along the channels.
    """

    relu: bool
    depthwise: nn.Conv2D | None
    dense: tuple[nn.Conv2D, ...]
    norm: BatchNorm | None

    @cached_property
    def form(self) -> Hashable:
        """Equal for stages that differ in nothing but their weights."""
        convs = (self.depthwise, *self.dense)
        return (self.relu, *(None if conv is None else _geometry(conv) for conv in convs), *self.result)

    @cached_property
    def result(self) -> Hashable:
        """Equal for stages that turn equal inputs into outputs of one shape and normalise them in the same way."""
        strides = np.prod([conv._stride for conv in (self.depthwise, self.dense[0]) if conv is not None], axis=0)
        channels = sum(conv.weight.shape[0] for conv in self.dense)
        return (*strides.tolist(), channels, self.norm is None, self.norm is None or self.norm.weight is None)

    @cached_property
    def pointwise(self) -> bool:
        """Whether it is a depthwise convolution and a 1x1 convolution."""
        return self.depthwise is not None and len(self.dense) == 1 and list(self.dense[0]._kernel_size) == [1, 1]


def _geometry(conv: nn.Conv2D) -> Hashable:
    return tuple(conv.weight.shape), tuple(conv._stride), tuple(conv._updated_padding), tuple(conv._dilation)


@dataclass(frozen=True, eq=False)
class Pooling:
    """3x3 ``"max"`` or ``"avg"`` pooling of a ``stride`` by ``layer``, then ``norm`` (or None)."""

    kind: str
    stride: int
    norm: BatchNorm | None
    layer: nn.MaxPool2D | AvgPool


@dataclass(frozen=True, eq=False)
class Identity:
    """The input itself."""


@dataclass(frozen=True, eq=False)
class Nothing:
    """The op `none`."""


def shifted(x: paddle.Tensor) -> paddle.Tensor:
    """The map that the second convolution of a factorised reduction reads; zeros where it leaves an odd size."""
    y = x[:, :, 1:, 1:]
    odd_h, odd_w = x.shape[2] % 2, x.shape[3] % 2
    return F.pad(y, [0, odd_w, 0, odd_h]) if odd_h or odd_w else y


Description = tuple[Stage, ...] | Pooling | Identity | Nothing


def describe(op: nn.Layer) -> Description:
    """The description of a candidate operation; TypeError for a layer that is none of the known forms."""
    if isinstance(op, Zero):
        return Nothing()
    if isinstance(op, nn.Identity):
        return Identity()
    if isinstance(op, FactorizedReduce):
        return (Stage(True, None, (op.conv_1, op.conv_2), op.bn),)
    layers = list(_flatten(op))
    if not layers:
        raise TypeError("an empty sequence is no known operation; the identity is nn.Identity")
    if isinstance(layers[0], nn.MaxPool2D | AvgPool):
        return _pooling(*layers)
    return tuple(_stages(layers))


def _flatten(op: nn.Layer) -> Iterator[nn.Layer]:
    """The layers in the order in which they are applied."""
    if isinstance(op, nn.Sequential | ReLUConvBN | SepConv | DilConv):
        for child in op.children():
            yield from _flatten(child)
    elif list(op.children()):
        raise TypeError(f"{type(op).__name__} may do more than apply its layers in their order")
    else:
        yield op


def _pooling(pool: nn.MaxPool2D | AvgPool, norm: nn.Layer | None = None, *more: nn.Layer) -> Pooling:
    known = (pool.ksize, pool.padding) == (3, 1) and isinstance(pool.stride, int) and not pool.ceil_mode
    if not known or more or not isinstance(norm, BatchNorm | None):
        raise TypeError("only 3x3 pooling with a border of one, then perhaps a batch norm, is a known form")
    return Pooling("max" if isinstance(pool, nn.MaxPool2D) else "avg", pool.stride, norm, pool)


def _stages(layers: list[nn.Layer]) -> Iterator[Stage]:
    rest = list(layers)

    def take(known: Callable[[nn.Layer], bool]) -> nn.Layer | None:
        return rest.pop(0) if rest and known(rest[0]) else None

    while rest:
        relu = take(lambda layer: isinstance(layer, nn.ReLU)) is not None
        depthwise, dense = take(_is_depthwise), take(_is_dense)
        if dense is None:
            names = ", ".join(type(layer).__name__ for layer in layers)
            raise TypeError(f"no chain of (depthwise and) dense convolutions without bias: {names}")
        yield Stage(relu, depthwise, (dense,), take(lambda layer: isinstance(layer, BatchNorm)))


def _is_dense(layer: nn.Layer) -> bool:
    return _is_plain(layer) and layer._groups == 1


def _is_depthwise(layer: nn.Layer) -> bool:
    return _is_plain(layer) and layer._groups == layer._in_channels == layer._out_channels > 1


def _is_plain(layer: nn.Layer) -> bool:
    return isinstance(layer, nn.Conv2D) and layer.bias is None and layer._padding_mode == "zeros"
