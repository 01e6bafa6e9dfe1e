"""Masks; the recorded prunings of the official program are in tests/parity."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from method_runs import parameter

from paddle_darts.errors import ConfigError
from paddle_darts.methods.parts.pruning import masked_softmax, prune, renormalised, without_gradient

ALPHAS = np.array([[0.1, 0.4, -0.2, 0.3], [-1.0, -2.0, -3.0, -4.0]])


def test_the_largest_stay_and_the_others_become_zero():
    before = ALPHAS.copy()
    alphas, mask = prune(ALPHAS, 2)
    np.testing.assert_array_equal(alphas, [[0, 0.4, 0, 0.3], [-1, -2, 0, 0]])
    np.testing.assert_array_equal(mask, [[False, True, False, True], [True, True, False, False]])
    np.testing.assert_array_equal(ALPHAS, before)


def test_what_was_pruned_never_comes_back():
    """In the second row the pruned zeros are larger than what was kept."""
    alphas, mask = prune(ALPHAS, 3)
    again, fewer = prune(alphas + 5.0 * ~mask, 2, mask)
    np.testing.assert_array_equal(fewer, [[False, True, False, True], [True, True, False, False]])
    assert (again[~fewer] == 0).all()


def test_ties_keep_the_smaller_column():
    assert prune(np.zeros((1, 4)), 2)[1].tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("keep", [0, 4])
def test_impossible_numbers(keep):
    mask = np.array([[True, True, True, False], [True, True, True, True]])
    with pytest.raises(ConfigError, match=f"cannot keep {keep}.*1 to 3"):
        prune(ALPHAS, keep, mask)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_repeated_pruning_is_pruning_once(seed, one, two):
    alphas = np.random.default_rng(seed).normal(size=(5, 6)).astype("float32")
    larger, smaller = max(one, two), min(one, two)
    halfway, mask = prune(alphas, larger)
    twice, direct = prune(halfway, smaller, mask), prune(alphas, smaller)
    np.testing.assert_array_equal(twice[0], direct[0])
    np.testing.assert_array_equal(twice[1], direct[1])
    assert twice[0].dtype == alphas.dtype and (twice[1].sum(axis=1) == smaller).all()


MASK = np.array([[True, False, True, True], [False, True, False, False]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masked_softmax_is_the_renormalised_softmax(dtype):
    logits = parameter(ALPHAS, dtype)
    weights = masked_softmax(logits, MASK)
    assert weights.dtype == logits.dtype
    np.testing.assert_allclose(
        weights.numpy(), renormalised(paddle.nn.functional.softmax(logits, axis=-1), MASK).numpy(), rtol=1e-6
    )
    np.testing.assert_allclose(weights.sum(axis=-1).numpy(), 1, rtol=1e-6)
    assert (weights.numpy()[~MASK] == 0).all()
    grad = paddle.grad((weights * weights).sum(), [logits])[0].numpy()
    assert (grad[~MASK] == 0).all() and (grad[0][MASK[0]] != 0).all()


def test_masked_softmax_does_not_underflow():
    weights = masked_softmax(parameter([[1000.0, -3.0, -3.0]]), np.array([[False, True, True]]))
    np.testing.assert_allclose(weights.numpy(), [[0, 0.5, 0.5]])


@pytest.mark.parametrize("function", [masked_softmax, renormalised])
def test_a_row_without_candidates_is_zero(function):
    values = parameter(np.abs(ALPHAS))
    weights = function(values, np.array([[False] * 4, [True] * 4]))
    assert (weights.numpy()[0] == 0).all() and float(weights[1].sum()) == pytest.approx(1)
    assert np.isfinite(paddle.grad((weights * weights).sum(), [values])[0].numpy()).all()


def test_renormalised_weights():
    weights = renormalised(parameter([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]), MASK)
    np.testing.assert_allclose(weights.numpy(), [[0.125, 0, 0.375, 0.5], [0, 1, 0, 0]])


def test_without_a_mask_nothing_changes():
    values = parameter(ALPHAS)
    assert renormalised(values, None) is values and without_gradient(values, None) is values
    np.testing.assert_allclose(masked_softmax(values).sum(axis=-1).numpy(), 1)


def test_masked_entries_without_gradient():
    values = parameter(ALPHAS)
    same = without_gradient(values, MASK)
    np.testing.assert_array_equal(same.numpy(), ALPHAS)
    np.testing.assert_array_equal(paddle.grad(same.sum(), [values])[0].numpy(), MASK)
