"""The kernels against Paddle's operators: special values, tensors in any memory, passes in any order."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from plain_plans import Case, Maker, Recorder, compare, drawn, error
from sample_plans import cell, one_conv, one_pool

from paddle_darts.kernels.library import library

pytestmark = pytest.mark.skipif(library() is None, reason="there are no kernels on this machine")


def image_with(value, at, *shape):
    """Random numbers, but ``value`` at one place."""
    x = Maker(9).image(*shape).detach()
    x[at] = value
    return x


# ------------------------------------------------------------------------------------------ special values
@pytest.mark.parametrize("window", [{"stride": 1}, {"stride": 2}, {"stride": 2, "size": 2, "padding": 0}], ids=str)
@pytest.mark.parametrize("values", [1, 2, 4])
def test_ties_of_max_pooling(window, values):
    """The first of equal maxima has the gradient."""
    x = Maker(0).tensor(np.random.default_rng(values).integers(0, values, (3, 9, 7, 6)) - 1.0, stop_gradient=False)
    case = one_pool(x, **window)
    expected, found = case.plain(), case.fused()
    np.testing.assert_array_equal(found["output"], expected["output"])
    assert error(found["input 0"], expected["input 0"]) < 1e-14


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "form", [{}, {"kernel": 3, "padding": 1}, {"kernel": 5, "padding": 4, "dilation": 2, "depthwise": True}], ids=str
)
def test_what_is_not_finite_comes_through_convolutions(form, value):
    """It reaches all outputs that it reaches in Paddle, and no other sample."""
    x = image_with(value, (1, 4, 3, 3), 3, 9, 7, 8)
    case = one_conv([Maker(7).stage(9, 11, relu=False, **form)], x, training=False)
    found, expected = case.fused()["output"], case.plain()["output"]
    assert (~np.isfinite(found) | np.isfinite(expected)).all() and not np.isfinite(found).all()
    assert np.isfinite(found[[0, 2]]).all()
    same = np.isfinite(found)
    np.testing.assert_allclose(found[same], expected[same], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", ["dense", "depthwise", "shared", "second", "normalised"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_comes_through_relu(form, dtype):
    """Paddle's own ReLU turns NaN into zero on CPUs; a failing training should not look like a working one."""
    make = Maker(8, dtype)
    stages = [make.stage(3, 4, norm=False, depthwise=form == "depthwise")]
    if form in ("second", "normalised"):
        stages = [make.stage(3, 3, norm=form == "normalised", relu=False), *stages]
    x = image_with(np.nan, (0, 1, 2, 2), 2, 3, 4, 4).astype(dtype)
    plan = Recorder([3])
    target = plan.map(4)
    plan.conv(0, target, stages)
    if form == "shared":
        plan.add(0, target, count=1)
    wrong = np.isnan(Case(plan, plan.finish([target]), [x], training=False).forward().numpy())
    assert wrong[0, :, 2, 2].all() and wrong.sum() == 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_comes_through_norms(value):
    """In training it takes the whole channel with it, and the running statistics."""
    stage = Maker(8).stage(6, 6, 3, padding=1, depthwise=True, relu=False)
    case = one_conv([stage], image_with(value, (1, 2, 0, 0), 3, 6, 4, 4))
    expected, found = case.plain(), case.fused()
    for name in ("output", "running mean 0", "running variance 0"):
        np.testing.assert_array_equal(np.isfinite(found[name]), np.isfinite(expected[name]))
        assert not np.isfinite(found[name]).any()


@pytest.mark.parametrize("kind, value", [("avg", np.nan), ("avg", np.inf), ("max", np.inf), ("max", np.nan)])
@pytest.mark.parametrize("stride, reached", [(1, 9), (2, 4)])
def test_what_is_not_finite_comes_through_pooling(kind, value, stride, reached):
    found = one_pool(image_with(value, (0, 1, 3, 3), 2, 5, 6, 6), kind, stride).forward().numpy()
    assert (~np.isfinite(found[0, 1])).sum() == (~np.isfinite(found)).sum() == reached


