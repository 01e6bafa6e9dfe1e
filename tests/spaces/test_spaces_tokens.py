"""Range tables of tokens, and where their random numbers come from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.errors import ConfigError
from paddle_darts.nn.drop import RandomSource
from paddle_darts.spaces.tokens import RangeTable, draw_integers, generator, is_integer, is_listing

ranges = st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 9)), min_size=1, max_size=6)


def table(pairs):
    return RangeTable(tuple(low for low, _ in pairs), tuple(low + span for low, span in pairs))


@given(ranges)
def test_a_table_is_read_back(pairs):
    made = table(pairs)
    assert RangeTable.of(made.to_lists()) == RangeTable.of((made.lows, made.highs)) == RangeTable.of(made) == made
    assert len(made) == len(pairs) and made.size() == np.prod([span for _, span in pairs])
    assert RangeTable.of([span for _, span in pairs]) == table([(0, span) for _, span in pairs])


@given(ranges, st.integers(0, 2**32 - 1))
def test_random_tokens_are_in_range(pairs, seed):
    made = table(pairs)
    for rng in (seed, np.random.RandomState(seed), np.random.default_rng(seed), RandomSource(seed)):
        tokens = made.random(rng)
        assert made.check(tokens) == tokens and all(type(token) is int for token in tokens)


@given(ranges, st.data())
def test_every_token_out_of_range_is_found(pairs, data):
    made = table(pairs)
    position = data.draw(st.integers(0, len(made) - 1))
    tokens = list(made.lows)
    tokens[position] = data.draw(
        st.one_of(st.integers(max_value=made.lows[position] - 1), st.just(made.highs[position]))
    )
    with pytest.raises(ConfigError, match=f"^token {position} must be one of {made.lows[position]} "):
        made.check(tokens)


def test_two_highs_are_not_lows_and_highs():
    assert RangeTable.of([5, 4]) == RangeTable((0, 0), (5, 4))
    assert RangeTable.of(([1], [4])) == RangeTable((1,), (4,))
    assert RangeTable.of(np.array([5, 4])) == RangeTable((0, 0), (5, 4))


@pytest.mark.parametrize(
    "value, message",
    [
        ([0, 3], r"token 0 has no value, its range is \[0, 0\)"),
        (([2, 2], [3, 1]), r"token 1 has no value, its range is \[2, 1\)"),
        (([0, 0], [1]), "got 2 lows and 1 highs"),
        ([3, 2.0], r"highs\[1\] must be an integer, got 2.0"),
        (([0, "a"], [1, 2]), r"lows\[1\] must be an integer, got 'a'"),
        ({"lows": 0}, "a range table is"),
    ],
)
def test_tables_that_are_none(value, message):
    with pytest.raises(ConfigError, match=message):
        RangeTable.of(value)


def test_generators():
    source, old = RandomSource(3), np.random.RandomState(3)
    assert generator(source) is source.generator and generator(old) is old
    assert draw_integers(generator(7), 0, [9] * 5).tolist() == draw_integers(generator(7), 0, [9] * 5).tolist()
    with pytest.raises(ConfigError, match="a random generator or a seed"):
        generator(0.5)


def test_what_counts_as_a_list_and_as_an_integer():
    assert is_listing([1]) and is_listing(()) and is_listing(np.zeros(3)) and not is_listing(np.zeros((2, 2)))
    assert not is_listing("12") and not is_listing(b"12") and not is_listing({1, 2}) and not is_listing(None)
    assert is_integer(3) and is_integer(np.int64(3)) and not is_integer(True) and not is_integer(3.0)
