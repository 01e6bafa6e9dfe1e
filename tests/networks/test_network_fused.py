"""Networks by the kernels against the same networks by Paddle's operators."""

from __future__ import annotations

import copy

import numpy as np
import paddle
import pytest

from paddle_darts.genotypes import Edge, Genotype
from paddle_darts.kernels.library import kernels_disabled, library
from paddle_darts.networks import build_network, fused
from paddle_darts.networks.evaluation import EvaluationCell
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import BatchNorm, running_statistics, trainable
from paddle_darts.spaces import DARTS

pytestmark = pytest.mark.skipif(library() is None, reason="there are no kernels on this machine")

SMALL = 0.1  # images and gradients are of order one: what is smaller is the rest of a cancellation in norms


@pytest.fixture(autouse=True)
def seeded():
    paddle.seed(0)


@pytest.fixture
def calls(monkeypatch):
    """The plans that were run by the kernels."""
    seen, real = [], fused.run_plan

    def counted(plan, *args, **kwargs):
        seen.append(plan)
        return real(plan, *args, **kwargs)

    monkeypatch.setattr(fused, "run_plan", counted)
    return seen


def images(*shape, seed=0, dtype="float64"):
    return paddle.to_tensor(np.random.default_rng(seed).normal(size=shape), dtype, stop_gradient=False)


def shaken(layer, dtype="float64"):
    """``layer`` in double precision, with scales, shifts and running statistics that are no round numbers."""
    layer.to(dtype=dtype)
    rng = np.random.default_rng(1)
    for norm in (part for part in layer.sublayers() if isinstance(part, BatchNorm)):
        norm._mean.set_value(rng.normal(size=norm._mean.shape).astype(dtype))
        norm._variance.set_value(rng.uniform(0.5, 2.0, norm._variance.shape).astype(dtype))
        for affine in (norm.weight, norm.bias):
            if affine is not None:
                affine.set_value(rng.normal(size=affine.shape).astype(dtype))
    return layer


def computed(layer, inputs, *args):
    """All that a step at ``layer`` computes: outputs, gradients of inputs and parameters, running statistics after it.

    The running statistics are put back.
    """
    before = {name: t.numpy().copy() for name, t in layer.state_dict().items()}
    outputs = layer(*inputs, *args)
    outputs = [y for y in (outputs if isinstance(outputs, tuple) else (outputs,)) if y is not None]
    found = {f"output {i}": y for i, y in enumerate(outputs)}
    loss = sum((y * images(*y.shape, seed=9, dtype=y.dtype).detach()).sum() for y in outputs)
    sources = {f"input {i}": x for i, x in enumerate(inputs)} | trainable(layer)
    found |= zip(sources, paddle.grad(loss, list(sources.values()), allow_unused=True), strict=True)
    found |= {f"after: {name}": t for name, t in layer.state_dict().items()}
    found = {name: None if t is None else t.numpy().copy() for name, t in found.items()}
    layer.set_state_dict(before)
    return found


def agree(found, expected, tolerance=1e-9):
    """Zeros will do for an input that leads nowhere."""
    assert list(found) == list(expected)
    for name, want in expected.items():
        got = found[name]
        if name.startswith("input") and want is None and got is not None:
            want = np.zeros_like(got)
        assert (got is None) == (want is None), name
        if want is not None:
            largest = max(np.abs(want).max(), SMALL)
            assert np.abs(got - want).max() <= tolerance * largest, name


def check(layer, inputs, *args, tolerance=1e-9):
    """The kernels' results are the operators'."""
    with kernels_disabled():
        expected = computed(layer, inputs, *args)
    agree(computed(layer, inputs, *args), expected, tolerance)


# ------------------------------------------------------------------------------------------ cells
def cell(ops, reduction, reduction_prev, channels=6):
    """A cell whose edges take the states in turn, each with the next of ``ops``."""
    edges = tuple(Edge(op, k % 2 if reduction and k < 2 else k % (2 + k // 2)) for k, op in enumerate(ops))
    concat = tuple(range(2, 2 + len(ops) // 2))
    return shaken(EvaluationCell(DARTS, edges, concat, 10, 9, channels, reduction, reduction_prev))


def states(size, reduction_prev, batch=3):
    """Two inputs; the first is twice as large behind a reduction (2n or 2n - 1 pixels)."""
    height, width = size
    before = (2 * height, 2 * width - 1) if reduction_prev else size
    return [images(batch, 10, *before, seed=3), images(batch, 9, height, width, seed=4)]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)], ids=str)
@pytest.mark.parametrize("reduction", [False, True], ids=["normal", "reduction"])
@pytest.mark.parametrize("op", sorted(DARTS.ops))
def test_every_operation(op, reduction, size, training, calls):
    """On both inputs, and on the node that they make."""
    layer = cell([op, "skip_connect", op, op], reduction, reduction)
    layer.train() if training else layer.eval()
    check(layer, states(size, reduction), 0.0, RandomSource())
    assert len(calls) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3)], ids=str)
