"""Descriptions say all that an operation does, or nothing."""

import paddle
import pytest
from paddle import nn

from paddle_darts.nn.layers import BatchNorm, conv2d, max_pool
from paddle_darts.nn.stages import Identity, Nothing, Pooling, describe, shifted
from paddle_darts.spaces.darts import OPS


def one(name, stride=1, channels=4):
    return describe(OPS[name](channels, stride, True))


def test_known_forms():
    assert isinstance(one("none"), Nothing) and isinstance(one("skip_connect"), Identity)
    pool = one("avg_pool_3x3", 2)
    assert (pool.kind, pool.stride, pool.norm) == ("avg", 2, None)
    normalised = describe(nn.Sequential(max_pool(1), BatchNorm(4)))
    assert isinstance(normalised, Pooling) and normalised.kind == "max" and normalised.norm is not None
    (skip,) = one("skip_connect", 2)
    assert skip.relu and skip.depthwise is None and len(skip.dense) == 2 and skip.norm is not None
    first, second = one("sep_conv_5x5", 2)
    assert first.depthwise._kernel_size == [5, 5] and first.depthwise._stride == [2, 2] and first.pointwise
    assert second.depthwise._stride == [1, 1] and second.relu and second.norm is not None
    wide, tall = one("conv_7x1_1x7")
    assert (wide.relu, wide.norm, wide.depthwise, wide.pointwise) == (True, None, None, False)
    assert not tall.relu and tall.norm is not None


def test_stages_of_one_form_differ_in_their_weights_only():
    first, second = one("sep_conv_3x3", 2)
    again = one("sep_conv_3x3", 2)[0]
    assert first.form == again.form != second.form and first.result == again.result != second.result
    assert len({one(name)[0].form for name in ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")}) == 4
    assert one("sep_conv_3x3")[0].result == one("dil_conv_5x5")[0].result != one("conv_7x1_1x7")[0].result
    assert first.form != one("sep_conv_3x3", 2, channels=6)[0].form


class Twice(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = conv2d(4, 4, 1)

    def forward(self, x):
        return self.conv(x) + self.conv(x)


@pytest.mark.parametrize(
    "op",
    [
        Twice(),
        nn.Sequential(nn.ReLU(), Twice()),
        nn.Sequential(),
        nn.Sequential(nn.ReLU()),
        nn.Conv2D(4, 4, 1),
        nn.Conv2D(4, 4, 3, padding=1, padding_mode="reflect", bias_attr=False),
        conv2d(4, 4, 3, padding=1, groups=2),
        conv2d(4, 4, 3, padding=1, groups=4),
        nn.Sequential(conv2d(4, 4, 1), nn.BatchNorm2D(4)),
        nn.Sequential(conv2d(4, 4, 1), nn.Sigmoid()),
        nn.MaxPool2D(5, 1, 2),
        nn.AvgPool2D(3, 1, 1),
        nn.Sequential(max_pool(1), nn.ReLU()),
        nn.Sequential(max_pool(1), BatchNorm(4), nn.ReLU()),
    ],
    ids=lambda op: "-".join(type(layer).__name__ for layer in op.sublayers(include_self=True)),
)
def test_other_layers_are_not_described(op):
    with pytest.raises(TypeError):
        describe(op)


@pytest.mark.parametrize("size", [(4, 4), (5, 4), (4, 7), (5, 5)])
def test_the_shifted_map(size):
    x = paddle.arange(size[0] * size[1], dtype="float32").reshape([1, 1, *size]) + 1
    y = shifted(x).numpy()[0, 0]
    assert y.shape == tuple(n - 1 + n % 2 for n in size)
    assert (y[: size[0] - 1, : size[1] - 1] == x.numpy()[0, 0, 1:, 1:]).all()
    assert y.sum() == x.numpy()[0, 0, 1:, 1:].sum()
