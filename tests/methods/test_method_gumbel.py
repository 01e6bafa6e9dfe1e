"""Gumbel weights: shares, gradients, draws that are no numbers."""

import numpy as np
import paddle
import pytest
from method_runs import parameter, softmax
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError, NonFiniteLossError
from paddle_darts.methods.parts.gumbel import gdas_mix, gumbel_noise, gumbel_softmax, straight_through
from paddle_darts.nn.drop import RandomSource


class Recorded(RandomSource):
    """Hands out given Exp(1) numbers in order."""

    def __init__(self, *draws):
        self.draws = [np.asarray(d, dtype="float64") for d in draws]

    def exponential(self, shape):
        values = self.draws.pop(0)
        assert values.shape == tuple(shape)
        return values


LOGITS = np.array([[0.3, -0.8, 1.1], [0.0, 0.5, -0.2]])
DRAW = np.array([[0.5, 0.1, 2.0], [1.5, 0.7, 0.3]])
MASK = np.array([[True, True, False], [True, False, True]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tau", [0.5, 4.0])
def test_soft_weights(dtype, tau):
    weights = gumbel_softmax(parameter(LOGITS, dtype), tau, Recorded(DRAW))
    assert weights.dtype == (paddle.float32 if dtype == "float32" else paddle.float64)
    np.testing.assert_allclose(weights.numpy(), softmax((LOGITS - np.log(DRAW)) / tau), rtol=1e-5)


def test_soft_weights_of_a_mask():
    weights = gumbel_softmax(parameter(LOGITS), 2.0, Recorded(DRAW), MASK).numpy()
    kept = softmax((LOGITS - np.log(DRAW)) / 2.0) * MASK
    np.testing.assert_allclose(weights, kept / kept.sum(axis=1, keepdims=True))


def test_soft_gradient():
    """d y_k / d logit_j = y_k (delta - y_j) / tau."""
    logits, tau, upstream = parameter(LOGITS), 3.0, np.array([[1.0, -2.0, 0.5], [0.3, 0.0, 1.0]])
    weights = gumbel_softmax(logits, tau, Recorded(DRAW))
    grad = paddle.grad((weights * paddle.to_tensor(upstream)).sum(), [logits])[0].numpy()
    y = weights.numpy()
    np.testing.assert_allclose(grad, y * (upstream - (y * upstream).sum(axis=1, keepdims=True)) / tau, rtol=1e-12)


@pytest.mark.parametrize("tau", [10.0, 0.1])
def test_candidates_are_chosen_as_often_as_softmax_says(tau):
    """Whatever the temperature."""
    count = 4000
    mix = gdas_mix(parameter(np.tile(LOGITS[0], (count, 1))), tau, RandomSource(5))
    share = softmax(LOGITS[0])
    assert (np.abs(mix.active.mean(axis=0) - share) <= 5 * np.sqrt(share * (1 - share) / count)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_hard_mix(dtype):
    mix = gdas_mix(parameter(LOGITS, dtype), 2.0, Recorded(DRAW))
    assert mix.active.dtype == bool and mix.active.sum(axis=1).tolist() == [1, 1]
    assert mix.active.argmax(axis=1).tolist() == (LOGITS - np.log(DRAW)).argmax(axis=1).tolist()
    np.testing.assert_allclose(mix.ops.numpy(), mix.active, rtol=1e-6)
    assert (mix.ops.numpy()[~mix.active] == 0).all()
    assert mix.offset.shape == [2] and (mix.offset.numpy() == 0).all()


def test_the_gradient_of_a_hard_mix_is_that_of_the_soft_one():
    """As official: h_k * op_k(x) + sum of the other h, here with numbers for the outputs of the ops."""
    alphas, outputs, tau = parameter(LOGITS), np.array([2.0, -3.0]), 2.0
    mix = gdas_mix(alphas, tau, Recorded(DRAW))
    chosen = paddle.to_tensor(mix.active.astype("float64"))
    edges = (mix.ops * chosen).sum(axis=-1) * paddle.to_tensor(outputs) + mix.offset
    np.testing.assert_allclose(edges.numpy(), outputs)
    grad = paddle.grad(edges.sum(), [alphas])[0].numpy()
    y = softmax((np.log(softmax(LOGITS)) - np.log(DRAW)) / tau)
    upstream = np.where(mix.active, outputs[:, None], 1.0)
    to_logits = y * (upstream - (y * upstream).sum(axis=1, keepdims=True)) / tau
    expected = to_logits - softmax(LOGITS) * to_logits.sum(axis=1, keepdims=True)  # through the log-softmax
    np.testing.assert_allclose(grad, expected, rtol=1e-10, atol=1e-14)
    without = paddle.grad(((gdas_mix(alphas, tau, Recorded(DRAW)).ops * chosen).sum(axis=-1) * 2.0).sum(), [alphas])
    assert not np.allclose(without[0].numpy(), grad)


def test_a_detached_mix_has_the_same_numbers_and_no_graph():
    mix = gdas_mix(parameter(LOGITS), 1.0, Recorded(DRAW))
    cut = mix.detach()
    assert cut.ops.stop_gradient and cut.offset.stop_gradient and cut.active is mix.active


def test_ties_go_to_the_smaller_column():
    assert straight_through(parameter([[0.4, 0.4, 0.2]]))[1].tolist() == [[True, False, False]]


def test_draws_that_are_no_numbers_are_repeated():
    """The logarithm of 0 is infinite."""
    source = Recorded([[0.0, 1.0]], [[np.nan, 1.0]], [[np.inf, 1.0]], [[2.0, 1.0]])
    np.testing.assert_allclose(gumbel_noise((1, 2), source), [[-np.log(2), 0]])
    assert not source.draws


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_alphas_that_are_no_numbers_are_an_error_and_no_endless_search(bad):
    with pytest.raises(NonFiniteLossError, match="architecture"):
        gdas_mix(parameter([[0.0, bad]]), 1.0, RandomSource(0))


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan")])
def test_a_temperature_is_positive(tau):
    with pytest.raises(ConfigError, match="temperature"):
        gumbel_softmax(parameter(LOGITS), tau, RandomSource(0))


def test_a_low_temperature_is_nearly_hard():
    weights = gumbel_softmax(parameter(LOGITS), 0.01, Recorded(DRAW))
    np.testing.assert_allclose(weights.numpy(), F.one_hot(paddle.argmax(weights, axis=-1), 3).numpy(), atol=1e-6)
