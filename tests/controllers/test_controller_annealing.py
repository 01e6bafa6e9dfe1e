"""Simulated annealing: PaddleSlim's proposals number by number, what is done where PaddleSlim leaves the process."""

import json
import math

import numpy as np
import pytest

from paddle_darts.controllers import SAController, SearchSpaceExhausted
from paddle_darts.errors import ConfigError

TABLE = ([0, 0, 0, 0], [5, 4, 3, 6])


def rising(tokens):
    return round(sum(tokens) / 14, 6)


def near_eight(tokens):
    return round(-abs(sum(tokens) - 8) / 14, 6)


CASES = {
    "A": (rising, {"init_tokens": [0, 0, 0, 0]}),
    "B": (near_eight, {"init_tokens": [2, 2, 2, 2], "init_temperature": 1.0}),
}
#: Proposals of PaddleSlim 2.6.0 after ``np.random.seed(seed)``, the best of them, and where the base differs.
TRACES = [
    ("A", 0, "0010 0013 0023 0223 4223 4220 3220 3225", "3225", {}),
    ("A", 1, "0000 0001 0301 1301 4301 4201 4001 4005", "4005", {"4201": "4301"}),
    ("B", 0, "2212 2213 2223 2220 2320 2300 3300 3100", "2213", {"3100": "3300"}),
    ("B", 1, "2022 2021 0021 0221 0225 0205 2205 2105", "2105", {}),
]


def tokens_of(text):
    return [int(digit) for digit in text]


@pytest.mark.parametrize("start", [{}, {"reward": -1, "max_reward": -1}], ids=["ours", "paddleslim"])
@pytest.mark.parametrize("case, seed, proposals, best, bases", TRACES)
def test_the_proposals_are_those_of_paddleslim(case, seed, proposals, best, bases, start):
    reward, options = CASES[case]
    controller = SAController(TABLE, 0.85, seed=seed, **options, **start)
    for step, expected in enumerate(proposals.split(), start=1):
        tokens = controller.next_tokens()
        assert tokens == controller.current_tokens == tokens_of(expected)
        controller.update(tokens, reward(tokens), step, 1)
        assert controller.accepted_tokens == tokens_of(bases.get(expected, expected))
    assert controller.best_tokens == tokens_of(best)
    assert controller.max_reward == reward(tokens_of(best))


def test_numpys_global_generator_is_left_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    controller = SAController(TABLE, init_tokens=[0, 0, 0, 0], seed=0)
    for _ in range(5):
        controller.update(controller.next_tokens(), 0.0)
    assert np.array_equal(before, np.random.get_state()[1])


def test_without_a_seed_every_controller_has_its_own():
    lists = [[SAController(TABLE, init_tokens=[0] * 4).next_tokens() for _ in range(1)] for _ in range(40)]
    assert any(found != lists[0] for found in lists)


def test_steps_are_counted_when_they_are_not_given():
    counted, given = (SAController(TABLE, init_tokens=[2] * 4, seed=1) for _ in range(2))
    for step in range(1, 9):
        tokens = counted.next_tokens()
        assert tokens == given.next_tokens()
        counted.update(tokens, near_eight(tokens))
        given.update(tokens, near_eight(tokens), step, 1)
    assert counted.state_dict() == given.state_dict()


def test_the_temperature_falls_with_steps_and_clients():
    controller = SAController(TABLE, 0.5, 8.0, init_tokens=[0] * 4, seed=0)
    controller.update([0, 0, 0, 0], 0.0, iter=2, client_num=1)
    assert controller.temperature() == 2.0 and controller.temperature(client_num=2) == 0.5
    controller.update([0, 0, 0, 1], 0.0, iter=1)  # a late answer does not warm up
    assert controller.temperature() == 2.0


@pytest.mark.parametrize(
    "options, expected", [({}, 10.0), ({"init_tokens": [0] * 4}, 1.0), ({"init_temperature": 3}, 3)]
)
def test_the_first_temperature(options, expected):
    assert SAController(TABLE, seed=0, **options).temperature() == expected


def test_how_often_a_worse_reward_is_accepted():
    """exp((reward - accepted) / T), with T = 0.5 * 0.8."""
    accepted = 0
    for seed in range(2000):
        controller = SAController(TABLE, 0.8, 0.5, init_tokens=[0] * 4, reward=0.6, seed=seed)
        controller.update([1, 1, 1, 1], 0.2, 1, 1)
        accepted += controller.accepted_tokens == [1, 1, 1, 1]
    expected = math.exp(-0.4 / 0.4)
    assert accepted / 2000 == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / 2000))


