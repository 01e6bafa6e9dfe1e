"""What every controller of tokens promises: new, allowed tokens, exact resume, plain JSON, clear errors."""

import json
import math

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_darts.controllers import (
    EvolutionaryController,
    RandomController,
    RegularizedEvolutionController,
    SAController,
    SearchSpaceExhausted,
    Trial,
)
from paddle_darts.errors import ConfigError

TABLE = ([1, 0, -2, 0], [5, 4, 3, 6])
CONTROLLERS = {
    "annealing": lambda table=TABLE, **options: SAController(table, **options),
    "annealing_from": lambda table=TABLE, **options: SAController(
        table, init_tokens=list(table[0]) if isinstance(table, tuple) else [0] * len(table), **options
    ),
    "random": RandomController,
    "evolution": lambda table=TABLE, **options: RegularizedEvolutionController(table, 4, 2, **options),
}


@pytest.fixture(params=CONTROLLERS)
def make(request):
    built = CONTROLLERS[request.param]
    return lambda table=TABLE, **options: built(table, **options)


def reward(tokens):
    return -abs(sum(tokens) - 6) / 7


def play(controller, steps):
    found = []
    for _ in range(steps):
        found.append(controller.next_tokens())
        controller.update(found[-1], reward(found[-1]))
    return found


def test_proposals_are_in_range_and_new(make):
    controller = make(seed=0)
    assert isinstance(controller, EvolutionaryController)
    found = play(controller, 60)
    assert len({tuple(tokens) for tokens in found}) == 60
    for tokens in found:
        assert all(type(token) is int for token in tokens)
        assert all(low <= token < high for token, low, high in zip(tokens, *TABLE, strict=True))


def test_tokens_that_were_only_scored_are_not_proposed(make):
    controller = make(([0, 0], [2, 2]), seed=0)
    controller.update([1, 1], 0.5)
    found = [controller.next_tokens() for _ in range(3)]
    assert sorted(found) == [[0, 0], [0, 1], [1, 0]]


def test_a_whole_space_is_proposed_before_it_is_exhausted(make):
    controller = make(([0, 0, 0], [2, 3, 2]), seed=1)
    assert len({tuple(tokens) for tokens in play(controller, 12)}) == 12
    with pytest.raises(SearchSpaceExhausted, match="12 of 12 token lists are known"):
        controller.next_tokens()
    # it can still be asked what it found
    assert reward(controller.best_tokens) == controller.max_reward


def test_the_same_seed_gives_the_same_search(make):
    assert play(make(seed=7), 30) == play(make(seed=7), 30) != play(make(seed=8), 30)


def test_a_list_of_highs_is_a_range_table(make):
    assert play(make([4, 4, 4], seed=3), 20) == play(make(([0, 0, 0], [4, 4, 4]), seed=3), 20)
    assert make([4, 4], seed=0).range_table == ([0, 0], [4, 4])


def test_the_constraint_is_honoured(make):
    def even(tokens):
        return sum(tokens) % 2 == 0

    controller = make(seed=0, constrain_func=even)
    assert all(even(tokens) for tokens in play(controller, 60))
    impossible = make(seed=0, constrain_func=lambda tokens: False)
    with pytest.raises(SearchSpaceExhausted, match="meet the constraint"):
        impossible.next_tokens()


def test_what_a_constraint_or_a_caller_does_to_tokens_has_no_effect(make):
    def rude(tokens):
        tokens[0] = 99
        return True

    controller, polite = make(seed=2, constrain_func=rude), make(seed=2)
    for _ in range(20):
        tokens = controller.next_tokens()
        assert tokens == polite.next_tokens()
        given = list(tokens)
        controller.update(given, reward(tokens))
        polite.update(tokens, reward(tokens))
        for mine in (tokens, given, controller.best_tokens, controller.current_tokens, controller.history[-1].tokens):
            mine[0] = 77
    assert all(tokens[0] not in (77, 99) for tokens, _ in controller.history)