def test_nan_comes_back_through_gradients():
    case = cell(Maker(11))
    out = case.forward()
    weight = drawn(out.shape, out.dtype)
    weight[1, 40, 2, 2] = np.nan
    for name, g in zip(case.sources, paddle.grad(out, list(case.sources.values()), weight), strict=True):
        assert np.isnan(g.numpy()).any(), name


# ------------------------------------------------------------------------------------------ how tensors lie in memory
def reordered(x):
    """The same values in a memory of another order."""
    turned = x.transpose([2, 0, 3, 1]).contiguous().transpose([1, 3, 0, 2])
    assert not turned.is_contiguous()
    return turned


def sliced(x):
    """The same values, cut out of a larger tensor."""
    cut = paddle.concat([x, x], axis=-1)[..., : x.shape[-1]]
    assert not cut.is_contiguous()
    return cut


@pytest.mark.parametrize("form", [reordered, sliced])
@pytest.mark.parametrize("which", ["inputs", "output gradient"])
def test_images_may_lie_anyhow(form, which):
    case = cell(Maker(12), size=(6, 5))
    expected = case.plain()
    if which == "inputs":
        leaves = case.inputs
        case.inputs = [form(x) for x in leaves]
        out = case.forward()
        found = paddle.grad(out, [*leaves, *case.inputs], drawn(out.shape, out.dtype))
        assert all(error(g.numpy(), expected[f"input {i % 2}"]) < 1e-10 for i, g in enumerate(found))
    else:
        out = case.forward()
        case.weight = lambda shape: form(drawn(shape, out.dtype))
    compare(cell(Maker(12), size=(6, 5)).fused() if which == "inputs" else case.fused(track=False), expected)


@pytest.mark.parametrize("which", ["coefficients", "scales"])
def test_factors_may_lie_anyhow(which):
    case = cell(Maker(13), size=(6, 5))
    expected = case.forward(track=False)
    given = getattr(case, which)
    spread = paddle.stack([given, -given], axis=-1)[..., 0]
    assert not spread.is_contiguous()
    setattr(case, which, spread)
    np.testing.assert_array_equal(case.forward(track=False).numpy(), expected.numpy())


# ------------------------------------------------------------------------------------------ one pass after the other
def test_backward_twice():
    case = cell(Maker(14))
    tensors = list(case.sources.values())
    out = case.forward()
    weight = drawn(out.shape, out.dtype)
    first = paddle.grad(out, tensors, weight, retain_graph=True)
    second = paddle.grad(out, tensors, weight)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_passes_may_overlap():
    """What one pass keeps for its gradients, another does not touch; in evaluation, too."""
    cases = [cell(Maker(seed), channels=c, training=t) for seed, c, t in ((1, 16, True), (2, 12, False), (3, 16, True))]
    expected = [case.plain() for case in cases]
    outs = [case.forward() for case in cases]
    for case, out, want in zip(cases, outs, expected, strict=True):
        tensors = list(case.sources.values())
        for name, g in zip(case.sources, paddle.grad(out, tensors, drawn(out.shape, out.dtype)), strict=True):
            assert error(g.numpy(), want[name]) < 1e-10, name


def test_other_images_for_one_plan():
    case = cell(Maker(15))
    for batch, size in ((1, (3, 3)), (5, (2, 7)), (2, (12, 12)), (3, (1, 2))):
        make = Maker(batch)
        inputs = [make.image(batch, c, *(f * n for n in size)) for c, f in zip(case.plan.inputs, (2, 1), strict=True)]
        scales = make.tensor(make.rng.normal(size=(2, batch)))
        Case(case.recorder, case.plan, inputs, case.coefficients, scales).check()


@pytest.mark.parametrize("training, track", [(True, False), (False, True), (False, False)])
def test_running_statistics_left_alone(training, track):
    case = cell(Maker(16), training=training)
    layers = [layer for _, layer in case.plan.tracked]
    before = [t.numpy().copy() for layer in layers for t in (layer._mean, layer._variance)]
    case.fused(track=track)
    for old, new in zip(before, (t for layer in layers for t in (layer._mean, layer._variance)), strict=True):
        np.testing.assert_array_equal(new.numpy(), old)
