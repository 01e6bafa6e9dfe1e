"""The cells of networks trained on NAS-Bench-201 as plans for the CPU kernels."""

from __future__ import annotations

from collections.abc import Sequence

from paddle import nn

from paddle_darts.kernels.plan import Plan, PlanBuilder
from paddle_darts.nn.blocks import Zero
from paddle_darts.nn.layers import AvgPool
from paddle_darts.nn.nas_bench_201 import Pool, ResidualBlock, WidthChange, ZeroOfWidth
from paddle_darts.nn.stages import Stage, describe

#: An operation with the states (source, target) that it connects.
Edge = tuple[nn.Layer, tuple[int, int]]


def cell_plan(c_in: int, c_out: int, edges: Sequence[Edge]) -> Plan:
    """The plan of a cell of stride 1: state 0 is its input, the last one its output; ``edges`` ordered by target."""
    plan = PlanBuilder([c_in])
    states = [0] + [plan.map(c_out) for _ in {target for _, (_, target) in edges}]
    for state in states[1:]:
        plan.constant(0, state, stride=1)  # adds nothing, but gives a size also to a node that nothing leads to
    pooled: dict[int, int] = {}
    for layer, (source, target) in edges:
        _connect(plan, layer, states[source], states[target], pooled)
    return plan.finish([states[-1]])


def block_plan(c_in: int, c_out: int, block: ResidualBlock) -> Plan:
    """The plan of a residual block of stride 2."""
    plan = PlanBuilder([c_in])
    middle, out = plan.map(c_out), plan.map(c_out)
    plan.conv(0, middle, describe(block.conv_a.op))
    halved = plan.pool(0, "avg", 2, size=2, padding=0)
    plan.conv(halved, out, (Stage(False, None, (block.downsample[1],), None),))
    plan.conv(middle, out, describe(block.conv_b.op))
    return plan.finish([out])


def _connect(plan: PlanBuilder, layer: nn.Layer, source: int, target: int, pooled: dict[int, int]) -> None:
    """One edge; ``pooled`` are the poolings so far by source, for all edges of a state share one."""
    if isinstance(layer, Zero | ZeroOfWidth):
        return
    if isinstance(layer, nn.Identity):
        plan.add(source, target)
    elif isinstance(layer, WidthChange):
        plan.conv(source, target, (Stage(False, None, (layer.conv,), layer.bn),))
    elif isinstance(layer, Pool):
        narrowed = plan.map(plan.channels(target))
        plan.conv(source, narrowed, describe(layer.preprocess))
        plan.add(plan.pool(narrowed, "avg", 1), target)
    elif isinstance(layer, AvgPool):
        if source not in pooled:
            pooled[source] = plan.pool(source, "avg", layer.stride)
        plan.add(pooled[source], target)
    else:
        plan.conv(source, target, describe(layer))