def test_best_current_and_history(make):
    controller = make(seed=5)
    assert controller.best_tokens is None and controller.max_reward == -math.inf and controller.history == []
    found = play(controller, 25)
    assert controller.history == [(tokens, reward(tokens)) for tokens in found]
    assert all(isinstance(trial, Trial) for trial in controller.history)
    best = max(controller.history, key=lambda trial: trial.reward)
    assert (controller.best_tokens, controller.max_reward) == best
    assert controller.current_tokens == found[-1]


# ------------------------------------------------------------------------------------------ state
@pytest.mark.parametrize("stop", [0, 1, 3, 9, 30])
def test_a_resumed_controller_proposes_what_the_other_one_would(make, stop):
    original = make(seed=11)
    play(original, stop)
    waiting = original.next_tokens()  # proposed, not scored yet
    document = json.dumps(original.state_dict(), allow_nan=False)
    other = make(seed=12, max_try_times=17)
    play(other, 5)
    other.load_state_dict(json.loads(document))
    assert other.state_dict() == original.state_dict()
    for controller in (original, other):
        controller.update(waiting, reward(waiting))
    assert play(original, 40) == play(other, 40)
    assert other.state_dict() == original.state_dict()
    assert (other.best_tokens, other.max_reward) == (original.best_tokens, original.max_reward)


def test_a_resumed_controller_under_a_constraint(make):
    """The constraint is not part of the state; with the same one the search goes on alike."""

    def odd(tokens):
        return sum(tokens) % 2 == 1

    original, other = make(seed=1, constrain_func=odd), make(seed=2, constrain_func=odd)
    play(original, 25)
    other.load_state_dict(json.loads(json.dumps(original.state_dict())))
    assert play(original, 50) == play(other, 50)


def test_a_state_is_a_copy(make):
    controller = make(seed=0)
    play(controller, 10)
    state, text = controller.state_dict(), json.dumps(controller.state_dict())
    play(controller, 10)
    assert json.dumps(state) == text


def test_states_of_others_are_refused(make):
    controller = make(seed=0)
    play(controller, 5)
    good, before = controller.state_dict(), controller.state_dict()
    bad = [
        {**good, "controller": "OtherController"},
        {**good, "schema": 2},
        {**good, "range_table": [[0, 0], [3, 3]]},
        {**good, "rng": ["MT19937", [1, 2], 3, 0, 0.0]},
        {**good, "best_tokens": [9, 9, 9, 9]},
        {**good, "history": [[[1, 0, 0, 0], math.nan]]},
        {key: value for key, value in good.items() if key != "searched"},
        {},
        [],
    ]
    for state in bad:
        with pytest.raises(ConfigError):
            controller.load_state_dict(state)
        assert controller.state_dict() == before
    with pytest.raises(ConfigError, match=r"the range table \[\[0, 0\], \[3, 3\]\], not of"):
        controller.load_state_dict(bad[2])


def test_a_reset_starts_the_same_search_again(make):
    controller = make(seed=3)
    start = controller.state_dict()
    found = play(controller, 20)
    controller.reset()
    assert controller.state_dict() == start
    assert play(controller, 20) == found
    controller.reset(([0, 0], [9, 9]), lambda tokens: tokens[0] > 4)
    assert controller.history == [] and controller.best_tokens is None
    assert all(len(tokens) == 2 and tokens[0] > 4 for tokens in play(controller, 15))


# ------------------------------------------------------------------------------------------ garbage
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), "0.5", None, [0.1], True, 1j])
def test_a_reward_is_a_finite_number(make, value):
    controller = make(seed=0)
    tokens = controller.next_tokens()
    before = controller.state_dict()
    with pytest.raises(ValueError, match=r"a reward is (one|a finite) number, got "):
        controller.update(tokens, value)
    assert controller.state_dict() == before


def test_the_error_names_the_reward(make):
    for value, name in ((math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")):
        with pytest.raises(ValueError, match=f"finite number, got {name}"):
            make(seed=0).update([1, 0, 0, 0], value)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.float64(0.5), np.array([0.5]), np.array(0.5)])
