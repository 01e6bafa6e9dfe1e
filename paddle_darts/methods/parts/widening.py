"""Widening the candidates of a supernet with partial channels by copying random channels (DrNAS, section 3.3).

When only C/k1 instead of C/k0 channels skip no operation, every operation grows: each new channel is a copy of a
random old one, not rescaled, so the function changes. A plan says which channels every tensor is made of; it is
drawn once and applied to weights, running statistics and momentum buffers alike. Source: DrNAS (arXiv 2006.10355;
xiangning-chen/DrNAS, net2wider.py). Deviation: buffers are found by parameter name, there by an object's address,
which fails since PyTorch 1.5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import paddle
from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.nn.blocks import DilConv, FactorizedReduce, ReLUConvBN, SepConv
from paddle_darts.nn.drop import RandomSource

#: Old channels that a tensor is made of, for each axis that grows: parameter name -> axis -> indices.
WideningPlan = dict[str, dict[int, np.ndarray]]
Array = TypeVar("Array", np.ndarray, paddle.Tensor)

#: `cells.0._ops.3._ops.5` (DARTS) and `cells.0.edges.1<-0.3` (NAS-Bench-201): cell, edge, candidate.
_CANDIDATE = re.compile(r"cells\.\d+\.(_ops\.\d+\._ops|edges\.[^.]+)\.\d+")


def candidates(network: nn.Layer) -> dict[str, nn.Layer]:
    """All candidate operations of a supernet by name: cell by cell, edge by edge, in the order of the columns."""
    return {name: layer for name, layer in network.named_sublayers() if _CANDIDATE.fullmatch(name)}


def widening_plan(network: nn.Layer, k0: int, k1: int, source: RandomSource, *, aligned: bool = False) -> WideningPlan:
    """Which channels the candidates of ``network``, now C/``k0`` wide, are made of when they are C/``k1`` wide.

    Candidates are drawn for in the order of :func:`candidates`, pruned ones too, and within one in the order of the
    official program. ``aligned`` lets the batch norm of a FactorizedReduce follow the channels of its convolutions;
    the official program appends the copies of both halves behind the second one. ConfigError when the candidates
    would not become wider, C is no multiple of k1, or a candidate is of an unknown kind.
    """
    if not 1 <= k1 < k0:
        raise ConfigError(f"widening needs 1 <= k1 < k0, got k0={k0}, k1={k1}")
    growth = _Growth(k0, k1, source, aligned)
    plan: WideningPlan = {}
    for name, layer in candidates(network).items():
        for inner, axes in _plan_candidate(name, layer, growth).items():
            plan[f"{name}.{inner}"] = axes
    return plan


def widen(tensors: Mapping[str, Array], plan: WideningPlan) -> dict[str, Array]:
    """Arrays or tensors by parameter name, those of ``plan`` widened and the others as they are.

    A name may have a suffix behind a slash, as the momentum buffers in the state of an optimizer have
    ("cells.0...weight/velocity_0"). Weights are laid out as [out, in/groups, kh, kw].
    """
    return {name: _take(tensor, plan.get(name.split("/")[0], {})) for name, tensor in tensors.items()}


def _take(tensor: Array, axes: dict[int, np.ndarray]) -> Array:
    for axis, channels in axes.items():
        if isinstance(tensor, np.ndarray):
            tensor = tensor.take(channels, axis)
        else:
            tensor = paddle.index_select(tensor, paddle.to_tensor(channels, place=tensor.place), axis)
    return tensor


@dataclass(frozen=True)
class _Growth:
    """How wide things become, and which channels are copied for it."""

    k0: int
    k1: int
    source: RandomSource
    aligned: bool

    def width(self, old: int) -> int:
        if old * self.k0 % self.k1:
            raise ConfigError(f"the {old * self.k0} channels of an edge are no multiple of k1={self.k1}")
        return old * self.k0 // self.k1

    def channels(self, old: int, new: int | None = None) -> np.ndarray:
        """The ``old`` channels, then random ones of them up to ``new`` (None: as the whole network grows)."""
        new = self.width(old) if new is None else new
        return np.concatenate([np.arange(old), self.source.integers(old, new - old)])


def _plan_candidate(name: str, op: nn.Layer, growth: _Growth) -> WideningPlan:
    """The plan of one operation, by kind of layer; the names are those within the operation."""
    if isinstance(op, SepConv):
        return {**_plan_separable(op.op, 1, growth), **_plan_separable(op.op, 5, growth)}
    if isinstance(op, DilConv):
        return _plan_separable(op.op, 1, growth)
    if isinstance(op, ReLUConvBN):
        inputs, outputs = growth.channels(op.op[1]._in_channels), growth.channels(op.op[1]._out_channels)
        return {"op.1.weight": {0: outputs, 1: inputs}, **_plan_norm("op.2", op.op[2], outputs)}
    if isinstance(op, FactorizedReduce):
        return _plan_halves(op, growth)
    return _plan_pool(name, op, growth)


def _plan_separable(layers: nn.Sequential, at: int, growth: _Growth) -> WideningPlan:
    """Depthwise convolution, 1x1 convolution and batch norm: the layers from ``at`` on."""
    between = growth.channels(layers[at]._out_channels)
    outputs = growth.channels(layers[at + 1]._out_channels)
    return {
        f"op.{at}.weight": {0: between},
        f"op.{at + 1}.weight": {0: outputs, 1: between},
        **_plan_norm(f"op.{at + 2}", layers[at + 2], outputs),
    }


def _plan_halves(op: FactorizedReduce, growth: _Growth) -> WideningPlan:
    """Two convolutions side by side and the batch norm over both; the second has the larger half if C is odd."""
    halves = (op.conv_1._out_channels, op.conv_2._out_channels)
    total = growth.width(sum(halves))
    plan: WideningPlan = {}
    outputs = []
    for key, conv, new in (("conv_1", op.conv_1, total // 2), ("conv_2", op.conv_2, total - total // 2)):
        inputs = growth.channels(conv._in_channels)
        outputs.append(growth.channels(conv._out_channels, new))
        plan[f"{key}.weight"] = {0: outputs[-1], 1: inputs}
    first, second = outputs
    if growth.aligned:
        normed = np.concatenate([first, second + halves[0]])
    else:
        normed = np.concatenate([np.arange(sum(halves)), first[halves[0] :], second[halves[1] :]])
    return {**plan, **_plan_norm("bn", op.bn, normed)}


def _plan_pool(name: str, op: nn.Layer, growth: _Growth) -> WideningPlan:
    """An operation without weights (nothing to plan), or one whose only weights are those of a batch norm."""
    owners = [(inner, layer) for inner, layer in op.named_sublayers(include_self=True) if _owns_tensors(layer)]
    if not owners:
        return {}
    (inner, norm), *others = owners
    if others or not isinstance(norm, nn.BatchNorm2D):
        raise ConfigError(f"{name}: it is not known how a {type(op).__name__} is widened")
    return _plan_norm(inner, norm, growth.channels(norm._num_features))


def _owns_tensors(layer: nn.Layer) -> bool:
    return bool(layer.state_dict(include_sublayers=False))


def _plan_norm(name: str, norm: nn.Layer, channels: np.ndarray) -> WideningPlan:
    """Running statistics of a batch norm, and scale and shift where it has them."""
    return {f"{name}.{key}": {0: channels} for key in norm.state_dict()}
