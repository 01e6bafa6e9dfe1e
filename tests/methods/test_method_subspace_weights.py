"""The mixing weights of DDSAS against the formulas, and their gradients against differences."""

import numpy as np
import paddle
import pytest

from paddle_darts.errors import ConfigError
from paddle_darts.methods.parts.subspace import mixing_weights

MASK = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rows_softmax(x, mask):
    e = np.where(mask, np.exp(x), 0)
    return e / e.sum(axis=1, keepdims=True)


def tables(seed, shape=MASK.shape):
    """alpha and beta."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.normal(size=shape)


def weights(alpha, beta, active, *args, **kwargs):
    return mixing_weights(paddle.to_tensor(alpha), paddle.to_tensor(beta), active, *args, **kwargs).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", ["simple", "all"])
def test_weights(kind, norm, dtype):
    alpha, beta = (table.astype(dtype) for table in tables(1))
    got = weights(alpha, beta, MASK, kind, norm)
    q = sigmoid(beta[:2])
    factor = q if kind == "simple" else np.where(MASK[:2], q, 1 - q).prod(axis=1, keepdims=True)
    expected = rows_softmax(alpha[:2], MASK[:2]) * factor
    if norm:
        expected = expected / expected.sum(axis=1, keepdims=True)
    assert got.dtype == dtype
    np.testing.assert_allclose(got[:2], expected, rtol=1e-5 if dtype == "float32" else 1e-12)
    assert (got[~MASK] == 0).all()  # and so is the row without an active operation


def test_weights_with_noise():
    """As the authors write it, with logarithms of the softmax over all operations, active or not."""
    alpha, beta = tables(2)
    noise = np.random.default_rng(3).gumbel(size=MASK.shape)
    got = weights(alpha, beta, MASK, norm=False, gumbel=noise, tau=0.3)
    logs = alpha - np.log(np.exp(alpha).sum(axis=1, keepdims=True))
    expected = rows_softmax((logs + noise)[:2] / 0.3, MASK[:2]) * sigmoid(beta[:2])
    np.testing.assert_allclose(got[:2], expected, rtol=1e-12)
    assert not np.allclose(got, weights(alpha, beta, MASK, norm=False))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", ["simple", "all"])
def test_gradients_of_the_weights(kind, norm):
    """Against differences; inactive entries and empty rows get none through the softmax, and no NaN anywhere."""
    arch = tables(4)
    factors = np.random.default_rng(5).normal(size=MASK.shape)
    tensors = [paddle.to_tensor(t, stop_gradient=False) for t in arch]
    total = (mixing_weights(*tensors, MASK, kind, norm) * paddle.to_tensor(factors)).sum()
    found = [g.numpy() for g in paddle.grad(total, tensors)]
    for which in range(2):
        expected = np.zeros(MASK.shape)
        for place in np.ndindex(MASK.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = [t.copy() for t in arch]
                moved[which][place] += step
                sides.append((weights(*moved, MASK, kind, norm) * factors).sum())
            expected[place] = (sides[0] - sides[1]) / 2e-6
        np.testing.assert_allclose(found[which], expected, atol=1e-8)
    assert (found[0][~MASK] == 0).all() and (found[0][MASK][:3] != 0).all()
    if kind == "all" and norm:
        assert np.abs(found[1]).max() < 1e-12, "the product over the row cancels"


def test_extreme_parameters_stay_finite():
    alpha = np.array([[900.0, -900.0, 3.0], [0.0, 1.0, 2.0]], dtype="float32")
    beta = np.array([[-200.0, 200.0, 0.0], [-200.0, -200.0, -200.0]], dtype="float32")
    active = np.array([[False, True, True], [True, False, True]])
    for kind in ("simple", "all"):
        tensors = [paddle.to_tensor(t, stop_gradient=False) for t in (alpha, beta)]
        got = mixing_weights(*tensors, active, kind)
        grads = paddle.grad((got * got).sum(), tensors)
        assert all(np.isfinite(t.numpy()).all() for t in (got, *grads))
    got = weights(alpha[:1], np.zeros((1, 3), "float32"), active[:1])
    np.testing.assert_allclose(got, [[0, 0, 1]], atol=1e-20)  # Paddle's softmax ends at exp(-64)


def test_unknown_type():
    with pytest.raises(ConfigError, match="unknown saliency type 'simpel'; did you mean 'simple'"):
        weights(*tables(6), MASK, "simpel")