def test_numbers_of_other_libraries_are_rewards(make, value):
    controller = make(seed=0)
    controller.update([1, 0, 0, 0], value)
    assert type(controller.max_reward) is float and controller.max_reward == float(np.asarray(value).reshape(-1)[0])


@pytest.mark.parametrize("shape", [[], [1]])
def test_a_tensor_is_a_reward(make, shape):
    controller = make(seed=0)
    controller.update([1, 0, 0, 0], paddle.full(shape, 0.25))
    assert controller.max_reward == 0.25


@pytest.mark.parametrize(
    "tokens, message",
    [
        ([1, 0, 0], r"expected 4 tokens, got 3: \[1, 0, 0\]"),
        ([1, 0, 0, 0, 0], "expected 4 tokens, got 5"),
        ([1, 0, 3, 0], r"token 2 must be one of -2 \.\.\. 2, got 3"),
        ([0, 0, 0, 0], r"token 0 must be one of 1 \.\.\. 4, got 0"),
        ([1, 0, 0, 0.0], r"token 3 must be an integer of 0 \.\.\. 5, got 0.0"),
        ([1, True, 0, 0], "token 1 must be an integer"),
        ("1000", "tokens are a list of 4 integers, got '1000'"),
        (7, "tokens are a list of 4 integers, got 7"),
    ],
)
def test_tokens_that_are_none(make, tokens, message):
    controller = make(seed=0)
    with pytest.raises(ValueError, match=message):
        controller.update(tokens, 0.5)
    with pytest.raises(ValueError, match=message):
        controller.next_tokens(tokens)
    assert controller.history == []


@pytest.mark.parametrize("options", [{"iter": -1}, {"iter": 1.5}, {"client_num": 0}, {"client_num": "2"}])
def test_counts_that_are_none(make, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be an integer of at least"):
        make(seed=0).update([1, 0, 0, 0], 0.5, **options)


@pytest.mark.parametrize(
    "table", [[], ([], []), ([0], [1, 2]), ([0, 2], [1, 2]), "55", 5, [1.5, 2], None, ([0], ["a"])]
)
def test_range_tables_that_are_none(table):
    for controller in (SAController, RandomController, RegularizedEvolutionController):
        with pytest.raises(ValueError, match=r"range.table"):
            controller(table)


def test_tokens_of_numpy_are_tokens(make):
    controller = make(seed=0)
    controller.update(np.array([1, 2, 0, 5]), 0.5)
    assert controller.best_tokens == [1, 2, 0, 5] and all(type(token) is int for token in controller.best_tokens)


# ------------------------------------------------------------------------------------------ any use
tables = st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 5)), min_size=1, max_size=4)
moves = st.lists(st.tuples(st.booleans(), st.floats(-1e6, 1e6)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(table=tables, moves=moves, name=st.sampled_from(sorted(CONTROLLERS)), seed=st.integers(0, 99))
def test_any_order_of_proposals_and_scores(table, moves, name, seed):
    table = ([low for low, _ in table], [low + span for low, span in table])
    size = math.prod(high - low for low, high in zip(*table, strict=True))
    controller, seen, waiting = CONTROLLERS[name](table, max_try_times=3000, seed=seed), set(), []
    for scores, value in moves:
        if scores and waiting:
            controller.update(waiting.pop(0), value)
            continue
        if len(seen) == size:
            with pytest.raises(SearchSpaceExhausted):
                controller.next_tokens()
            break
        tokens = controller.next_tokens()
        assert tuple(tokens) not in seen
        assert all(low <= token < high for token, low, high in zip(tokens, *table, strict=True))
        seen.add(tuple(tokens))
        waiting.append(tokens)
    document = json.loads(json.dumps(controller.state_dict(), allow_nan=False))
    other = CONTROLLERS[name](table, seed=seed + 1)
    other.load_state_dict(document)
    assert other.state_dict() == controller.state_dict()
