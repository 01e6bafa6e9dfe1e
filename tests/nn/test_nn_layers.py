"""Batch norm, pools and initialisation have the numbers of the official programs, which Paddle's own have not."""

import math

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.nn.layers import (
    AvgPool,
    BatchNorm,
    conv2d,
    frozen,
    linear,
    max_pool,
    running_statistics,
    trainable,
)


def images(*shape, dtype="float32", seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).normal(1.0, 2.0, shape).astype(dtype))


@pytest.mark.parametrize("affine", [True, False])
def test_running_variance_is_the_unbiased_one(affine):
    norm = BatchNorm(3, affine)
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = images(2, 3, 4, 5, seed=seed)
        norm(x)
        mean = 0.9 * mean + 0.1 * x.numpy().mean(axis=(0, 2, 3))
        variance = 0.9 * variance + 0.1 * x.numpy().var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(norm._mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(norm._variance.numpy(), variance, rtol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_outputs_and_gradients_are_those_of_paddle(affine):
    ours, theirs = BatchNorm(3, affine), nn.BatchNorm2D(3, momentum=0.9, weight_attr=None if affine else False)
    results = []
    for norm in (ours, theirs):
        x = images(2, 3, 4, 5)
        x.stop_gradient = False
        y = norm(x)
        wanted = [x, norm.weight, norm.bias] if affine else [x]
        results.append([y, *paddle.grad((y * images(2, 3, 4, 5, seed=1)).sum(), wanted)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_eval_mode_uses_the_running_statistics():
    norm = BatchNorm(3)
    norm.weight.set_value(images(3, seed=1))
    norm.bias.set_value(images(3, seed=2))
    norm(images(4, 3, 5, 5))
    norm.eval()
    x = images(2, 3, 4, 4, seed=3)
    before = norm._mean.numpy().copy(), norm._variance.numpy().copy()
    y = norm(x).numpy()
    mean, variance, weight, bias = (
        t.numpy().reshape(1, 3, 1, 1) for t in (norm._mean, norm._variance, norm.weight, norm.bias)
    )
    expected = (x.numpy() - mean) / np.sqrt(variance + 1e-5) * weight + bias
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(before, (norm._mean.numpy(), norm._variance.numpy()))


def test_without_affine_there_is_nothing_to_train():
    norm = BatchNorm(3, affine=False)
    assert norm.weight is None and norm.bias is None and trainable(norm) == {}
    y = norm(images(4, 3, 6, 6)).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), 1, atol=1e-4)


def test_a_single_value_per_channel_passes_through_and_leaves_no_trace():
    norm = BatchNorm(3)
    norm(images(2, 3, 4, 4))
    before = norm._mean.numpy().copy(), norm._variance.numpy().copy()
    x = images(1, 3, 1, 1)
    x.stop_gradient = False
    y = norm(x)
    np.testing.assert_array_equal(y.numpy(), x.numpy())
    assert np.isfinite(paddle.grad(y.sum(), [x])[0].numpy()).all()
    np.testing.assert_array_equal(before, (norm._mean.numpy(), norm._variance.numpy()))


def test_statistics_are_left_alone_where_told_so_even_after_an_error():
    norm, x = BatchNorm(3), images(2, 3, 4, 4)
    with running_statistics(False):
        untracked = norm(x).numpy()
        with running_statistics(True):
            pass
        norm(x)
    np.testing.assert_array_equal(norm._mean.numpy(), np.zeros(3))
    np.testing.assert_array_equal(norm._variance.numpy(), np.ones(3))
    with pytest.raises(KeyError), running_statistics(False):
        raise KeyError
    tracked = norm(x).numpy()
    assert (norm._mean.numpy() != 0).all() and (norm._variance.numpy() != 1).all()
    np.testing.assert_array_equal(untracked, tracked)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 8), (7, 7)])
def test_average_pool_in_both_precisions(stride, size):
    results = {}
    for dtype in ("float32", "float64"):
        x = images(2, 3, *size).astype(dtype)
        x.stop_gradient = False
        y = AvgPool(stride)(x)
        factors = images(*y.shape, seed=1).astype(dtype)
        results[dtype] = y.numpy(), paddle.grad((y * factors).sum(), [x])[0].numpy()
    for narrow, wide in zip(results["float32"], results["float64"], strict=True):
        assert narrow.dtype == np.float32 and wide.dtype == np.float64
        np.testing.assert_allclose(narrow, wide, rtol=1e-4, atol=1e-5)


def test_average_pool_does_not_count_the_border():
    assert (AvgPool(2)(paddle.ones([1, 1, 5, 5])).numpy() == 1).all()
    x = paddle.arange(9, dtype="float64").reshape([1, 1, 3, 3])
    y = AvgPool(1)(x).numpy()[0, 0]
    assert y[0, 0] == (0 + 1 + 3 + 4) / 4 and y[0, 1] == (0 + 1 + 2 + 3 + 4 + 5) / 6 and y[1, 1] == 4


def test_max_pool_pads_with_minus_infinity():
    y = max_pool(2)(paddle.full([1, 1, 5, 4], -3.0))
    assert y.shape == [1, 1, 3, 2] and (y.numpy() == -3).all()


INITIALISED = {
    "3x3": (lambda: conv2d(16, 32, 3, padding=1), 16 * 9),
    "1x1": (lambda: conv2d(64, 48, 1), 64),
    "depthwise": (lambda: conv2d(256, 256, 3, padding=1, groups=256), 9),
    "dilated depthwise": (lambda: conv2d(256, 256, 5, padding=4, dilation=2, groups=256), 25),
    "1x7": (lambda: conv2d(16, 32, (1, 7), padding=(0, 3)), 16 * 7),
    "linear": (lambda: linear(64, 100), 64),
}


@pytest.mark.parametrize("name", INITIALISED)
def test_weights_start_uniform_within_one_over_the_root_of_the_fan_in(name):
    paddle.seed(1)
    make, fan_in = INITIALISED[name]
    layer, bound = make(), 1 / math.sqrt(fan_in)
    values = [layer.weight.numpy()]
    if name == "linear":
        values.append(layer.bias.numpy())
    else:
        assert layer.bias is None
    for value in values:
        assert bound >= np.abs(value).max() > 0.95 * bound
        assert abs(value.mean()) < 0.2 * bound
        assert abs(value.std() - bound / math.sqrt(3)) < 0.12 * bound


def test_trainable_leaves_running_statistics_out():
    network = nn.Sequential(conv2d(3, 4, 3), BatchNorm(4), BatchNorm(4, affine=False))
    assert list(trainable(network)) == ["0.weight", "1.weight", "1.bias"]
    assert len(list(network.named_parameters())) > 3


def test_frozen_parameters_take_no_part_and_come_back():
    layer, x = linear(3, 2), images(4, 3)
    x.stop_gradient = False
    with pytest.raises(KeyError), frozen([layer.weight, layer.bias]):
        y = F.relu(layer(x))
        raise KeyError
    assert not layer.weight.stop_gradient and not layer.bias.stop_gradient
    assert paddle.grad(y.sum(), [layer.weight], allow_unused=True, retain_graph=True) == [None]
    assert paddle.grad(y.sum(), [x])[0] is not None