@pytest.mark.parametrize("reduction", [False, True], ids=["normal", "reduction"])
def test_tiny_maps(size, reduction):
    ops = ["sep_conv_5x5", "max_pool_3x3", "conv_7x1_1x7", "avg_pool_3x3", "dil_conv_5x5", "skip_connect"]
    layer = cell(ops, reduction, True)
    for mode in (layer.train, layer.eval):
        mode()
        check(layer, states(size, True, batch=8), 0.0, RandomSource(), tolerance=1e-7)


@pytest.mark.parametrize("ops", [["none"] * 4, ["skip_connect", "none"] * 2, ["none", "sep_conv_3x3"] * 2], ids=str)
@pytest.mark.parametrize("drop", [0.0, 0.4])
@pytest.mark.parametrize("reduction", [False, True], ids=["normal", "reduction"])
def test_none(ops, drop, reduction):
    layer = cell(ops, reduction, False)
    layer.train()
    with kernels_disabled():
        expected = computed(layer, states((6, 5), False), drop, RandomSource(2))
    agree(computed(layer, states((6, 5), False), drop, RandomSource(2)), expected)


def test_an_input_that_no_edge_takes():
    """Its preprocessing has no gradient, but running statistics."""
    edges = (Edge("sep_conv_3x3", 1), Edge("skip_connect", 1))
    layer = shaken(EvaluationCell(DARTS, edges, (2,), 10, 9, 6, False, False))
    check(layer, states((6, 6), False), 0.0, RandomSource())


def test_drop_path(calls):
    """The same masks, drawn in the same order."""
    ops = ["sep_conv_3x3", "skip_connect", "max_pool_3x3", "none", "dil_conv_3x3", "avg_pool_3x3"]
    for reduction in (False, True):
        layer = cell(ops, reduction, False)
        layer.train()
        sources = [RandomSource(5), RandomSource(5)]
        with kernels_disabled():
            expected = computed(layer, states((6, 6), False), 0.5, sources[0])
        agree(computed(layer, states((6, 6), False), 0.5, sources[1]), expected)
        assert sources[0].state_dict() == sources[1].state_dict() != RandomSource(5).state_dict()
    assert len(calls) == 2


def test_running_statistics_may_be_held(calls):
    layer = cell(["sep_conv_3x3", "max_pool_3x3"], False, False)
    with running_statistics(False):
        check(layer, states((6, 6), False), 0.0, RandomSource())
    before = layer.state_dict()["preprocess0.op.2._mean"].numpy().copy()
    with running_statistics(False):
        layer(*states((6, 6), False), 0.0, RandomSource())
    np.testing.assert_array_equal(layer.state_dict()["preprocess0.op.2._mean"].numpy(), before)
    layer(*states((6, 6), False), 0.0, RandomSource())
    assert (layer.state_dict()["preprocess0.op.2._mean"].numpy() != before).all()
    assert len(calls) == 3


# ------------------------------------------------------------------------------------------ networks
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("stem, pixels", [("cifar", 13), ("cifar", 16), ("imagenet", 51), ("imagenet", 64)])
@pytest.mark.parametrize("name", ["DARTS_V2", "PC_DARTS_cifar", "AmoebaNet"])
def test_whole_networks(name, stem, pixels, training, calls):
    network = shaken(build_network(name, 5, 4, 3, stem=stem, auxiliary=True, drop_path_prob=0.3))
    network.train() if training else network.eval()
    results = []
    x = images(3, 3, pixels, pixels + 2)
    for off in (True, False):
        network.random = RandomSource(4)
        if off:
            with kernels_disabled():
                results.append(computed(network, [x]))
        else:
            results.append(computed(network, [x]))
    agree(results[1], results[0], 1e-8)
    assert ("output 1" in results[0]) == training
    assert len(calls) == (4 if stem == "cifar" else 5), "a stem or two, and three cells"


def test_modes_in_turn(calls):
    """Training, evaluation, with drop path and without: each call has the plan for it."""
    network = shaken(build_network("DARTS_V1", 5, 4, 2))
    x = images(2, 3, 9, 9)
    for training, drop in ((True, 0.0), (False, 0.0), (True, 0.3), (True, 0.0), (False, 0.3), (True, 0.3)):
        network.train() if training else network.eval()
        network.drop_path_prob = drop
        network.random = RandomSource(1)
        with kernels_disabled():
            expected = computed(network, [x])
        network.random = RandomSource(1)
        agree(computed(network, [x]), expected, 1e-8)
    assert len(calls) == 6 * 3 and len(set(map(id, calls))) == 2 + 2 * 3 - 1, "no plan is written twice"


