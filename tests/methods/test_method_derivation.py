"""From probabilities to a genotype; the recorded derivations of the official programs are in tests/parity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import PRIMITIVES, Edge, Link
from paddle_darts.methods.parts.derivation import (
    darts_genotype,
    edge_row,
    fewer_skips,
    genotypes_by_skip_limit,
    limit_skips,
    node_rows,
    top_two_per_node,
)

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


def test_rows_of_nodes_and_edges():
    assert node_rows(3) == [range(2), range(2, 5), range(5, 9)]
    for node, rows in enumerate(node_rows(4)):
        assert [edge_row(Link("none", source, node + 2)) for source in range(node + 2)] == list(rows)


def test_none_counts_only_when_told():
    strengths = table(2, r0_none=0.9, r1_sep_conv_3x3=0.5)
    assert top_two_per_node(strengths, PRIMITIVES, 1, none_counts=True) == [Edge("none", 0), Edge("sep_conv_3x3", 1)]


def derive(strengths, steps=2):
    return darts_genotype(strengths, PRIMITIVES, steps, steps)


def cells(normal, reduce=None):
    return {"normal": normal, "reduce": table(len(normal)) if reduce is None else reduce}


def limited(strengths, limit):
    return limit_skips(derive, strengths, limit, PRIMITIVES)


THREE_SKIPS = {"r0_skip_connect": 0.5, "r2_skip_connect": 0.3, "r3_skip_connect": 0.4, "r1_sep_conv_3x3": 0.6}


def test_a_genotype_within_the_limit_is_returned_as_it_is():
    strengths = cells(table(5, **THREE_SKIPS))
    assert limited(strengths, 3) == limited(strengths, 8) == derive(strengths)


def test_the_weakest_skip_falls_back_to_the_next_best_operation():
    strengths = cells(table(5, r2_dil_conv_5x5=0.2, **THREE_SKIPS))
    assert limited(strengths, 2).normal == (
        Edge("sep_conv_3x3", 1),
        Edge("skip_connect", 0),
        Edge("skip_connect", 1),
        Edge("dil_conv_5x5", 0),
    )


def test_an_edge_without_its_skip_may_lose_its_place():
    strengths = cells(table(5, r4_sep_conv_5x5=0.2, **THREE_SKIPS))
    assert limited(strengths, 2).normal[2:] == (Edge("skip_connect", 1), Edge("sep_conv_5x5", 2))


def test_the_edge_that_moves_up_may_be_a_skip_itself():
    strengths = cells(table(5, r4_skip_connect=0.2, **THREE_SKIPS))
    genotypes = list(fewer_skips(derive, strengths, PRIMITIVES))
    assert [g.count("skip_connect", "normal") for g in genotypes] == [3, 3, 2, 1, 0]
    assert genotypes[1].normal[2:] == (Edge("skip_connect", 1), Edge("skip_connect", 2))
    assert genotypes[2].normal[2:] == (Edge("skip_connect", 1), Edge("max_pool_3x3", 0))
    assert limited(strengths, 2) == genotypes[2]


def test_of_equal_skips_the_first_row_goes():
    strengths = cells(table(2, r0_skip_connect=0.5, r1_skip_connect=0.5))
    assert limit_skips(lambda s: derive(s, 1), strengths, 1, PRIMITIVES).normal == (
        Edge("skip_connect", 1),
        Edge("max_pool_3x3", 0),
    )


def test_only_the_normal_cell_is_limited_and_the_strengths_stay():
    full = table(5, **THREE_SKIPS)
    strengths = cells(full.copy(), full.copy())
    found = limited(strengths, 0)
    assert found.count("skip_connect", "normal") == 0 and found.count("skip_connect", "reduce") == 3
    np.testing.assert_array_equal(strengths["normal"], full)
    np.testing.assert_array_equal(strengths["reduce"], full)


def only_skips(strengths):
    """Derives from a space in which skips are all there is."""
    return darts_genotype({k: t[:, [3]] for k, t in strengths.items()}, ("skip_connect",), 1, 1)


def test_a_limit_that_cannot_be_kept():
    with pytest.raises(GenotypeError, match=r"cannot keep to 1 skip.*strength 0"):
        limit_skips(only_skips, cells(table(2)), 1, PRIMITIVES)
    assert set(genotypes_by_skip_limit(only_skips, cells(table(2)), (1, 3, 2), PRIMITIVES)) == {3, 2}


def test_a_skip_without_strength_does_not_hide_one_that_can_go():
    strengths = cells(table(2, r1_skip_connect=0.5))
    strengths["normal"][0] = 0

    def derived(tables):  # the first edge is a skip whatever its strength
        second = top_two_per_node(tables["normal"][[1, 1]], PRIMITIVES, 1)[0].op
        return derive(cells(table(2, r0_skip_connect=0.9, **{f"r1_{second}": 0.8})), 1)

    assert derived(strengths).count("skip_connect", "normal") == 2
    assert limit_skips(derived, strengths, 1, PRIMITIVES).normal[1] == Edge("max_pool_3x3", 1)


def test_a_negative_limit_is_refused():
    with pytest.raises(ConfigError, match="0 or more, got -1"):
        limited(cells(table(5)), -1)


def test_a_space_without_skips_has_nothing_to_limit():
    strengths = {kind: np.array([[0.9, 0.1], [0.2, 0.8]], dtype="float32") for kind in ("normal", "reduce")}
    primitives = ("max_pool_3x3", "sep_conv_3x3")
    found = limit_skips(lambda s: darts_genotype(s, primitives, 1, 1), strengths, 0, primitives)
    assert found.normal == (Edge("max_pool_3x3", 0), Edge("sep_conv_3x3", 1))


@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.integers(2, 30))
def test_every_limit_can_be_kept_when_all_operations_have_strength(steps, seed, levels):
    """Without any skip the cell is the one that is derived when skips have no strength from the start."""
    rows = node_rows(steps)[-1].stop
    values = np.random.default_rng(seed).integers(1, levels, (rows, 8))
    values[:, COLUMN["skip_connect"]] += levels // 2
    strengths = cells((values / np.float32(levels)).astype("float32"))
    found = genotypes_by_skip_limit(lambda s: derive(s, steps), strengths, range(2 * steps + 1), PRIMITIVES)
    assert list(found) == list(range(2 * steps, -1, -1))
    for limit, genotype in found.items():
        assert genotype.count("skip_connect", "normal") <= limit
        assert genotype == limit_skips(lambda s: derive(s, steps), strengths, limit, PRIMITIVES)
        assert genotype.reduce == derive(strengths, steps).reduce
    bare = {kind: t.copy() for kind, t in strengths.items()}
    bare["normal"][:, COLUMN["skip_connect"]] = 0
    assert found[0] == derive(bare, steps)
