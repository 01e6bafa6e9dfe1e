"""Every method through the engine: exact resume from any position, and what each leaves behind."""

from __future__ import annotations

import json
import random
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_methods import BRIEF, RUNS, STORIES, PreferSkips, Whole, all_moments, settings_of, with_interruptions
from engine_runs import (
    SEARCH,
    assert_same_outcome,
    leftovers,
    position,
    posix,
    rows,
    run_tool,
    searcher,
    start_tool,
    step_seconds,
    stop_after,
    write_digits,
)

from paddle_darts.engine.parsing import read_recipe
from paddle_darts.engine.recipes import search_settings
from paddle_darts.genotypes import Genotype, genotype
from paddle_darts.methods import GRADIENT_BASED, METHODS
from paddle_darts.resources import find_config

GRADIENT_NAMES = [method.name for method in GRADIENT_BASED]


def test_every_method_has_a_run() -> None:
    assert RUNS.keys() == STORIES.keys() == METHODS.keys()


@posix
@pytest.mark.parametrize("name", METHODS)
def test_interrupted_everywhere(name: str, whole: Whole, tmp_path: Path) -> None:
    """A run that is stopped after every single move ends like the one that was left alone, bit by bit."""
    reference, steps = whole(name)
    run_dir = tmp_path / "run"
    assert sorted(with_interruptions(run_dir, settings_of(name))) == all_moments(steps)
    assert_same_outcome(reference, run_dir)


@pytest.mark.parametrize("name", METHODS)
def test_history_tells_the_story(name: str, whole: Whole) -> None:
    run_dir, steps = whole(name)
    history = rows(run_dir)
    assert [row["epoch"] for row in history] == sorted(steps)
    for row in history:
        found = None if row["genotype"] is None else genotype(row["genotype"])
        for kind, key in (("normal", "skip_share"), ("reduce", "skip_share_reduce")):
            edges = () if found is None else getattr(found, kind)
            expected = None if found is None else sum(edge.op == "skip_connect" for edge in edges) / len(edges)
            assert row[key] == (None if expected is None else pytest.approx(expected, abs=1e-4))
    for key, expected in STORIES[name].items():
        assert [row[key] for row in history] == pytest.approx(expected), key


def test_the_batch_of_sgas_grows(whole: Whole) -> None:
    """48 images in batches of 24, 48, 72 and 96, as edges are settled one after the other."""
    run_dir, steps = whole("sgas")
    assert steps == {0: 2, 1: 1, 2: 1, 3: 1}
    for kind in ("normal", "reduce"):
        left = [row[f"undecided_{kind}"] for row in rows(run_dir)]
        assert left == sorted(left, reverse=True) and left[0] == 4 and left[-1] == 0
        assert all(row[f"decided_{kind}"] for row in rows(run_dir))


def read(path: Path) -> Genotype | None:
    """A genotype file of a run; None for one that says that nothing was found."""
    return genotype(path) if json.loads(path.read_text())["genotype"] is not None else None


def test_genotypes_by_limit(whole: Whole) -> None:
    """P-DARTS writes one file per limit of skip connections; the recipe's limit of 2 is the main one."""
    run_dir, _ = whole("p_darts")
    found = {path.name: read(path) for path in run_dir.glob("genotype_*.json")}
    assert found.keys() == {f"genotype_max_skip_{limit}.json" for limit in range(5)}
    for limit in range(5):
        cell = found[f"genotype_max_skip_{limit}.json"]
        assert cell is None or cell.count("skip_connect", "normal") <= limit
    assert found["genotype_max_skip_2.json"] == read(run_dir / "genotype.json") is not None


