"""Settings: the same by recipe, flag and keyword; what is wrong is named with what is right."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_runs import SEARCH, resumed, searcher

from paddle_darts import methods
from paddle_darts.engine import EvaluateConfig, SearchConfig, SearchController, TrainConfig, Trainer, parsing, recipes
from paddle_darts.errors import ConfigError, RunError
from paddle_darts.methods import Darts, DartsOptions, MethodOptions
from paddle_darts.methods.gradient import GradientOptions
from paddle_darts.resources import resource_dir

CLASSES = [SearchConfig, DartsOptions]
SEARCH_ONLY = {name: value for name, value in SEARCH.items() if name != "arch_learning_rate"}


def read(*argv: str, classes: list[type] | None = None) -> dict[str, Any]:
    return parsing.read_flags(argv, classes or CLASSES, "tool")


# ---- flags
@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--unrolled"], {"unrolled": True}),
        (["--unrolled", "--epochs", "3"], {"unrolled": True, "epochs": 3}),
        (["--no_unrolled"], {"unrolled": False}),
        (["--unrolled", "false"], {"unrolled": False}),
        (["--unrolled=True"], {"unrolled": True}),
        (["--flip", "null"], {"flip": None}),
        (["--no_flip", "--cutout"], {"flip": False, "cutout": True}),
        (["--mean", "0.5,0.4,0.3"], {"mean": [0.5, 0.4, 0.3]}),
        (["--mean=[0.5, 0.4]"], {"mean": [0.5, 0.4]}),
        (["--mean", "0.5", "--std", "1", "--mean", "-0.4"], {"mean": [0.5, -0.4], "std": [1.0]}),
        (["--learning_rate", "1e-3", "--data=3"], {"learning_rate": 1e-3, "data": "3"}),
        (["-c", "x.yml", "--threads", "2"], {"config": "x.yml", "threads": 2}),
        ([], {}),
    ],
)
def test_flags(argv: list[str], expected: dict[str, Any]) -> None:
    given = read(*argv)
    assert given == expected
    assert {k: type(v) for k, v in given.items()} == {k: type(v) for k, v in expected.items()}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "many"], "epochs must be of type int, got 'many'"),
        (["--epochs", "2.5"], "epochs must be of type int, got '2.5'"),
        (["--learning_rate", "null"], "learning_rate must be of type float, got 'None'"),
        (["--mean", "a,b"], r"mean must be of type list\[float\]"),
        (["--unrolled=maybe"], "unrolled must be of type bool, got 'maybe'"),
        (["--fidelity", "oficial"], "unknown fidelity 'oficial'; did you mean 'official'"),
        (["--split", "stratifyed"], "unknown split 'stratifyed'; did you mean 'stratified'"),
        (["--epochs"], "--epochs: expected one argument"),
        (["stray"], "stray"),
    ],
)
def test_wrong_flags(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(*argv)


@pytest.mark.parametrize("classes", [CLASSES, [TrainConfig], [EvaluateConfig]])
def test_every_setting_has_a_flag_with_help_and_default(classes: list[type]) -> None:
    parser = parsing.make_parser("tool", classes, "")
    actions = {action.dest: action for action in parser._actions}
    for cls in classes:
        for field in fields(cls):
            action = actions[field.name]
            assert (action.help or "").strip(), f"--{field.name} has no help text"
            assert action.default == field.default


# ---- the same by keyword and recipe
def settings(**given: Any) -> tuple[SearchConfig, MethodOptions]:
    return recipes.search_settings(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bath_size": 3}, "unknown setting 'bath_size'; did you mean 'batch_size'"),
        ({"method": "dart"}, "unknown method 'dart'; did you mean 'darts'"),
        ({"dataset": "digts"}, "unknown data set 'digts'; did you mean 'digits'"),
        ({"config": "search/quikstart"}, "unknown recipe 'search/quikstart'; did you mean 'search/quickstart"),
        ({"fidelity": "oficial"}, "unknown fidelity 'oficial'; did you mean 'official'"),
        ({"epochs": "many"}, "epochs must be of type int, got 'many'"),
        ({"epochs": None}, "epochs must be of type int, got None"),
        ({"epochs": True}, "epochs must be of type int, got True"),
        ({"unrolled": 3}, "unrolled must be of type bool, got 3"),
        ({"mean": [0.5, "x"]}, r"mean must be of type list\[float\], got \[0.5, 'x'\]"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number, got nan"),
        ({"learning_rate": -0.1}, r"learning_rate must not be negative, got -0\.1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"threads": -1}, "threads must be at least 1, got -1"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"resume": True}, "--resume needs the --run_dir"),
    ],
)
def test_wrong_settings(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**{"dataset": "digits", **given})


def test_recipe_and_keywords_agree(tmp_path: Path) -> None:
    given = {**SEARCH, "learning_rate": 1e-4, "mean": [0.25], "flip": True, "unrolled": True}
    recipe = tmp_path / "mine.yml"
    recipe.write_text(yaml.safe_dump(given))
    assert settings(config=str(recipe)) == settings(**given)
    # 3e-4 without a dot is a text for YAML, and what people write
    recipe.write_text(recipe.read_text().replace("0.0001", "1e-4"))
    assert "1e-4" in recipe.read_text()
    assert settings(config=recipe) == settings(**given)
    config, _ = settings(config=recipe, epochs=7)
    assert config.epochs == 7 and config.batch_size == SEARCH["batch_size"]


def test_wrong_recipes_are_named(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yml"
    for text, message in (
        ("epoch: 3\n", "unknown setting 'epoch'; did you mean 'epochs'"),
        ("epochs: many\n", "epochs must be of type int, got 'many'"),
        ("- 1\n", "must hold a mapping of settings, got list"),
        ("a: [", "is not a readable YAML file"),
        ("", "must hold a mapping of settings, got NoneType"),
    ):
        recipe.write_text(text)
        with pytest.raises(ConfigError, match=message) as caught:
            settings(config=recipe)
        assert str(recipe) in str(caught.value)


def test_recipes_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = resource_dir("configs") / "search" / "quickstart.yml"
    expected = settings(config=path)
    monkeypatch.chdir(tmp_path)
    for name in ("configs/search/quickstart.yml", "search/quickstart.yml", "search/quickstart"):
        assert settings(config=name) == expected
    # a file of one's own goes before ours
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "quickstart.yml").write_text("dataset: digits\nepochs: 17\n")
    assert settings(config="search/quickstart.yml")[0].epochs == 17


@pytest.mark.parametrize(
    "path", sorted(resource_dir("configs").glob("[st]*/*.yml")), ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_our_recipes_are_valid(path: Path) -> None:
    given = yaml.safe_load(path.read_text())
    assert path.parent.name in ("search", "train")
    if path.parent.name == "search":
        config, options = settings(config=path)
        found = {**vars(config), **vars(options)}
    else:
        found = vars(recipes.train_settings({"config": path, "arch": "DARTS_V2"}))
    assert {k: found[k] for k in given} == given


def test_method_and_data_set_choose_the_recipe() -> None:
    recipe = yaml.safe_load((resource_dir("configs") / "search" / "darts_cifar10.yml").read_text())
    config, options = settings(method="darts", dataset="cifar10")
    assert {k: {**vars(config), **vars(options)}[k] for k in recipe} == recipe
    train = yaml.safe_load((resource_dir("configs") / "train" / "darts_cifar10.yml").read_text())
    found = vars(recipes.train_settings({"arch": "DARTS_V2", "dataset": "cifar10"}))
    assert {k: found[k] for k in train} == train


@pytest.mark.parametrize(("arch", "batch_size"), [("PDARTS", 128), ("p_darts/pdarts", 128), ("runs/PDARTS", 96)])
def test_the_family_of_a_cell_chooses_the_recipe(arch: str, batch_size: int) -> None:
    """By the rules of the registry: the case does not matter, a path is no name."""
    assert recipes.train_settings({"arch": arch}).batch_size == batch_size


# ---- settings of other methods
@pytest.fixture
def other_method(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class OtherOptions(GradientOptions):
        __doc__ = (GradientOptions.__doc__ or "") + "    temperature: of the other method.\n"
        temperature: float = 1.0

    class Other(Darts):
        name = "other"
        options_class = OtherOptions

    monkeypatch.setitem(methods.METHODS, "other", Other)


@pytest.mark.usefixtures("other_method")
def test_settings_of_another_method_name_it(tmp_path: Path) -> None:
    _, options = settings(method="other", dataset="digits", temperature=2.0)
    assert options.temperature == 2.0 and not hasattr(options, "unrolled")
    with pytest.raises(ConfigError, match="settings: temperature is a setting of --method other"):
        settings(dataset="digits", temperature=2.0)
    with pytest.raises(ConfigError, match="settings: unrolled is a setting of --method darts"):
        settings(method="other", dataset="digits", unrolled=True)
    recipe = tmp_path / "mine.yml"
    recipe.write_text("dataset: digits\nmethod: other\nunrolled: true\n")
    with pytest.raises(ConfigError, match=r"mine\.yml: unrolled is a setting of --method darts"):
        settings(config=recipe)


@pytest.mark.usefixtures("other_method")
def test_resuming_with_another_method_lists_the_difference(tmp_path: Path) -> None:
    search = searcher(tmp_path / "run")
    search.run_dir.create(search.config, search.environment)
    with pytest.raises(RunError) as caught:
        resumed(tmp_path / "run", method="other").run()
    for change in ("method: 'darts' -> 'other'", "unrolled: False -> None", "temperature: None -> 1.0"):
        assert change in str(caught.value)
    assert "epochs" not in str(caught.value)


# ---- resuming
def test_a_resumed_run_has_its_own_settings(tmp_path: Path) -> None:
    given = {"epochs": 7, "save_minutes": 0.5, "report_freq": 3, "threads": 1, "device": "cpu", "unrolled": True}
    search = searcher(tmp_path / "run", **given, retrain="train/quickstart")
    search.run_dir.create(search.config, search.environment)
    config, options = settings(run_dir=str(tmp_path / "run"), resume=True)
    found = {**vars(config), **vars(options)}
    assert {k: found[k] for k in given} == given and found["retrain"] == "train/quickstart"
    config, _ = settings(run_dir=str(tmp_path / "run"), resume=True, save_minutes=2.0)
    assert (config.save_minutes, config.report_freq) == (2.0, 3)
    # the recipe of the start may be named again; where it differs from the run, that is a change
    recipe = tmp_path / "r.yml"
    recipe.write_text("layers: 2\n")
    assert settings(config=recipe, run_dir=str(tmp_path / "run"), resume=True)[0].epochs == 7
    recipe.write_text("layers: 4\n")
    with pytest.raises(RunError, match="layers: 2 -> 4"):
        resumed(tmp_path / "run", config=recipe).run()


def test_controllers_take_recipes_and_keywords(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yml"
    recipe.write_text(yaml.safe_dump({**SEARCH, "epochs": 5, "unrolled": True}))
    for given in (recipe, str(recipe)):
        search = SearchController(config=given, seed=7, run_dir=tmp_path / "run", callbacks=[])
        assert search.epochs == 5 and search.config["seed"] == 7 and search.config["init_channels"] == 2
        assert search.method.options.unrolled and search.run_dir.path == tmp_path / "run"
    trainer = Trainer(config="configs/train/quickstart.yml", arch="DARTS", init_channels=2, callbacks=[])
    assert trainer.settings.dataset == "digits" and trainer.settings.epochs == trainer.epochs == 28
    assert SearchController(SearchConfig(**SEARCH_ONLY), callbacks=[]).method.options == DartsOptions()
    assert not (tmp_path / "run").exists(), "nothing is written before a run"


@pytest.mark.parametrize(
    ("given", "stem"), [({}, "cifar"), ({"image_size": 96}, "imagenet"), ({"stem": "imagenet"}, "imagenet")]
)
def test_the_stem_follows_the_size_of_the_images(given: dict[str, Any], stem: str, tmp_path: Path) -> None:
    config, options = settings(**{**SEARCH, "run_dir": str(tmp_path / "run"), **given})
    search = SearchController(config, options, callbacks=[])
    assert search.method.supernet.spec.stem == search.config["stem"] == stem
    assert ("--stem imagenet" in search.next_command) == (stem == "imagenet")
    sizes = {"init_channels": 2, "layers": 2, **given}
    trainer = Trainer(arch="DARTS", dataset="digits", **{"image_size": 8, **sizes}, callbacks=[])
    assert hasattr(trainer.network, "stem0") == (stem == "imagenet")
