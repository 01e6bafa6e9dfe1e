"""Operator calls of programs whose number is known by hand."""

from __future__ import annotations

import paddle
import pytest
from paddle.autograd import PyLayer

from paddle_darts.benchmark.opcalls import count_op_calls


class Twice(PyLayer):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2 + 0


@pytest.fixture
def x():
    values = paddle.ones([2, 3, 8, 8])
    values.stop_gradient = False
    return values


def test_forward_and_backward(x):
    conv, linear = paddle.nn.Conv2D(3, 4, 3, bias_attr=False), paddle.nn.Linear(4, 5)

    def run():
        y = paddle.nn.functional.relu(conv(x)).mean([2, 3])  # 3
        loss = linear(y).sum()  # matmul, add, sum: 3
        paddle.grad(loss, [conv.weight, linear.weight, linear.bias])  # the 1 it begins with, and 6 nodes

    assert count_op_calls(run) == 3 + 3 + 7
    assert count_op_calls(run) == 13, "again the same"


def test_without_gradients(x):
    def run():
        with paddle.no_grad():
            y = x[:, :, 1:, 1:] * 3.0  # 2
            paddle.assign(y * 2, y)  # 2
            y.numpy()

    assert count_op_calls(run) == 4
    assert count_op_calls(lambda: None) == 0


def test_pylayers(x):
    def run():
        loss = Twice.apply(x).sum()  # the layer, what it calls, the sum: 3
        paddle.grad(loss, [x])  # the 1, the node of the sum, that of the layer, what it calls (2): 5

    assert count_op_calls(run) == 8
    assert Twice.apply(x).sum().item() == 768.0 and "apply" not in PyLayer.__dict__, "as it was"


def test_custom_operators_are_one_call(x, monkeypatch):
    """Also one that calls two others; Paddle itself records only these."""
    monkeypatch.setattr(paddle._C_ops, "_run_custom_op", lambda name, a: (a * 2 + 1).detach())
    assert count_op_calls(lambda: paddle._C_ops._run_custom_op("mine", x)) == 1


def test_an_error_leaves_nothing_behind(x):
    with pytest.raises(ZeroDivisionError):
        count_op_calls(lambda: 1 / 0)
    assert "apply" not in PyLayer.__dict__
    assert count_op_calls(lambda: x + 1) == 1