def test_after_thousands_of_steps_only_improvements_are_accepted():
    controller = SAController(TABLE, init_tokens=[0] * 4, seed=0)
    controller.update([0, 0, 0, 1], 0.5, iter=100_000, client_num=3)
    controller.update([0, 0, 0, 2], 0.4)
    assert controller.temperature() == 0.0 and controller.accepted_tokens == [0, 0, 0, 1]
    controller.update([0, 0, 0, 3], 0.5)  # equal ones always are
    assert controller.accepted_tokens == [0, 0, 0, 3]


def test_paddleslims_start_never_calls_a_score_below_minus_one_the_best():
    theirs = SAController(TABLE, init_tokens=[0] * 4, reward=-1, max_reward=-1, seed=0)
    ours = SAController(TABLE, init_tokens=[0] * 4, seed=0)
    for controller in (theirs, ours):
        controller.update([0, 0, 0, 1], -3.0)
    assert theirs.best_tokens is None and theirs.max_reward == -1
    assert ours.best_tokens == [0, 0, 0, 1] and ours.max_reward == -3.0


def test_a_control_token_is_what_is_changed():
    controller = SAController(TABLE, init_tokens=[0] * 4, seed=0)
    for _ in range(10):
        tokens = controller.next_tokens([4, 3, 2, 5])
        assert sum(a != b for a, b in zip(tokens, [4, 3, 2, 5], strict=True)) <= 1
    assert controller.accepted_tokens == [0] * 4


# ------------------------------------------------------------------------------------------ tries
def draws_until_new(seed):
    """How many tries the proposal [1] of the range [0, 2) takes from the known [0]: replayed with NumPy alone."""
    rng = np.random.RandomState(seed)
    count = 0
    while True:
        count += 1
        rng.random_sample()
        if rng.randint(0, 2) == 1:
            return count


@pytest.mark.parametrize("seed", range(12))
def test_tokens_that_are_found_at_the_last_try_count(seed):
    needed = draws_until_new(seed)

    def controller(tries):
        return SAController(([0], [2]), max_try_times=tries, init_tokens=[0], searched={"[0]": 0.5}, seed=seed)

    assert controller(needed).next_tokens() == [1]
    if needed > 1:
        with pytest.raises(SearchSpaceExhausted, match=rf"in {needed - 1} tries .* 1 of 2 token lists are known"):
            controller(needed - 1).next_tokens()


def test_forbidden_candidates_count_as_tries():
    asked = []
    controller = SAController(
        ([0], [1000]), max_try_times=7, init_tokens=[0], seed=0, constrain_func=lambda tokens: asked.append(tokens)
    )
    with pytest.raises(SearchSpaceExhausted):
        controller.next_tokens()
    assert len(asked) == 7
    assert controller.state_dict()["searched"] == {}  # forbidden ones are not known


def test_where_all_neighbours_are_known_the_search_goes_on_behind_them():
    """PaddleSlim ends the process here."""
    controller = SAController(([0, 0], [3, 3]), init_tokens=[0, 0], seed=0)
    found = [tuple(controller.next_tokens()) for _ in range(9)]
    assert len(set(found)) == 9
    assert set(found[:5]) == {(0, 0), (1, 0), (2, 0), (0, 1), (0, 2)}
    with pytest.raises(SearchSpaceExhausted):
        controller.next_tokens()


def test_forbidden_neighbours_are_gone_around():
    controller = SAController(([0, 0], [4, 2]), init_tokens=[0, 0], seed=0, constrain_func=lambda t: t != [0, 1])
    assert {tuple(controller.next_tokens()) for _ in range(7)} == {(a, b) for a in range(4) for b in range(2)} - {
        (0, 1)
    }


# ------------------------------------------------------------------------------------------ checkpoints
def test_every_update_writes_a_checkpoint_that_continues_the_search(tmp_path):
    folder = tmp_path / "new" / "checkpoints"
    controller = SAController(TABLE, init_tokens=[2] * 4, checkpoints=folder, seed=4)
    for _ in range(6):
        tokens = controller.next_tokens()
        controller.update(tokens, near_eight(tokens))
        other = SAController(TABLE, init_tokens=[2] * 4, seed=99)
        other.load_checkpoint(folder)
        assert other.state_dict() == controller.state_dict()
    assert [path.name for path in folder.iterdir()] == ["sanas.checkpoints"]
    for _ in range(5):
        tokens = controller.next_tokens()
        assert other.next_tokens() == tokens
        for one in (controller, other):
            one.update(tokens, near_eight(tokens))


