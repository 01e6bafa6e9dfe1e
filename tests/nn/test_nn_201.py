"""The blocks of NAS-Bench-201 networks, against what they are defined to compute, and under the official names."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from paddle_darts.genotypes.nas_bench_201 import OPS
from paddle_darts.networks.official import official_name
from paddle_darts.nn.layers import trainable
from paddle_darts.nn.nas_bench_201 import ResidualBlock, build


@pytest.fixture(autouse=True)
def double_precision():
    before = paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    paddle.seed(0)
    yield
    paddle.set_default_dtype(before)


def images(channels: int, height: int = 6, width: int = 6) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(1).normal(size=(3, channels, height, width)))


def agree(y: paddle.Tensor, expected: paddle.Tensor) -> None:
    """Paddle rounds the epsilon of a batch norm to float32, whatever the precision."""
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-8, atol=1e-9)


def normed(y: paddle.Tensor) -> paddle.Tensor:
    """Batch norm as it begins: no scale, no shift, the statistics of the batch."""
    mean, variance = y.mean([0, 2, 3], keepdim=True), y.var([0, 2, 3], unbiased=False, keepdim=True)
    return (y - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize("size", [(6, 6), (5, 7)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("c_in, c_out", [(4, 4), (4, 6), (6, 3), (4, 5)])
@pytest.mark.parametrize("op", OPS)
def test_sizes(op: str, c_in: int, c_out: int, stride: int, size: tuple[int, int]) -> None:
    x = images(c_in, *size)
    layer = build(op, c_in, c_out, stride, True)
    assert layer(x).shape == [3, c_out, *(-(-n // stride) for n in size)]
    # what has weights is normalised, but for `none` and the pooling between equal widths
    affine = {name for name in trainable(layer) if name.endswith("bias")}
    assert bool(affine) == bool(trainable(layer))
    assert not any(name.endswith("bias") for name in trainable(build(op, c_in, c_out, stride, False)))


def norm(prefix: str) -> set[str]:
    """The official names of a batch norm."""
    return {f"{prefix}.{last}" for last in ("weight", "bias", "running_mean", "running_var")}


@pytest.mark.parametrize(
    "op, sizes, names",
    [
        ("none", (4, 4, 1), set()),
        ("none", (4, 6, 1), set()),
        ("skip_connect", (4, 4, 1), set()),
        ("skip_connect", (4, 6, 1), {"conv.weight", *norm("bn")}),
        ("skip_connect", (4, 4, 2), {"convs.0.weight", "convs.1.weight", *norm("bn")}),
        ("nor_conv_1x1", (4, 4, 1), {"op.1.weight", *norm("op.2")}),
        ("nor_conv_3x3", (4, 6, 2), {"op.1.weight", *norm("op.2")}),
        ("avg_pool_3x3", (4, 4, 1), set()),
        ("avg_pool_3x3", (4, 6, 1), {"preprocess.op.1.weight", *norm("preprocess.op.2")}),
    ],
)
def test_official_names(op: str, sizes: tuple[int, int, int], names: set[str]) -> None:
    assert {official_name(name) for name in build(op, *sizes, True).state_dict()} == names


def test_convolutions() -> None:
    x = images(4)
    for op, kernel in (("nor_conv_1x1", 1), ("nor_conv_3x3", 3)):
        for stride in (1, 2):
            layer = build(op, 4, 6, stride, False)
            weight = layer.op[1].weight
            assert weight.shape == [6, 4, kernel, kernel]
            agree(layer(x), normed(F.conv2d(F.relu(x), weight, stride=stride, padding=kernel // 2)))


def test_skip_between_widths_has_no_relu() -> None:
    x, layer = images(4), build("skip_connect", 4, 6, 1, False)
    agree(layer(x), normed(F.conv2d(x, layer.conv.weight)))


@pytest.mark.parametrize("size", [(6, 6), (5, 7), (5, 6)])
def test_skip_of_stride_two(size: tuple[int, int]) -> None:
    """The second half of the channels reads the map moved by one pixel, a border of zeros behind its end."""
    x, layer = images(4, *size), build("skip_connect", 4, 5, 2, False)
    assert [conv.weight.shape[0] for conv in layer.convs] == [2, 3]
    bordered = np.zeros((3, 4, size[0] + 1, size[1] + 1))
    bordered[:, :, :-1, :-1] = np.maximum(x.numpy(), 0)
    halves = [
        np.einsum("oc,nchw->nohw", conv.weight.numpy()[:, :, 0, 0], bordered[:, :, first : first + n : 2][..., places])
        for conv, first, n, places in (
            (layer.convs[0], 0, size[0], slice(0, size[1], 2)),
            (layer.convs[1], 1, size[0], slice(1, 1 + size[1], 2)),
        )
    ]
    agree(layer(x), normed(paddle.to_tensor(np.concatenate(halves, axis=1))))


def test_pooling_does_not_count_the_border() -> None:
    ones = paddle.ones([1, 4, 5, 5])
    np.testing.assert_allclose(build("avg_pool_3x3", 4, 4, 1, True)(ones).numpy(), 1.0)
    x, layer = images(4), build("avg_pool_3x3", 4, 6, 1, False)
    agree(layer(x), build("avg_pool_3x3", 6, 6, 1, False)(layer.preprocess(x)))


def test_nothing_comes_of_nothing() -> None:
    """Not even what is no number, as a product with zero would."""
    x = images(4)
    x[0, 0, 0, 0] = float("nan")
    for c_out in (4, 6):
        assert not build("none", 4, c_out, 1, True)(x).numpy().any()


@pytest.mark.parametrize("c_in, c_out, stride, size", [(4, 8, 2, (6, 6)), (4, 4, 1, (5, 5)), (4, 6, 1, (6, 6))])
def test_residual_block(c_in: int, c_out: int, stride: int, size: tuple[int, int]) -> None:
    x, block = images(c_in, *size), ResidualBlock(c_in, c_out, stride)
    middle = normed(F.conv2d(F.relu(x), block.conv_a.op[1].weight, stride=stride, padding=1))
    y = normed(F.conv2d(F.relu(middle), block.conv_b.op[1].weight, padding=1))
    if stride == 2:
        rows, columns = (n // 2 for n in size)
        halved = x.reshape([3, c_in, rows, 2, columns, 2]).mean([3, 5])
        y = y + F.conv2d(halved, block.downsample[1].weight)
    elif c_in == c_out:
        y = y + x
    else:
        y = y + normed(F.conv2d(F.relu(x), block.downsample.op[1].weight))
    agree(block(x), y)


def test_residual_block_of_odd_sizes() -> None:
    """The last row and column are pooled for themselves."""
    x, block = images(4, 5, 7), ResidualBlock(4, 8, 2)
    halved = block.downsample[0](x)
    assert block(x).shape == [3, 8, 3, 4] and halved.shape == [3, 4, 3, 4]
    agree(halved[:, :, -1, -1], x[:, :, -1, -1])
    agree(halved[:, :, 0, -1], x[:, :, :2, -1].mean(-1))
    agree(halved[:, :, 0, 0], x[:, :, :2, :2].mean([2, 3]))


def test_official_names_of_the_residual_block() -> None:
    names = {official_name(name) for name in ResidualBlock(4, 8, 2).state_dict()}
    convs = {"conv_a.op.1.weight", "conv_b.op.1.weight", "downsample.1.weight"}
    assert names == convs | norm("conv_a.op.2") | norm("conv_b.op.2")
