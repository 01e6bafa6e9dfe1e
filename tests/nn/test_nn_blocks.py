"""The blocks of DARTS cells: sizes for every map, and what the official blocks get wrong."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_darts.errors import ConfigError
from paddle_darts.nn.blocks import DilConv, FactorizedReduce, ReLUConvBN, SepConv, Zero, conv_7x1_1x7
from paddle_darts.nn.layers import BatchNorm, trainable


@pytest.fixture(autouse=True)
def seeded():
    paddle.seed(0)


def images(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).normal(0.5, 1.0, shape).astype("float32"))


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 13), width=st.integers(1, 13))
def test_factorized_reduce_of_any_size(height, width):
    block = FactorizedReduce(3, 4)
    x = images(2, 3, height, width, seed=height * 20 + width)
    y = block(x).numpy()
    half_h, half_w = -(-height // 2), -(-width // 2)
    assert y.shape == (2, 4, half_h, half_w)
    relu = np.maximum(x.numpy(), 0)
    shifted = np.zeros((2, 3, half_h, half_w), "float32")
    available = relu[:, :, 1::2, 1::2]
    shifted[:, :, : available.shape[2], : available.shape[3]] = available
    halves = [
        np.einsum("oc,bchw->bohw", conv.weight.numpy()[:, :, 0, 0], part)
        for conv, part in ((block.conv_1, relu[:, :, ::2, ::2]), (block.conv_2, shifted))
    ]
    expected = BatchNorm(4)(paddle.to_tensor(np.concatenate(halves, axis=1))).numpy()
    # batch norm magnifies rounding where a channel hardly varies
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("height, width", [(2, 4), (8, 8), (6, 10)])
def test_even_sizes_are_the_unpadded_formula(height, width):
    block, x = FactorizedReduce(3, 4), images(2, 3, height, width)
    relu = paddle.nn.functional.relu(x)
    joined = paddle.concat([block.conv_1(relu), block.conv_2(relu[:, :, 1:, 1:])], axis=1)
    np.testing.assert_array_equal(block(x).numpy(), BatchNorm(4)(joined).numpy())


def test_an_odd_number_of_channels_is_refused():
    with pytest.raises(ConfigError, match=r"even number of channels, got 5.*init_channels"):
        FactorizedReduce(4, 5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_zero_does_not_spread_nan(stride, bad):
    x = paddle.full([2, 3, 5, 4], bad)
    x.stop_gradient = False
    y = Zero(stride)(x)
    assert y.shape == [2, 3, -(-5 // stride), 4 // stride] and (y.numpy() == 0).all()
    assert Zero(stride)(x.astype("float64")).dtype == paddle.float64


BLOCKS = {
    "ReLUConvBN": (lambda affine: ReLUConvBN(4, 4, 1, 2, 0, affine), 16, 1),
    "SepConv 3": (lambda affine: SepConv(4, 3, 2, affine), 2 * (4 * 9 + 16), 2),
    "SepConv 5": (lambda affine: SepConv(4, 5, 2, affine), 2 * (4 * 25 + 16), 2),
    "DilConv 3": (lambda affine: DilConv(4, 3, 2, affine), 4 * 9 + 16, 1),
    "DilConv 5": (lambda affine: DilConv(4, 5, 2, affine), 4 * 25 + 16, 1),
    "conv_7x1_1x7": (lambda affine: conv_7x1_1x7(4, 2, affine), 2 * 16 * 7, 1),
    "FactorizedReduce": (lambda affine: FactorizedReduce(4, 4, affine), 16, 1),
}


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("affine", [True, False])
def test_affine_concerns_the_batch_norms_only(name, affine):
    make, weights, norms = BLOCKS[name]
    count = sum(int(np.prod(p.shape)) for p in trainable(make(affine)).values())
    assert count == weights + (norms * 2 * 4 if affine else 0)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_do_not_change_their_input(name):
    x = images(2, 4, 7, 6)
    before = x.numpy().copy()
    y = BLOCKS[name][0](True)(x)
    assert y.shape == [2, 4, 4, 3]
    np.testing.assert_array_equal(x.numpy(), before)


def test_the_field_of_view_of_dilated_and_separable_convolutions():
    """How far a changed pixel is felt: twice the kernel for both families."""
    for block, radius in ((DilConv(2, 3, 1), 2), (DilConv(2, 5, 1), 4), (SepConv(2, 3, 1), 2), (SepConv(2, 5, 1), 4)):
        block.eval()
        for weight in trainable(block).values():
            weight.set_value(weight.abs())  # so that no ReLU hides a change
        x = paddle.full([1, 2, 15, 15], 0.3)
        y = block(x).numpy()
        x[:, :, 7, 7] = 5.0
        rows = np.nonzero(np.abs(block(x).numpy() - y).sum(axis=(0, 1, 3)) > 1e-7)[0]
        assert (rows.min(), rows.max()) == (7 - radius, 7 + radius)
