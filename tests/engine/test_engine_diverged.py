"""Candidates that diverge: one of them costs a sample-based search nothing but itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import paddle
import pytest
from engine_methods import settings_of
from engine_runs import Crash, CrashAfter, assert_same_outcome, resumed, rows, searcher

from paddle_darts.engine import Dashboard, Pictures, SearchController
from paddle_darts.engine.batches import Evaluation
from paddle_darts.methods import SAMPLE_BASED, sampled

NAMES = [method.name for method in SAMPLE_BASED]
NAN = float("nan")


def search_of(run_dir: Path, name: str, callbacks: Any = (), **settings: Any) -> SearchController:
    """Three candidates of two epochs with two steps each."""
    return searcher(
        run_dir, callbacks, **{**settings_of(name, "nas_bench_201"), "epochs": 6, "candidate_epochs": 2, **settings}
    )


def poison(monkeypatch: pytest.MonkeyPatch, losses: set[int]) -> None:
    """The losses of these numbers, counted from 0 over all that are computed from now on, are NaN."""
    count, plain = iter(range(1000)), sampled.cross_entropy

    def poisoned(*args: Any) -> paddle.Tensor:
        loss = plain(*args)
        return loss * NAN if next(count) in losses else loss

    monkeypatch.setattr(sampled, "cross_entropy", poisoned)


@pytest.mark.parametrize("name", NAMES)
def test_the_search_goes_on_with_the_next_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, {5})  # the second step of the second candidate
    run_dir = tmp_path / "run"
    search = search_of(run_dir, name, [Dashboard(), Pictures()])
    search.run()
    history = rows(run_dir)
    assert [row.get("diverged", False) for row in history] == [False, False, True, True, False, False]
    rewards = [trial.reward for trial in search.method.controller.history]
    assert rewards == [history[1]["valid_top1"] / 100, 0.0, history[5]["valid_top1"] / 100]
    assert all(math.isfinite(row["train_loss"]) and math.isfinite(row["valid_loss"]) for row in history)
    # from then on it is a network that knows nothing
    assert history[3]["train_loss"] == pytest.approx(math.log(10)) == history[3]["valid_loss"]
    assert history[-1]["genotype"] in {history[1]["candidate"], history[5]["candidate"]} - {history[3]["candidate"]}
    assert " failed in on_" not in (run_dir / "log.txt").read_text() and (run_dir / "report.html").is_file()
    [warning] = [line for line in (run_dir / "log.txt").read_text().splitlines() if "it diverged" in line]
    assert f"candidate {history[2]['candidate']} has the training loss nan" in warning and "in epoch 2" in warning


@pytest.mark.parametrize("stop", [1, 2, 3], ids=["at once", "later", "next candidate"])
def test_a_search_that_stops_then_goes_on_the_same(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        poison(patched, {5})
        search_of(tmp_path / "whole", "regularized_evolution").run()
    with monkeypatch.context() as patched, pytest.raises(Crash):
        poison(patched, {5})
        # the step after the stop is lost
        search_of(tmp_path / "run", "regularized_evolution", [CrashAfter(6 + stop)], save_minutes=0.0).run()
    resumed(tmp_path / "run").run()
    assert_same_outcome(tmp_path / "whole", tmp_path / "run")


def test_a_gradient_that_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is that before the update: weights must not break because of the gradient of a finite one."""
    plain, count = sampled.gradients_or_none, iter(range(1000))

    def broken(*args: Any) -> list[Any]:
        found = plain(*args)
        return [g * float("inf") for g in found] if next(count) == 3 else found

    monkeypatch.setattr(sampled, "gradients_or_none", broken)
    search_of(tmp_path / "run", "random_search", save_minutes=0.0).run()
    history = rows(tmp_path / "run")
    assert [row.get("diverged", False) for row in history] == [False, True, False, False, False, False]


def test_an_evaluation_that_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is recorded as null, and the candidate is scored 0 whatever its accuracy."""
    measure = SearchController._measure

    def broken(self: SearchController, epoch: int) -> Evaluation:
        found = measure(self, epoch)
        return found._replace(loss=NAN, top1=100.0) if epoch == 3 else found

    monkeypatch.setattr(SearchController, "_measure", broken)
    search = search_of(tmp_path / "run", "simulated_annealing")
    search.run()
    history = rows(tmp_path / "run")
    assert history[3]["valid_loss"] is None and history[3]["diverged"]
    assert [trial.reward == 0 for trial in search.method.controller.history] == [False, True, False]
    assert history[-1]["genotype"] != history[3]["candidate"]


def test_nothing_is_found_where_all_of_them_diverge(tmp_path: Path) -> None:
    """A rate without any sense; nothing is made up."""
    run_dir = tmp_path / "run"
    result = search_of(run_dir, "random_search", learning_rate=1e38, grad_clip=0.0).run()
    assert result.genotype is None and [row["genotype"] for row in rows(run_dir)] == [None] * 6
    log = (run_dir / "log.txt").read_text()
    assert log.count("it diverged, is scored 0 and trained no further (learning_rate is 1e+38)") == 3
    assert "the derivation is empty: none of the 3 candidates so far has a score above 0" in log
