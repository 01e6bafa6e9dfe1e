"""The kernels against Paddle's operators: any plan gives the same output, gradients and running statistics."""

from __future__ import annotations

import itertools

import numpy as np
import paddle
import pytest
from hypothesis import given
from plain_plans import Case, Maker, Recorder, compare, drawn, error, examples
from sample_plans import ODD_KERNELS, cell, graphs, one_conv, one_pool

from paddle_darts.kernels.library import library

pytestmark = pytest.mark.skipif(library() is None, reason="there are no kernels on this machine")


# ------------------------------------------------------------------------------------------ drawn at random
@examples(250)
@given(graphs("conv"))
def test_convolutions(case):
    case.check()


@examples(100)
@given(graphs("pool", "add", nodes=2))
def test_pooling(case):
    case.check()


@examples(60)
@given(graphs("add", "constant", nodes=2, inputs=2, most=3))
def test_sums(case):
    case.check()


@examples(60)
@given(graphs("masked", "add", nodes=2, inputs=2, most=3))
def test_masks(case):
    case.check()


@examples(250)
@given(graphs("conv", "pool", "add", "masked", "constant", nodes=4, inputs=3, most=4))
def test_graphs(case):
    case.check()


@examples(200)
@given(graphs("conv", "pool", "add", "masked", "constant", nodes=2, inputs=2, most=3, whole=True))
def test_whole_numbers(case):
    """In single precision, where vectors have other lengths: sums of whole numbers have no rounding."""
    case.check(1e-6)


