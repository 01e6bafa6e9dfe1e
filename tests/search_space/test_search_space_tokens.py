"""Tokens and what they stand for: round trips, ranges, counts, errors."""

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import Genotype, genotype
from paddle_darts.genotypes.nas_bench_201 import EDGES, OPS, NasBench201Genotype
from paddle_darts.nn.drop import RandomSource
from paddle_darts.search_space import CombineSearchSpace, DartsCellSpace, DartsSpace, NB201Space
from paddle_darts.search_space.darts_cells import OPS as DARTS_OPS

NB201, CELLS, WIDTHS = NB201Space(), DartsCellSpace(), DartsSpace()
SPACES = [NB201, CELLS, WIDTHS, CombineSearchSpace([NB201, CELLS])]


def by_name(space):
    return type(space).__name__


def tokens_of(space):
    return st.tuples(*(st.integers(0, high - 1) for high in space.range_table())).map(list)


# ------------------------------------------------------------------------------------------ round trips
@given(tokens_of(NB201))
def test_nas_bench_201_round_trip(tokens):
    cell = NB201.tokens2genotype(tokens)
    assert NB201.validate(tokens) == tokens == NB201.genotype2tokens(cell) == NB201.genotype2tokens(str(cell))
    for token, (target, source), link in zip(tokens, EDGES, cell.links(), strict=True):
        assert link == (OPS[token], source, target)


def test_nas_bench_201_tokens_are_the_edges_in_order():
    cell = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
    assert NB201.genotype2tokens(cell) == [0, 1, 2, 3, 4, 0]
    assert str(NB201.tokens2genotype([0, 1, 2, 3, 4, 0])) == cell
    assert len({str(NB201.tokens2genotype(t)) for t in itertools.product(range(5), range(5), *[[0]] * 4)}) == 25


@given(tokens_of(CELLS))
def test_darts_cells_round_trip(tokens):
    valid = CELLS.validate(tokens)
    cell = CELLS.tokens2genotype(tokens)
    assert CELLS.validate(valid) == valid == CELLS.genotype2tokens(cell) == CELLS.genotype2tokens(str(cell))
    assert cell == CELLS.tokens2genotype(valid)
    for kind in ("normal", "reduce"):
        for node, (first, second) in enumerate(cell.nodes(kind)):
            assert first.source != second.source and max(first.source, second.source) < node + 2
    changed = [position for position, (a, b) in enumerate(zip(tokens, valid, strict=True)) if a != b]
    assert all(position % 4 == 2 and tokens[position] == tokens[position - 2] for position in changed)


@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2", "DARTS_PADDLE", "PC_DARTS_cifar", "PDARTS"])
def test_published_cells_are_tokens(name):
    cell = genotype(name)
    tokens = CELLS.genotype2tokens(name)
    assert CELLS.validate(tokens) == tokens and CELLS.tokens2genotype(tokens) == cell


def test_the_layout_of_darts_tokens():
    table = [2, 7, 2, 7, 3, 7, 3, 7, 4, 7, 4, 7, 5, 7, 5, 7]
    assert CELLS.range_table() == table + table
    tokens = CELLS.init_tokens()
    cell = genotype("DARTS_PADDLE")
    for number, (op, source) in enumerate(cell.normal + cell.reduce):
        assert tokens[2 * number : 2 * number + 2] == [source, DARTS_OPS.index(op)]
    assert "none" not in DARTS_OPS and len(DARTS_OPS) == 7


def test_a_predecessor_named_twice_is_moved_on():
    tokens = [0] * 32
    tokens[12], tokens[14] = 4, 4  # the last node of the normal cell has five predecessors
    repaired = CELLS.validate(tokens)
    assert [repaired[p] for p in range(2, 16, 4)] == [1, 1, 1, 0] and tokens[14] == 4


def test_widths_of_a_network():
    assert WIDTHS.widths(WIDTHS.init_tokens()) == (36,) * 6 + (72,) * 7 + (144,) * 7
    assert WIDTHS.widths([0] * 10 + [13] * 10) == (4,) * 10 + (252,) * 10
    assert WIDTHS.tokens2genotype(WIDTHS.init_tokens()) == genotype("DARTS_PADDLE")
    with pytest.raises(GenotypeError, match="does not say what the tokens of DartsSpace are"):
        WIDTHS.genotype2tokens("DARTS_PADDLE")


# ------------------------------------------------------------------------------------------ what a space does not hold
def changed(kind, edges=None, concat=None):
    cell = genotype("DARTS_V2").to_dict()
    if edges is not None:
        cell[kind] = edges
    if concat is not None:
        cell[f"{kind}_concat"] = concat
    return Genotype.from_dict(cell)


EIGHT = [["sep_conv_3x3", 0], ["sep_conv_3x3", 1]] * 4


