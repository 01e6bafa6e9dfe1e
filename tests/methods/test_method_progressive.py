"""P-DARTS' decisions; those that the official program recorded are in tests/parity."""

import logging

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import PRIMITIVES, Edge, genotype
from paddle_darts.methods.parts.derivation import node_rows
from paddle_darts.methods.parts.progressive import (
    derivation,
    drop_weakest,
    keep_one,
    on_probabilities,
    progressive_edges,
    progressive_genotype,
    restricted_genotype,
    restricted_genotypes,
    skip_dropout,
    spread,
    with_none_genotype,
)
from paddle_darts.networks import SupernetSpec

COLUMN = {name: k for k, name in enumerate(PRIMITIVES)}
seeds = st.integers(0, 2**32 - 1)


def random_switches(rng, rows, on, ops=8):
    switches = np.zeros((rows, ops), dtype=bool)
    for row in switches:
        row[rng.choice(ops, on, replace=False)] = True
    return switches


def table(*rows):
    """Switches and probabilities from one mapping of operations per edge."""
    values = np.zeros((len(rows), len(PRIMITIVES)), dtype="float32")
    switches = np.zeros(values.shape, dtype=bool)
    for i, row in enumerate(rows):
        for op, value in row.items():
            values[i, COLUMN[op]], switches[i, COLUMN[op]] = value, True
    return values, switches


@given(seeds, st.integers(1, 8))
def test_a_compact_array_and_its_table_give_the_same_bits(seed, on):
    rng = np.random.default_rng(seed)
    switches = random_switches(rng, 9, on)
    compact = rng.normal(size=(9, on)).astype("float32")
    full = rng.normal(size=(9, 8)).astype("float32")
    full[switches] = compact.ravel()
    np.testing.assert_array_equal(spread(full, switches), spread(compact, switches))
    found = on_probabilities(full, switches)
    np.testing.assert_array_equal(found, on_probabilities(compact, switches))
    assert found.dtype == np.float32 and (found[~switches] == 0).all()
    softmax = paddle.nn.functional.softmax(paddle.to_tensor(compact), axis=-1).numpy()
    np.testing.assert_allclose(found[switches].reshape(9, on), softmax, rtol=1e-6)


@pytest.mark.filterwarnings("error")
def test_large_alphas_neither_overflow_nor_warn():
    switches = np.array([[True, True, False], [False, True, True]])
    found = on_probabilities(np.array([[-300.0, -301.0], [500.0, 500.0]]), switches)
    np.testing.assert_allclose(found, [[0.7310586, 0.2689414, 0], [0, 0.5, 0.5]], rtol=1e-6)


@given(seeds)
def test_edges_with_equal_alphas_are_equal_wherever_their_operations_are(seed):
    """The choice between edges compares for equality."""
    rng = np.random.default_rng(seed)
    found = on_probabilities(np.tile(rng.normal(size=3), (14, 1)), random_switches(rng, 14, 3))
    assert len({tuple(row[row > 0]) for row in found}) == 1


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (2,)])
def test_values_that_do_not_fit_the_switches(shape):
    switches = np.array([[True, True, False, False], [False, True, True, False]])
    with pytest.raises(ConfigError, match=r"do not fit switches \[2, 4\] with 2 to 2 operations"):
        spread(np.ones(shape), switches)


@given(seeds, st.integers(1, 8), st.data())
def test_dropping_is_repeated_removal_of_the_first_minimum(seed, on, data):
    rng = np.random.default_rng(seed)
    count = data.draw(st.integers(0, on - 1))
    switches = random_switches(rng, 5, on)
    probabilities = spread(rng.integers(0, 4, (5, on)) / np.float32(4), switches)
    left = drop_weakest(probabilities, switches, count)
    for row in range(5):
        remaining = [k for k in range(8) if switches[row, k]]
        for _ in range(count):
            remaining.remove(min(remaining, key=lambda k: probabilities[row, k]))
        assert np.flatnonzero(left[row]).tolist() == remaining
    assert (switches.sum(axis=1) == on).all()  # the argument is left alone


