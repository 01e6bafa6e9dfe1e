"""Losses and accuracies where Paddle's own kernels or shapes fail."""

import numpy as np
import paddle
import pytest

from paddle_darts.nn.losses import correct_in_top_k, cross_entropy


def reference(logits, target, smooth):
    """Loss and gradient in float64."""
    z = logits.astype("float64")
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    wanted = np.full(z.shape, smooth / z.shape[1])
    wanted[np.arange(len(target)), target] += 1 - smooth
    return -(wanted * log_p).sum(axis=1).mean(), (np.exp(log_p) - wanted) / len(target)


@pytest.mark.parametrize("smooth", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1.0, 50.0, 1e4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_of_any_magnitude(smooth, scale, dtype):
    rng = np.random.default_rng(0)
    values, target = (scale * rng.normal(size=(6, 5))).astype(dtype), np.array([0, 1, 2, 3, 4, 0])
    logits = paddle.to_tensor(values)
    logits.stop_gradient = False
    loss = cross_entropy(logits, paddle.to_tensor(target), smooth)
    expected_loss, expected_grad = reference(values, target, smooth)
    assert loss.shape == []
    np.testing.assert_allclose(float(loss), expected_loss, rtol=1e-5)
    np.testing.assert_allclose(paddle.grad(loss, [logits])[0].numpy(), expected_grad, atol=1e-6)


def test_a_hopeless_sample_keeps_its_loss_and_its_gradient():
    logits = paddle.to_tensor([[0.0, 200.0]])
    logits.stop_gradient = False
    loss = cross_entropy(logits, paddle.to_tensor([0]))
    assert float(loss) == 200.0
    np.testing.assert_array_equal(paddle.grad(loss, [logits])[0].numpy(), [[-1.0, 1.0]])


def test_top_k():
    logits = paddle.to_tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0]])
    target = paddle.to_tensor([0, 2, 0])
    assert [correct_in_top_k(logits, target, k) for k in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_fewer_classes_than_k_is_all_correct(classes):
    logits = paddle.to_tensor(np.random.default_rng(0).normal(size=(7, classes)))
    assert correct_in_top_k(logits, paddle.zeros([7], dtype="int64"), 5) == 7