THEIRS = {
    "_range_table": [[0, 0, 0, 0], [5, 4, 3, 6]],
    "_reduce_rate": 0.9,
    "_init_temperature": 2.0,
    "_max_try_times": 50000,
    "_reward": 0.25,
    "_tokens": [1, 0, 0, 0],
    "_constrain_func": None,
    "_max_reward": 0.5,
    "_best_tokens": [2, 0, 0, 0],
    "_iter": 7,
    "_searched": {"[1, 0, 0, 0]": 0.25, "[2, 0, 0, 0]": 0.5, "[3, 0, 0, 0]": -1},
    "_current_tokens": [3, 0, 0, 0],
}


def test_a_checkpoint_of_paddleslim_is_read(tmp_path):
    (tmp_path / "sanas.checkpoints").write_text(json.dumps(THEIRS))
    controller = SAController(TABLE, init_tokens=[0] * 4, seed=5)
    controller.load_checkpoint(tmp_path)
    assert controller.best_tokens == [2, 0, 0, 0] and controller.max_reward == 0.5
    assert controller.accepted_tokens == [1, 0, 0, 0] and controller.current_tokens == [3, 0, 0, 0]
    assert controller.temperature() == 2.0 * 0.9**7
    for _ in range(10):
        assert str(controller.next_tokens()) not in THEIRS["_searched"]
    json.dumps(controller.state_dict(), allow_nan=False)


@pytest.mark.parametrize("name", [key for key in THEIRS if key != "_constrain_func"])
def test_an_incomplete_checkpoint_of_paddleslim_is_refused(name):
    state = {key: value for key, value in THEIRS.items() if key != name}
    controller = SAController(TABLE, seed=0)
    before = controller.state_dict()
    with pytest.raises(ConfigError):
        controller.load_state_dict(state)
    assert controller.state_dict() == before


def test_a_checkpoint_that_is_missing_or_damaged(tmp_path):
    controller = SAController(TABLE, seed=0)
    with pytest.raises(ConfigError, match="no readable checkpoint"):
        controller.load_checkpoint(tmp_path)
    (tmp_path / "sanas.checkpoints").write_text('{"_range_table": [[0')
    with pytest.raises(ConfigError, match="no readable checkpoint"):
        controller.load_checkpoint(tmp_path)


# ------------------------------------------------------------------------------------------ settings
@pytest.mark.parametrize(
    "options, message",
    [
        ({"range_table": None}, "range_table is needed"),
        ({"reduce_rate": 0.0}, "reduce_rate must be above 0 and at most 1, got 0.0"),
        ({"reduce_rate": 1.5}, "reduce_rate"),
        ({"init_temperature": -1.0}, "init_temperature must be a finite number"),
        ({"init_temperature": math.nan}, "init_temperature"),
        ({"max_try_times": 0}, "max_try_times must be an integer of at least 1, got 0"),
        ({"init_tokens": [0, 0, 0, 6]}, r"token 3 must be one of 0 \.\.\. 5, got 6"),
        ({"best_tokens": [0, 0, 0]}, "expected 4 tokens, got 3"),
        ({"reward": math.nan}, "reward must be a number or minus infinity"),
        ({"iters": -1}, "iters must be an integer of at least 0"),
        ({"searched": {"0 0": 1.0}}, "searched: a key is the text of a list of tokens, got '0 0'"),
        ({"constrain_func": 3}, "constrain_func"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        SAController(**{"range_table": TABLE, **options})


def test_a_reset_with_other_tokens():
    controller = SAController(TABLE, init_tokens=[4, 3, 2, 5], seed=0)
    controller.update(controller.next_tokens(), 0.5)
    controller.reset(([0, 0], [3, 3]), init_tokens=[2, 2])
    assert controller.current_tokens == controller.accepted_tokens == [2, 2]
    assert controller.best_tokens is None and len(controller.next_tokens()) == 2
    controller.reset([7, 7, 7])
    assert controller.accepted_tokens is None and len(controller.next_tokens()) == 3
