"""What a run leaves behind: the files, the history, the dashboard; and what resuming does to them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_runs import SEARCH, Crash, CrashAfter, outcome, resumed, rows, searcher
from PIL import Image

import paddle_darts as pdarts
from paddle_darts.engine import Dashboard
from paddle_darts.engine.rundir import RunDirectory
from paddle_darts.errors import RunError

KEYS = ("epoch", "train_loss", "train_top1", "valid_loss", "valid_top1", "test_loss", "test_top1")
KEYS += ("lr", "seconds", "peak_rss_mb", "genotype", "stage")


def test_files_of_a_search(finished_search: Path) -> None:
    names = {str(p.relative_to(finished_search)) for p in finished_search.rglob("*")}
    expected = {"config.yaml", "environment.json", "genotype.json", "history.jsonl", "log.txt", "report.html"}
    expected |= {f"plots/{kind}.{suffix}" for kind in ("normal", "reduce") for suffix in ("svg", "png")}
    expected |= {f"plots/{plot}.{suffix}" for plot in ("curves", "arch_weights") for suffix in ("svg", "png")}
    expected |= {"plots/search.gif", "vdl", "checkpoint/latest", "checkpoint/best"}
    assert expected - names == set()
    with Image.open(finished_search / "plots" / "search.gif") as animation:
        assert animation.n_frames == SEARCH["epochs"]
    report = (finished_search / "report.html").read_text(encoding="utf-8")
    assert 'src="http' not in report and "curves" in report
    log = (finished_search / "log.txt").read_text(encoding="utf-8")
    assert "epoch 1 lr" in log and "genotype = Genotype(" in log and "WARNING" not in log, log


def test_history_of_a_search(finished_search: Path) -> None:
    history = rows(finished_search)
    assert [row["epoch"] for row in history] == [0, 1]
    for row in history:
        assert set(row) == {*KEYS, "skip_share", "skip_share_reduce"}
        assert (row["test_loss"], row["test_top1"]) == (None, None)
        # shares of 48 images, in percent
        for key in ("train_top1", "valid_top1"):
            assert 0 <= row[key] <= 100 and row[key] * 48 / 100 == pytest.approx(round(row[key] * 48 / 100))
        assert 0 < row["seconds"] < 60 and 50 < row["peak_rss_mb"] < 50_000
        cell = pdarts.genotype(row["genotype"])
        assert row["skip_share"] == cell.count("skip_connect", "normal") / 8
        assert row["skip_share_reduce"] == cell.count("skip_connect", "reduce") / 8
    assert max(row["valid_top1"] for row in history) > 1, "percent, not a share"
    assert history[0]["lr"] == 0.025 and history[1]["lr"] == pytest.approx((0.025 + 0.001) / 2)


def test_history_of_a_training(finished_training: Path) -> None:
    history = rows(finished_training)
    for row in history:
        assert set(row) >= set(KEYS)
        assert (row["valid_loss"], row["valid_top1"]) == (None, None)
        assert 1 < row["test_top1"] <= 100
    assert (finished_training / "genotype.json").is_file()


def test_genotype_is_that_of_the_last_epoch(finished_search: Path) -> None:
    document = json.loads((finished_search / "genotype.json").read_text())
    assert str(pdarts.genotype(finished_search)) == rows(finished_search)[-1]["genotype"]
    assert document["space"] == "darts"


def test_genotype_is_rewritten_in_each_epoch(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(Crash):
        # alphas that move fast: the first epochs differ
        searcher(run_dir, [CrashAfter(7)], epochs=3, arch_learning_rate=0.5).run()
    history = rows(run_dir)
    assert len(history) == 2 and history[0]["genotype"] != history[1]["genotype"]
    assert str(pdarts.genotype(run_dir)) == history[1]["genotype"]


def test_config_is_complete_and_environment_tells_the_machine(finished_search: Path) -> None:
    config = yaml.safe_load((finished_search / "config.yaml").read_text())
    assert config["batch_size"] == SEARCH["batch_size"] and config["unrolled"] is False
    assert len(config["mean"]) == len(config["std"]) == 1, "normalisation constants are stored"
    environment = json.loads((finished_search / "environment.json").read_text())
    assert {"paddle", "python", "command", "device", "threads", "kernels"} <= environment.keys()
    assert environment["device"] == "cpu"


# ---- starting, resuming
def test_an_occupied_directory_is_refused(finished_search: Path) -> None:
    before = outcome(finished_search)
    with pytest.raises(RunError, match="already holds a run; continue it with --resume or choose another --run_dir"):
        searcher(finished_search).run()
    assert outcome(finished_search) == before


def test_two_processes_cannot_share_a_run(tmp_path: Path) -> None:
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    first.create({}, {})
    first.lock()
    with pytest.raises(RunError, match="another process is running"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


def test_resuming_a_finished_run_gives_the_result_again(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    first = searcher(run_dir).run()
    before = outcome(run_dir)
    again = resumed(run_dir, [CrashAfter(1)]).run()  # not one step more
    assert (again.genotype, again.history) == (first.genotype, first.history)
    assert outcome(run_dir) == before


def test_resuming_what_is_not_there_starts_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So that one command line serves a machine that may be taken away at any time."""
    run_dir = tmp_path / "run"
    searcher(run_dir, resume=True, epochs=1).run()
    assert "holds no run to resume: starting it" in caplog.text
    assert len(rows(run_dir)) == 1
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["resume"] is False


