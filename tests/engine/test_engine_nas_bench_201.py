"""Searches in the space of NAS-Bench-201: its defaults, the table that grades them, and how one goes on from them."""

from __future__ import annotations

import functools
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_methods import BRIEF, PreferSkips, settings_of
from engine_runs import ROOT, Crash, CrashAfter, few_digits, flags, outcome, resumed, rows, run_tool, searcher
from engine_runs import write_digits as digits_in
from visualdl import LogReader

from paddle_darts.analysis.nats import NatsTable, read_table, write_table
from paddle_darts.data import ArrayDataset, DataBundle, nats_split
from paddle_darts.engine import Dashboard, Pictures, SearchController, Trainer, dry_run, evaluator
from paddle_darts.engine.config import SearchConfig
from paddle_darts.engine.recipes import of_space, search_settings, train_settings
from paddle_darts.errors import ConfigError, DataError
from paddle_darts.genotypes import NasBench201Genotype, genotype
from paddle_darts.networks import NasBench201Network
from paddle_darts.spaces.nas_bench_201 import architectures

SPACE = "nas_bench_201"
COLUMNS = ("cifar10_valid", "cifar10_test", "cifar100_test")
#: What every operation brings on every edge, in percent; no two cells have the same sum.
GAIN = {"none": 0.0, "skip_connect": 1.0, "nor_conv_1x1": 2.0, "nor_conv_3x3": 3.0, "avg_pool_3x3": 4.0}


def accuracy(cell: NasBench201Genotype, column: str) -> float:
    """The made-up result: more than 0, and another one in every column."""
    digits = [GAIN[op] for op in cell.ops]
    return 10 + 10 * COLUMNS.index(column) + sum(digit * 5**i for i, digit in enumerate(digits)) / 400


@functools.cache
def results(column: str) -> list[float]:
    """Of all cells in the order of the benchmark."""
    return [accuracy(NasBench201Genotype.parse(text), column) for text in architectures()]


def made_table(sign: int = 1) -> NatsTable:
    return NatsTable({column: [50 + sign * (value - 50) for value in results(column)] for column in COLUMNS})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(made_table(), tmp_path_factory.mktemp("tables") / "made.csv")


def search_201(run_dir: Path, callbacks: Any = (), method: str = "darts", **settings: Any) -> SearchController:
    return searcher(run_dir, callbacks, **{**settings_of(method, SPACE), **settings})


