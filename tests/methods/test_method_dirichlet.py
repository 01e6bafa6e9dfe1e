"""Dirichlet weights: what is drawn, and its gradient against numbers that do not come from the same formula."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from method_runs import parameter
from paddle.distribution import Dirichlet, kl_divergence
from scipy.special import betaincinv

from paddle_darts.errors import ConfigError
from paddle_darts.methods.parts.dirichlet import (
    concentration,
    dirichlet_sample,
    dirichlet_weights,
    draw,
    kl_to_uniform,
    pathwise_derivative,
)
from paddle_darts.nn.drop import RandomSource


class Recorded(RandomSource):
    """Hands out one sample, and vertices by one uniform number."""

    def __init__(self, sample, uniform=0.0):
        self.sample, self.number = np.asarray(sample, dtype="float64"), uniform

    def dirichlet(self, concentration):
        return self.sample

    def uniform(self, shape):
        return np.full(shape, self.number)


# ----------------------------------------------------------------------------------- the derivative
@settings(max_examples=200, deadline=None)
@given(st.floats(-2, 1.5), st.floats(-2, 1.5), st.floats(0.01, 0.99))
def test_derivative_is_that_of_the_quantile(log_a, log_b, u):
    """x(a) = the u-quantile of Beta(a, b); with two candidates the sample is (x, 1 - x)."""
    a, b = 10.0**log_a, 10.0**log_b
    x, h = betaincinv(a, b, u), 1e-5 * a
    if not 1e-12 < x < 1 - 1e-4:
        return  # the quantile has no digits left to differentiate
    slope = (betaincinv(a + h, b, u) - betaincinv(a - h, b, u)) / (2 * h)
    found = pathwise_derivative(np.array([[a, b]]), np.array([[x, 1 - x]]))[0, 0]
    assert found == pytest.approx(slope / (1 - x), rel=1e-4)


@pytest.mark.parametrize("f", ["linear", "square"])
def test_gradient_of_an_expectation(f):
    """The mean over samples is d E[f]/dc, known in closed form, within five standard errors."""
    c, w, count = np.array([0.3, 1.0, 2.5, 0.8]), np.array([1.0, -2.0, 0.5, 3.0]), 20000
    conc = parameter(np.tile(c, (count, 1)))
    x = dirichlet_sample(conc, draw(conc.numpy(), RandomSource(4)))
    values = x if f == "linear" else x * x
    samples = paddle.grad((values * paddle.to_tensor(w)).sum(), [conc])[0].numpy()
    t = c.sum()
    if f == "linear":  # E = sum w c/t
        expected = w / t - (w * c).sum() / t**2
    else:  # E = sum w c(c+1) / (t(t+1))
        expected = w * (2 * c + 1) / (t * (t + 1)) - (w * c * (c + 1)).sum() * (2 * t + 1) / (t * (t + 1)) ** 2
    error = samples.std(axis=0) / count**0.5
    assert (np.abs(samples.mean(axis=0) - expected) <= 5 * error).all()
    assert np.abs(expected).max() > 100 * error.max()  # so that a missing factor would show


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32 - 1), st.floats(-6, 2))
def test_derivative_is_finite_and_positive(entries, seed, log_scale):
    """A larger concentration draws its own entry up, whatever the others are."""
    rng = np.random.default_rng(seed)
    c = 10.0 ** rng.uniform(log_scale - 1, log_scale, (5, entries))
    gamma = pathwise_derivative(c, draw(c, RandomSource(seed)))
    assert np.isfinite(gamma).all() and (gamma > -1e-9).all()


# ----------------------------------------------------------------------------------- the layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 5, 14])
def test_precision_and_rows(dtype, rows):
    rng = np.random.default_rng(rows)
    values, upstream = rng.normal(size=(rows, 7)), rng.normal(size=(rows, 7))
    grads = {}
    for d in ("float64", dtype):
        alphas = parameter(values, d)
        weights = dirichlet_weights(alphas, RandomSource(2))
        assert weights.dtype == alphas.dtype and weights.shape == [rows, 7]
        np.testing.assert_allclose(weights.sum(axis=-1).numpy(), 1, rtol=1e-6)
        (grads[d],) = paddle.grad((weights * paddle.to_tensor(upstream, dtype=d)).sum(), [alphas])
        assert grads[d].dtype == alphas.dtype
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(grads[dtype].numpy(), grads["float64"].numpy(), rtol=tolerance, atol=tolerance)


def test_gradients_beside_other_inputs():
    """Two alphas in one loss, a weight that is not asked for, one alpha that the loss does not see."""
    alphas, other, unseen = (parameter(np.full((2, 3), v)) for v in (0.1, -0.4, 0.0))
    weight = parameter([[1.0, 2.0, 4.0]])
    source = RandomSource(0)
    first, second = dirichlet_weights(alphas, source), dirichlet_weights(other, source)
    loss = (first * second * weight).sum()
    found = paddle.grad(loss, [alphas, other, unseen], allow_unused=True, retain_graph=True)
    assert found[2] is None and all(float(g.abs().max()) > 0 for g in found[:2])
    (alone,) = paddle.grad(loss, [weight], retain_graph=True)
    loss.backward()
    np.testing.assert_array_equal(alphas.grad.numpy(), found[0].numpy())
    np.testing.assert_allclose(alone.numpy(), (first * second).sum(axis=0, keepdim=True).numpy())
    np.testing.assert_array_equal(weight.grad.numpy(), alone.numpy())


def test_without_a_graph():
    alphas = parameter(np.zeros((2, 3)))
    with paddle.no_grad():
        assert dirichlet_weights(alphas, RandomSource(0)).stop_gradient
    assert dirichlet_weights(alphas.detach(), RandomSource(0)).stop_gradient


def test_the_given_sample_is_the_output():
    sample = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    weights = dirichlet_weights(parameter(np.zeros((2, 3))), Recorded(sample))
    np.testing.assert_array_equal(weights.numpy(), sample)


@pytest.mark.parametrize("sample", [[[0.5, 0.2]], [[1.5, -0.5]], [[np.nan, 1.0]], [[0.2, 0.3, 0.5]]])
def test_what_is_no_sample_is_refused(sample):
    with pytest.raises(ConfigError, match="sample"):
        dirichlet_sample(parameter([[1.0, 1.0]]), np.array(sample))


def test_a_single_candidate_has_weight_one_and_no_gradient():
    alphas = parameter([[0.3], [-0.2]])
    weights = dirichlet_weights(alphas, RandomSource(0))
    assert (weights.numpy() == 1).all()
    assert (paddle.grad((weights * 3.0).sum(), [alphas])[0].numpy() == 0).all()


def test_concentration():
    alphas = parameter([[-3.0, -0.5, 0.0, 0.5, 3.0]])
    c = concentration(alphas)
    np.testing.assert_allclose(c.numpy(), [[np.exp(-3), np.exp(-0.5), 1, 1.5, 4]])
    slope = paddle.grad(c.sum(), [alphas])[0].numpy()
    np.testing.assert_allclose(slope, [[np.exp(-3), np.exp(-0.5), 1, 1, 1]])


def test_small_concentrations_keep_their_digits_in_float32():
    alphas = parameter([[-20.0, -8.0, 100.0]], "float32")
    c = concentration(alphas)
    np.testing.assert_allclose(c.numpy(), [[np.exp(-20.0), np.exp(-8.0), 101.0]], rtol=1e-6)
    kl = kl_to_uniform(c)
    assert np.isfinite(kl.numpy()).all() and np.isfinite(paddle.grad(kl.sum(), [alphas])[0].numpy()).all()


# ----------------------------------------------------------------------------------- masks
def test_masked_weights_are_the_renormalised_sample():
    sample = np.array([[0.1, 0.2, 0.3, 0.4]])
    mask = np.array([[True, False, True, True]])
    alphas = parameter([[0.3, -0.2, 0.8, -1.0]])
    weights = dirichlet_weights(alphas, Recorded(sample), mask)
    np.testing.assert_allclose(weights.numpy(), [[0.125, 0, 0.375, 0.5]])
    grad = paddle.grad((weights * paddle.to_tensor([[1.0, 5.0, -2.0, 3.0]], dtype="float64")).sum(), [alphas])[
        0
    ].numpy()
    assert grad[0, 1] == 0 and (grad[0, [0, 2, 3]] != 0).all()


def test_masked_weights_are_dirichlet_over_the_kept_candidates():
    c, mask, count = np.array([0.5, 3.0, 1.0, 2.0]), np.array([True, False, True, True]), 10000
    alphas = np.tile(np.where(c > 1, c - 1, np.log(c)), (count, 1))
    weights = dirichlet_weights(parameter(alphas), RandomSource(1), np.tile(mask, (count, 1))).numpy()
    kept = c * mask / (c * mask).sum()
    error = np.sqrt(kept * (1 - kept) / ((c * mask).sum() + 1) / count)
    assert (np.abs(weights.mean(axis=0) - kept) <= 5 * error).all()


# ----------------------------------------------------------------------------------- tiny concentrations
def test_rows_that_underflow_end_in_a_corner():
    """Far below 1 a sample is one entry with probability in proportion to the concentrations."""
    c, count = np.array([1e-5, 3e-5, 6e-5]), 3000
    x = draw(np.tile(c, (count, 1)), RandomSource(0))
    assert np.isfinite(x).all() and np.allclose(x.sum(axis=1), 1)
    share, error = c / c.sum(), 5 * np.sqrt(0.25 / count)
    assert (np.abs(x.mean(axis=0) - share) < error).all()


@pytest.mark.parametrize("uniform, corner", [(0.0, 1), (0.2, 1), (0.3, 2), (0.999, 2)])
def test_a_kept_part_of_zero_ends_in_a_kept_corner(uniform, corner):
    """Concentrations 1 and 3 behind the mask; the sample has all its weight on the pruned entries."""
    mask = np.array([[False, True, True, False]])
    alphas = parameter([[1.0, 0.0, 2.0, 0.0]])
    weights = dirichlet_weights(alphas, Recorded([[0.5, 0, 0, 0.5]], uniform), mask)
    np.testing.assert_array_equal(weights.numpy(), [np.eye(4)[corner]])
    grad = paddle.grad((weights * weights).sum(), [alphas])[0].numpy()
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_alphas_stay_finite(dtype):
    alphas = parameter([[-30.0, -30.0, -30.0], [-8.0, -9.0, -7.0], [50.0, -50.0, 0.0]], dtype)
    for seed in range(20):
        weights = dirichlet_weights(alphas, RandomSource(seed))
        grad = paddle.grad((weights * paddle.to_tensor([1.0, -1.0, 2.0], dtype=dtype)).sum(), [alphas])[0]
        assert np.isfinite(weights.numpy()).all() and np.isfinite(grad.numpy()).all()


# ----------------------------------------------------------------------------------- KL
def test_kl_is_that_of_two_dirichlets():
    c = parameter(np.random.default_rng(0).gamma(1.5, size=(6, 5)) + 0.05)
    kl = kl_to_uniform(c)
    expected = kl_divergence(Dirichlet(c), Dirichlet(paddle.ones_like(c)))
    np.testing.assert_allclose(kl.numpy(), expected.numpy(), rtol=1e-9)
    assert (kl.numpy() > 0).all()


def test_kl_is_smallest_at_the_uniform_distribution():
    c = parameter(np.ones((1, 7)))
    kl = kl_to_uniform(c)
    assert abs(kl.item()) < 1e-12
    np.testing.assert_allclose(paddle.grad(kl.sum(), [c])[0].numpy(), 0, atol=1e-12)


def test_gradient_of_kl():
    point, h = np.array([[0.4, 1.0, 2.2]]), 1e-6
    c = parameter(point)
    grad = paddle.grad(kl_to_uniform(c).sum(), [c])[0].numpy()[0]
    for i in range(3):
        step = h * np.eye(3)[[i]]
        above, below = (kl_to_uniform(parameter(p)).item() for p in (point + step, point - step))
        slope = (above - below) / (2 * h)
        assert grad[i] == pytest.approx(slope, rel=1e-6, abs=1e-8)
