"""Plans and arguments that make no sense are refused with a reason; the kernels themselves trust what they get."""

from __future__ import annotations

import re

import numpy as np
import paddle
import pytest
from paddle import nn
from plain_plans import Maker

from paddle_darts.kernels.cell import run_plan
from paddle_darts.kernels.library import library
from paddle_darts.kernels.plan import PlanBuilder
from paddle_darts.nn.stages import Stage

pytestmark = pytest.mark.skipif(library() is None, reason="there are no kernels on this machine")


def ones(*shape, dtype="float32"):
    return paddle.ones(shape, dtype)


def refused(words, plan, *arguments, training=True):
    with pytest.raises(ValueError, match=words):
        run_plan(plan, *arguments, training=training)


@pytest.fixture
def make():
    return Maker(0, "float32")


@pytest.fixture
def conv(make):
    """3 to 4 channels, 3x3 without a border."""
    plan = PlanBuilder([3])
    target = plan.map(4)
    plan.conv(0, target, [make.stage(3, 4, 3)])
    return plan.finish([target])


@pytest.fixture
def pair():
    """The weighted sum of two inputs of 3 channels."""
    plan = PlanBuilder([3, 3])
    target = plan.map(3)
    plan.add(0, target, coefficient=1)
    plan.add(1, target, scale=0)
    return plan.finish([target])


# ------------------------------------------------------------------------------------------ arguments
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int32"])
def test_inputs_of_another_type_than_the_parameters(conv, dtype):
    refused(f"float32 or float64 throughout, got .*{dtype}", conv, [ones(2, 3, 5, 5).astype(dtype)])


@pytest.mark.parametrize("odd", range(4))
def test_one_type_for_all(pair, odd):
    x, y, coefficients, scales = (
        ones(*shape, dtype="float64" if k == odd else "float32")
        for k, shape in enumerate([(2, 3, 4, 4), (2, 3, 4, 4), (2,), (1, 2)])
    )
    refused("throughout", pair, [x, y], coefficients, scales)


@pytest.mark.parametrize(
    "first, second",
    [
        ([2, 2, 4, 4], [2, 3, 4, 4]),  # channels
        ([2, 3, 4, 4], [1, 3, 4, 4]),  # batches
        ([3, 4, 4], [3, 4, 4]),
        ([0, 3, 4, 4], [0, 3, 4, 4]),  # nothing at all
        ([2, 3, 0, 4], [2, 3, 0, 4]),
    ],
    ids=str,
)
def test_inputs_of_other_shapes(pair, first, second):
    words = re.escape("inputs [B, C, H, W] of one batch with C = (3, 3)")
    refused(words, pair, [ones(*first), ones(*second)], ones(2), ones(1, 2))


def test_another_number_of_inputs(pair):
    refused("inputs", pair, [ones(2, 3, 4, 4)], ones(2), ones(1, 2))
    refused("inputs", pair, [ones(2, 3, 4, 4)] * 3, ones(2), ones(1, 2))


@pytest.mark.parametrize("shape", [None, [1], [1, 2], [2, 1]], ids=str)
def test_coefficients_that_are_not_there(pair, shape):
    refused("2 coefficients", pair, [ones(2, 3, 4, 4)] * 2, None if shape is None else ones(*shape), ones(1, 2))


@pytest.mark.parametrize("shape", [None, [0, 2], [2], [1, 1], [2, 3]], ids=str)
def test_scales_that_are_not_there(pair, shape):
    refused(r"scales \[1, 2\]", pair, [ones(2, 3, 4, 4)] * 2, ones(2), None if shape is None else ones(*shape))


def test_more_factors_than_needed(pair):
    """An operation without a step (`none`) may have some."""
    x = ones(2, 3, 4, 4)
    few, many = (run_plan(pair, [x, x], ones(2 + n), ones(1 + n, 2), training=True) for n in (0, 2))
    np.testing.assert_array_equal(few.numpy(), many.numpy())


def test_one_value_per_channel_in_training(make):
    """It has no variance."""
    plan = PlanBuilder([3])
    target = plan.map(4)
    stage = make.stage(3, 4)
    plan.conv(0, target, [stage])
    plan = plan.finish([target])
    refused("value", plan, [ones(1, 3, 1, 1)])
    assert np.isfinite(stage.norm._variance.numpy()).all()
    assert run_plan(plan, [ones(1, 3, 1, 1)], training=False).shape == [1, 4, 1, 1]


# ------------------------------------------------------------------------------------------ sizes
def test_maps_of_different_sizes(pair):
    refused("maps of different sizes are added", pair, [ones(2, 3, 4, 4), ones(2, 3, 4, 5)], ones(2), ones(1, 2))


