"""Beside PaddleSlim itself, where it is installed (the extra [slim]): its controller on our tokens, its proposals."""

import json

import numpy as np
import pytest

from paddle_darts.controllers import SAController
from paddle_darts.search_space import DartsCellSpace, DartsSpace, NB201Space

pytest.importorskip("paddleslim", reason="PaddleSlim is not installed; pip install 'paddle-darts[slim]'")
from paddleslim.common import SAController as TheirController
from paddleslim.nas.search_space import SEARCHSPACE as THEIR_SPACES
from paddleslim.nas.search_space import SearchSpaceFactory as TheirFactory

SPACES = [NB201Space(), DartsCellSpace(), DartsSpace()]


@pytest.fixture(autouse=True)
def global_generator():
    """Their controller draws from NumPy's global generator."""
    before = np.random.get_state()
    yield
    np.random.set_state(before)


def their_controller(space, **options):
    highs = space.range_table()
    return TheirController(([0] * len(highs), highs), max_try_times=50000, init_tokens=space.init_tokens(), **options)


def score(space, tokens):
    """Any fixed function of tokens, of both signs."""
    return round(float(np.cos(np.arange(1, len(space) + 1) * (1 + np.array(tokens))).mean()), 6)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_their_controller_searches_our_tokens(space):
    np.random.seed(0)
    controller = their_controller(space)
    for step in range(1, 16):
        tokens = controller.next_tokens()
        assert len(tokens) == len(space)
        assert len(space.validate(tokens)) == len(space) and space.tokens2genotype(tokens) is not None
        controller.update(tokens, score(space, tokens), step, 1)
    assert controller.max_reward == score(space, controller.best_tokens)


def test_networks_are_built_from_their_proposals():
    np.random.seed(0)
    space = NB201Space()
    controller = their_controller(space)
    for step in range(1, 4):
        tokens = controller.next_tokens()
        network = space.token2arch(tokens)(num_classes=3, init_channels=2, layers=5)
        controller.update(tokens, len(network.parameters()) / 1000, step, 1)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
@pytest.mark.parametrize("client_num", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_our_proposals_are_theirs(space, client_num, seed):
    np.random.seed(seed)
    theirs = their_controller(space)
    highs = space.range_table()
    ours = SAController(([0] * len(highs), highs), max_try_times=50000, init_tokens=space.init_tokens(), seed=seed)
    for step in range(1, 31):
        expected = theirs.next_tokens()
        assert ours.next_tokens() == expected
        for controller in (theirs, ours):
            controller.update(expected, score(space, expected), step, client_num)
        assert (ours.best_tokens, ours.max_reward) == (theirs.best_tokens, theirs.max_reward)
    assert ours.current_tokens == theirs.current_tokens


def test_their_checkpoints_are_read(tmp_path):
    space = NB201Space()
    np.random.seed(1)
    theirs = their_controller(space, checkpoints=str(tmp_path))
    for step in range(1, 11):
        tokens = theirs.next_tokens()
        theirs.update(tokens, score(space, tokens), step, 1)
    ours = SAController(space.range_table(), seed=0)
    ours.load_checkpoint(tmp_path)
    assert (ours.best_tokens, ours.max_reward) == (theirs.best_tokens, theirs.max_reward)
    known = json.loads((tmp_path / "sanas.checkpoints").read_text())["_searched"]
    assert ours.state_dict()["searched"] == known
    # the random state is not in their file; put at the same place, both go on alike
    ours._rng.set_state(np.random.get_state())
    for step in range(11, 31):
        tokens = theirs.next_tokens()
        assert ours.next_tokens() == tokens
        for controller in (theirs, ours):
            controller.update(tokens, score(space, tokens), step, 1)


@pytest.mark.parametrize("cls", [NB201Space, DartsCellSpace], ids=lambda cls: cls.__name__)
def test_their_factory_builds_our_spaces(cls):
    if THEIR_SPACES.get(cls.__name__) is None:
        THEIR_SPACES.register(cls)
    combined = TheirFactory().get_search_space([(cls.__name__, {"input_size": 32}), (cls.__name__, {})])
    space = cls()
    assert combined.range_table() == space.range_table() * 2
    assert combined.init_tokens() == space.init_tokens() * 2
    builders = combined.token2arch(combined.init_tokens())
    assert len(builders) == 2
    sizes = {"init_channels": 2, "layers": 5}
    networks = [builder(num_classes=3, **sizes) for builder in (builders[0], space.token2arch())]
    assert [p.shape for p in networks[0].parameters()] == [p.shape for p in networks[1].parameters()]