def test_resuming_before_the_first_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Crash):
        searcher(tmp_path / "run", [CrashAfter(2)]).run()
    (tmp_path / "run" / "history.jsonl").write_text('{"epoch": 0}\n')
    search = resumed(tmp_path / "run", [CrashAfter(1)])
    with pytest.raises(Crash):
        search.run()
    assert "has no checkpoint yet: starting from the beginning" in caplog.text
    assert rows(tmp_path / "run") == [] and search.step_in_epoch == 1


def test_history_and_alphas_are_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    searcher(run_dir).run()
    expected = outcome(run_dir)
    # as if the run had been killed after the files of an epoch and before its checkpoint
    for name in ("history.jsonl", "alphas.jsonl"):
        last = rows(run_dir, name)[-1]
        with (run_dir / name).open("a") as file:
            file.write(json.dumps({**last, "epoch": 2}) + "\n" + '{"epoch": 3, "trai')
    resumed(run_dir).run()
    assert outcome(run_dir) == expected


def test_a_run_can_be_moved_and_resumed(tmp_path: Path) -> None:
    searcher(tmp_path / "whole").run()
    with pytest.raises(Crash):
        searcher(tmp_path / "here", [CrashAfter(5)]).run()
    (tmp_path / "here").rename(tmp_path / "there")
    resumed(tmp_path / "there").run()
    assert outcome(tmp_path / "there") == outcome(tmp_path / "whole")


def test_checkpoints_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = tmp_path / "run"
    clock: Iterator[int] = iter(range(0, 10_000, 40))  # every look at the clock is 40 s later

    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(Crash):
        searcher(run_dir, [CrashAfter(3)], save_minutes=1.0).run()
    assert os.readlink(run_dir / "checkpoint" / "latest") == "epoch-0000-step-000002"


# ---- dashboard
def read_back(run_dir: Path) -> Any:
    from visualdl import LogReader

    files = list((run_dir / "vdl").glob("vdlrecords.*.log"))
    assert len(files) == 1, "VisualDL shows only one record file of a folder"
    return LogReader(file_path=str(files[0]))


def points(reader: Any, tag: str) -> list[tuple[int, float]]:
    return [(point.id, point.value) for point in reader.get_data("scalar", tag)]


def test_dashboard_of_a_search(finished_search: Path) -> None:
    reader = read_back(finished_search)
    history = rows(finished_search)
    tags = {"loss/train": "train_loss", "accuracy/valid": "valid_top1", "progress/learning rate": "lr"}
    for tag, key in tags.items():
        assert points(reader, tag) == [(row["epoch"], pytest.approx(row[key], rel=1e-6)) for row in history]
    found = reader.get_tags()
    assert set(found["histogram"]) == {"architecture/normal", "architecture/reduce"}
    pictures = {f"{what}/{kind}" for what in ("cell", "architecture weights") for kind in ("normal", "reduce")}
    assert pictures == set(found["image"])
    for tag in pictures:
        assert [image.id for image in reader.get_data("image", tag)] == [0, 1]
    assert found.get("hyper_parameters") or found.get("hparams") or "hyperparameters" in str(found), found


def test_dashboard_after_a_resume_shows_each_epoch_once(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(Crash):
        searcher(run_dir, [Dashboard(), CrashAfter(8)], epochs=3, save_minutes=0.0).run()
    resumed(run_dir, [Dashboard()]).run()
    reader = read_back(run_dir)
    expected = [(row["epoch"], pytest.approx(row["train_loss"], rel=1e-6)) for row in rows(run_dir)]
    assert points(reader, "loss/train") == expected and len(expected) == 3
    assert [point.id for point in reader.get_data("histogram", "architecture/normal")] == [0, 1, 2]
