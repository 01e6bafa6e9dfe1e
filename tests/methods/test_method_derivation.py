"""From probabilities to a genotype; the recorded derivations of the official programs are in tests/parity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.genotypes import PRIMITIVES, Edge
from paddle_darts.methods.derivation import darts_genotype, top_two_per_node

COLUMN = {name: k for k, name in enumerate(PRIMITIVES)}


def table(rows, **entries):
    """Strengths [rows, ops] of 0.01; entries like ``r2_skip_connect=0.5`` set one value."""
    strengths = np.full((rows, len(PRIMITIVES)), 0.01, dtype="float32")
    for key, value in entries.items():
        row, op = key[1:].split("_", 1)
        strengths[int(row), COLUMN[op]] = value
    return strengths


def test_all_equal_takes_the_first_sources_and_the_first_operation():
    assert top_two_per_node(table(9), PRIMITIVES, 3) == [Edge("max_pool_3x3", 0), Edge("max_pool_3x3", 1)] * 3


def test_by_decreasing_strength():
    strengths = table(5, r0_skip_connect=0.2, r1_sep_conv_3x3=0.3, r2_dil_conv_3x3=0.4, r4_dil_conv_5x5=0.5)
    assert top_two_per_node(strengths, PRIMITIVES, 2) == [
        Edge("sep_conv_3x3", 1),
        Edge("skip_connect", 0),
        Edge("dil_conv_5x5", 2),
        Edge("dil_conv_3x3", 0),
    ]


def test_ties_between_edges_go_to_the_smaller_source():
    strengths = table(5, r2_sep_conv_3x3=0.3, r3_skip_connect=0.3, r4_dil_conv_3x3=0.3)
    assert top_two_per_node(strengths, PRIMITIVES, 2)[2:] == [Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)]


def test_ties_between_operations_go_to_the_smaller_column():
    strengths = table(2, r0_dil_conv_5x5=0.3, r0_skip_connect=0.3, r1_avg_pool_3x3=0.2, r1_sep_conv_5x5=0.2)
    assert top_two_per_node(strengths, PRIMITIVES, 1) == [Edge("skip_connect", 0), Edge("avg_pool_3x3", 1)]


def test_none_never_counts_however_strong():
    strengths = table(5, r2_none=0.9, r2_skip_connect=0.02, r3_sep_conv_3x3=0.03, r4_sep_conv_3x3=0.04)
    edges = top_two_per_node(strengths, PRIMITIVES, 2)
    assert edges[2:] == [Edge("sep_conv_3x3", 2), Edge("sep_conv_3x3", 1)]
    assert "none" not in {edge.op for edge in edges}


def test_only_none_above_zero_still_gives_operations():
    strengths = np.zeros((2, 8), dtype="float32")
    strengths[:, 0] = 1
    assert top_two_per_node(strengths, PRIMITIVES, 1) == [Edge("max_pool_3x3", 0), Edge("max_pool_3x3", 1)]


def test_a_space_without_none():
    strengths = np.array([[0.9, 0.1], [0.2, 0.8]], dtype="float32")
    chosen = top_two_per_node(strengths, ("skip_connect", "sep_conv_3x3"), 1)
    assert chosen == [Edge("skip_connect", 0), Edge("sep_conv_3x3", 1)]


def test_strengths_are_not_changed():
    strengths = table(2, r0_none=0.9)
    before = strengths.copy()
    top_two_per_node(strengths, PRIMITIVES, 1)
    np.testing.assert_array_equal(strengths, before)


@pytest.mark.parametrize(
    "steps, multiplier, concat", [(3, 2, (3, 4)), (4, 4, (2, 3, 4, 5)), (1, 1, (2,)), (3, 3, (2, 3, 4))]
)
def test_the_last_nodes_are_joined(steps, multiplier, concat):
    rows = sum(range(2, steps + 2))
    normal, reduce = table(rows), table(rows, r0_skip_connect=0.5)
    found = darts_genotype({"normal": normal, "reduce": reduce}, PRIMITIVES, steps, multiplier)
    assert found.normal_concat == found.reduce_concat == concat
    assert len(found.normal) == len(found.reduce) == 2 * steps
    assert found.normal[0].op == "max_pool_3x3" and found.reduce[0].op == "skip_connect"


@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_two_different_and_strongest_sources_per_node(steps, seed, levels):
    """Few levels make many ties."""
    rows = sum(range(2, steps + 2))
    values = np.random.default_rng(seed).integers(1, levels, (rows, 8))
    strengths = (values / np.float32(levels)).astype("float32")
    edges = top_two_per_node(strengths, PRIMITIVES, steps)
    start = 0
    for node in range(steps):
        candidates = strengths[start : start + node + 2, 1:]
        pair = edges[2 * node : 2 * node + 2]
        assert pair[0].source != pair[1].source
        got = [strengths[start + edge.source, COLUMN[edge.op]] for edge in pair]
        assert got == sorted(candidates.max(axis=1), reverse=True)[:2]
        for edge in pair:
            assert COLUMN[edge.op] == 1 + candidates[edge.source].argmax()
        start += node + 2
