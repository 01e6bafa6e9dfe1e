"""Stems and cells by the CPU kernels: a whole cell is one operator call."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import paddle
from paddle import nn

from paddle_darts.kernels.cell import run_plan
from paddle_darts.kernels.library import library
from paddle_darts.kernels.plan import NONE, Plan, PlanBuilder, UnknownFormError
from paddle_darts.networks.cell_plan import Bypass, Link, cell_plan, partial_cell_plan
from paddle_darts.networks.draws import Draws
from paddle_darts.networks.layer_cache import LayerCache, computed_candidates, described_candidates
from paddle_darts.networks.mix import CellMix
from paddle_darts.nn.layers import tracking_statistics
from paddle_darts.nn.stages import Description, describe

if TYPE_CHECKING:
    from paddle_darts.networks.search_cell import SearchCell


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


_stems: LayerCache[Description] = LayerCache(limit=1)


def stem(layer: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """``layer`` (x) for convolutions and batch norms in a row; by the kernels where they can."""
    stages = _stems.get(layer, None, lambda: describe(layer))
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
    track: bool = True,
) -> paddle.Tensor:
    """The plan's output; running statistics that it may ``track`` move as ``running_statistics`` says."""
    return run_plan(plan, inputs, coefficients, scales, training=training, track=track and tracking_statistics())


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


def mixed_cell(cell: SearchCell, given: Sequence[paddle.Tensor], mix: CellMix, draws: Draws) -> paddle.Tensor | None:
    """What :func:`paddle_darts.networks.batched.mixed_cell` computes, in one call; None if the kernels cannot."""
    if not usable(given[-1], 2 if cell.reduction else 1):
        return None
    inputs = [*given, *draws.masks.values()]
    masked = None if mix.active is None else mix.active.tobytes()
    key = (masked, mix.offset is None, mix.edges is None, bool(draws.masks), cell.batch_statistics)
    plan = plan_of(cell, key, lambda: _search_cell_plan(cell, [x.shape[1] for x in inputs], mix, draws))
    return (
        None if plan is None else run(plan, inputs, cell.batch_statistics, _coefficients(cell, mix), track=cell.tracked)
    )


def _search_cell_plan(cell: SearchCell, input_channels: Sequence[int], mix: CellMix, draws: Draws) -> Plan:
    (rows, columns), nodes, first = mix.ops.shape, cell.wiring[-1][0] + 1, cell.inputs
    masks = {place: first + number for number, place in enumerate(draws.masks)}
    links = [
        Link(what, source, first + node, row * columns + column, mask=masks.get((row, column), NONE))
        for row, (node, source) in enumerate(cell.wiring)
        for column, what in enumerate(described_candidates(cell)[row])
        if mix.active is None or mix.active[row, column]
    ]
    count = rows * columns
    offsets = [] if mix.offset is None else [(first + node, count + row) for row, (node, _) in enumerate(cell.wiring)]
    count += len(offsets)
    common = (
        input_channels,
        cell.preprocess,
        [2 if cell.reduction else 1] * nodes,
        links,
        range(first + nodes - cell.multiplier, first + nodes),
        cell.batch_statistics,
        offsets,
    )
    if cell.parts == 1:
        return cell_plan(*common)
    bypasses = [
        Bypass(source, first + node, NONE if mix.edges is None else count + row)
        for row, (node, source) in enumerate(cell.wiring)
        if mix.active is None or mix.active[row].any()
    ]
    return partial_cell_plan(*common, bypasses, cell.parts, cell.sampling == "shuffle")


def _coefficients(cell: SearchCell, mix: CellMix) -> paddle.Tensor:
    """The weights of all operations one after the other, then the offsets of the edges, then the weights of edges."""
    ops = mix.ops
    if mix.edges is not None:
        used = computed_candidates(cell)
        if mix.active is not None:
            used = used & mix.active
        # what is off must not get into the gradient of the edge, whatever its weight
        ops = paddle.where(paddle.to_tensor(used), ops, paddle.zeros_like(ops)) * mix.edges.unsqueeze(1)
    bypassed = mix.edges if cell.parts > 1 else None
    more = [part for part in (mix.offset, bypassed) if part is not None]
    return paddle.concat([ops.flatten(), *more]) if more else ops.flatten()


__all__ = ["Link", "cell_plan", "mixed_cell", "plan_of", "run", "stem", "usable"]
