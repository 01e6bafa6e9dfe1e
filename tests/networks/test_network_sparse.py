"""Cells whose nodes have any number of inputs, and norms behind pools: names, values, drop path, kernels."""

import copy

import numpy as np
import paddle
import pytest
from counting_masks import Counting

from paddle_darts.genotypes import Genotype, NetworkOptions, TargetEdge, genotype
from paddle_darts.kernels.library import kernels_disabled, library
from paddle_darts.networks import build_network, fused
from paddle_darts.networks.evaluation_cells import EvaluationCell, SparseEvaluationCell
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import BatchNorm, trainable
from paddle_darts.spaces import DARTS

EDGES = (
    TargetEdge("sep_conv_3x3", 2, 0),
    TargetEdge("skip_connect", 2, 0),
    TargetEdge("max_pool_3x3", 2, 1),
    TargetEdge("dil_conv_3x3", 4, 3),  # nothing computes state 3, so there is no state 4
    TargetEdge("sep_conv_5x5", 6, 4),  # and this edge is in vain
    TargetEdge("skip_connect", 6, 1),
    TargetEdge("avg_pool_3x3", 5, 2),
    TargetEdge("dil_conv_5x5", 5, 6),
)
OTHERS = ["avg_pool_3x3", "skip_connect", "max_pool_3x3"]


@pytest.fixture(autouse=True)
def seeded():
    paddle.seed(0)


def images(*shape, seed=0, dtype="float64"):
    return paddle.to_tensor(np.random.default_rng(seed).normal(size=shape), dtype, stop_gradient=False)


def shaken(layer):
    """In double precision, with statistics and scales that are no round numbers."""
    layer.to(dtype="float64")
    rng = np.random.default_rng(1)
    for norm in (part for part in layer.sublayers() if isinstance(part, BatchNorm)):
        norm._mean.set_value(rng.normal(size=norm._mean.shape))
        norm._variance.set_value(rng.uniform(0.5, 2.0, norm._variance.shape))
        if norm.weight is not None:
            # not near zero: a norm behind a pool would only see the epsilon of what is left
            norm.weight.set_value(rng.uniform(0.5, 1.5, norm.weight.shape))
            norm.bias.set_value(rng.normal(size=norm.bias.shape))
    return layer


def cell(edges=EDGES, reduction=False, reduction_prev=False, pool_bn=False):
    return shaken(SparseEvaluationCell(DARTS, edges, 5, 7, 4, reduction, reduction_prev, pool_bn))


def states(reduction_prev=False, size=6, batch=3):
    before = 2 * size if reduction_prev else size
    return images(batch, 5, before, before, seed=3), images(batch, 7, size, size, seed=4)


def by_definition(layer, s0, s1, reduction, masks=None, keep=1.0):
    """The cell of EDGES written out."""
    ops = layer._ops
    p0, p1 = layer.preprocess0(s0), layer.preprocess1(s1)
    m = [1.0] * 3 if masks is None else [paddle.to_tensor(m.reshape(-1, 1, 1, 1)) / keep for m in masks]
    n2 = m[0] * (ops["2"]["0"][0](p0) + ops["2"]["0"][1](p0) + ops["2"]["1"][0](p1))
    n6 = m[1] * ops["6"]["1"][0](p1)
    n5 = m[2] * (ops["5"]["2"][0](n2) + ops["5"]["6"][0](n6))
    return paddle.concat([n2, n6, n5], axis=1)


