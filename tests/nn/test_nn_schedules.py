"""Schedules at their edges; the recorded arrays of the official programs are in tests/parity."""

import math
from itertools import pairwise

import pytest

from paddle_darts.errors import ConfigError
from paddle_darts.nn import schedules
from paddle_darts.nn.schedules import LR_SCHEDULES, cosine, drop_path_prob, exponential, learning_rate, linear, warm_up


def test_cosine_from_base_to_minimum():
    assert cosine(0, 50, 0.025, 0.001) == 0.025
    assert cosine(50, 50, 0.025, 0.001) == pytest.approx(0.001, abs=1e-12)
    assert cosine(25, 50, 0.025, 0.001) == pytest.approx(0.013)
    assert cosine(49, 50, 0.025, 0.001) == pytest.approx(1.023679e-03, rel=1e-6)
    assert cosine(0, 1, 0.1) == 0.1


@pytest.mark.parametrize("epochs", [1, 2, 7, 50])
def test_cosine_decays_in_every_epoch(epochs):
    rates = [cosine(e, epochs, 0.1, 0.01) for e in range(epochs)]
    assert all(a > b for a, b in pairwise(rates)) and min(rates) > 0.01


def test_exponential_by_periods():
    assert [exponential(e, 1.0, 0.5, 2) for e in range(5)] == [1, 1, 0.5, 0.5, 0.25]


def test_linear_slows_down_in_the_last_five_epochs():
    rates = [linear(e, 250, 0.5) for e in range(250)]
    assert rates[0] == 0.5
    assert rates[244] == pytest.approx(0.5 / 245) and rates[245] == pytest.approx(0.5 / 245)
    assert rates[249] == pytest.approx(0.5 / (5 * 245))
    assert all(r > 0 for r in rates)


@pytest.mark.parametrize("epochs", [1, 2, 5, 6])
def test_linear_of_few_epochs_stays_defined(epochs):
    rates = [linear(e, epochs, 0.5) for e in range(epochs)]
    assert rates[0] == 0.5 and all(a >= b > 0 for a, b in pairwise(rates))


def test_warm_up_rules():
    assert [warm_up(e, 0.4, 0.5) for e in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.4])
    assert [warm_up(e, 0.4, 0.5, "scale") for e in range(6)] == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4, 0.4])
    assert warm_up(0, 0.4, 0.5, epochs=0) == 0.4


def test_drop_path_starts_at_zero_and_never_reaches_its_end():
    values = [drop_path_prob(e, 4, 0.2) for e in range(4)]
    assert values == pytest.approx([0, 0.05, 0.1, 0.15])
    assert drop_path_prob(0, 1, 0.3) == 0


@pytest.mark.parametrize("name", LR_SCHEDULES)
def test_every_schedule_by_name(name):
    rates = [learning_rate(name, e, 20, 0.1, 0.01, 0.9, 2) for e in range(20)]
    assert rates[0] == pytest.approx(0.1) and all(math.isfinite(r) and 0 < r <= 0.1 + 1e-12 for r in rates)
    expected = {
        "cosine": cosine(7, 20, 0.1, 0.01),
        "exponential": exponential(7, 0.1, 0.9, 2),
        "linear": linear(7, 20, 0.1),
        "constant": 0.1,
    }
    assert rates[7] == expected[name]


def test_unknown_schedule_names_the_nearest():
    with pytest.raises(ConfigError, match="'cosin'; did you mean 'cosine'"):
        schedules.learning_rate("cosin", 0, 10, 0.1)
