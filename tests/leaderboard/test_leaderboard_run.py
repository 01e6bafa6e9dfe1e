"""Small real leaderboards on the digits: run, stopped, killed, failed, gone on with."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from leaderboard_made import TINY, kill, search_processes, start, wait_for, write_made_table

from paddle_darts import cli
from paddle_darts.errors import DataError, RunError
from paddle_darts.leaderboard import leaderboard
from paddle_darts.leaderboard.entries import plan
from paddle_darts.leaderboard.process import EntryProcess, occupied
from paddle_darts.leaderboard.runner import only_one
from paddle_darts.leaderboard.settings import leaderboard_settings

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    own = {"nats_table": write_made_table(tmp_path), "out": tmp_path / "out", "methods": ["gdas"]}
    return {**TINY, **own, "per_method": {}}


def flags(settings: dict[str, Any]) -> list[str]:
    lists = {name: ",".join(value) for name, value in settings.items() if isinstance(value, list)}
    return [f"--{name}={value}" for name, value in {**settings, **lists}.items()]


def rows(out: Path, entry: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / entry / "history.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_methods_and_two_seeds(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Through the command line; a second time nothing is left to do, and a third method joins the others."""
    out = settings["out"]
    settings |= {"methods": ["gdas", "random_search"], "seeds": 2, "jobs": 2}
    assert cli.main(["leaderboard", *flags(settings)]) == 0
    printed, log = capsys.readouterr()
    assert "`gdas`" in printed and "`random_search`" in printed and "accuracy.png" in printed
    for name, epochs in (("gdas", 2), ("random_search", 4)):
        for seed in (0, 1):
            history = rows(out, f"{name}/seed{seed}")
            assert len(history) == epochs and history[-1]["true_cifar10_test"] is not None
            assert yaml.safe_load((out / name / f"seed{seed}" / "config.yaml").read_text())["seed"] == seed
            assert f"{name} seed {seed}: CIFAR-10 test" in log
    document = json.loads((out / "leaderboard.json").read_text())
    assert len(document["entries"]) == 4 and document["missing"] == []
    for found in document["entries"]:
        last = rows(out, f"{found['name']}/seed{found['seed']}")[-1]
        assert found["genotype"] == last["genotype"]
        assert found["accuracy"]["cifar100_test"] == last["true_cifar100_test"]

    files = [out / "gdas" / "seed1" / "history.jsonl", out / "random_search" / "seed0" / "summary.json"]
    before = [path.stat().st_mtime_ns for path in files]
    assert cli.main(["leaderboard", "--out", str(out)]) == 0
    assert [path.stat().st_mtime_ns for path in files] == before
    assert cli.main(["leaderboard", "--out", str(out), "--epochs", "3"]) == 2
    assert "was started with other settings (epochs: 2 -> 3)" in capsys.readouterr().err


