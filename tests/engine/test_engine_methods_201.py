"""Every method through the engine in the space of NAS-Bench-201, and the methods without a supernet in both."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
import yaml
from engine_methods import RUNS_201, SPACES, STORIES_201, Whole, all_moments, settings_of, with_interruptions
from engine_runs import (
    SEARCH,
    Crash,
    CrashAfter,
    assert_same_outcome,
    leftovers,
    position,
    posix,
    resumed,
    rows,
    run_tool,
    searcher,
    start_tool,
    step_seconds,
    stop_after,
    write_digits,
)

from paddle_darts.genotypes import NasBench201Genotype, genotype
from paddle_darts.methods import METHODS, SAMPLE_BASED
from paddle_darts.spaces.nas_bench_201 import architecture_index

SPACE = "nas_bench_201"
#: Stages, decisions, dropped operations and populations differ most in what they must bring through a stop.
EVERYWHERE = ("darts", "p_darts", "sgas", "dr_nas", "random_search", "regularized_evolution")
SAMPLED = [method.name for method in SAMPLE_BASED]


def test_every_method_has_a_run() -> None:
    assert RUNS_201.keys() == STORIES_201.keys() == METHODS.keys()


@posix
@pytest.mark.parametrize("name", EVERYWHERE)
def test_interrupted_everywhere(name: str, whole: Whole, tmp_path: Path) -> None:
    reference, steps = whole(name, SPACE)
    assert sorted(with_interruptions(tmp_path / "run", settings_of(name, SPACE))) == all_moments(steps)
    assert_same_outcome(reference, tmp_path / "run")


@pytest.mark.parametrize("name", [name for name in METHODS if name not in EVERYWHERE])
def test_crashed_in_the_middle_of_an_epoch(name: str, whole: Whole, tmp_path: Path) -> None:
    reference, _ = whole(name, SPACE)
    run_dir = tmp_path / "run"
    with pytest.raises(Crash):
        # the fourth step, which ends the second epoch, is lost; the third is saved
        searcher(run_dir, [CrashAfter(4)], **settings_of(name, SPACE), save_minutes=0.0).run()
    assert position(run_dir) == "epoch-0001-step-000001"
    resumed(run_dir).run()
    assert_same_outcome(reference, run_dir)


@pytest.mark.parametrize("name", METHODS)
def test_history_tells_the_story(name: str, whole: Whole) -> None:
    run_dir, steps = whole(name, SPACE)
    history = rows(run_dir)
    assert [row["epoch"] for row in history] == sorted(steps)
    for row in history:
        found = None if row["genotype"] is None else genotype(row["genotype"])
        assert (found is None) == (row.get("candidates") == 0)
        expected = None if found is None else pytest.approx(found.count("skip_connect") / 6, abs=1e-4)
        assert row["skip_share"] == expected
        assert found is None or (isinstance(found, NasBench201Genotype) and architecture_index(found) < 15625)
        assert "skip_share_reduce" not in row and not any(key.startswith("true_") for key in row)
    for key, expected in STORIES_201[name].items():
        assert [row[key] for row in history] == pytest.approx(expected), key
    assert genotype(run_dir) == genotype(history[-1]["genotype"])


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", SAMPLED)
def test_the_best_candidate_is_what_was_found(name: str, space: str, whole: Whole) -> None:
    run_dir, _ = whole(name, space)
    history = rows(run_dir)
    last = settings_of(name, space).get("candidate_epochs", 1)
    scored = [(row["valid_top1"], row["candidate"]) for row in history if (row["epoch"] + 1) % last == 0]
    assert len({candidate for _, candidate in scored}) == len(scored) == history[-1]["candidates"]
    best = max(scored, key=lambda one: one[0])  # the first of equals
    assert history[-1]["genotype"] == best[1] == str(genotype(run_dir))
    assert (history[0]["genotype"] is None) == (last > 1), "nothing is found before a candidate is scored"
    # one file tells which operations the best candidates have
    table = rows(run_dir, "alphas.jsonl")[-1]["probabilities"]
    assert all(sum(edge) == pytest.approx(1) for kind in table.values() for edge in kind if any(edge))


@posix
def test_killed_at_random_moments(tmp_path: Path, name: str = "regularized_evolution") -> None:
    """In processes of their own, with a checkpoint after every step."""
    data, recipe = write_digits(tmp_path / "digits"), tmp_path / "recipe.yml"
    given = {**SEARCH, **settings_of(name, SPACE), "dataset": "folder", "data": str(data), "batch_size": 8}
    given.pop("arch_learning_rate")
    recipe.write_text(yaml.safe_dump({**given, "epochs": 4, "save_minutes": 0.0}))
    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    status, output = run_tool("train_search", f"--config={recipe}", f"--run_dir={whole}")
    assert status == 0, output
    draw, argv = random.Random(2), [f"--config={recipe}", f"--run_dir={run_dir}"]
    # an epoch has 7 positions: 6 steps and its end
    for positions in (draw.randint(2, 9), draw.randint(3, 9)):
        process = start_tool("train_search", *argv)
        output = stop_after(process, run_dir, positions, draw.uniform(0.0, 1.0) * step_seconds(whole), signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, output
        argv = [f"--run_dir={run_dir}", "--resume"]
    status, output = run_tool("train_search", *argv)
    assert status == 0, output
    assert_same_outcome(whole, run_dir)
    assert leftovers(run_dir) == []