# ------------------------------------------------------------------------------------------ the same network, later
@pytest.fixture
def network():
    """A small network after a step of training."""
    made = build_network("DARTS_V2", 5, 4, 2)
    made(images(2, 3, 9, 9, dtype="float32"))[0].sum().backward()
    made.clear_gradients()
    return made


def test_a_copy_is_a_network_of_its_own(network):
    x = images(2, 3, 9, 9, dtype="float32")
    other = copy.deepcopy(network)
    for p in trainable(other).values():
        p.set_value(p * 1.5)
    network.eval(), other.eval()
    assert (network(x)[0].numpy() != other(x)[0].numpy()).any()
    for one in (network, other):
        check(one, [x], tolerance=1e-4)


def test_loaded_weights_are_seen(network):
    x = images(2, 3, 9, 9, dtype="float32")
    other = build_network("DARTS_V2", 5, 4, 2)
    network.set_state_dict(other.state_dict())
    network.eval(), other.eval()
    np.testing.assert_array_equal(network(x)[0].numpy(), other(x)[0].numpy())
    network.train(), other.train()
    np.testing.assert_array_equal(network(x)[0].numpy(), other(x)[0].numpy())


def test_an_optimizer_step_is_seen(network):
    x = images(2, 3, 9, 9, dtype="float32")
    optimizer = paddle.optimizer.Momentum(0.1, parameters=list(trainable(network).values()))
    for _ in range(2):
        network(x)[0].sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    check(network, [x], tolerance=1e-3)


def test_another_precision_after_a_step(network):
    network.to(dtype="float64")
    check(network, [images(2, 3, 9, 9)], tolerance=1e-8)
    network.to(dtype="float32")
    logits = network(images(2, 3, 9, 9, dtype="float32"))[0]
    assert logits.dtype == paddle.float32 and np.isfinite(logits.numpy()).all()


def test_frozen_weights(network):
    """They have no gradient, the others keep theirs; whole layers, for Paddle's batch norm cannot keep half of one."""
    shaken(network)
    layers = [layer for layer in network.sublayers() if layer.parameters(include_sublayers=False)]
    for layer in layers[::3]:
        for p in trainable(layer).values():
            p.stop_gradient = True
    assert trainable(network)
    check(network, [images(2, 3, 9, 9)], tolerance=1e-8)


# ------------------------------------------------------------------------------------------ where the kernels cannot
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_other_types_are_not_for_the_kernels(dtype):
    x = paddle.ones([2, 3, 4, 4])
    assert fused.usable(x) and fused.usable(x.astype("float64"))
    assert not fused.usable(x.astype(dtype))


def test_one_value_per_channel_is_not_for_the_kernels(calls):
    layer = cell(["sep_conv_3x3", "skip_connect"], True, False)
    inputs = states((2, 2), False, batch=1)
    assert fused.usable(inputs[1]) and not fused.usable(inputs[1], 2)
    layer.train()
    found = layer(*inputs, 0.0, RandomSource())
    with kernels_disabled():
        np.testing.assert_array_equal(found.numpy(), layer(*inputs, 0.0, RandomSource()).numpy())
    assert not calls


def test_forms_that_are_not_for_the_kernels(calls):
    """The cell that has one is computed by operators, the others are not."""
    network = shaken(build_network("DARTS_V2", 5, 4, 3))
    network.cells[1].preprocess1.op[2]._momentum = 0.5
    check(network, [images(2, 3, 9, 9)], tolerance=1e-8)
    assert len(calls) == 3


def test_switched_off(network, calls):
    x = images(2, 3, 9, 9, dtype="float32")
    with kernels_disabled():
        network(x)
    assert not calls
    network(x)
    assert len(calls) == 3


@pytest.mark.filterwarnings("ignore:Dy2Static")
def test_a_static_graph_takes_paddles_operators(network, calls):
    network.eval()
    x = images(2, 3, 9, 9, dtype="float32").detach()
    expected = network(x)[0]
    del calls[:]
    static = paddle.jit.to_static(network, full_graph=True)
    np.testing.assert_allclose(static(x)[0].numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert not calls


def test_gradients_of_a_genotype_with_every_kernel_form():
    """Ten operations in one cell of five nodes."""
    ops = sorted(DARTS.ops)
    edges = [(op, k % 2) for k, op in enumerate(ops)]
    every = Genotype(edges, range(2, 7), edges, range(2, 7))
    assert {edge.op for edge in every.normal} == set(DARTS.ops)
    network = shaken(build_network(every, 5, 4, 2))
    check(network, [images(3, 3, 11, 11)], tolerance=1e-8)
