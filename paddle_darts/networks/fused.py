"""Cells as plans for the CPU kernels: a whole cell is one operator call.

What edges share is computed once: the rectified input of all convolutions of a state (by the kernels themselves) and,
while training, each pooling of a state with its batch norm. In evaluation mode every edge has running statistics of
its own, so there each edge normalises for itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import paddle
from paddle import nn

from paddle_darts.kernels.cell import run_plan
from paddle_darts.kernels.library import library
from paddle_darts.kernels.plan import NONE, Plan, PlanBuilder, UnknownFormError
from paddle_darts.networks.draws import Draws
from paddle_darts.networks.layer_cache import LayerCache, described_candidates
from paddle_darts.networks.mix import CellMix
from paddle_darts.nn.blocks import Zero
from paddle_darts.nn.layers import tracking_statistics
from paddle_darts.nn.stages import Description, Identity, Nothing, Pooling, describe

if TYPE_CHECKING:
    from paddle_darts.networks.supernet import SearchCell


@dataclass(frozen=True)
class Link:
    """One operation of a cell: state ``target`` += coefficient * scale * ``layer`` (state ``source``)."""

    layer: nn.Layer | Description
    source: int
    target: int
    coefficient: int = NONE
    scale: int = NONE


def usable(x: paddle.Tensor, stride: int = 1) -> bool:
    """Whether the kernels can take ``x`` [B, C, H, W] for something that divides its size by ``stride``.

    They cannot on another device or type, in a static graph, or where a batch norm sees a single value per channel
    (which Paddle hands through, see :class:`~paddle_darts.nn.layers.BatchNorm`).
    """
    return (
        paddle.in_dynamic_mode()
        and x.place.is_cpu_place()
        and x.dtype in (paddle.float32, paddle.float64)
        and x.shape[0] * -(-x.shape[2] // stride) * -(-x.shape[3] // stride) > 1
        and library() is not None
    )


def _write_links(plan: PlanBuilder, states: Sequence[int], links: Sequence[Link], training: bool) -> None:
    """The steps of ``links``, which come in the order in which their targets can be completed.

    ``states`` are the maps of the states that links count in.
    """
    described = [(link, _described(link.layer)) for link in links]
    pools: dict[tuple[int, str, int, bool], int] = {}

    def pooled(link: Link, what: Pooling) -> int:
        source, own = states[link.source], [what.norm] if what.norm else []
        if not training and own:
            return plan.pool(source, what.kind, what.stride, own)
        key = _pool_key(link, what)
        if key not in pools:
            alike = [w for k, w in described if isinstance(w, Pooling) and _pool_key(k, w) == key]
            pools[key] = plan.pool(source, what.kind, what.stride, [w.norm for w in alike if w.norm])
        return pools[key]

    for link, what in described:
        source, target = states[link.source], states[link.target]
        if isinstance(what, Identity):
            plan.add(source, target, link.coefficient, link.scale)
        elif isinstance(what, Pooling):
            plan.add(pooled(link, what), target, link.coefficient, link.scale)
        elif not isinstance(what, Nothing):
            plan.conv(source, target, what, link.coefficient, link.scale)


def _described(layer: nn.Layer | Description) -> Description:
    return describe(layer) if isinstance(layer, nn.Layer) else layer


def _pool_key(link: Link, what: Pooling) -> tuple[int, str, int, bool]:
    return link.source, what.kind, what.stride, what.norm is not None


def stem(layer: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """``layer`` (x) for convolutions and batch norms in a row; by the kernels where they can."""
    stages = describe(layer)
    if not usable(x, math.prod(stage.dense[0]._stride[0] for stage in stages)):
        return layer(x)

    def write() -> Plan:
        plan = PlanBuilder([x.shape[1]])
        target = plan.map(stages[-1].dense[0].weight.shape[0])
        plan.conv(0, target, stages)
        return plan.finish([target])

    return run(plan_of(layer, "stem", write), [x], layer.training)


def run(
    plan: Plan,
    inputs: Sequence[paddle.Tensor],
    training: bool,
    coefficients: paddle.Tensor | None = None,
    scales: paddle.Tensor | None = None,
) -> paddle.Tensor:
    """The plan's output; running statistics move as the context of ``running_statistics`` says."""
    return run_plan(plan, inputs, coefficients, scales, training=training, track=tracking_statistics())


