"""Cells of the NAS-Bench-201 space from tables of strengths: the strongest operation of every edge, `none` included."""

import logging
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import Link, NasBench201Genotype
from paddle_darts.genotypes.nas_bench_201 import EDGES, OPS
from paddle_darts.methods.parts.derivation import (
    best_on_every_edge,
    edge_row,
    fewer_skips,
    genotype_of,
    genotypes_by_skip_limit,
    limit_skips,
)
from paddle_darts.methods.parts.progressive import derivation, restricted_genotypes
from paddle_darts.methods.parts.threshold import PARSE_METHODS, threshold_cell
from paddle_darts.networks import SupernetSpec

SPEC = SupernetSpec(space="nas_bench_201", layers=5)
NONE, SKIP, CONV1, CONV3, POOL = range(5)
seeds = st.integers(0, 2**32 - 1)


def table(*rows, ops=OPS):
    """Strengths [6, ops] of 0.1; every row is a mapping of operations to other values."""
    strengths = np.full((6, len(ops)), 0.1, dtype="float32")
    for row, entries in enumerate(rows):
        for op, value in entries.items():
            strengths[row, ops.index(op)] = value
    return {"cell": strengths}


def random_table(seed, levels, ops=5):
    """Few levels make many ties."""
    values = np.random.default_rng(seed).integers(1, levels, (6, ops))
    return {"cell": (values / np.float32(levels)).astype("float32")}


def ops_of(text):
    """A cell by one letter per edge: n, s, 1, 3, a."""
    return tuple(dict(zip("ns13a", OPS, strict=True))[letter] for letter in text)


# ------------------------------------------------------------------------------------------- the strongest operations
@given(seeds, st.integers(2, 40))
def test_every_edge_has_its_strongest_operation_and_none_counts(seed, levels):
    strengths = random_table(seed, levels)
    found = best_on_every_edge(strengths, OPS)
    assert isinstance(found, NasBench201Genotype) and found == genotype_of(strengths, SPEC)
    for row, link in enumerate(found.links()):
        values = strengths["cell"][row]
        assert (link.target, link.source) == EDGES[row]
        assert OPS.index(link.op) == min(np.flatnonzero(values == values.max())), "of equals the smaller column"


def test_all_equal_is_a_cell_of_none():
    assert best_on_every_edge(table(), OPS).ops == ("none",) * 6


def test_columns_are_those_of_the_operations_that_there_are():
    ops = ("avg_pool_3x3", "nor_conv_3x3")
    found = best_on_every_edge(table({"nor_conv_3x3": 0.9}, ops=ops), ops)
    assert found.ops == ("nor_conv_3x3", *["avg_pool_3x3"] * 5)


def test_rows_of_the_edges_of_a_cell_with_one_input():
    assert [edge_row(Link("none", source, target), inputs=1) for target, source in EDGES] == list(range(6))


# ------------------------------------------------------------------------------------------- fewer skip connections
def limited(strengths, limit):
    return limit_skips(partial(genotype_of, spec=SPEC), strengths, limit, OPS)


def test_the_weakest_skip_falls_back_to_the_next_best_operation():
    strengths = table(
        {"skip_connect": 0.5, "nor_conv_3x3": 0.4},
        {"skip_connect": 0.3, "none": 0.2},
        {"nor_conv_1x1": 0.9},
        {"skip_connect": 0.4, "avg_pool_3x3": 0.3},
        {"skip_connect": 0.6, "nor_conv_1x1": 0.2},
        {"nor_conv_3x3": 0.5, "skip_connect": 0.4},
    )
    before = strengths["cell"].copy()
    expected = {4: "ss1ss3", 3: "sn1ss3", 2: "sn1as3", 1: "3n1as3", 0: "3n1a13"}
    for limit, cell in expected.items():
        assert limited(strengths, limit).ops == ops_of(cell)
    assert limited(strengths, 6).ops == ops_of("ss1ss3")
    found = genotypes_by_skip_limit(partial(genotype_of, spec=SPEC), strengths, range(7), OPS)
    assert [found[limit].ops for limit in range(6, -1, -1)] == [ops_of(expected[min(n, 4)]) for n in range(6, -1, -1)]
    np.testing.assert_array_equal(strengths["cell"], before)


def test_of_equal_skips_the_first_edge_gives_way():
    found = limited(table(*[{"skip_connect": 0.5}] * 6), 4)
    assert found.ops == ops_of("nnssss")


@given(seeds, st.integers(2, 30))
def test_every_limit_can_be_kept_by_edges_of_their_own(seed, levels):
    """Edges do not compete: one skip goes per round, and what is left depends on the limit only."""
    strengths = random_table(seed, levels)
    strengths["cell"][:, SKIP] += 0.3
    rounds = list(fewer_skips(partial(genotype_of, spec=SPEC), strengths, OPS))
    counts = [cell.count("skip_connect") for cell in rounds]
    assert counts == list(range(counts[0], -1, -1))
    bare = strengths["cell"].copy()
    bare[:, SKIP] = 0
    assert rounds[-1] == best_on_every_edge({"cell": bare}, OPS)


def test_a_limit_below_zero_and_one_that_cannot_be_kept():
    with pytest.raises(ConfigError, match="0 or more, got -1"):
        limited(table(), -1)
    only = {"cell": np.ones((6, 1), dtype="float32")}
    derive = partial(best_on_every_edge, primitives=("skip_connect",))
    with pytest.raises(GenotypeError, match="cannot keep to 5 skip"):
        limit_skips(derive, only, 5, ("skip_connect",))


