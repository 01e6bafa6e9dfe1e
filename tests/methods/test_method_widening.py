"""Widening by kind of layer; the recorded step of the official program is in tests/parity."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.methods.parts.widening import candidates, widen, widening_plan
from paddle_darts.networks import Supernet, SupernetSpec
from paddle_darts.nn.blocks import DilConv, FactorizedReduce, ReLUConvBN, SepConv, Zero
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import AvgPool, BatchNorm, trainable
from paddle_darts.nn.optimizers import sgd

SPEC = SupernetSpec(init_channels=12, layers=2, steps=1, multiplier=1, num_classes=3, reductions=(1,))


class Counting(RandomSource):
    """Always copies the last channel and remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def integers(self, high, count):
        self.asked.append((high, count))
        return np.full(count, high - 1)


class Cell(nn.Layer):
    """The names of a NAS-Bench-201 cell: an edge is a list of candidates."""

    def __init__(self, *ops):
        super().__init__()
        self.edges = nn.LayerDict({"1<-0": nn.LayerList(ops)})
        self.preprocess = ReLUConvBN(4, 4, 1, 1, 0)


def network(*ops):
    """One cell with one edge of these candidates, 4 channels wide."""
    net = nn.Layer()
    net.cells = nn.LayerList([Cell(*ops)])
    randomise(net)
    return net


def randomise(net, seed=0):
    rng = np.random.default_rng(seed)
    for tensor in net.state_dict().values():
        tensor.set_value(rng.uniform(0.5, 1.5, tensor.shape).astype("float32"))


def plan_of(op, k0=3, k1=2, **options):
    """The plan of one candidate by the names within it, and what was drawn for it."""
    source = Counting()
    plan = widening_plan(network(op), k0, k1, source, **options)
    prefix = "cells.0.edges.1<-0.0."
    assert all(name.startswith(prefix) for name in plan)
    return {name.removeprefix(prefix): axes for name, axes in plan.items()}, source.asked


def stated(plan):
    """Only the copied channels, as lists."""
    return {name: {axis: channels[4:].tolist() for axis, channels in axes.items()} for name, axes in plan.items()}


GROWN = [3, 3]  # 4 channels of 12 become 6: the last is copied twice


def norm(name, *keys):
    return {f"{name}.{key}": {0: GROWN} for key in (*keys, "_mean", "_variance")}


def test_dilated_convolution():
    plan, asked = plan_of(DilConv(4, 3, 1, affine=False))
    assert asked == [(4, 2)] * 2
    assert stated(plan) == {"op.1.weight": {0: GROWN}, "op.2.weight": {0: GROWN, 1: GROWN}, **norm("op.3")}


def test_separable_convolution_draws_four_times():
    plan, asked = plan_of(SepConv(4, 3, 1, affine=False))
    assert asked == [(4, 2)] * 4
    names = ["op.1.weight", "op.2.weight", "op.3._mean", "op.3._variance"]
    assert list(plan) == [*names, *(n.replace("3.", "7.").replace("2.", "6.").replace("1.", "5.") for n in names)]


def test_the_order_of_draws():
    """1, 2, 3, 4 in turn: the 1x1 convolution reads the channels of the depthwise one."""

    class Turns(RandomSource):
        turn = -1

        def integers(self, high, count):
            self.turn += 1
            return np.full(count, self.turn)

    plan = widening_plan(network(SepConv(4, 3, 1)), 3, 2, Turns())
    drawn = {name.rpartition("0.op.")[2]: {a: c[-1] for a, c in axes.items()} for name, axes in plan.items()}
    assert drawn["1.weight"] == {0: 0} and drawn["2.weight"] == {1: 0, 0: 1} and drawn["3._mean"] == {0: 1}
    assert drawn["5.weight"] == {0: 2} and drawn["6.weight"] == {1: 2, 0: 3} and drawn["7._mean"] == {0: 3}


def test_plain_convolution_of_nas_bench_201():
    plan, asked = plan_of(ReLUConvBN(4, 4, 3, 1, 1, affine=True))
    assert asked == [(4, 2)] * 2
    assert stated(plan) == {"op.1.weight": {0: GROWN, 1: GROWN}, **norm("op.2", "weight", "bias")}


def test_pooling_with_batch_norm():
    for layers in ([AvgPool(1), BatchNorm(4, affine=False)], [nn.MaxPool2D(3, 1, 1), BatchNorm(4, affine=True)]):
        plan, asked = plan_of(nn.Sequential(*layers))
        assert asked == [(4, 2)]
        assert {"1._mean", "1._variance"} <= set(plan) == {f"1.{key}" for key in layers[1].state_dict()}


@pytest.mark.parametrize("op", [nn.Identity(), Zero(1), AvgPool(1)])
def test_without_weights_nothing_is_drawn(op):
    assert plan_of(op) == ({}, [])


def test_strided_skip_in_halves():
    plan, asked = plan_of(FactorizedReduce(4, 4))
    assert asked == [(4, 2), (2, 1), (4, 2), (2, 1)]
    for name in ("conv_1.weight", "conv_2.weight"):
        assert plan[name][0].tolist() == [0, 1, 1] and plan[name][1].tolist() == [0, 1, 2, 3, 3, 3]
    assert plan["bn._mean"][0].tolist() == [0, 1, 2, 3, 1, 1]  # as official
    aligned, _ = plan_of(FactorizedReduce(4, 4), aligned=True)
    assert aligned["bn._mean"][0].tolist() == [0, 1, 1, 2, 3, 3]
    assert set(plan) == {*aligned} == {"conv_1.weight", "conv_2.weight", *(f"bn.{k}" for k in BN_KEYS)}