@pytest.mark.parametrize(
    "cell, message",
    [
        (lambda: genotype("AmoebaNet"), "the normal cell must have 4 nodes"),
        (lambda: changed("normal", [["none", 0], *EIGHT[1:]]), r"has no 'none' \(normal cell, node 0\)"),
        (
            lambda: changed("reduce", [["sep_conv_7x7", 0], *EIGHT[1:]]),
            r"has no 'sep_conv_7x7' \(reduce cell, node 0\)",
        ),
        (lambda: changed("reduce", [["sep_conv_3x3", 1], *EIGHT[1:]]), "node 0 of the reduce cell reads state 1 twice"),
        (lambda: changed("normal", concat=[3, 4, 5]), r"the outputs \[3, 4, 5\]"),
        (lambda: changed("normal", EIGHT[:6], [2, 3, 4]), "must have 4 nodes"),
        (lambda: NasBench201Genotype(("none",) * 6), "holds DARTS cells"),
    ],
)
def test_cells_that_tokens_cannot_say(cell, message):
    with pytest.raises(GenotypeError, match=message):
        CELLS.genotype2tokens(cell())


def test_nas_bench_201_holds_its_own_cells_only():
    with pytest.raises(GenotypeError, match="holds NAS-Bench-201 cells"):
        NB201.genotype2tokens("DARTS_V2")
    with pytest.raises(GenotypeError, match="nor_conv_5x5"):
        NB201.genotype2tokens("|nor_conv_5x5~0|+|none~0|none~1|+|none~0|none~1|none~2|")


# ------------------------------------------------------------------------------------------ every space
@pytest.mark.parametrize("space", SPACES, ids=by_name)
def test_initial_tokens(space):
    tokens = space.init_tokens()
    assert space.validate(tokens) == tokens == space.init_tokens(tokens)
    assert len(tokens) == len(space) == len(space.range_table())
    tokens[0] += 1
    assert space.init_tokens() != tokens


@pytest.mark.parametrize("space", SPACES, ids=by_name)
def test_tokens_out_of_range_are_named(space):
    for position, high in enumerate(space.range_table()):
        for value in (-1, high):
            tokens = space.init_tokens()
            tokens[position] = value
            with pytest.raises(ValueError, match=rf"token {position} must be one of 0 \.\.\. {high - 1}, got {value}"):
                space.validate(tokens)
            with pytest.raises(ValueError, match=f"token {position} "):
                space.token2arch(tokens)
    count = len(space)
    for wrong in (space.init_tokens()[:-1], [*space.init_tokens(), 0], []):
        with pytest.raises(ValueError, match=f"expected {count} tokens, got {len(wrong)}"):
            space.validate(wrong)
    for wrong in (0.0, True, "0", None):
        with pytest.raises(ValueError, match="token 0 must be an integer"):
            space.validate([wrong, *space.init_tokens()[1:]])


@pytest.mark.parametrize("space", SPACES, ids=by_name)
@pytest.mark.parametrize(
    "source", [RandomSource, np.random.RandomState, np.random.default_rng, lambda seed: seed], ids=str
)
def test_random_tokens_are_valid_and_repeatable(space, source):
    rng, again = source(5), source(5)
    for _ in range(20):
        tokens = space.random_tokens(rng)
        assert tokens == space.random_tokens(again) == space.validate(tokens)
        assert all(type(token) is int for token in tokens)
    assert space.random_tokens() != space.random_tokens() or space.random_tokens() != space.random_tokens()


def test_a_generator_that_is_none():
    with pytest.raises(ValueError, match="a random generator or a seed is needed, got 'seven'"):
        NB201.random_tokens("seven")


def test_random_tokens_are_uniform():
    rng, draws = np.random.default_rng(0), 6000
    found = np.array([CELLS.random_tokens(rng) for _ in range(draws)])
    for position, high in enumerate(CELLS.range_table()):
        share = np.bincount(found[:, position], minlength=high) / draws
        np.testing.assert_allclose(share, 1 / high, atol=5 * math.sqrt(1 / high / draws))
    # both predecessors of the third node: all twelve ordered pairs equally often
    pairs = collections.Counter(map(tuple, found[:, [8, 10]]))
    assert len(pairs) == 12 and all(abs(count / draws - 1 / 12) < 0.02 for count in pairs.values())


def test_sizes():
    assert NB201.size() == 15625 and WIDTHS.size() == 14**20
    per_cell = math.prod((n * (n - 1)) * 49 for n in (2, 3, 4, 5))
    assert CELLS.size() == per_cell**2
    assert SPACES[3].size() == 15625 * per_cell**2
    # counted: of the token lists of a node with three predecessors, those that stay as they are
    kept = 0
    for first, second in itertools.product(range(3), repeat=2):
        tokens = CELLS.init_tokens()
        tokens[4], tokens[6] = first, second
        kept += CELLS.validate(tokens) == tokens
    assert kept == 3 * 2