# ------------------------------------------------------------------------------------------- the rule of P-DARTS
def switched(*rows):
    """Switches that are on for the letters of every edge."""
    return {"cell": np.array([[letter in row for letter in "ns13a"] for row in rows])}


@pytest.mark.parametrize("with_none", [False, True])
def test_the_last_stage_takes_the_best_that_is_on_and_none_like_any_other(with_none):
    switches = switched("ns", "n3", "13", "sa", "n1", "3a")
    strengths = table({"none": 0.6}, {"nor_conv_3x3": 0.7}, {"nor_conv_3x3": 0.55}, {"none": 0.9}, {"none": 0.8})
    strengths["cell"][~switches["cell"]] = 0.95
    found = derivation(SPEC, switches, with_none)(strengths)
    assert found.ops == ops_of("n33sn3") and found.network == NasBench201Genotype(found.ops).network


def test_its_skips_can_be_limited_down_to_what_the_switches_leave():
    switches = switched("s", "ns", "s3", "sa", "n3", "3a")
    strengths = table(*[{"skip_connect": 0.9}] * 6)
    derive = derivation(SPEC, switches)
    found = restricted_genotypes(derive, strengths, range(6, -1, -1), OPS)
    assert [found[limit].ops for limit in (6, 4, 3, 2, 1)] == [
        ops_of(cell) for cell in ("ssssn3", "ssssn3", "snssn3", "sn3sn3", "sn3an3")
    ]
    assert 0 not in found, "the first edge has nothing else"
    with pytest.raises(GenotypeError, match="cannot keep to 0"):
        limit_skips(derive, strengths, 0, OPS)


# ------------------------------------------------------------------------------------------- thresholds
REAL = OPS[1:]


def test_what_does_not_reach_the_threshold_is_none():
    strengths = table(
        {"skip_connect": 0.9},
        {"nor_conv_3x3": 0.84, "nor_conv_1x1": 0.8},
        {"nor_conv_1x1": 0.85},
        {},
        {"avg_pool_3x3": 0.99, "nor_conv_3x3": 0.98},
        {"nor_conv_3x3": 0.86, "skip_connect": 0.86},
        ops=REAL,
    )
    for rule in ("threshold_sparse", "threshold_edge"):
        assert threshold_cell(strengths, REAL, rule).ops == ops_of("sn1nas")
        assert threshold_cell(strengths, REAL, rule, 0.8).ops == ops_of("s31nas")
    assert threshold_cell(strengths, REAL, "darts").ops == ops_of("s31sas"), "no threshold, of equals the first"


def test_the_threshold_itself_is_reached():
    below = float(np.nextafter(np.float32(0.7), np.float32(0)))
    strengths = table({}, {}, {}, {"nor_conv_3x3": 0.7}, {"nor_conv_3x3": below}, ops=REAL)
    assert threshold_cell(strengths, REAL, threshold=0.7).ops == ops_of("nnn3nn")


@given(seeds, st.integers(2, 30), st.floats(0.05, 0.95))
def test_every_cell_by_threshold(seed, levels, threshold):
    strengths = random_table(seed, levels, len(REAL))
    strongest = threshold_cell(strengths, REAL, "darts")
    assert "none" not in strongest.ops
    reaches = strengths["cell"].max(axis=1) >= np.float32(threshold)
    expected = NasBench201Genotype(tuple(op if on else "none" for op, on in zip(strongest.ops, reaches, strict=True)))
    for rule in ("threshold_sparse", "threshold_edge"):
        assert threshold_cell(strengths, REAL, rule, threshold, "darts") == (expected if expected.valid else strongest)
        if not expected.valid:
            with pytest.raises(GenotypeError, match=f"reach the threshold {threshold:g} make no way"):
                threshold_cell(strengths, REAL, rule, threshold)


#: Edges that reach the threshold, and whether a way leads from the input to the output.
WAYS = [
    ((), False),
    ((0, 1, 2), False),
    ((4,), False),
    ((2, 5), False),
    ((3,), True),
    ((0, 4), True),
    ((0, 2, 5), True),
]


@pytest.mark.parametrize("rows, alive", WAYS)
def test_a_dead_cell_is_an_error_or_falls_back(rows, alive, caplog):
    strengths = table(*({"nor_conv_3x3": 0.9 if row in rows else 0.5} for row in range(6)), ops=REAL)
    with caplog.at_level(logging.WARNING, logger="paddle_darts"):
        if alive:
            assert threshold_cell(strengths, REAL) == threshold_cell(strengths, REAL, fallback="darts")
            assert not caplog.records
            return
        with pytest.raises(GenotypeError, match=r"the threshold 0\.85 .* lower it, or let it fall back"):
            threshold_cell(strengths, REAL)
        assert not caplog.records
        assert threshold_cell(strengths, REAL, fallback="darts").ops == ("nor_conv_3x3",) * 6
    (record,) = caplog.records
    assert "0.85 make no way through the cell" in record.getMessage()


def test_rules_and_spaces_that_there_are_not():
    with pytest.raises(ConfigError, match=r"unknown parse method 'threshold'.*threshold_sparse"):
        threshold_cell(table(), OPS, "threshold")
    with pytest.raises(ConfigError, match="unknown fallback 'dart'"):
        threshold_cell(table(), OPS, fallback="dart")
    assert set(PARSE_METHODS) == {"darts", "threshold_sparse", "threshold_edge"}
