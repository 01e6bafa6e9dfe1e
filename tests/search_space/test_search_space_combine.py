"""Several spaces as one, and the registry by which they are found."""

import logging

import paddle
import pytest

from paddle_darts.controllers import RandomController
from paddle_darts.errors import ConfigError
from paddle_darts.search_space import (
    SEARCHSPACE,
    CombineSearchSpace,
    DartsCellSpace,
    NB201Space,
    SearchSpaceBase,
    SearchSpaceFactory,
)

TINY = {"init_channels": 2, "layers": 5}


def test_the_registry():
    assert {"DartsSpace", "DartsCellSpace", "NB201Space"} <= set(SEARCHSPACE)
    assert SEARCHSPACE.get("NB201Space") is NB201Space
    with pytest.raises(KeyError, match="'NB201Space' is already registered"):
        SEARCHSPACE.register(NB201Space)


def test_tokens_of_several_spaces():
    space = SearchSpaceFactory().get_search_space(["NB201Space", ("DartsCellSpace", {}), NB201Space(**TINY)])
    parts = [NB201Space(), DartsCellSpace(), NB201Space()]
    assert isinstance(space, CombineSearchSpace) and len(space) == 44
    assert space.range_table() == [high for part in parts for high in part.range_table()]
    assert space.init_tokens() == [token for part in parts for token in part.init_tokens()]
    tokens = space.random_tokens(0)
    assert space.split(tokens) == [tokens[:6], tokens[6:38], tokens[38:]]
    assert tokens[:6] != tokens[38:]  # one generator for all
    cells = space.tokens2genotype(tokens)
    assert cells == [part.tokens2genotype(t) for part, t in zip(parts, space.split(tokens), strict=True)]
    assert space.genotype2tokens(cells) == tokens
    with pytest.raises(ConfigError, match="expected 3 genotypes"):
        space.genotype2tokens(cells[:2])


def test_every_part_is_repaired_and_built():
    space = CombineSearchSpace([("NB201Space", TINY), ("DartsCellSpace", TINY)])
    tokens = [3] * 6 + [0] * 32
    assert space.validate(tokens)[8] == 1
    for arch in space.token2arch(tokens):
        assert arch(num_classes=3)(paddle.zeros([2, 3, 16, 16]))[0].shape == [2, 3]


def test_a_space_of_ones_own_that_is_written_for_paddleslim():
    class TwoWidths(SearchSpaceBase):
        def __init__(self, input_size, output_size, block_num, block_mask):
            super().__init__(input_size, output_size, block_num, block_mask)

        def init_tokens(self):
            return [0, 1]

        def range_table(self):
            return [3, 4]

        def token2arch(self, tokens=None):
            return lambda num_classes=10: paddle.nn.Linear(1 + sum(tokens), num_classes)

    SEARCHSPACE.register(TwoWidths)
    try:
        space = CombineSearchSpace([("TwoWidths", {"input_size": 32}), "NB201Space"])
    finally:
        del SEARCHSPACE._classes["TwoWidths"]
    assert space.spaces[0].input_size == 32 and space.spaces[0].size() == 12
    assert space.init_tokens() == [0, 1, 3, 3, 3, 3, 3, 3]
    assert space.token2arch([2, 3, 0, 0, 0, 0, 0, 0])[0](num_classes=5).weight.shape == [6, 5]
    controller = RandomController(space.range_table(), seed=0)
    assert space.validate(controller.next_tokens())


@pytest.mark.parametrize(
    "configs, message",
    [
        ([], "configs is a list of search spaces"),
        ("NB201Space", "configs is a list of search spaces"),
        (["NB201Spac"], "unknown entry of SEARCHSPACE 'NB201Spac'; did you mean 'NB201Space'"),
        ([("NB201Space", {}, 3)], "a search space is a name or a pair"),
        ([3], "a search space is a name or a pair"),
        ([("NB201Space", "C=16")], "a search space is a name or a pair"),
    ],
)
def test_configs_that_are_none(configs, message):
    with pytest.raises(ConfigError, match=message):
        CombineSearchSpace(configs)


def test_arguments_for_blocks_are_said_to_have_no_effect(caplog):
    with caplog.at_level(logging.WARNING):
        CombineSearchSpace([("NB201Space", {"block_num": 3})])
    assert "NB201Space is not made of blocks" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        CombineSearchSpace([("NB201Space", {"block_num": None})])
    assert not caplog.text