@pytest.mark.parametrize("size", [(2, 5), (5, 2), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_kernel_larger_than_the_image(make, size, stride):
    plan = PlanBuilder([3])
    target = plan.map(4)
    plan.conv(0, target, [make.stage(3, 4, 3, stride=stride)])
    refused("kernel is larger", plan.finish([target]), [ones(2, 3, *size)])


def test_outputs_of_different_sizes():
    plan = PlanBuilder([3])
    target = plan.map(3)
    plan.add(0, target)
    refused("maps of different sizes are put out", plan.finish([plan.pool(0, "max", 2), target]), [ones(2, 3, 40, 40)])


def test_maps_that_no_step_fills():
    """Their size is not known."""
    plan = PlanBuilder([3])
    empty, target = plan.map(3), plan.map(3)
    refused("that no step", plan.finish([empty]), [ones(2, 3, 4, 4)])
    plan.add(empty, target)
    refused("that no step", plan.finish([target]), [ones(2, 3, 4, 4)])


@pytest.mark.parametrize("size", [(4, 5), (2, 2), (5, 4)])
def test_masks_of_another_size(size):
    plan = PlanBuilder([3, 3])
    target = plan.map(3)
    plan.masked(0, target, mask=1)
    refused("a mask has another size", plan.finish([target]), [ones(2, 3, 4, 4), ones(2, 3, *size)])


# ------------------------------------------------------------------------------------------ plans
def test_steps_in_an_impossible_order():
    """A map is complete when it is read; inputs and pooled maps are complete from the start."""
    plan = PlanBuilder([3, 3])
    target, later = plan.map(3), plan.map(3)
    pooled = plan.pool(0, "max", 1)
    plan.add(0, target)
    for source, onto in ((target, target), (0, 1), (0, pooled)):
        with pytest.raises(ValueError, match=f"map {onto} .* complete"):
            plan.add(source, onto)
    plan.add(target, later)
    with pytest.raises(ValueError, match=f"map {target} .* read already"):
        plan.add(0, target)


@pytest.mark.parametrize("take, put, count", [((0, 1), (0, 1), 4), ((2, 1), (0, 1), 2), ((0, 1), (0, 3), 2)])
def test_channels_that_are_not_there(take, put, count):
    plan = PlanBuilder([3])
    target = plan.map(3)
    with pytest.raises(ValueError, match=r"channels .* are not in map [01]"):
        plan.add(0, target, take=take, put=put, count=count)


def test_stages_that_do_not_fit(make):
    plan = PlanBuilder([3])
    target = plan.map(4)
    for stages in ([make.stage(2, 4)], [make.stage(3, 5), make.stage(4, 4)], [make.stage(2, 4, 3, depthwise=True)]):
        with pytest.raises(ValueError, match=r"weight .* does not fit [35] channels"):
            plan.conv(0, target, stages)
    with pytest.raises(ValueError, match="a chain of 5 output channels cannot add to a map of 4"):
        plan.conv(0, target, [make.stage(3, 5)])


def test_convolutions_that_the_kernels_do_not_know(make):
    plan = PlanBuilder([4])
    target = plan.map(4)
    thick = Stage(False, make.conv(4, 4, 3, groups=4, padding=1), (make.conv(4, 4, 3, padding=1),), None)
    biased = Stage(False, None, (nn.Conv2D(4, 4, 1),), None)
    grouped = Stage(False, None, (make.conv(4, 4, 1, groups=2),), None)
    uneven = make.stage(4, 4, 3, dilation=(1, 2))
    for stage, words in ((thick, "1x1"), (biased, "bias"), (grouped, "groups|does not fit"), (uneven, "dilation")):
        with pytest.raises(ValueError, match=words):
            plan.conv(0, target, [stage])


def test_norms_that_the_kernels_do_not_know(make):
    plan = PlanBuilder([4])
    target = plan.map(4)
    with pytest.raises(ValueError, match="without scale and shift"):
        plan.pool(0, "max", 1, [make.norm(4)])
    slow = make.stage(4, 4)
    slow.norm._momentum = 0.99
    with pytest.raises(ValueError, match="one momentum and one epsilon"):
        plan.conv(0, target, [make.stage(4, 4), slow])


def test_maps_that_cannot_be_masks():
    """Only inputs of the right width that nobody reads otherwise, before or after."""
    plan = PlanBuilder([3, 3, 4, 3])
    target, other = plan.map(3), plan.map(3)
    plan.add(1, target)
    for mask in (1, target, -1, 99):
        with pytest.raises(ValueError, match=f"map {mask} cannot be a mask"):
            plan.masked(0, target, mask)
    with pytest.raises(ValueError, match=r"equally many channels, got \[3, 3, 4\]"):
        plan.masked(0, target, 2)
    plan.masked(0, target, 3)
    with pytest.raises(ValueError, match="map 3 is a mask"):
        plan.add(3, other)
    with pytest.raises(ValueError, match=r"masks \[3\] cannot be outputs"):
        plan.finish([target, 3])