@pytest.mark.parametrize("count", [3, 4, -1])
def test_an_edge_must_keep_an_operation(count):
    switches = random_switches(np.random.default_rng(0), 5, 3)
    with pytest.raises(ConfigError, match=f"3 operations on; 0 to 2 .* got {count}"):
        drop_weakest(switches.astype("float32"), switches, count)


@given(seeds, st.integers(2, 8))
def test_the_last_operation_is_what_repeated_removal_leaves_and_none_goes_first(seed, on):
    rng = np.random.default_rng(seed)
    switches = random_switches(rng, 5, on)
    probabilities = spread(rng.integers(0, 4, (5, on)) / np.float32(4), switches)
    left = keep_one(probabilities, switches, PRIMITIVES)
    for row in range(5):
        remaining = [k for k in range(1, 8) if switches[row, k]]
        while len(remaining) > 1:
            remaining.remove(min(remaining, key=lambda k: probabilities[row, k]))
        assert np.flatnonzero(left[row]).tolist() == remaining


def test_none_stays_where_it_is_alone():
    probabilities, switches = table({"none": 1.0}, {"none": 0.9, "skip_connect": 0.1})
    assert keep_one(probabilities, switches, PRIMITIVES).argmax(axis=1).tolist() == [0, COLUMN["skip_connect"]]


def test_a_space_without_none():
    switches = np.array([[True, True], [True, True]])
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8]], dtype="float32")
    assert progressive_edges(probabilities, switches, ("skip_connect", "sep_conv_3x3"), 1) == [
        Edge("skip_connect", 0),
        Edge("sep_conv_3x3", 1),
    ]


NODE_0 = ({"max_pool_3x3": 1.0}, {"max_pool_3x3": 1.0})


def test_edges_are_listed_by_row_and_ties_go_to_the_larger_source():
    strongest_last = table(*NODE_0, {"skip_connect": 0.5}, {"sep_conv_3x3": 0.4}, {"dil_conv_3x3": 0.9})
    assert progressive_edges(*strongest_last, PRIMITIVES, 2)[2:] == [Edge("skip_connect", 0), Edge("dil_conv_3x3", 2)]
    equal = table(*NODE_0, {"skip_connect": 0.5}, {"sep_conv_3x3": 0.5}, {"dil_conv_3x3": 0.5})
    assert progressive_edges(*equal, PRIMITIVES, 2)[2:] == [Edge("sep_conv_3x3", 1), Edge("dil_conv_3x3", 2)]


def test_a_probable_none_makes_an_edge_weak():
    weak = {"none": 0.8, "skip_connect": 0.15, "sep_conv_5x5": 0.05}
    assert progressive_edges(*table(*NODE_0, weak, weak, weak), PRIMITIVES, 2)[2:] == [
        Edge("skip_connect", 1),
        Edge("skip_connect", 2),
    ]
    mixed = table(*NODE_0, weak, {"sep_conv_3x3": 0.3}, {"dil_conv_3x3": 0.2})
    assert progressive_edges(*mixed, PRIMITIVES, 2)[2:] == [Edge("sep_conv_3x3", 1), Edge("dil_conv_3x3", 2)]


def both(probabilities, switches):
    kinds = ("normal", "reduce")
    return dict.fromkeys(kinds, probabilities), dict.fromkeys(kinds, switches)


def setting(seed, steps=4):
    rng = np.random.default_rng(seed)
    rows = node_rows(steps)[-1].stop
    switches = random_switches(rng, rows, 3)
    alphas = rng.normal(size=(rows, 8))
    alphas[:, COLUMN["skip_connect"]] += 1.5
    return *both(on_probabilities(alphas, switches), switches), PRIMITIVES, steps, steps