@pytest.mark.parametrize("reduction", [False, True], ids=["normal", "reduction"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_a_cell_is_its_definition(reduction, training):
    layer = cell(reduction=reduction, reduction_prev=True)
    layer.train() if training else layer.eval()
    s0, s1 = states(True)
    expected = by_definition(copy.deepcopy(layer), s0, s1, reduction).numpy()
    assert layer.out_channels == 12 == expected.shape[1]
    assert expected.shape[2] == (3 if reduction else 6)
    for off in (True, False):
        fresh = copy.deepcopy(layer)
        if off:
            with kernels_disabled():
                y = fresh(s0, s1, 0.0, RandomSource())
        else:
            y = fresh(s0, s1, 0.0, RandomSource())
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_parameter_names_are_target_source_and_number():
    layer = cell()
    parts = {name.split(".op.")[0] for name in layer.state_dict() if name.startswith("_ops.")}
    assert parts == {"_ops.2.0.0", "_ops.4.3.0", "_ops.6.4.0", "_ops.5.6.0"}
    assert isinstance(layer._ops["2"]["0"][1], paddle.nn.Identity)
    two = cell((TargetEdge("dil_conv_3x3", 2, 0), TargetEdge("sep_conv_3x3", 2, 0)))
    assert {name.split(".op.")[0] for name in two.state_dict() if name.startswith("_ops.")} == {
        "_ops.2.0.0",
        "_ops.2.0.1",
    }


def test_layers_of_edges_in_vain_are_kept_and_unused():
    layer = cell()
    layer.train()
    y = layer(*states(), 0.0, RandomSource())
    weights = trainable(layer)
    found = paddle.grad((y * y).sum(), list(weights.values()), allow_unused=True)
    unused = {name for name, gradient in zip(weights, found, strict=True) if gradient is None}
    assert unused == {name for name in weights if name.startswith(("_ops.4.3.0.", "_ops.6.4.0."))} != set()


@pytest.mark.parametrize("kernels", [True, False])
def test_drop_path_scales_the_sum_of_every_node(kernels):
    layer = cell()
    layer.train()
    s0, s1 = states()
    source = Counting()
    if kernels:
        y = copy.deepcopy(layer)(s0, s1, 0.2, source)
    else:
        with kernels_disabled():
            y = copy.deepcopy(layer)(s0, s1, 0.2, source)
    assert len(source.masks) == 3  # also for state 6, a lone identity; none for what is not computed
    expected = by_definition(layer, s0, s1, False, source.masks, 0.8)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-9, atol=1e-9)
    assert (y.numpy()[0, 4:8] == 0).all() and (y.numpy()[1, 4:8] != 0).any()


def computed(layer, inputs, *args):
    """Output, gradients of inputs and parameters, running statistics after a step, of a copy of the layer."""
    layer = copy.deepcopy(layer)
    inputs = [x.detach() for x in inputs]
    for x in inputs:
        x.stop_gradient = False
    outputs = layer(*inputs, *args)
    outputs = [y for y in (outputs if isinstance(outputs, tuple) else (outputs,)) if y is not None]
    found = {f"output {i}": y for i, y in enumerate(outputs)}
    loss = sum((y * images(*y.shape, seed=9).detach()).sum() for y in outputs)
    sources = {f"input {i}": x for i, x in enumerate(inputs)} | trainable(layer)
    found |= zip(sources, paddle.grad(loss, list(sources.values()), allow_unused=True), strict=True)
    found |= {f"after {name}": t for name, t in layer.state_dict().items()}
    return {name: None if t is None else t.numpy() for name, t in found.items()}


def kernels_agree(layer, inputs, *args, tolerance=1e-7):
    def drawn():
        return [RandomSource(5) if isinstance(a, RandomSource) else a for a in args]

    with kernels_disabled():
        expected = computed(layer, inputs, *drawn())
    for name, value in computed(layer, inputs, *drawn()).items():
        want = expected[name]
        if want is None or value is None:  # no gradient, or zeros
            assert all(v is None or not v.any() for v in (want, value)), name
        else:
            assert np.abs(value - want).max() <= tolerance * max(np.abs(want).max(), 0.1), name


@pytest.fixture
def calls(monkeypatch):
    """The plans that were run by the kernels."""
    seen, real = [], fused.run_plan
    monkeypatch.setattr(
        fused, "run_plan", lambda plan, *args, **more: (seen.append(plan), real(plan, *args, **more))[1]
    )
    return seen


needs_kernels = pytest.mark.skipif(library() is None, reason="there are no kernels on this machine")


@needs_kernels
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("pool_bn", [False, True])
@pytest.mark.parametrize("drop", [0.0, 0.4])
@pytest.mark.parametrize("reduction", [False, True], ids=["normal", "reduction"])
def test_cells_by_kernels(reduction, drop, pool_bn, training, calls):
    layer = cell(reduction=reduction, reduction_prev=True, pool_bn=pool_bn)
    layer.train() if training else layer.eval()
    kernels_agree(layer, states(True, 10), drop, RandomSource())
    assert len(calls) == 1


@needs_kernels
@pytest.mark.parametrize("op", sorted(DARTS.ops))
def test_every_operation_between_the_same_states(op, calls):
    edges = tuple(TargetEdge(one, *ends) for ends in ((2, 0), (2, 1), (3, 2)) for one in (op, *OTHERS, op))
    for reduction in (False, True):
        layer = cell(edges, reduction)
        kernels_agree(layer, states(size=10), 0.3, RandomSource())
    assert len(calls) == 2


@needs_kernels
@pytest.mark.parametrize("stem, pixels", [("cifar", 13), ("imagenet", 51)])
@pytest.mark.parametrize("name", ["FairDARTS_c", "DCO_EDGE_BS_64", "DrNAS_cifar10"])
def test_networks_by_kernels(name, stem, pixels, calls):
    network = shaken(build_network(name, 5, 4, 3, stem=stem, auxiliary=True, drop_path_prob=0.3))
    for mode in (network.train, network.eval):
        mode()
        kernels_agree(network, [images(3, 3, pixels, pixels + 2)])
    assert len(calls) == 2 * (4 if stem == "cifar" else 5), "a stem or two, and three cells"


def test_nodes_of_none():
    edges = (TargetEdge("none", 2, 0), TargetEdge("none", 3, 2), TargetEdge("skip_connect", 3, 1))
    layer = cell(edges)
    y = layer(*states(), 0.0, RandomSource())
    assert (y[:, :4].numpy() == 0).all() and (y[:, 4:].numpy() != 0).any()


def test_the_edges_decide_which_cells_are_built():
    pairs, triples = build_network("DARTS_V2", 3, 4, 3), build_network("FairDARTS_a", 3, 4, 3)
    assert {type(c) for c in pairs.cells} == {EvaluationCell}
    assert {type(c) for c in triples.cells} == {SparseEvaluationCell}
    assert [c.out_channels for c in triples.cells] == [3 * 4, 4 * 8, 4 * 16]
    assert triples.classifier.weight.shape == [64, 3]


def test_the_same_cell_in_both_notations():
    arch = genotype("DARTS_V2")
    triples = {k: [(e.op, e.target, e.source) for e in arch.links(k)] for k in ("normal", "reduce")}
    sparse = Genotype(triples["normal"], range(2, 6), triples["reduce"], range(2, 6))
    one, other = (shaken(build_network(a, 5, 4, 3)) for a in (arch, sparse))
    for mine, yours in zip(one.parameters(), other.parameters(), strict=True):
        yours.set_value(mine)
    for mine, yours in zip(one.buffers(), other.buffers(), strict=True):
        yours.set_value(mine)
    x = images(2, 3, 12, 12)
    one.eval(), other.eval()
    np.testing.assert_allclose(other(x)[0].numpy(), one(x)[0].numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:Dy2Static")
def test_a_static_graph_of_sparse_cells():
    network = build_network("FairDARTS_c", 5, 4, 2)
    network.eval()
    x = images(2, 3, 9, 9, dtype="float32").detach()
    expected = network(x)[0]
    static = paddle.jit.to_static(network, full_graph=True)
    np.testing.assert_allclose(static(x)[0].numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------ norms behind pools
def test_norms_behind_pools_have_no_parameters():
    arch = genotype("DrNAS_cifar10")
    assert arch.network == NetworkOptions(pool_bn=True)
    plain = Genotype(arch.normal, arch.normal_concat, arch.reduce, arch.reduce_concat)
    network, without = build_network(arch, 5, 4, 3), build_network(plain, 5, 4, 3)
    more = set(network.state_dict()) - set(without.state_dict())
    assert more == {f"cells.{i}._ops.0.op.1.{n}" for i in (1, 2) for n in ("_mean", "_variance")}
    assert set(trainable(network)) == set(trainable(without))


@pytest.mark.parametrize("op", ["max_pool_3x3", "avg_pool_3x3"])
def test_a_pool_with_norm_gives_normalised_maps(op):
    edges = (TargetEdge(op, 2, 0), TargetEdge(op, 3, 1))
    layer = SparseEvaluationCell(DARTS, edges, 5, 7, 4, False, False, pool_bn=True).to(dtype="float64")
    layer.train()
    y = layer(*states(size=8), 0.0, RandomSource()).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), np.zeros(8), atol=1e-9)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), np.ones(8), atol=1e-3)


def test_cells_with_none_are_built_with_a_warning(caplog):
    build_network("PDARTS_CARD_SEED3", 3, 4, 3)
    assert [r.levelname for r in caplog.records] == ["WARNING"] * 2
    assert "7 of the 8 edges of the normal cell" in caplog.text and "1 of the 8 edges of the reduce" in caplog.text
    caplog.clear()
    build_network("FairDARTS_c", 3, 4, 3)
    assert not caplog.records
