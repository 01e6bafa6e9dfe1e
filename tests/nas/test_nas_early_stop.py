"""MedianStop and the small helpers."""

from __future__ import annotations

import io
import json
import logging
import math
import types
from typing import Any

import pytest
from slim_models import PlainModel

from paddle_darts.errors import ConfigError
from paddle_darts.nas import EarlyStopBase, MedianStop, count_parameters_in_MB, get_logger, lock, unlock


def judge(stop: MedianStop, trials: list[list[float]]) -> list[list[str]]:
    """Each trial to its end, or until it is bad."""
    verdicts = []
    for step, results in enumerate(trials):
        verdicts.append([])
        for result in results:
            verdicts[-1].append(stop.get_status(step, result, len(results)))
            if verdicts[-1][-1] == "BAD":
                break
    return verdicts


def test_the_first_trial_is_good_and_worse_ones_are_bad() -> None:
    stop = MedianStop(None, 1)
    trials = [[0.1, 0.2, 0.3], [0.05, 0.9, 0.9], [0.1, 0.16, 0.4], [0.1, 0.14, 0.9], [0.2, 0.3, 0.19]]
    # running means of trial 0: 0.1, 0.15, 0.2; trial 2 adds 0.1, 0.13, 0.22
    assert judge(stop, trials) == [
        ["GOOD"] * 3,
        ["BAD"],
        ["GOOD"] * 3,
        ["GOOD"] * 3,
        ["GOOD", "GOOD", "BAD"],
    ]
    assert set(stop.history["completed"]) == {"0", "2", "3"}
    assert stop.history["completed"]["0"] == pytest.approx([0.1, 0.15, 0.2])


@pytest.mark.parametrize("mode, limit, better", [("maximize", 2.0, 1), ("maxmize", 2.0, 1), ("minimize", 3.0, -1)])
def test_of_an_even_number_the_worse_middle_one_counts(mode: str, limit: float, better: int) -> None:
    """Results 1 ... 4, finished; the worse of 2 and 3 is 2 where larger is better, else 3."""
    stop = MedianStop(None, 1, mode)
    stop.history["completed"].update({str(i): [float(i)] for i in range(1, 5)})
    assert stop.get_status(10, limit, 5) == "GOOD"
    assert stop.get_status(11, limit - 0.01 * better, 5) == "BAD"
    assert stop.get_status(12, limit + 0.01 * better, 5) == "GOOD"


def test_before_the_start_epoch_everything_is_good() -> None:
    stop = MedianStop(None, 3)
    judge(stop, [[1.0] * 4])
    assert [stop.get_status(1, 0.0, 4) for _ in range(3)] == ["GOOD", "GOOD", "BAD"]


def test_without_finished_trials_running_ones_are_compared() -> None:
    stop = MedianStop(None, 1)
    assert [stop.get_status(trial, result, 5) for trial, result in enumerate([0.5, 0.6, 0.4, 0.5])] == [
        "GOOD",
        "GOOD",
        "BAD",
        "GOOD",
    ]


def test_only_trials_that_came_as_far_count() -> None:
    stop = MedianStop(None, 1)
    judge(stop, [[1.0]])
    assert [stop.get_status(1, result, 3) for result in (1.0, 0.0, 0.0)] == ["GOOD"] * 3


@pytest.mark.parametrize("result", [math.nan, math.inf, -math.inf])
def test_a_trial_that_diverges_is_bad(result: float) -> None:
    stop = MedianStop(None, 9)
    assert stop.get_status(0, result, 5) == "BAD"
    assert stop.history == {"running": {}, "completed": {}}


def test_the_history_is_in_the_strategy_whatever_it_is() -> None:
    strategy = types.SimpleNamespace()
    judge(MedianStop(strategy, 1), [[0.5, 0.5], [0.9]])
    assert json.loads(json.dumps(strategy.trial_history)) == strategy.trial_history
    # another judge of the same strategy goes on with it
    assert MedianStop(strategy, 1).get_status(7, 0.4, 2) == "BAD"
    assert MedianStop(types.SimpleNamespace(), 1).get_status(7, 0.4, 2) == "GOOD"


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="unknown mode of MedianStop 'maximum'; did you mean"):
        MedianStop(None, 1, "maximum")
    with pytest.raises(ConfigError, match="start_epoch must be an integer"):
        MedianStop(None, 1.5)
    for arguments in ((-1, 0.5, 3), (0, 0.5, 0)):
        with pytest.raises(ConfigError):
            MedianStop(None, 1).get_status(*arguments)
    with pytest.raises(TypeError, match="abstract"):
        EarlyStopBase()


# ------------------------------------------------------------------------------------------ helpers
def test_a_logger_writes_every_line_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    first = get_logger("test_nas.once", logging.INFO)
    again = get_logger("test_nas.once", logging.WARNING, fmt="<%(message)s>")
    again.info("quiet")
    again.warning("loud")
    assert first is again and len(again.handlers) == 1
    assert stream.getvalue() == "<loud>\n"


def test_parameters_are_counted_in_millions() -> None:
    model = PlainModel()
    trained = sum(p.size for p in model.parameters() if not p.stop_gradient)
    assert count_parameters_in_MB(model.parameters()) == pytest.approx(trained / 1e6)
    model.classifier.weight.name = "auxiliary_weight"
    assert count_parameters_in_MB(model.parameters()) == pytest.approx((trained - 32) / 1e6)


def test_files_can_be_locked(tmp_path: Any) -> None:
    with open(tmp_path / "file", "w") as file:
        lock(file)
        unlock(file)