def under_limits(strengths, switches, primitives, steps, multiplier):
    spec = SupernetSpec(steps=steps, multiplier=multiplier)
    return restricted_genotypes(derivation(spec, switches), strengths, range(2 * steps, -1, -1), primitives)


@given(seeds, st.integers(1, 5))
@settings(max_examples=40)
def test_the_genotypes_of_all_limits(seed, steps):
    arguments = setting(seed, steps)
    unrestricted = progressive_genotype(*arguments)
    assert unrestricted.network.aux_bn  # as the published cell
    assert not unrestricted.contains_none
    found = under_limits(*arguments)
    assert list(found) == list(range(2 * steps, -1, -1))
    without_skips = {kind: t.copy() for kind, t in arguments[0].items()}
    without_skips["normal"][:, COLUMN["skip_connect"]] = 0
    assert found[0].normal == progressive_genotype(without_skips, *arguments[1:]).normal
    for limit, restricted in found.items():
        assert restricted.count("skip_connect", "normal") <= limit
        assert restricted.reduce == unrestricted.reduce
        assert restricted == restricted_genotype(*arguments, limit)
        if unrestricted.count("skip_connect", "normal") <= limit:
            assert restricted == unrestricted


def test_the_network_options_are_those_of_the_published_cell():
    assert progressive_genotype(*setting(0)).network == genotype("PDARTS").network


def test_limits_that_cannot_be_kept_are_named(caplog):
    arguments = *both(*table({"skip_connect": 0.5}, {"skip_connect": 0.7, "none": 0.3})), PRIMITIVES, 1, 1
    with caplog.at_level(logging.WARNING, logger="paddle_darts"):
        assert list(under_limits(*arguments)) == [2]
    assert "less than 2 skip connections" in caplog.text
    with pytest.raises(GenotypeError, match="cannot keep to 1 skip"):
        restricted_genotype(*arguments, 1)


def test_none_as_an_operation_like_any_other(caplog):
    probabilities, switches = table(
        {"skip_connect": 0.6, "none": 0.4},
        {"none": 0.9, "sep_conv_3x3": 0.1},
        {"none": 0.5, "skip_connect": 0.5},
        {"sep_conv_5x5": 0.4, "none": 0.2},
        {"dil_conv_3x3": 0.5},
    )
    with caplog.at_level(logging.WARNING, logger="paddle_darts"):
        derived = with_none_genotype(*both(probabilities, switches), PRIMITIVES, 2, 2)
    assert derived.normal == (Edge("none", 1), Edge("skip_connect", 0), Edge("none", 0), Edge("dil_conv_3x3", 2))
    assert "contain 'none' 4 times" in caplog.text


def test_what_is_off_is_not_derived_even_if_nothing_on_has_strength(caplog):
    switches = table({"dil_conv_3x3": 0}, {"sep_conv_3x3": 0})[1]
    derived = with_none_genotype(*both(np.zeros((2, 8), dtype="float32"), switches), PRIMITIVES, 1, 1)
    assert derived.normal == (Edge("dil_conv_3x3", 0), Edge("sep_conv_3x3", 1))
    assert not caplog.records


def test_the_dropout_falls_jumps_back_and_falls_faster():
    values = [skip_dropout(0.5, e, 8, 3) for e in range(8)]
    np.testing.assert_allclose(values[:4], [0.5 * 7 / 8, 0.5 * 6 / 8, 0.5 * 5 / 8, 0.5])
    np.testing.assert_allclose(np.diff(np.log(values[3:])), -0.2)
    assert skip_dropout(0.5, 4, 8, 3, decay=0.0) == 0.5
    assert [skip_dropout(0.0, e, 8, 3) for e in (0, 5)] == [0, 0]


def test_without_warm_up_the_dropout_begins_at_its_rate():
    assert skip_dropout(0.3, 0, 5, 0) == 0.3


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
def test_rates_that_are_no_dropout(rate):
    with pytest.raises(ConfigError, match=f"below 1, got {rate}"):
        skip_dropout(rate, 0, 25, 10)
