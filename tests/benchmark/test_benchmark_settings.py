"""What is refused before anything is measured, and what the command line shows."""

from __future__ import annotations

import importlib.util

import pytest
import yaml

from paddle_darts import cli
from paddle_darts.benchmark import CASES
from paddle_darts.benchmark.settings import benchmark_settings, sweep_settings, take_case
from paddle_darts.errors import ConfigError, PaddleDartsError
from paddle_darts.threads import available_cores


def test_defaults_depend_on_the_case():
    search, train = benchmark_settings("search-step", {}), benchmark_settings("train-step", {"layers": 5})
    assert (search.batch_size, search.channels, search.layers, search.image_size) == (16, 16, 8, 32)
    assert (train.batch_size, train.channels, train.layers, train.arch) == (16, 36, 5, "DARTS_V2")
    assert search.threads == available_cores()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"channels": 3}, "^channels must be an even number"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"image_size": 1}, "image_size must be at least 4"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"time_limit": 0.0}, "time_limit must be above 0"),
        ({"batch_size": "many"}, "batch_size must be of type int, got 'many'"),
        ({"chanels": 8}, "did you mean 'channels'"),
        ({"method": "dart"}, "did you mean 'darts'"),
        ({"space": "dart"}, "did you mean 'darts'"),
        ({"arch": "DARTS_V22"}, "did you mean 'DARTS_V2'"),
        ({"peer": "torc"}, "did you mean 'torch'"),
        ({"kernels": "of"}, "did you mean 'off'"),
        ({"json": "."}, "json must be the name of a file"),
    ],
)
def test_nonsense(given, message):
    with pytest.raises(PaddleDartsError, match=message):
        benchmark_settings("search-step", given)


@pytest.mark.parametrize(
    ("case", "given", "message"),
    [
        ("data", {}, "data has no PyTorch program"),
        ("search-step", {"image_size": 30}, "image_size to be a multiple of 4, got 30"),
        ("train-step", {"image_size": 16}, "image_size to be 32, got 16"),
        ("train-step", {"arch": "FairDARTS_a"}, "not FairDARTS_a"),
    ],
)
def test_what_the_peer_does_not_have(case, given, message):
    with pytest.raises(ConfigError, match=message):
        benchmark_settings(case, {"peer": "torch", **given})


def test_without_torch(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for settings in (lambda g: benchmark_settings("arch-step", {**g, "peer": "torch"}), sweep_settings):
        with pytest.raises(ConfigError, match=r'pip install -e "\.\[torch\]"'):
            settings({})
    assert sweep_settings({"contestants": ["ours"]}).contestants == ["ours"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"contestants": ["our"]}, "unknown entry of contestants 'our'; did you mean 'ours'"),
        ({"contestants": []}, "contestants must name at least one"),
        ({"points": ["layer"]}, "did you mean 'layers'"),
        ({"sweep_batch_size": [4, 0]}, "batch_size must be at least 1, got 0"),
        ({"sweep_layers": []}, "sweep_layers names no value"),
        ({"sweep_channels": [5]}, "channels must be an even number"),
    ],
)
def test_nonsense_of_a_sweep(given, message):
    with pytest.raises(ConfigError, match=message):
        sweep_settings(given)


def test_recipes_may_say_off(tmp_path):
    """Which YAML reads as false."""
    recipe = tmp_path / "mine.yml"
    recipe.write_text("kernels: off\nbatch_size: 3\n")
    config = benchmark_settings("data", {"config": str(recipe), "batch_size": 4})
    assert (config.kernels, config.batch_size) == ("off", 4)


def test_take_case():
    assert take_case(["data", "--threads", "1"]) == ("data", ["--threads", "1"])
    for argv, message in (
        ([], "what should be measured"),
        (["--peer"], "what should"),
        (["serch-step"], "search-step"),
    ):
        with pytest.raises(ConfigError, match=message):
            take_case(argv)


def test_help_and_dry_run(capsys):
    with pytest.raises(SystemExit):
        cli.main(["benchmark", "--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*CASES, "sweep", "--peer", "--kernels"))
    with pytest.raises(SystemExit):
        cli.main(["benchmark", "sweep", "--help"])
    assert "--sweep_layers" in capsys.readouterr().out
    assert cli.main(["benchmark", "train-step", "--batch_size", "3", "--dry_run"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out.split("\n\n")[0])
    assert (shown["batch_size"], shown["layers"]) == (3, 20)
    argv = ["--dry_run", "--contestants", "ours", "--threads", "2"]
    assert cli.main(["benchmark", "sweep", *argv]) == 0
    assert "11 points" in capsys.readouterr().out
    assert cli.main(["benchmark", "search-stp"]) == 2
    assert "unknown case 'search-stp'; did you mean 'search-step'" in capsys.readouterr().err
