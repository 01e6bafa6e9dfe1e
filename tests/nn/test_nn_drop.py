"""Drop path and the source of random numbers."""

import json

import numpy as np
import paddle
import pytest

from paddle_darts.nn.drop import RandomSource, drop_path_factors, scale_samples


def drop_path(x, prob, source):
    return scale_samples(x, drop_path_factors(x.shape[0], prob, source))


class Recorded(RandomSource):
    """Hands out one given mask and remembers what was asked for."""

    def __init__(self, mask):
        self.mask, self.asked = np.asarray(mask, dtype="float64"), []

    def keep_mask(self, keep_prob, shape):
        self.asked.append((keep_prob, shape))
        return self.mask


def test_whole_samples_are_dropped_and_the_others_scaled():
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype("float32"))
    source = Recorded([1, 0, 1])
    y = drop_path(x, 0.25, source).numpy()
    assert source.asked == [(0.75, (3,))]
    np.testing.assert_allclose(y[[0, 2]], x.numpy()[[0, 2]] / 0.75, rtol=1e-6)
    assert (y[1] == 0).all()


def test_gradient_is_scaled_like_the_output():
    x = paddle.ones([2, 1, 2, 2])
    x.stop_gradient = False
    grad = paddle.grad(drop_path(x, 0.5, Recorded([0, 1])).sum(), [x])[0].numpy()
    assert (grad[0] == 0).all() and (grad[1] == 2).all()


@pytest.mark.parametrize("prob", [0.1, 0.3, 0.5])
def test_share_and_expectation(prob):
    y = drop_path(paddle.ones([20000, 1, 1, 1]), prob, RandomSource(3)).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(1 - prob)}
    assert abs((y == 0).mean() - prob) < 0.02
    assert abs(y.mean() - 1) < 0.03


def test_precision_is_kept():
    assert drop_path(paddle.ones([2, 1, 1, 1], dtype="float64"), 0.5, RandomSource()).dtype == paddle.float64


def test_the_source_continues_from_its_state_as_json():
    source = RandomSource(5)
    source.normal((3,))
    state = json.loads(json.dumps(source.state_dict()))
    expected = source.keep_mask(0.5, (64,)), source.normal((2, 3))
    other = RandomSource(9)
    assert not np.array_equal(other.keep_mask(0.5, (64,)), expected[0])
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.keep_mask(0.5, (64,)), expected[0])
    np.testing.assert_array_equal(other.normal((2, 3)), expected[1])


def test_the_seed_decides():
    assert np.array_equal(RandomSource(1).normal((5,)), RandomSource(1).normal((5,)))
    assert not np.array_equal(RandomSource(1).normal((5,)), RandomSource(2).normal((5,)))
