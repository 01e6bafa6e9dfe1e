"""Regularised evolution: a random start, tournaments, one mutation, and the oldest always leaves."""

import collections

import numpy as np
import pytest

from paddle_darts.controllers import RandomController, RegularizedEvolutionController, SearchSpaceExhausted

TABLE = [5] * 6


def value(tokens):
    return sum(tokens) / 24


def played(steps, **options):
    controller = RegularizedEvolutionController(TABLE, seed=0, **options)
    for _ in range(steps):
        tokens = controller.next_tokens()
        controller.update(tokens, value(tokens))
    return controller


def distance(a, b):
    return sum(x != y for x, y in zip(a, b, strict=True))


def test_the_oldest_leaves_even_if_it_is_the_best():
    controller = played(0, population_size=3)
    for number, reward in enumerate([0.9, 0.1, 0.2, 0.3]):
        controller.update([number, 0, 0, 0, 0, 0], reward)
    assert [tokens[0] for tokens, _ in controller.population] == [1, 2, 3]
    assert controller.max_reward == 0.9


def test_the_start_is_random_and_the_rest_are_children_of_members():
    controller = RegularizedEvolutionController(TABLE, 8, 2, repeats=True, seed=1)
    start = [controller.next_tokens() for _ in range(8)]
    assert np.mean([distance(a, b) for a in start for b in start if a is not b]) > 3  # 4.8 when independent
    for tokens in start:
        controller.update(tokens, value(tokens))
    for _ in range(30):
        members = [tokens for tokens, _ in controller.population]
        child = controller.next_tokens()
        assert min(distance(child, member) for member in members) == 1
        controller.update(child, value(child))


@pytest.mark.parametrize("sample_size", [1, 2, 5])
def test_the_parent_wins_a_tournament(sample_size):
    """With replacement: member number r of n (from the worst) wins with (r^s - (r-1)^s) / n^s."""
    wins, size, draws = collections.Counter(), 4, 3000
    controller = RegularizedEvolutionController([100] * 4, size, sample_size, repeats=True, seed=2)
    members = [[25 * number] * 4 for number in range(size)]
    for number, tokens in enumerate(members):
        controller.next_tokens()
        controller.update(tokens, number)
    for _ in range(draws):
        child = controller.next_tokens()
        wins[[distance(child, member) for member in members].index(1)] += 1
    for rank in range(1, size + 1):
        expected = (rank**sample_size - (rank - 1) ** sample_size) / size**sample_size
        assert wins[rank - 1] / draws == pytest.approx(expected, abs=0.045)


def test_a_mutation_changes_one_token_to_any_other_value():
    controller = RegularizedEvolutionController(([0, 2, 0], [1, 5, 4]), 1, 1, repeats=True, seed=0)
    controller.update(controller.next_tokens(), 0.0)
    seen = collections.Counter(tuple(controller.next_tokens([0, 3, 1])) for _ in range(3000))
    # the first token has one value only; the others are chosen equally often, and so are their values
    expected = {(0, 2, 1): 1 / 4, (0, 4, 1): 1 / 4, (0, 3, 0): 1 / 6, (0, 3, 2): 1 / 6, (0, 3, 3): 1 / 6}
    assert set(seen) == set(expected)
    for tokens, share in expected.items():
        assert seen[tokens] / 3000 == pytest.approx(share, abs=0.04)


def test_repeats_are_the_papers_algorithm():
    controller = RegularizedEvolutionController(([0, 0], [2, 2]), 2, 1, repeats=True, seed=0)
    found = []
    for _ in range(40):
        found.append(tuple(controller.next_tokens()))
        controller.update(list(found[-1]), 0.0)
    assert len(found) == 40 > len(set(found))
    unique = RegularizedEvolutionController(([0, 0], [2, 2]), 2, 1, seed=0)
    with pytest.raises(SearchSpaceExhausted):
        for _ in range(5):
            unique.update(unique.next_tokens(), 0.0)


def test_proposals_before_the_first_scores_are_random():
    controller = RegularizedEvolutionController(TABLE, 2, 1, seed=0)
    waiting = [controller.next_tokens() for _ in range(20)]  # twenty clients ask before one answers
    assert len({tuple(tokens) for tokens in waiting}) == 20
    controller.update(waiting[3], 1.0)
    assert distance(controller.next_tokens(), waiting[3]) == 1


@pytest.mark.parametrize("repeats", [False, True])
def test_evolution_climbs_where_random_search_does_not(repeats):
    """The best of 300 of 15,625 on a slope: 0.85 by chance."""
    best = {"evolution": [], "random": []}
    for seed in range(8):
        controllers = {
            "evolution": RegularizedEvolutionController(TABLE, repeats=repeats, seed=seed),
            "random": RandomController(TABLE, seed=seed),
        }
        for name, controller in controllers.items():
            for _ in range(300):
                tokens = controller.next_tokens()
                controller.update(tokens, value(tokens))
            best[name].append(controller.max_reward)
    assert np.mean(best["evolution"]) > 0.94 and np.mean(best["random"]) < 0.9


@pytest.mark.parametrize("options", [{"population_size": 0}, {"sample_size": 0}, {"sample_size": 2.5}])
def test_sizes_that_cannot_be(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be an integer of at least 1"):
        RegularizedEvolutionController(TABLE, **options)
