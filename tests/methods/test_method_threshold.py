"""FairDARTS' derivation and zero-one losses; the recorded ones of the official program are in tests/parity."""

import logging

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import PRIMITIVES
from paddle_darts.methods.parts.derivation import darts_genotype, limit_skips, node_rows
from paddle_darts.methods.parts.threshold import (
    PARSE_METHODS,
    parse_cell,
    threshold_edge,
    threshold_genotype,
    threshold_sparse,
    zero_one_loss,
)

OPS = PRIMITIVES[1:]
COLUMN = {name: k for k, name in enumerate(OPS)}


def table(rows, **entries):
    """Sigmoids [rows, ops] of 0.1; entries like ``r2_skip_connect=0.9`` set one value."""
    strengths = np.full((rows, len(OPS)), 0.1, dtype="float32")
    for key, value in entries.items():
        row, op = key[1:].split("_", 1)
        strengths[int(row), COLUMN[op]] = value
    return strengths


def random_table(seed, steps, levels):
    rows = node_rows(steps)[-1].stop
    values = np.random.default_rng(seed).integers(0, levels, (rows, len(OPS)))
    return (values / levels).astype("float32")


CELL = {
    "r0_skip_connect": 0.9,
    "r1_sep_conv_3x3": 0.95,
    "r2_dil_conv_3x3": 0.7,
    "r4_sep_conv_5x5": 0.99,
    "r4_max_pool_3x3": 0.86,
}


def test_the_three_rules_on_one_cell():
    strengths = table(5, **CELL)
    assert parse_cell(strengths, OPS, 2, "darts") == [
        ("sep_conv_3x3", 1),
        ("skip_connect", 0),
        ("sep_conv_5x5", 2),
        ("dil_conv_3x3", 0),
    ]
    assert parse_cell(strengths, OPS, 2) == [("sep_conv_3x3", 2, 1), ("skip_connect", 2, 0), ("sep_conv_5x5", 3, 2)]
    assert parse_cell(strengths, OPS, 2, "threshold_edge") == [
        ("skip_connect", 2, 0),
        ("sep_conv_3x3", 2, 1),
        ("max_pool_3x3", 3, 2),
        ("sep_conv_5x5", 3, 2),
    ]


def test_the_threshold_itself_is_reached():
    strengths = table(2, r0_skip_connect=0.7, r1_sep_conv_3x3=np.nextafter(np.float32(0.7), np.float32(0)))
    for rule in (threshold_sparse, threshold_edge):
        assert rule(strengths, OPS, 1, 0.7) == [("skip_connect", 2, 0)]


def test_sparse_cells_have_two_edges_per_node_though_more_reach_the_threshold():
    strengths = table(5, r2_skip_connect=0.9, r3_skip_connect=0.91, r4_skip_connect=0.92)
    assert threshold_sparse(strengths, OPS, 2) == [("skip_connect", 3, 2), ("skip_connect", 3, 1)]


def test_of_equal_operations_sparse_takes_the_first_and_edge_the_last_two():
    strengths = np.full((2, 7), 0.9, dtype="float32")
    assert threshold_sparse(strengths, OPS, 1) == [("max_pool_3x3", 2, 0), ("max_pool_3x3", 2, 1)]
    assert threshold_edge(strengths, OPS, 1) == [(op, 2, j) for j in (0, 1) for op in ("dil_conv_3x3", "dil_conv_5x5")]


def test_none_never_counts():
    strengths = np.full((2, 8), 0.9, dtype="float32")
    strengths[:, 0] = 1
    for method in PARSE_METHODS:
        assert "none" not in {edge[0] for edge in parse_cell(strengths, PRIMITIVES, 1, method)}
    assert threshold_edge(strengths[:, :2], PRIMITIVES[:2], 1, 0.5) == [("max_pool_3x3", 2, 0), ("max_pool_3x3", 2, 1)]


