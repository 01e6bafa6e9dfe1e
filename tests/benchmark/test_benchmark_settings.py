"""What is refused before anything is measured, and what the command line shows."""

from __future__ import annotations

import importlib.util

import pytest
import yaml

from paddle_darts import cli
from paddle_darts.benchmark import CASES
from paddle_darts.benchmark.settings import benchmark_settings, sweep_settings, take_case
from paddle_darts.errors import ConfigError, PaddleDartsError
from paddle_darts.methods import SAMPLE_BASED
from paddle_darts.spaces import list_spaces
from paddle_darts.threads import available_cores

CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"


def test_defaults_depend_on_the_case():
    search, train = benchmark_settings("search-step", {}), benchmark_settings("train-step", {"layers": 5})
    assert (search.batch_size, search.channels, search.layers, search.image_size) == (16, 16, 8, 32)
    assert (train.batch_size, train.channels, train.layers, train.arch) == (16, 36, 5, "DARTS_V2")
    assert search.threads == available_cores()


def test_every_space_has_sizes():
    for case in CASES.values():
        assert sorted(case.sizes) == list_spaces()


def test_defaults_depend_on_the_space():
    search = benchmark_settings("search-step", {"space": "nas_bench_201"})
    assert (search.batch_size, search.channels, search.layers) == (64, 16, 5)
    some = benchmark_settings("arch-step", {"space": "nas_bench_201", "batch_size": 16, "channels": 3, "layers": 8})
    assert (some.batch_size, some.channels, some.layers) == (16, 3, 8), "odd widths are none of its trouble"
    train = benchmark_settings("train-step", {"arch": CELL})
    assert (train.space, train.batch_size, train.channels, train.layers) == ("nas_bench_201", 64, 16, 17)
    assert benchmark_settings("train-step", {"arch": CELL, "space": "nas_bench_201"}) == train


def test_order_of_an_architecture_step():
    def order(**given):
        return benchmark_settings("arch-step", given).unrolled

    assert (order(), order(unrolled=False), order(unrolled=True)) == (True, False, True)
    assert (order(method="gdas"), order(method="gdas", unrolled=False)) == (False, False)
    assert benchmark_settings("search-step", {}).unrolled is None


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
        ({"space": "nas_bench_201", "layers": 8, "channels": 0}, "^channels must be at least 1, got 0"),
        ({"space": "nas_bench_201", "layers": 6}, r"layers must be 3N \+ 2, such as 5 or 8 .*got 6"),
        ({"unrolled": True}, "unrolled is a setting of arch-step; search-step has none"),
    ],
)
def test_nonsense(given, message):
    with pytest.raises(PaddleDartsError, match=message):
        benchmark_settings("search-step", given)


@pytest.mark.parametrize("case", ["search-step", "arch-step"])
@pytest.mark.parametrize("method", SAMPLE_BASED)
def test_methods_without_a_supernet(case, method):
    with pytest.raises(ConfigError, match=f"{method.name} has no supernet for {case}: .*train-step"):
        benchmark_settings(case, {"method": method.name})
    with pytest.raises(ConfigError, match="no supernet"):
        sweep_settings({"method": method.name, "contestants": ["ours"]})


@pytest.mark.parametrize(
    ("case", "given", "message"),
    [
        ("arch-step", {"method": "gdas", "unrolled": True}, "the method gdas has no second-order step"),
        ("train-step", {"space": "nas_bench_201"}, "DARTS_V2 is a cell of darts, got space 'nas_bench_201'"),
        ("train-step", {"arch": CELL, "layers": 20, "channels": 0}, "^channels must be at least 1"),
        ("train-step", {"arch": CELL, "layers": 19}, r"3N \+ 2, such as 17 or 20"),
        ("data", {"method": "dart"}, "did you mean 'darts'"),
    ],
)
def test_what_a_case_does_not_have(case, given, message):
    with pytest.raises(ConfigError, match=message):
        benchmark_settings(case, given)


@pytest.mark.parametrize(
    ("case", "given", "message"),
    [
        ("data", {}, "data has no PyTorch program"),
        ("search-step", {"image_size": 30}, "image_size to be a multiple of 4, got 30"),
        ("train-step", {"image_size": 16}, "image_size to be 32, got 16"),
        ("train-step", {"arch": "FairDARTS_a"}, "not FairDARTS_a"),
        ("train-step", {"arch": CELL}, "trains cells of the space darts, not of nas_bench_201"),
        ("search-step", {"method": "gdas"}, "darts and nas_bench_201; got method 'gdas', space 'darts'"),
        ("arch-step", {"method": "pc_darts", "space": "nas_bench_201"}, "'pc_darts', space 'nas_bench_201'"),
        ("search-step", {"space": "nas_bench_201", "image_size": 30}, "a multiple of 4, got 30"),
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
        ({"space": "nas_bench_201"}, "a sweep is of the space darts, got nas_bench_201; .*search-step"),
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


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: extra [torch]")
@pytest.mark.parametrize("case", ["search-step", "arch-step"])
@pytest.mark.parametrize("space", ["darts", "nas_bench_201"])
def test_what_the_peer_has(case, space):
    assert benchmark_settings(case, {"space": space, "peer": "torch"}).peer == "torch"


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
    argv = ["benchmark", "arch-step", "--space", "nas_bench_201", "--no_unrolled", "--dry_run"]
    assert cli.main(argv) == 0
    shown = yaml.safe_load(capsys.readouterr().out.split("\n\n")[0])
    assert (shown["space"], shown["batch_size"], shown["unrolled"]) == ("nas_bench_201", 64, False)
    argv = ["--dry_run", "--contestants", "ours", "--threads", "2"]
    assert cli.main(["benchmark", "sweep", *argv]) == 0
    assert "11 points" in capsys.readouterr().out
    assert cli.main(["benchmark", "search-stp"]) == 2
    assert "unknown case 'search-stp'; did you mean 'search-step'" in capsys.readouterr().err