# ---- settings
def test_defaults_are_those_of_the_space() -> None:
    names = ("layers", "steps", "multiplier", "stem_multiplier", "track_running_stats")
    for space, expected in (("darts", (8, 4, 4, 3, True)), (SPACE, (17, 3, 1, 1, False))):
        config = of_space(SearchConfig(space=space))
        assert tuple(getattr(config, name) for name in names) == expected
        assert of_space(config) == config
    given = of_space(SearchConfig(space=SPACE, layers=5, track_running_stats=True))
    assert (given.layers, given.steps, given.track_running_stats) == (5, 3, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 16}, "14 or 17"),
        ({"steps": 4}, "steps is 3 in nas_bench_201, got 4; leave it out"),
        ({"multiplier": 3}, "multiplier is 1 in nas_bench_201"),
        ({"stem_multiplier": 3}, "stem_multiplier is 1 in nas_bench_201"),
        ({"stem": "imagenet"}, "stem"),
        ({"space": "nas_bench_210"}, "unknown search space 'nas_bench_210'; did you mean 'nas_bench_201'"),
        ({"space": "darts", "nats_table": "x.csv"}, "nats_table tells .* of the space nas_bench_201, got darts"),
        ({"split": "nats"}, "NATS-Bench split"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        search_201(tmp_path / "run", **settings).run()
    assert not (tmp_path / "run").exists()


def test_a_wrong_table_stops_before_anything_is_written(table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    short, broken = tmp_path / "short.csv", tmp_path / "broken.csv"
    short.write_text("\n".join(lines[:-3]))
    broken.write_text("\n".join([*lines[:7], lines[7].replace(",", ",much", 1), *lines[8:]]))
    for path, message in (
        (tmp_path / "none.csv", "no such table"),
        (short, "3 of 15625 architectures are missing"),
        (broken, "broken.csv, line 8: .*is no number"),
        (tmp_path / "table.txt", "no such table"),
    ):
        with pytest.raises(DataError, match=message):
            search_201(tmp_path / "run", nats_table=str(path))
    assert not (tmp_path / "run").exists()


# ---- the table
@pytest.fixture(scope="module")
def graded(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with a table and all that it leaves behind by default."""
    run_dir = tmp_path_factory.mktemp("graded") / "run"
    search_201(run_dir, [Dashboard(), Pictures(every_seconds=0.0)], nats_table=str(table)).run()
    return run_dir


def truth(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key.startswith("true_")} for row in history]


def expected_truth(cell: NasBench201Genotype) -> dict[str, Any]:
    """By counting, for the made-up table."""
    found = {}
    for column in COLUMNS:
        own, values = accuracy(cell, column), results(column)
        found[f"true_{column}"] = pytest.approx(own)
        found[f"true_{column}_rank"] = 1 + sum(value > own + 1e-9 for value in values)
        found[f"true_{column}_best"] = pytest.approx(max(values))
    return found


def test_history_tells_the_truth(graded: Path) -> None:
    history = rows(graded)
    assert len(history) == 2
    for row, found in zip(history, truth(history), strict=True):
        expected = expected_truth(NasBench201Genotype.parse(row["genotype"]))
        ranks = {f"true_{column}_percentile" for column in COLUMNS}
        assert found.keys() == expected.keys() | ranks
        assert {key: found[key] for key in expected} == expected
        for column in COLUMNS:
            share = 100 * (15625 - found[f"true_{column}_rank"]) / 15625
            assert found[f"true_{column}_percentile"] == pytest.approx(share, abs=0.02)
    log = (graded / "log.txt").read_text()
    last = history[-1]
    assert f"true cifar10_test = {last['true_cifar10_test']} (rank {last['true_cifar10_test_rank']})" in log


def test_report_and_dashboard_tell_the_truth(graded: Path) -> None:
    history, report = rows(graded), (graded / "report.html").read_text()
    assert "cifar10 test" in report and f"{history[-1]['true_cifar10_test']:.2f}" in report
    assert (graded / "plots" / "true_accuracy.svg").is_file()
    [record] = (graded / "vdl").glob("vdlrecords.*.log")
    reader = LogReader(file_path=str(record))
    for fact, key in (("accuracy", ""), ("rank", "_rank")):
        points = [(p.id, p.value) for p in reader.get_data("scalar", f"true {fact}/cifar10_test")]
        values = [row[f"true_cifar10_test{key}"] for row in history]
        assert points == [(e, pytest.approx(value, rel=1e-6)) for e, value in enumerate(values)]


def test_nothing_is_known_of_an_empty_derivation(table: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    settings = {"op_threshold": 0.99, "fallback": None, "nats_table": str(table)}
    search_201(run_dir, [Dashboard(), Pictures()], "fair_darts", **settings).run()
    history = rows(run_dir)
    for row, found in zip(history, truth(history), strict=True):
        assert row["genotype"] is None is row["skip_share"]
        known = {key: value for key, value in found.items() if not key.endswith("_best")}
        assert len(known) == 3 * len(COLUMNS) and set(known.values()) == {None}
        assert found["true_cifar10_test_best"] == read_table(table).best("cifar10_test")[1]
    log = (run_dir / "log.txt").read_text()
    assert "the derivation is empty" in log and " failed in on_" not in log
    assert (run_dir / "report.html").is_file()


def checkpoints(run_dir: Path) -> dict[str, Any]:
    """The part of the outcome that a search goes on from."""
    return {key: value for key, value in outcome(run_dir).items() if key != "history"}


@pytest.mark.parametrize("method", ["darts", "sgas", "regularized_evolution"])
def test_the_search_never_sees_the_table(method: str, table: Path, tmp_path: Path) -> None:
    other = write_table(made_table(sign=-1), tmp_path / "other.npz")
    for name, path in (("none", None), ("one", str(table)), ("other", str(other))):
        search_201(tmp_path / name, method=method, nats_table=path).run()
    assert checkpoints(tmp_path / "one") == checkpoints(tmp_path / "other") == checkpoints(tmp_path / "none")
    histories = [rows(tmp_path / name) for name in ("one", "other")]
    one, two = (truth(history) for history in histories)
    assert [row["genotype"] for row in histories[0]] == [row["genotype"] for row in histories[1]]
    for first, second in zip(one, two, strict=True):
        assert second["true_cifar10_test"] == pytest.approx(100 - first["true_cifar10_test"])
        assert first["true_cifar10_test_rank"] + second["true_cifar10_test_rank"] == 15626


@pytest.mark.parametrize("later", [True, False], ids=["comes later", "goes"])
def test_resumed_with_another_table(later: bool, table: Path, tmp_path: Path) -> None:
    """The table is no part of the search: it may come and go, and the rows that are written stay as they are."""
    first, second = (None, str(table))[:: 1 if later else -1]
    search_201(tmp_path / "whole").run()
    run_dir = tmp_path / "run"
    with pytest.raises(Crash):
        search_201(run_dir, [CrashAfter(3)], nats_table=first).run()
    resumed(run_dir, [Dashboard(), Pictures()], nats_table=second).run()
    assert checkpoints(tmp_path / "whole") == checkpoints(run_dir)
    assert [bool(row) for row in truth(rows(run_dir))] == [not later, later]
    assert " failed in on_" not in (run_dir / "log.txt").read_text()


def test_resumed_with_its_own_table(graded: Path, table: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(Crash):
        search_201(run_dir, [CrashAfter(3)], nats_table=str(table)).run()
    resumed(run_dir).run()
    assert outcome(graded) == outcome(run_dir)


# ---- collapse
@pytest.mark.parametrize("method", ["darts", "p_darts", "fair_darts", "ddsas"])
def test_collapse_is_noticed_and_prevented(method: str, tmp_path: Path) -> None:
    settings = {"batch_size": 48, "epochs": 1, **BRIEF.get(method, {})}
    for limit in (None, 1):
        run_dir = tmp_path / str(limit)
        search_201(run_dir, [PreferSkips()], method, max_skip_connect=limit, **settings).run()
        found, last = genotype(run_dir), rows(run_dir)[-1]
        skips = 6 if limit is None else limit
        assert found.count("skip_connect") == skips and last["skip_share"] == pytest.approx(skips / 6, abs=1e-4)
        warning = "WARNING the cell has 6 skip connections: the search may be collapsing"
        assert (warning in (run_dir / "log.txt").read_text()) == (limit is None)


def test_few_skip_connections_among_candidates(tmp_path: Path) -> None:
    search_201(tmp_path / "run", method="random_search", epochs=6, candidate_epochs=1, max_skip_connect=0).run()
    history = rows(tmp_path / "run")
    scored = [(row["valid_top1"], row["candidate"]) for row in history if "skip_connect" not in row["candidate"]]
    assert 0 < len(scored) < len(history), "the seed must draw both kinds"
    assert history[-1]["genotype"] == max(scored, key=lambda one: one[0])[1]


# ---- what comes before and after a search
@pytest.mark.parametrize("method", ["darts", "random_search"])
def test_dry_runs_write_nothing(method: str, tmp_path: Path) -> None:
    search = search_201(tmp_path / "run", method=method)
    estimate = dry_run(search, steps=1)
    assert estimate.parameters == search.parameters > 0 and estimate.steps_per_epoch == 2
    assert f"method: {method}" in "\n".join(estimate.lines()) and not (tmp_path / "run").exists()


def test_from_the_search_to_the_training(table: Path, tmp_path: Path) -> None:
    """Through the tools: what a search prints is the command that trains its cell."""
    data, run = digits_in(tmp_path / "digits"), tmp_path / "run"
    given = {**settings_of("regularized_evolution", SPACE), "dataset": "folder", "data": data, "image_size": 8}
    given = {key: value for key, value in given.items() if value is not None}
    argv = [*flags({**given, "nats_table": table, "epochs": 2}), f"--run_dir={run}", "--threads=1"]
    status, output = run_tool("train_search", *argv)
    assert status == 0, output
    found = genotype(run)
    assert isinstance(found, NasBench201Genotype) and rows(run)[-1]["true_cifar10_test_rank"] >= 1
    line = next(line for line in output.splitlines() if line.startswith("next:"))
    words = shlex.split(line.removeprefix("next:"))
    assert words[:2] == ["python", "tools/train.py"] and "--split" not in words
    few = ["--init_channels=4", "--layers=5", "--epochs=1", "--batch_size=32", "--threads=1"]
    status, output = run_tool("train", *words[2:], *few, f"--run_dir={tmp_path / 'trained'}", cwd=ROOT)
    assert status == 0, output
    assert genotype(tmp_path / "trained") == found


def test_a_run_is_trained_as_the_benchmark_does(graded: Path) -> None:
    config = train_settings({"arch": str(graded), "dataset": "cifar10"})
    assert (config.init_channels, config.layers, config.nesterov, config.epochs) == (16, 17, True, 200)
    small = replace(config, init_channels=2, layers=5, image_size=8, batch_size=32, mean=None, std=None)
    trainer = Trainer(replace(small, dataset="digits"), few_digits(), callbacks=[])
    assert isinstance(trainer.network, NasBench201Network) and trainer.genotype == genotype(graded)


# ---- the parts of the benchmark
@pytest.fixture(scope="module")
def cifar100() -> DataBundle:
    """As many images as CIFAR-100 has, of 4 x 4 pixels; test images are darker the later they come."""
    train = np.random.default_rng(0).integers(0, 256, (50_000, 3, 4, 4), dtype=np.uint8)
    test = np.repeat(np.arange(10_000) // 40, 48).astype(np.uint8).reshape(-1, 3, 4, 4)
    labels = [np.arange(len(part)) % 100 for part in (train, test)]
    digits = few_digits()
    parts = {"train": ArrayDataset(train, labels[0]), "test": ArrayDataset(test, labels[1])}
    facts = {"name": "cifar100", "classes": tuple(map(str, range(100))), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return DataBundle(**{**vars(digits), **facts, **parts})


@pytest.mark.parametrize(("split", "expected"), [("nats", ["--split", "nats"]), ("contiguous", [])])
def test_images_that_a_search_validated_on_do_not_test(
    split: str, expected: list[str], cifar100: DataBundle, tmp_path: Path
) -> None:
    given = {"space": SPACE, "dataset": "cifar100", "layers": 5, "init_channels": 2, "split": split}
    config, options = search_settings({**given, "run_dir": str(tmp_path / "run")})
    words = shlex.split(SearchController(config, options, cifar100, []).next_command)
    assert "--dataset" in words and [w for w in words if w in ("--split", "nats")] == expected


def test_trained_and_evaluated_on_the_parts(
    cifar100: DataBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"arch": "CDARTS_NATS_1", "dataset": "cifar100", "layers": 5, "init_channels": 2, "epochs": 1}
    settings |= {"batch_size": 5000, "crop_padding": 0, "split": "nats", "run_dir": str(tmp_path / "run")}
    trainer = Trainer(train_settings(settings), cifar100, callbacks=[])
    parts = nats_split("cifar100")
    for name, numbers in (("valid", parts.first), ("test", parts.second)):
        part = getattr(trainer.bundle, name)
        np.testing.assert_array_equal(part.pixels(np.arange(5000))[:, 0, 0, 0], (numbers // 40).astype(np.uint8))
    assert len(trainer.bundle.train) == 50_000
    result = trainer.run()
    assert result.history[0]["valid_top1"] is not None
    monkeypatch.setattr(evaluator, "load_dataset", lambda *args, **kwargs: cifar100)
    found = evaluator.evaluate(tmp_path / "run", latency_runs=0)
    assert found.images == 5000 and found.top1 == result.top1
    few = replace(cifar100, train=cifar100.train.subset(slice(100)))
    with pytest.raises(ConfigError, match="split nats is for the official cifar100 with 50000 training"):
        Trainer(train_settings(settings), few, callbacks=[])