@pytest.mark.parametrize("reached", [True, False])
def test_genotypes_by_rule(reached: bool, whole: Whole, tmp_path: Path) -> None:
    """FairDARTS writes one file per rule, empty ones where no operation reaches the threshold."""
    run_dir = whole("fair_darts")[0] if reached else tmp_path / "run"
    if not reached:
        searcher(run_dir, [], **{**settings_of("fair_darts"), "op_threshold": 0.99}).run()
    found = {path.name: read(path) for path in run_dir.glob("genotype_*.json")}
    rules = ("darts", "threshold_sparse", "threshold_edge")
    assert found.keys() == {f"genotype_{rule}.json" for rule in rules}
    assert found["genotype_threshold_sparse.json"] == read(run_dir / "genotype.json")
    assert found["genotype_darts.json"] is not None
    assert [found[f"genotype_{rule}.json"] is not None for rule in rules[1:]] == [reached] * 2
    assert [row["skip_share"] is None for row in rows(run_dir)] == [not reached] * 2


@pytest.mark.parametrize("name", GRADIENT_NAMES)
def test_collapse_is_noticed_and_prevented(name: str, tmp_path: Path) -> None:
    settings = {**settings_of(name), "batch_size": 48, "epochs": 1, **BRIEF.get(name, {})}
    for limit in (None, 1):
        run_dir = tmp_path / str(limit)
        searcher(run_dir, [PreferSkips()], max_skip_connect=limit, **settings).run()
        found, last = read(run_dir / "genotype.json"), rows(run_dir)[-1]
        assert found is not None and str(found) == last["genotype"]
        assert found.count("skip_connect", "reduce") == 4 and last["skip_share_reduce"] == 1.0
        warning = "WARNING the normal cell has 4 skip connections: the search may be collapsing"
        assert (warning in (run_dir / "log.txt").read_text()) == (limit is None)
        assert found.count("skip_connect", "normal") == (4 if limit is None else 1)
        assert last["skip_share"] == (1.0 if limit is None else 0.25)
        assert len(found.normal) == 4 and not found.contains_none


@pytest.mark.parametrize("name", METHODS)
def test_official_settings(name: str, tmp_path: Path) -> None:
    """They replace defaults, and neither what the recipe nor what the user gives."""
    path = f"search/{name}_cifar10.yml"
    assert find_config(path) or name not in GRADIENT_NAMES
    recipe = read_recipe(path) if find_config(path) else {}
    clean, official = ({"method": name, "fidelity": fidelity} for fidelity in ("clean", "official"))
    expected = METHODS[name].official
    before, after = flat(clean), flat(official)
    changed = {key for key in after if after[key] != before[key]} - {"fidelity"}
    assert changed == {key for key in expected if key not in recipe}
    assert all(after[key] == recipe.get(key, value) for key, value in expected.items())
    for key in expected:
        assert flat({**official, key: before[key]})[key] == before[key]
    search = searcher(tmp_path / "run", [], **{**settings_of(name), "fidelity": "official"})
    used = {**search.config, **asdict(search.method.options)}
    assert {key: used[key] for key in expected} == {key: after[key] for key in expected}


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """All settings of a search and of its method."""
    config, options = search_settings(settings)
    return {**asdict(config), **asdict(options)}


@posix
def test_stages_killed_at_random_moments(tmp_path: Path) -> None:
    """P-DARTS in processes of its own, killed in every stage, with a checkpoint after every step."""
    data = write_digits(tmp_path / "digits")
    recipe = tmp_path / "recipe.yml"
    given = {**SEARCH, **settings_of("p_darts"), "dataset": "folder", "data": str(data), "batch_size": 8}
    recipe.write_text(yaml.safe_dump({**given, "save_minutes": 0.0}))
    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    status, output = run_tool("train_search", f"--config={recipe}", f"--run_dir={whole}")
    assert status == 0, output
    draw, argv = random.Random(11), [f"--config={recipe}", f"--run_dir={run_dir}"]
    # an epoch, which is a stage, has 7 positions: 6 steps and its end
    for positions in (draw.randint(2, 5), draw.randint(5, 9)):
        process = start_tool("train_search", *argv)
        output = stop_after(process, run_dir, positions, draw.uniform(0.0, 1.0) * step_seconds(whole), signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, output
        argv = [f"--run_dir={run_dir}", "--resume"]
    assert position(run_dir) > "epoch-0001"
    status, output = run_tool("train_search", *argv)
    assert status == 0, output
    assert_same_outcome(whole, run_dir)
    assert leftovers(run_dir) == []
