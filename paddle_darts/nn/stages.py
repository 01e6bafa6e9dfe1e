"""What a candidate operation computes, read off its layers.

Every operation of the cell spaces is `none`, an identity, a pooling, or a chain of *stages*: an optional ReLU, an
optional depthwise convolution, a dense convolution and an optional batch norm. Whoever computes operations another
way than layer by layer (many edges at once, or in the kernels) starts from this description.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from paddle import nn

from paddle_darts.nn.blocks import FactorizedReduce, Zero
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
    if isinstance(layers[0], nn.MaxPool2D | AvgPool):
        norm = layers[1] if len(layers) > 1 else None
        kind = "max" if isinstance(layers[0], nn.MaxPool2D) else "avg"
        return Pooling(kind, layers[0].stride, norm, layers[0])
    return tuple(_stages(layers))


def _flatten(op: nn.Layer) -> Iterator[nn.Layer]:
    """The layers in the order in which they are applied."""
    children = list(op.children())
    if not children:
        yield op
    for child in children:
        yield from _flatten(child)


def _stages(layers: list[nn.Layer]) -> Iterator[Stage]:
    position = 0

    def take(kind: type[nn.Layer]) -> nn.Layer | None:
        nonlocal position
        if position < len(layers) and isinstance(layers[position], kind):
            position += 1
            return layers[position - 1]
        return None

    while position < len(layers):
        relu = take(nn.ReLU) is not None
        conv = take(nn.Conv2D)
        if conv is None:
            raise TypeError(f"{type(layers[position]).__name__} is not part of a known operation")
        if conv._groups > 1:
            depthwise, dense = conv, take(nn.Conv2D)
            if dense is None:
                raise TypeError("a depthwise convolution must be followed by a dense one")
        else:
            depthwise, dense = None, conv
        yield Stage(relu, depthwise, (dense,), take(BatchNorm))