@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.integers(2, 30), st.floats(0.05, 1))
def test_what_threshold_cells_consist_of(steps, seed, levels, threshold):
    strengths = random_table(seed, steps, levels)
    rows = node_rows(steps)
    pairs = parse_cell(strengths, OPS, steps, "darts")
    reached = [
        (op, 2 + k // 2, source)
        for k, (op, source) in enumerate(pairs)
        if strengths[rows[k // 2][source], COLUMN[op]] >= np.float32(threshold)
    ]
    assert threshold_sparse(strengths, OPS, steps, threshold) == reached
    edges = threshold_edge(strengths, OPS, steps, threshold)
    assert [edge[1:] for edge in edges] == sorted(edge[1:] for edge in edges)
    for node, node_row in enumerate(rows):
        for source, row in enumerate(node_row):
            values = [strengths[row, COLUMN[op]] for op, *ends in edges if ends == [2 + node, source]]
            assert values == [v for v in sorted(strengths[row])[-2:] if v >= np.float32(threshold)]


def test_an_unknown_rule():
    with pytest.raises(ConfigError, match=r"'threshold'.*threshold_sparse"):
        parse_cell(table(2), OPS, 1, "threshold")


def test_genotypes_of_both_cells():
    strengths = {"normal": table(5, **CELL), "reduce": table(5, r0_sep_conv_5x5=0.9)}
    derived = threshold_genotype(strengths, OPS, 2, 2)
    assert [tuple(e) for e in derived.normal] == parse_cell(strengths["normal"], OPS, 2)
    assert [tuple(e) for e in derived.reduce] == [("sep_conv_5x5", 2, 0)]
    assert derived.normal_concat == derived.reduce_concat == (2, 3)
    assert threshold_genotype(strengths, OPS, 2, 1, "darts") == darts_genotype(strengths, OPS, 2, 1)
    assert len(threshold_genotype(strengths, OPS, 2, 2, "threshold_edge", threshold=0.05).normal) == 10


@pytest.mark.parametrize("kind, name", [("normal", "normal"), ("reduce", "reduction")])
def test_an_empty_cell_is_an_error_that_says_what_to_do(kind, name):
    strengths = {"normal": table(5, **CELL), "reduce": table(5, **CELL)} | {kind: table(5)}
    expected = rf"no operation reaches the threshold 0\.85 in the {name} cell \(highest: 0\.1\); lower it"
    with pytest.raises(GenotypeError, match=expected):
        threshold_genotype(strengths, OPS, 2, 2)


def test_a_cell_that_its_inputs_do_not_reach_is_an_error_too():
    strengths = {"normal": table(5, r4_skip_connect=0.9), "reduce": table(5, **CELL)}
    assert parse_cell(strengths["normal"], OPS, 2) == [("skip_connect", 3, 2)]
    with pytest.raises(GenotypeError, match=r"edge from the inputs reaches the threshold 0\.85 in the normal cell"):
        threshold_genotype(strengths, OPS, 2, 2)


def test_only_the_empty_cell_falls_back_to_the_rule_of_darts(caplog):
    strengths = {"normal": table(5, r0_skip_connect=0.3, r4_sep_conv_3x3=0.2), "reduce": table(5, **CELL)}
    with caplog.at_level(logging.WARNING, logger="paddle_darts"):
        derived = threshold_genotype(strengths, OPS, 2, 2, fallback="darts")
    pairs = darts_genotype(strengths, OPS, 2, 2).normal
    assert [(e.op, e.source) for e in derived.normal] == [tuple(pair) for pair in pairs]
    assert [e.target for e in derived.normal] == [2, 2, 3, 3]
    assert derived.reduce == threshold_genotype(dict.fromkeys(strengths, table(5, **CELL)), OPS, 2, 2).reduce
    assert len(caplog.records) == 1 and "normal cell" in caplog.text


def test_an_unknown_fallback():
    with pytest.raises(ConfigError, match=r"unknown fallback 'dart'.*'darts'"):
        threshold_genotype({"normal": table(2), "reduce": table(2)}, OPS, 1, 1, fallback="dart")


def test_skips_of_cells_by_threshold_can_be_limited():
    strengths = {"normal": table(5, r1_skip_connect=0.97, **CELL), "reduce": table(5, **CELL)}
    strengths["normal"][2, COLUMN["skip_connect"]] = 0.87

    def derive(tables):
        return threshold_genotype(tables, OPS, 2, 2)

    assert derive(strengths).count("skip_connect", "normal") == 3
    assert [tuple(e) for e in limit_skips(derive, strengths, 1, OPS).normal] == [
        ("skip_connect", 2, 1),
        ("sep_conv_5x5", 3, 2),
    ]


def alphas_of(*values):
    tensors = [paddle.to_tensor(np.array(v, dtype="float64")) for v in values]
    for tensor in tensors:
        tensor.stop_gradient = False
    return tensors


@pytest.mark.parametrize("form, lowest", [("l1", -0.5), ("l2", -0.25)])
def test_the_losses_are_zero_when_undecided_and_lowest_when_decided(form, lowest):
    undecided = alphas_of([[0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    loss = zero_one_loss(undecided, form)
    assert loss.shape == [] and float(loss) == 0
    for gradient in paddle.grad(loss, undecided):
        assert (gradient.numpy() == 0).all()
    assert float(zero_one_loss(alphas_of([[60.0, -60.0]], [[-60.0]]), form)) == pytest.approx(lowest)


@pytest.mark.parametrize("form", ["l1", "l2"])
def test_the_gradients_push_away_from_one_half(form):
    alphas = alphas_of([[0.5, -1.0]], [[2.0, 0.0], [-0.1, 3.0]])
    gradients = [g.numpy() for g in paddle.grad(zero_one_loss(alphas, form), alphas)]
    for alpha, gradient in zip(alphas, gradients, strict=True):
        s = 1 / (1 + np.exp(-alpha.numpy()))
        slope = np.sign(s - 0.5) if form == "l1" else 2 * (s - 0.5)
        np.testing.assert_allclose(gradient, -slope * s * (1 - s) / 6, atol=1e-15)


def test_the_mean_is_over_all_entries_not_over_tensors():
    one, many = [[3.0]], np.zeros((5, 3))
    assert float(zero_one_loss(alphas_of(one, many))) == pytest.approx(float(zero_one_loss(alphas_of(one))) / 16)


def test_an_unknown_form():
    with pytest.raises(ConfigError, match=r"unknown zero-one loss 'l3'.*l1, l2"):
        zero_one_loss(alphas_of([[0.0]]), "l3")