# ------------------------------------------------------------------------------------------ every form of the loops
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("depthwise", [False, True], ids=["dense", "depthwise"])
@pytest.mark.parametrize("kernel", ODD_KERNELS, ids=lambda k: f"{k[0]}x{k[1]}")
def test_every_window(kernel, depthwise, dtype):
    """Strides and dilations, on whole vectors of channels and a rest, on tiles of pixels and a rest."""
    for channels, stride, dilation in itertools.product((3, 19), (1, 2, 3, (1, 2), (3, 1)), (1, 2, 3)):
        window = {"stride": stride, "dilation": dilation, "padding": [dilation * (k // 2) for k in kernel]}
        cases = []
        for precision in (dtype, "float64"):
            make = Maker(5, precision, rounded=True)
            stage = make.stage(channels, channels, kernel, depthwise=depthwise, norm=False, **window)
            cases.append(one_conv([stage], make.image(2, channels, 13, 21)))
        compare(cases[0].fused(), cases[1].plain(), 1e-12 if dtype == "float64" else 2e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 63, 64, 65])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_width(channels, dtype):
    cases = []
    for precision in (dtype, "float64"):
        make = Maker(channels, precision, rounded=True)
        stages = [make.stage(channels, 20, 3, padding=1, norm=False), make.stage(20, channels, 1, relu=False)]
        cases.append(one_conv(stages, make.image(3, channels, 5, 6)))
    compare(cases[0].fused(), cases[1].plain(), 1e-12 if dtype == "float64" else 5e-6)


# ------------------------------------------------------------------------------------------ whole cells
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("size", [(12, 12), (5, 9), (1, 7)])
@pytest.mark.parametrize("reduction", [False, True], ids=["normal", "reduction"])
def test_a_whole_cell(reduction, size, training):
    cell(Maker(1, epsilon=1e-5), size=size, reduction=reduction, training=training).check()


@pytest.mark.parametrize("reduction", [False, True], ids=["normal", "reduction"])
def test_single_precision(reduction):
    """Not less exact than Paddle's operators, within a factor for other orders of sums.

    The middle one of several draws counts: rounding may turn a value at the kink of a ReLU to the other side, and that
    one change, in either way of computing, is larger than all other errors.
    """

    def distances(found, exact):
        return {k: np.linalg.norm(found[k] - v) / np.linalg.norm(v) for k, v in exact.items()}

    ratios = []
    for seed in range(5):
        double, single = (
            cell(Maker(seed, t, 1e-5, rounded=True), batch=8, size=(16, 16), reduction=reduction)
            for t in ("float64", "float32")
        )
        exact = double.plain()
        plain, fused = distances(single.plain(), exact), distances(single.fused(), exact)
        ratios.append(max(fused[k] / max(plain[k], 2**-22) for k in exact))
    assert np.median(ratios) < 8, ratios


@pytest.mark.parametrize("values", [2, 3, 4])
def test_norms_over_few_values(values):
    """Gradients through them all but cancel; what remains is exact up to the rounding of what was cancelled."""
    make = Maker(17, epsilon=1e-5)
    case = one_conv([make.stage(5, 6), make.stage(6, 7)], make.image(values, 5, 1, 1))
    case.check(1e-7)


def test_several_norms_follow_one_pooling():
    make = Maker(18)
    norms = [make.norm(9, affine=False) for _ in range(3)]
    one_pool(make.image(3, 9, 5, 5), "avg", 2, norms).check()
    assert len({layer._mean.numpy().tobytes() for layer in norms}) == 3, "each started elsewhere"


# ------------------------------------------------------------------------------------------ what gets a gradient
def grads_of(case, tensors):
    out = case.forward()
    return paddle.grad(out, tensors, drawn(out.shape, out.dtype), allow_unused=True)


def test_nothing_is_wanted():
    case = cell(Maker(2))
    expected = case.plain()
    for tensor in case.sources.values():
        tensor.stop_gradient = True
    assert case.forward(track=False).stop_gradient
    found = case.fused()
    assert error(found["output"], expected["output"]) < 1e-10
    assert all(found[name] is None for name in case.sources)
    with paddle.no_grad():
        assert cell(Maker(2)).forward().stop_gradient


def test_gradients_may_be_asked_for_one_by_one():
    """Whatever else is learning."""
    case = cell(Maker(2))
    together = grads_of(case, list(case.sources.values()))
    for number, tensor in enumerate(case.sources.values()):
        (alone,) = grads_of(case, [tensor])
        np.testing.assert_array_equal(alone.numpy(), together[number].numpy())


def test_steps_that_lead_nowhere():
    """Their parameters have no gradient, but their running statistics move."""
    make = Maker(3)
    plan = Recorder([6, 6])
    dead, deader, alive = (plan.map(6) for _ in range(3))
    vain, before, after = (make.stage(6, 6, 3, padding=1) for _ in range(3))
    plan.conv(0, dead, [vain], coefficient=0)
    plan.conv(dead, deader, [before])
    pooled = plan.pool(deader, "max", 1, [make.norm(6, affine=False)])
    plan.add(pooled, plan.map(6))
    plan.conv(1, alive, [after], coefficient=1)
    case = Case(plan, plan.finish([alive]), [make.image(3, 6, 5, 4) for _ in range(2)], make.normal(2))
    case.check()
    found = case.fused()
    unused = [name for name, p in case.sources.items() if p is vain.dense[0].weight or p is before.norm.bias]
    assert len(unused) == 2 and all(found[name] is None for name in unused)
    assert found["input 0"] is None and found["coefficients"][0] == 0 != found["coefficients"][1]


def test_a_constant_hands_on_no_gradient():
    """It takes only the size of its source."""
    make = Maker(3)
    plan = Recorder([4])
    sized, out = plan.map(5), plan.map(2)
    plan.conv(0, sized, [make.stage(4, 5, 3, padding=1)])
    plan.constant(sized, out, 2, coefficient=0)
    Case(plan, plan.finish([out]), [make.image(2, 4, 5, 5)], make.normal(1)).check()


def test_dead_ends_do_not_spoil_gradients():
    """An overflow where nothing leads to the output has no part in the gradients."""
    make = Maker(3)
    plan = Recorder([4])
    dead, out = plan.map(4), plan.map(4)
    huge = make.stage(4, 4, norm=False)
    huge.dense[0].weight.set_value(np.full([4, 4, 1, 1], np.inf))
    plan.conv(0, dead, [huge])
    plan.conv(0, out, [make.stage(4, 4)])
    Case(plan, plan.finish([out]), [make.image(2, 4, 5, 5)]).check()


def test_an_input_that_only_masks():
    """It has no gradient, whatever is asked for; the others have theirs, through a ReLU too."""
    make = Maker(8)
    plan = Recorder([6, 6])
    first, second = plan.map(6), plan.map(6)
    plan.conv(0, first, [make.stage(6, 6, 3, padding=1)])
    plan.masked(first, second, mask=1, coefficient=0, scale=0)
    plan.masked(0, second, mask=1)
    inputs = [make.image(3, 6, 5, 4) for _ in range(2)]
    scales = make.tensor(make.rng.choice([0.0, 1.25], (1, 3)))
    case = Case(plan, plan.finish([second]), inputs, make.normal(1), scales)
    case.check()
    found = case.fused()
    assert found["input 1"] is None and found["input 0"].any() and found["coefficients"].all()


def test_a_layer_in_two_places():
    """Its gradient is the sum of both, its running statistics move twice."""
    make = Maker(4)
    plan = Recorder([7])
    first, second = plan.map(7), plan.map(7)
    shared = [make.stage(7, 7, 3, depthwise=True, padding=1), make.stage(7, 7)]
    plan.conv(0, first, shared)
    plan.conv(first, second, shared)
    Case(plan, plan.finish([first, second]), [make.image(3, 7, 6, 5)]).check()


def test_one_tensor_as_both_inputs():
    make = Maker(5)
    plan = Recorder([6, 6])
    out = plan.map(6)
    plan.conv(0, out, [make.stage(6, 6, 3, padding=1)])
    plan.conv(1, out, [make.stage(6, 6, 5, padding=2, depthwise=True)])
    x = make.image(2, 6, 7, 7)
    case = Case(plan, plan.finish([out]), [x, x])
    apart = Case(plan, case.plan, [x, x.detach()])
    apart.inputs[1].stop_gradient = False
    one, two = grads_of(apart, apart.inputs)
    assert error(grads_of(case, [x])[0].numpy(), (one + two).numpy()) < 1e-14


@pytest.mark.parametrize("relus", [(True, True), (False, False), (True, False), (False, True)])
@pytest.mark.parametrize("depthwise", [False, True], ids=["dense", "depthwise"])
def test_readers_of_one_input(relus, depthwise):
    """Rectified for all of them, for some, or for none."""
    make = Maker(6)
    plan = Recorder([9])
    out = plan.map(5)
    plan.conv(0, out, [make.stage(9, 5, 3, padding=1, relu=relus[0])], coefficient=0)
    plan.conv(0, out, [make.stage(9, 5, 5, padding=2, relu=relus[1], depthwise=depthwise)], coefficient=0)
    Case(plan, plan.finish([out]), [make.image(2, 9, 7, 6)], make.normal(1)).check()


@pytest.mark.parametrize("outputs", [[0], [0, 1], [2, 2], [3, 0], [2, 3, 2]])
@pytest.mark.parametrize("reader", ["conv", "depthwise", "pool", "add"])
def test_any_map_may_be_an_output(reader, outputs):
    """Inputs too, whoever reads them or nobody, and one map twice."""
    make = Maker(6)
    plan = Recorder([5, 5])
    first = plan.pool(0, "avg", 1) if reader == "pool" else plan.map(5)
    second = plan.map(5)
    if reader == "add":
        plan.add(0, first)
    elif reader != "pool":
        plan.conv(0, first, [make.stage(5, 5, depthwise=reader == "depthwise")])
    plan.add(first, second)
    Case(plan, plan.finish(outputs), [make.image(2, 5, 4, 3) for _ in range(2)]).check()


# ------------------------------------------------------------------------------------------ channels
@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("channels", [4, 16, 40])
def test_partial_channels(channels, parts):
    """The first part goes through operations, the rest passes by, and a channel shuffle ends it (PC-DARTS)."""
    make = Maker(channels)
    width = channels // parts
    plan = Recorder([channels])
    part, joined, shuffled = plan.map(width), plan.map(channels), plan.map(channels)
    plan.add(0, part, count=width)
    plan.conv(part, joined, [make.stage(width, channels, 3, padding=1)], coefficient=0)
    plan.add(plan.pool(part, "max", 1, [make.norm(width, affine=False)]), joined, coefficient=1, count=width)
    if parts > 1:
        plan.add(0, joined, take=(width, 1), put=(width, 1), count=channels - width)
    for group in range(parts):
        plan.add(joined, shuffled, take=(group * width, 1), put=(group, parts), count=width)
    case = Case(plan, plan.finish([shuffled]), [make.image(3, channels, 6, 5)], make.normal(2))
    case.check()


def test_the_shuffle_itself():
    plan = Recorder([6])
    out = plan.map(6)
    for group in range(2):
        plan.add(0, out, take=(3 * group, 1), put=(group, 2), count=3)
    x = paddle.arange(6, dtype="float64").reshape([1, 6, 1, 1])
    found = Case(plan, plan.finish([out]), [x]).forward().flatten()
    assert found.tolist() == [0, 3, 1, 4, 2, 5]