BN_KEYS = ("weight", "bias", "_mean", "_variance")


def test_an_odd_width_in_halves():
    """Six channels to nine: four and five."""
    source = Counting()
    plan = widening_plan(network(FactorizedReduce(6, 6)), 3, 2, source)
    assert source.asked == [(6, 3), (3, 1), (6, 3), (3, 2)]
    sizes = {name.rpartition("0.")[2]: {a: len(c) for a, c in axes.items()} for name, axes in plan.items()}
    assert sizes["conv_1.weight"] == {0: 4, 1: 9} and sizes["conv_2.weight"] == {0: 5, 1: 9}
    assert sizes["bn._mean"] == {0: 9}


def test_an_aligned_skip_repeats_its_channels():
    """With zeros in the new input channels, an output channel that was copied has the values of the old one."""
    net, wide = network(FactorizedReduce(4, 4)), network(FactorizedReduce(6, 6))
    plan = widening_plan(net, 3, 2, RandomSource(1), aligned=True)
    inner = {n: t for n, t in widen(net.state_dict(), plan).items() if ".edges." in n}
    wide.set_state_dict({**wide.state_dict(), **inner})
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 4)).astype("float32")
    for layer in (net, wide):
        layer.eval()
    old = only(net)(paddle.to_tensor(x)).numpy()
    new = only(wide)(paddle.to_tensor(np.pad(x, [(0, 0), (0, 2), (0, 0), (0, 0)]))).numpy()
    np.testing.assert_allclose(new, old[:, plan["cells.0.edges.1<-0.0.bn._mean"][0]], rtol=1e-5, atol=1e-6)


def only(net):
    (op,) = candidates(net).values()
    return op


# ----------------------------------------------------------------------------------- networks
@pytest.fixture(scope="module")
def supernet():
    paddle.seed(0)
    net = Supernet(replace(SPEC, partial_channels=6))
    randomise(net)
    return net


def test_candidates_are_found_in_order(supernet):
    names = list(candidates(supernet))
    edges, ops = SPEC.num_edges, len(SPEC.primitives)
    assert names == [f"cells.{c}._ops.{e}._ops.{o}" for c in range(2) for e in range(edges) for o in range(ops)]


@pytest.mark.parametrize("k1", [1, 2, 3])
def test_a_widened_supernet_fits_and_keeps_its_old_channels(supernet, k1):
    plan = widening_plan(supernet, 6, k1, RandomSource(0))
    before, after = supernet.state_dict(), widen(supernet.state_dict(), plan)
    shapes = {n: t.shape for n, t in Supernet(replace(SPEC, partial_channels=k1)).state_dict().items()}
    assert {n: t.shape for n, t in after.items()} == shapes
    for name, tensor in after.items():
        old = before[name].numpy()
        np.testing.assert_array_equal(tensor.numpy()[tuple(slice(n) for n in old.shape)], old)
        assert (name in plan) == (list(tensor.shape) != list(old.shape))
        assert tensor.dtype == before[name].dtype


def test_arrays_and_tensors_are_widened_alike(supernet):
    plan = widening_plan(supernet, 6, 2, RandomSource(0))
    tensors = widen(supernet.state_dict(), plan)
    arrays = widen({n: t.numpy() for n, t in supernet.state_dict().items()}, plan)
    assert all(np.array_equal(arrays[n], tensors[n].numpy()) for n in tensors)


def test_momentum_follows_its_weights(supernet):
    """A buffer that equals its weight still does."""
    plan = widening_plan(supernet, 6, 2, RandomSource(0))
    optimizer = sgd(supernet.weights(), 0.1, 0.9, 0.0)
    optimizer.load_state_dict({f"{n}/velocity_0": w for n, w in supernet.weights().items()})
    weights, state = widen(trainable(supernet), plan), widen(optimizer.state_dict(), plan)
    assert set(state) == {f"{n}/velocity_0" for n in weights}
    assert all(np.array_equal(state[f"{n}/velocity_0"].numpy(), w.numpy()) for n, w in weights.items())


def test_the_source_decides(supernet):
    first, same, other = (widening_plan(supernet, 6, 2, RandomSource(seed)) for seed in (0, 0, 1))

    def flat(plan):
        return [(n, a, c.tolist()) for n, axes in plan.items() for a, c in axes.items()]

    assert flat(first) == flat(same) != flat(other)


# ----------------------------------------------------------------------------------- errors
@pytest.mark.parametrize("k0, k1", [(2, 3), (3, 3), (3, 0)])
def test_only_wider(k0, k1):
    with pytest.raises(ConfigError, match=f"k0={k0}, k1={k1}"):
        widening_plan(network(DilConv(4, 3, 1)), k0, k1, RandomSource(0))


def test_channels_that_do_not_divide():
    with pytest.raises(ConfigError, match=r"12 channels.*k1=5"):
        widening_plan(network(DilConv(2, 3, 1)), 6, 5, RandomSource(0))


def test_an_unknown_kind_is_not_passed_over():
    with pytest.raises(ConfigError, match=r"cells.0.edges.1<-0.0: .*Sequential"):
        widening_plan(network(nn.Sequential(nn.Conv2D(4, 4, 1))), 3, 2, RandomSource(0))
