"""Parameters and multiply-adds, counted by hand for small networks."""

import paddle
import pytest
from paddle import nn

from paddle_darts.analysis.complexity import Complexity, complexity, count_parameters
from paddle_darts.networks import build_network
from paddle_darts.nn.layers import AvgPool, BatchNorm, conv2d, linear, max_pool
from paddle_darts.spaces.nas_bench_201 import architectures


class Flat(nn.Layer):
    def forward(self, x):
        return x.flatten(1)


def network():
    return nn.Sequential(
        conv2d(3, 8, 3, stride=2, padding=1),  # 8 x 4 x 5
        BatchNorm(8),
        nn.ReLU(),
        conv2d(8, 8, 5, padding=4, dilation=2, groups=8),  # 8 x 4 x 5
        BatchNorm(8, affine=False),
        max_pool(2),  # 8 x 2 x 3
        AvgPool(1),  # 8 x 2 x 3
        nn.Identity(),
        nn.AdaptiveAvgPool2D(1),  # 8
        Flat(),
        linear(8, 5),
    )


def test_by_hand():
    weights = 8 * 3 * 9 + 2 * 8 + 8 * 25 + (8 * 5 + 5)
    macs = (8 * 4 * 5) * 27 + (8 * 4 * 5) * 25 + 8 * 5
    extra = 2 * (160 + 160) + 160 + 48 + 48 + 8
    assert complexity(network(), [3, 8, 10]) == Complexity(weights, weights, macs, macs + extra)
    assert count_parameters(network()) == weights


def test_a_layer_that_runs_twice_counts_twice():
    conv = conv2d(3, 3, 1)
    counted = complexity(nn.Sequential(conv, conv), [3, 4, 4])
    assert (counted.macs, counted.params) == (2 * 9 * 16, 9)


def test_auxiliary_head_is_left_out():
    with_head, without = (build_network("PC_DARTS_cifar", 10, 4, 3, auxiliary=aux) for aux in (True, False))
    with_head.train()
    a, b = complexity(with_head, [3, 32, 32]), complexity(without, [3, 32, 32])
    assert (a.params, a.macs, a.macs_paper) == (b.params, b.macs, b.macs_paper)
    head = 64 * 128 + 2 * 128 + 128 * 768 * 4 + 2 * 768 + 768 * 10 + 10
    assert a.params_with_aux == a.params + head and b.params_with_aux == b.params
    assert count_parameters(with_head, auxiliary=True) == a.params_with_aux


def test_macs_grow_with_the_image_and_parameters_do_not():
    net = build_network("DARTS_V2", 10, 4, 3)
    small, large = (complexity(net, [3, pixels, pixels]) for pixels in (16, 32))
    assert small.params == large.params
    fixed = 64 * 10
    assert large.macs - fixed == 4 * (small.macs - fixed)


class Broken(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = conv2d(3, 3, 1)

    def forward(self, x):
        raise FloatingPointError(str(self.conv(x).shape))


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    net = network()
    net.train() if training else net.eval()
    before = {n: t.numpy().copy() for n, t in net.state_dict().items()}
    first = complexity(net, [3, 8, 10])
    assert all(layer.training == training for layer in net.sublayers(include_self=True))
    assert not any(layer._forward_post_hooks for layer in net.sublayers(include_self=True))
    assert all((before[n] == t.numpy()).all() for n, t in net.state_dict().items())
    assert complexity(net, [3, 8, 10]) == first


@pytest.mark.parametrize("training", [True, False])
def test_also_after_an_error(training):
    net = Broken()
    net.train() if training else net.eval()
    with pytest.raises(FloatingPointError):
        complexity(net, [3, 4, 4])
    assert net.training == training and net.conv.training == training
    assert not net.conv._forward_post_hooks


def test_precision_of_the_network_is_followed():
    before = paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    try:
        assert complexity(network(), [3, 8, 10]).macs == 160 * 52 + 40
    finally:
        paddle.set_default_dtype(before)


@pytest.mark.parametrize("index, mega_flops, mega_params", [(0, 15.64737, 0.129306), (284, 11.71521, 0.101306)])
def test_networks_of_nas_bench_201_as_published(index, mega_flops, mega_params):
    """Sizes that the benchmark records for CIFAR-10; it counts the bias of the classifier as well."""
    net = build_network(architectures()[index], num_classes=10)
    found = complexity(net, [3, 32, 32])
    assert found.params == round(mega_params * 1e6)
    assert found.macs + 10 == round(mega_flops * 1e6)


def test_as_dictionary():
    assert complexity(network(), [3, 8, 10]).as_dict().keys() == {"params", "params_with_aux", "macs", "macs_paper"}


def test_a_single_layer_counts_itself():
    assert complexity(paddle.nn.Conv2D(3, 5, 3, bias_attr=False), (3, 6, 6)).macs == 5 * 4 * 4 * 27