def test_an_entry_that_fails_at_once(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """SGAS needs more epochs for its decisions; the last line of the search says so in the table."""
    settings |= {"methods": ["sgas"], "seeds": 1}
    assert cli.main(["leaderboard", *flags(settings)]) == 1
    printed = capsys.readouterr().out
    reason = "epochs for 6 decisions, got 2 (exit status 2)"
    assert "1 entry failed:" in printed and reason in printed
    assert f"go on:     python tools/leaderboard.py --out {settings['out']}" in printed.splitlines()[-1]
    document = json.loads((settings["out"] / "leaderboard.json").read_text())
    (missing,) = document["missing"]
    assert document["rows"] == [] and missing["name"] == "sgas" and reason in missing["error"]


@pytest.mark.slow
def test_a_failed_entry_does_not_stop_the_others(settings: dict[str, Any]) -> None:
    """With a schedule that fits it is run after all."""
    out = settings["out"]
    first = leaderboard(**{**settings, "methods": ["sgas", "gdas"], "seeds": 1})
    assert first.status == 1 and [row.name for row in first.board.rows] == ["gdas"]
    fitting = {"sgas": {"epochs": 6, "warmup_dec_epoch": 0, "decision_freq": 1}}
    second = leaderboard(out=out, per_method=fitting)
    assert second.status == 0 and {row.name for row in second.board.rows} == {"sgas", "gdas"}
    assert len(rows(out, "sgas/seed0")) == 6 and second.board.missing == []


@pytest.mark.slow
@posix
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_gone_on_with(settings: dict[str, Any], signum: int) -> None:
    """The running search saves itself; what was done before the stop is not done again."""
    out = settings["out"]
    settings |= {"epochs": 400, "seeds": 1}
    process = start(*flags(settings))
    history = out / "gdas" / "seed0" / "history.jsonl"
    wait_for(lambda: history.is_file() and len(history.read_text().splitlines()) >= 2)
    process.send_signal(signum)
    printed, log = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, log
    assert "go on:     python tools/leaderboard.py --out" in printed and "Traceback" not in log
    assert "Not done: gdas seed 0" in printed
    assert search_processes(out) == []
    before = rows(out, "gdas/seed0")
    assert (out / "gdas" / "seed0" / "checkpoint" / "latest").exists()
    assert not (out / "gdas" / "seed0" / "failure.json").exists()

    again = start("--out", str(out))
    wait_for(lambda: len(rows(out, "gdas/seed0")) > len(before))
    again.send_signal(signum)
    again.communicate(timeout=60)
    assert rows(out, "gdas/seed0")[: len(before)] == before
    assert "resumed at epoch" in (out / "gdas" / "seed0" / "output.txt").read_text()


@pytest.mark.slow
@posix
def test_a_killed_search_is_a_failure_and_goes_on(settings: dict[str, Any]) -> None:
    out = settings["out"]
    settings |= {"epochs": 30, "seeds": 2}
    process = start(*flags(settings))
    history = out / "gdas" / "seed0" / "history.jsonl"
    wait_for(lambda: history.is_file() and len(rows(out, "gdas/seed0")) >= 3)  # so that there is a checkpoint
    (pid,) = search_processes(out)
    kill(pid)
    printed, log = process.communicate(timeout=120)
    assert process.returncode == 1, log
    assert "gdas seed 0: killed by signal 9 (out of memory?)" in printed
    assert [e["seed"] for e in json.loads((out / "leaderboard.json").read_text())["entries"]] == [1]
    begun = len(rows(out, "gdas/seed0"))
    assert 0 < begun < 30
    result = leaderboard(out=out)
    assert result.status == 0 and len(rows(out, "gdas/seed0")) == 30
    assert "resumed at epoch" in (out / "gdas" / "seed0" / "output.txt").read_text()


@pytest.mark.slow
@posix
def test_a_killed_leaderboard_leaves_its_search_alone(settings: dict[str, Any]) -> None:
    """The next one waits for the search that still runs instead of starting it twice."""
    out = settings["out"]
    settings |= {"epochs": 40, "seeds": 1}
    process = start(*flags(settings))
    wait_for((out / "gdas" / "seed0" / "history.jsonl").is_file)
    process.kill()
    process.communicate()
    assert len(search_processes(out)) == 1
    again = start("--out", str(out))
    printed, log = again.communicate(timeout=120)
    assert again.returncode == 0, log
    assert "`gdas`" in printed and len(rows(out, "gdas/seed0")) == 40
    assert "resumed at epoch" not in (out / "gdas" / "seed0" / "output.txt").read_text()
    assert search_processes(out) == []


def test_an_occupied_entry_is_seen(settings: dict[str, Any]) -> None:
    (entry,) = plan(leaderboard_settings({**settings, "seeds": 1, "epochs": 400}))
    entry.prepare()
    assert not occupied(entry) and not entry.begun
    process = EntryProcess(entry, threads=1)
    try:
        wait_for((entry.path / "history.jsonl").is_file)
        assert occupied(entry) and entry.begun and not entry.done
    finally:
        process.kill()
    assert not occupied(entry)
    assert process.finish(stopped=True) == "" and entry.failure is None


def test_one_leaderboard_at_a_time(tmp_path: Path) -> None:
    with (
        only_one(tmp_path),
        pytest.raises(RunError, match="another leaderboard is running in"),
        only_one(tmp_path),
    ):
        pass
    with only_one(tmp_path):
        pass


def test_errors_before_anything_runs(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError):
        leaderboard(**{**settings, "dataset": "cifar10", "data": str(tmp_path / "nothing")})
    with pytest.raises(DataError):
        leaderboard(**{**settings, "nats_table": str(tmp_path / "nothing.csv")})
    assert not settings["out"].exists()
    settings["out"].write_text("a file")
    with pytest.raises(RunError, match="cannot be written to"):
        leaderboard(**settings)


def test_dry_run(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    settings |= {"methods": ["all"], "seeds": 2, "epochs": 30}
    assert cli.main(["leaderboard", *flags(settings), "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert "p_darts seed 1: 10 epochs, new" in printed and "random_search seed 0: 60 epochs, new" in printed
    assert "entries; nothing was run" in printed
    assert not settings["out"].exists()
