"""The DARTS space: which operations there are, what they make of a map, where cells reduce."""

import numpy as np
import paddle
import pytest
from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import EVAL_ONLY_OPS, PRIMITIVES
from paddle_darts.nn.blocks import FactorizedReduce, Zero
from paddle_darts.nn.layers import trainable
from paddle_darts.spaces import DARTS, SPACES, get_space, list_spaces
from paddle_darts.spaces.darts import OPS, cell_kinds, edge_stride, reduction_positions


@pytest.fixture(autouse=True)
def seeded():
    paddle.seed(0)


def test_registry():
    assert list_spaces() == sorted(SPACES) and "darts" in list_spaces()
    assert get_space("darts") is DARTS
    with pytest.raises(ConfigError, match="unknown search space 'dart'; did you mean 'darts'"):
        get_space("dart")


@pytest.mark.parametrize("name", list_spaces())
def test_every_candidate_can_be_built(name):
    space = get_space(name)
    assert space.name == name
    assert set(space.primitives) <= set(space.ops)
    assert len(set(space.primitives)) == len(space.primitives)


def test_candidates_and_evaluation_operations():
    assert DARTS.primitives == PRIMITIVES
    assert set(OPS) == set(PRIMITIVES) | set(EVAL_ONLY_OPS)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("op", OPS)
def test_operation_sizes_and_gradients(op, stride):
    for height, width in ((1, 1), (3, 4), (7, 8), (8, 8)):
        layer = DARTS.build(op, 4, stride, True)
        x = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 4, height, width)).astype("float32"))
        x.stop_gradient = False
        y = layer(x)
        assert y.shape == [2, 4, -(-height // stride), -(-width // stride)], (height, width)
        assert np.isfinite(y.numpy()).all()
        weights = list(trainable(layer).values())
        if op == "none":
            assert (y.numpy() == 0).all() and not weights
            continue
        found = paddle.grad((y * y).sum(), [x, *weights], allow_unused=True)
        assert all(g is not None and np.isfinite(g.numpy()).all() for g in found)


def test_skips_and_zeros():
    assert isinstance(DARTS.build("skip_connect", 4, 1, True), nn.Identity)
    assert isinstance(DARTS.build("skip_connect", 4, 2, True), FactorizedReduce)
    assert isinstance(DARTS.build("none", 4, 1, True), Zero)


@pytest.mark.parametrize("op", OPS)
def test_affine_is_passed_on(op):
    for stride in (1, 2):
        with_scale, without = (len(trainable(DARTS.build(op, 4, stride, affine))) for affine in (True, False))
        has_norm = any("Norm" in type(layer).__name__ for layer in DARTS.build(op, 4, stride, True).sublayers())
        assert (with_scale > without) == has_norm
    assert has_norm == (op not in ("none", "max_pool_3x3", "avg_pool_3x3"))


def test_unknown_operation():
    with pytest.raises(ConfigError, match="unknown operation 'sep_conv_4x4'; did you mean 'sep_conv_"):
        DARTS.build("sep_conv_4x4", 4, 1, True)


def test_edges_node_by_node():
    edges = DARTS.edges(4)
    assert len(edges) == 14 and edges[:5] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)] and edges[-1] == (3, 4)
    for node, offset in enumerate((0, 2, 5, 9)):
        assert edges.index((node, 0)) == offset
    assert [len(DARTS.edges(steps)) for steps in (1, 2, 3, 5)] == [2, 5, 9, 20]


@pytest.mark.parametrize(
    "layers, positions",
    [
        (1, (0,)),
        (2, (0, 1)),
        (3, (1, 2)),
        (4, (1, 2)),
        (5, (1, 3)),
        (8, (2, 5)),
        (11, (3, 7)),
        (14, (4, 9)),
        (17, (5, 11)),
        (20, (6, 13)),
    ],
)
def test_reductions_at_one_and_two_thirds(layers, positions):
    assert reduction_positions(layers) == positions


def test_only_inputs_of_reduction_cells_are_strided():
    assert [edge_stride(True, source) for source in range(4)] == [2, 2, 1, 1]
    assert [edge_stride(False, source) for source in range(4)] == [1, 1, 1, 1]


def test_given_reductions_replace_the_rule_and_must_fit():
    assert cell_kinds(4) == ("normal", "reduce", "reduce", "normal")
    assert cell_kinds(4, (3,)) == ("normal", "normal", "normal", "reduce")
    with pytest.raises(ConfigError, match="among the cells 0 to 3"):
        cell_kinds(4, (2, 13))
