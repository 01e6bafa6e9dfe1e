"""What is compared, under which settings, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from leaderboard_made import TINY, write_made_table

from paddle_darts.engine.recipes import search_settings
from paddle_darts.errors import ConfigError, RunError
from paddle_darts.leaderboard import LeaderboardConfig
from paddle_darts.leaderboard.config import SHARED
from paddle_darts.leaderboard.entries import entry_names, plan, stored_entries
from paddle_darts.leaderboard.settings import keep_protocol, leaderboard_settings, seeds_of, threads_of
from paddle_darts.methods import METHODS, get_method, list_methods
from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.resources import resource_dir

RECIPES = sorted((resource_dir("configs") / "leaderboard").glob("*.yml"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_made_table(tmp_path)


@pytest.fixture
def settings(tmp_path: Path, table: Path) -> dict[str, Any]:
    return {**TINY, "nats_table": table, "out": tmp_path / "out"}


def config_of(settings: dict[str, Any], **more: Any) -> LeaderboardConfig:
    return leaderboard_settings({**settings, **more})


@pytest.mark.parametrize(
    ("given", "expected"),
    [(3, [0, 1, 2]), ("2", [0, 1]), ("4,", [4]), ("2,0,2", [2, 0]), ([5, 1], [5, 1]), ([7], [7])],
)
def test_seeds(settings: dict[str, Any], given: Any, expected: list[int]) -> None:
    assert seeds_of(config_of(settings, seeds=given)) == expected


@pytest.mark.parametrize("given", [0, -1, "x", "1,y", ",", "-1,2", []])
def test_wrong_seeds(settings: dict[str, Any], given: Any) -> None:
    with pytest.raises(ConfigError, match="seeds must be"):
        config_of(settings, seeds=given)


def test_all_are_the_registered_methods_and_the_variants(settings: dict[str, Any]) -> None:
    variants = {"darts_2nd": {"method": "darts", "unrolled": True}, "gdas": {"tau_max": 5.0}}
    config = config_of(settings, per_method=variants)
    assert entry_names(config) == [*list_methods(), "darts_2nd"]
    by_name = {entry.name: entry for entry in plan(config_of(settings, per_method=variants, seeds=1, epochs=60))}
    assert set(by_name) == {*METHODS, "darts_2nd"}
    assert by_name["darts_2nd"].method == "darts" and by_name["darts_2nd"].settings["unrolled"] is True
    assert by_name["darts"].settings["unrolled"] is False
    assert by_name["gdas"].settings["tau_max"] == 5.0


def test_seed_by_seed(settings: dict[str, Any], tmp_path: Path) -> None:
    entries = plan(config_of(settings, methods=["gdas", "darts"], seeds=2))
    assert [(e.name, e.seed) for e in entries] == [("gdas", 0), ("darts", 0), ("gdas", 1), ("darts", 1)]
    assert entries[1].path == tmp_path / "out" / "darts" / "seed0"
    assert [e.settings["seed"] for e in entries] == [0, 0, 1, 1]


def test_one_protocol_whatever_the_recipes_say(settings: dict[str, Any]) -> None:
    """P-DARTS' recipe has another batch size, PC-DARTS' another one again, most have the split of NATS-Bench."""
    config = config_of(settings, epochs=60, dataset="cifar10", split="contiguous")
    for entry in plan(config):
        for name in SHARED:
            expected = getattr(config, name)
            if name == "nats_table":
                expected = str(expected)
            assert entry.settings[name] == expected, (entry.name, name)


def test_the_rest_is_the_recipe_of_the_method(settings: dict[str, Any]) -> None:
    (entry,) = plan(config_of(settings, methods=["sgas"], seeds=1, dataset="cifar10", epochs=60))
    _, options = search_settings({"method": "sgas", "space": "nas_bench_201", "dataset": "cifar10"})
    assert {name: entry.settings[name] for name in vars(options)} == vars(options)


def test_every_method_has_the_same_budget(settings: dict[str, Any]) -> None:
    """In passes over halves of the data, stages included."""
    config = config_of(settings, epochs=60, seeds=1)
    for entry in plan(config):
        search, options = search_settings({k: v for k, v in entry.settings.items() if k != "seed"})
        method = get_method(entry.method)
        total = method.total_epochs(options, search.epochs)
        assert total * method.passes_per_epoch == 120, entry.name
    epochs = {entry.name: entry.settings["epochs"] for entry in plan(config)}
    assert (epochs["darts"], epochs["p_darts"], epochs["random_search"]) == (60, 20, 120)


def test_other_budgets(settings: dict[str, Any]) -> None:
    own = {"darts": {"epochs_scale": 0.5}, "p_darts": {"epochs": 7}, "gdas": {"epochs_scale": 1.5}}
    config = config_of(settings, epochs=20, per_method=own, methods=list(own), seeds=1)
    assert [entry.settings["epochs"] for entry in plan(config)] == [10, 7, 30]
    for wrong in (0, -1, "x", True):
        with pytest.raises(ConfigError, match="darts: epochs_scale must be a number above 0"):
            plan(config_of(settings, per_method={"darts": {"epochs_scale": wrong}}))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"methods": ["dart"]}, "unknown method 'dart'; did you mean 'darts'"),
        ({"methods": []}, "methods names none"),
        ({"per_method": {"dart": {"unrolled": True}}}, "per_method: unknown method 'dart'; did you mean 'darts'"),
        ({"per_method": {"x": {"method": "dart"}}}, "x: unknown method 'dart'"),
        ({"per_method": {"a/b": {"method": "darts"}}}, "the name of an entry has letters"),
        ({"per_method": {"darts": {"unroled": True}}}, "darts: settings: unknown setting 'unroled'; did you mean"),
        ({"per_method": {"gdas": {"unrolled": True}}}, "gdas: settings: unrolled is a setting of --method"),
        ({"common": {"afine": True}}, "unknown setting 'afine'; did you mean 'affine'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"jobs": 0}, "jobs must be at least 1, got 0"),
        ({"space": "darts"}, "only cells of nas_bench_201 have known accuracies, got space darts"),
        ({"space": "nas_bench_20"}, "nas_bench_201"),
        ({"nats_table": None}, "needs the true accuracy of all cells: give --nats_table FILE"),
        ({"metods": ["darts"]}, "unknown setting 'metods'; did you mean 'methods'"),
        ({"dataset": "digts"}, "unknown data set 'digts'; did you mean 'digits'"),
    ],
)
def test_refused(settings: dict[str, Any], more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan(config_of(settings, **more))
    assert message in str(error.value)


def test_settings_for_all(settings: dict[str, Any]) -> None:
    entries = plan(config_of(settings, common={"fidelity": "official"}, methods=["darts", "gdas"], seeds=1))
    assert [entry.settings["fidelity"] for entry in entries] == ["official"] * 2


def test_threads_are_shared_among_the_jobs(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paddle_darts.leaderboard.settings.available_cores", lambda: 8)
    settings.pop("threads")
    assert threads_of(config_of(settings, jobs=3)) == 2
    assert threads_of(config_of(settings, jobs=30)) == 1
    assert threads_of(config_of(settings, jobs=3, threads=5)) == 5


def test_a_leaderboard_goes_on_with_its_own_settings(settings: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(settings, seeds=[4], methods=["gdas"], per_method={"gdas": {"tau_max": 5.0}})
    keep_protocol(config)
    again = leaderboard_settings({"out": tmp_path / "out"})
    assert again == config
    keep_protocol(leaderboard_settings({"out": tmp_path / "out", "seeds": 2, "jobs": 2, "methods": ["darts"]}))
    stored = yaml.safe_load((tmp_path / "out" / "protocol.yml").read_text())
    assert (stored["seeds"], stored["jobs"], stored["methods"]) == (2, 2, ["darts"])
    with pytest.raises(RunError, match="was started with other settings") as error:
        keep_protocol(leaderboard_settings({"out": tmp_path / "out", "epochs": 5, "batch_size": 8}))
    assert "epochs: 2 -> 5" in str(error.value) and "batch_size: 256 -> 8" in str(error.value)
    assert "seeds" not in str(error.value)


def test_an_entry_that_has_begun_keeps_its_settings(settings: dict[str, Any], tmp_path: Path) -> None:
    (entry,) = plan(config_of(settings, methods=["gdas"], seeds=1))
    entry.prepare()
    (changed,) = plan(config_of(settings, methods=["gdas"], seeds=1, per_method={"gdas": {"tau_max": 5.0}}))
    changed.prepare()  # nothing has begun
    (entry.path / "config.yaml").write_text("method: gdas\n")
    changed.prepare()
    with pytest.raises(RunError, match=r"gdas seed 0 in .* other settings \(tau_max: 5.0 -> 10.0\)"):
        entry.prepare()
    assert [found.settings["tau_max"] for found in stored_entries(tmp_path / "out")] == [5.0]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes(recipe: Path, table: Path) -> None:
    """Every entry fits: schedules into the epochs, stages into the cells; the supernet of each can be built."""
    config = leaderboard_settings({"config": recipe, "nats_table": table})
    given = yaml.safe_load(recipe.read_text())
    assert all(getattr(config, name) == value for name, value in given.items())
    entries = [entry for entry in plan(config) if entry.seed == 0]
    assert {entry.method for entry in entries} == set(METHODS)
    for entry in entries:
        search, options = search_settings(dict(entry.settings))
        shape = {name: getattr(search, name) for name in ("space", "init_channels", "layers", "steps", "multiplier")}
        shape |= {"stem_multiplier": search.stem_multiplier, "num_classes": 10, "stem": "cifar"}
        spec = SupernetSpec(**shape, in_channels=1 if config.dataset == "digits" else 3)
        method = get_method(entry.method)
        total = method.total_epochs(options, search.epochs)
        built = method(spec, options, total, RandomSource(0))
        assert config.epochs * 0.9 <= total * method.passes_per_epoch / 2 <= config.epochs
        shortest = getattr(built, "shortest_stage", total)
        assert getattr(options, "arch_start_epoch", 0) < shortest, "the architecture must learn, too"


def test_there_are_recipes() -> None:
    assert {path.stem for path in RECIPES} >= {"nas_bench_201_cifar10", "nas_bench_201_cifar_subset"}