_plans: LayerCache[Plan | None] = LayerCache()


def plan_of(owner: nn.Layer, key: Hashable, write: Callable[[], Plan]) -> Plan | None:
    """The plan that ``write`` makes; None when a layer of ``owner`` has a form that the kernels do not know.

    The last few are kept as long as ``owner`` lives, since masks change rarely or never.
    """

    def written() -> Plan | None:
        try:
            return write()
        except (TypeError, UnknownFormError):
            return None

    return _plans.get(owner, key, written)


def mixed_cell(
    cell: SearchCell, s0: paddle.Tensor, s1: paddle.Tensor, mix: CellMix, draws: Draws
) -> paddle.Tensor | None:
    """What :func:`paddle_darts.networks.batched.mixed_cell` computes, in one call; None if the kernels cannot."""
    stride = 2 if cell.reduction else 1
    if cell.parts > 1 or draws.masks or not usable(s1, stride):
        return None
    (rows, columns), nodes = mix.ops.shape, cell.edges[-1][0] + 1

    def write() -> Plan:
        links = [
            Link(op, source, 2 + node, row * columns + column)
            for row, (node, source) in enumerate(cell.edges)
            for column, op in enumerate(described_candidates(cell)[row])
            if mix.active is None or mix.active[row, column]
        ]
        offsets = [] if mix.offset is None else [(2 + n, rows * columns + r) for r, (n, _) in enumerate(cell.edges)]
        return cell_plan(
            [s0.shape[1], s1.shape[1]],
            [cell.preprocess0, cell.preprocess1],
            [stride] * nodes,
            links,
            range(2 + nodes - cell.multiplier, 2 + nodes),
            cell.training,
            offsets,
        )

    masked = None if mix.active is None else mix.active.tobytes()
    plan = plan_of(cell, (masked, mix.offset is None, cell.training), write)
    return None if plan is None else run(plan, [s0, s1], cell.training, _coefficients(cell, mix))


def _coefficients(cell: SearchCell, mix: CellMix) -> paddle.Tensor:
    """The weights of all operations one after the other, then the offsets of the edges."""
    ops = mix.ops
    if mix.edges is not None:
        used = np.array([[not isinstance(op, Zero) for op in mixed._ops] for mixed in cell._ops])
        if mix.active is not None:
            used &= mix.active
        # what is off must not get into the gradient of the edge, whatever its weight
        ops = paddle.where(paddle.to_tensor(used), ops, paddle.zeros_like(ops)) * mix.edges.unsqueeze(1)
    return ops.flatten() if mix.offset is None else paddle.concat([ops.flatten(), mix.offset])


def cell_plan(
    input_channels: Sequence[int],
    preprocess: Sequence[nn.Layer],
    strides: Sequence[int],
    links: Sequence[Link],
    outputs: Sequence[int],
    training: bool,
    offsets: Sequence[tuple[int, int]] = (),
) -> Plan:
    """The plan of a cell with two preprocessed inputs (its states 0 and 1) and a node for each of ``strides``.

    ``strides`` tell by how much a node is smaller than state 0. ``links`` are ordered by target; ``offsets`` are pairs
    (target, coefficient) of scalars that are added. The result is the states ``outputs`` side by side.
    """
    plan = PlanBuilder(input_channels)
    first = [describe(layer) for layer in preprocess]
    channels = sum(conv.weight.shape[0] for conv in first[0][-1].dense)
    states = [plan.map(channels) for _ in range(2 + len(strides))]
    for source, stages in enumerate(first):
        plan.conv(source, states[source], stages)
    for node, stride in enumerate(strides):
        # adds nothing, but gives a size also to a node that no link leads to
        plan.constant(states[0], states[2 + node], stride)
    for target, coefficient in offsets:
        plan.constant(states[0], states[target], strides[target - 2], coefficient)
    _write_links(plan, states, links, training)
    return plan.finish([states[i] for i in outputs])
