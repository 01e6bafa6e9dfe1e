"""Runs that are killed again and again end like the run that was left alone, bit for bit."""

from __future__ import annotations

import random
import shlex
import signal
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from engine_runs import (
    ROOT,
    SEARCH,
    TRAIN,
    Crash,
    CrashAfter,
    assert_same_outcome,
    flags,
    leftovers,
    position,
    posix,
    resumed,
    run_tool,
    searcher,
    start_tool,
    step_seconds,
    stop_after,
    write_digits,
)

from paddle_darts.engine import Callback


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="module")
def killed_search(data: Path) -> list[str]:
    """6 steps per epoch, 4 epochs: 28 positions at which a run can be found."""
    return flags({**SEARCH, "dataset": "folder", "data": data, "batch_size": 8, "epochs": 4, "save_minutes": 0.0})


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, killed_search: list[str]) -> Path:
    """The search that nobody interrupts."""
    run_dir = tmp_path_factory.mktemp("reference") / "run"
    status, output = run_tool("train_search", *killed_search, f"--run_dir={run_dir}")
    assert status == 0, output
    return run_dir


@posix
def test_search_killed_at_random_moments(reference: Path, killed_search: list[str], tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    draw, step = random.Random(7), step_seconds(reference)
    argv = [*killed_search, f"--run_dir={run_dir}"]
    stops = []
    for attempt in range(5):
        process = start_tool("train_search", *argv)
        output = stop_after(process, run_dir, draw.randint(0, 3), draw.uniform(0.0, 2.0) * step, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, f"attempt {attempt} ended before it was killed:\n{output}"
        stops.append(position(run_dir))
        argv = [f"--run_dir={run_dir}", "--resume"]
    assert stops[-1] not in ("", stops[0]), "the kills must not all hit the same place"
    status, output = run_tool("train_search", *argv)
    assert status == 0, output
    assert_same_outcome(reference, run_dir)
    assert leftovers(run_dir) == []


@posix
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_saves_and_says_how_to_go_on(
    reference: Path, killed_search: list[str], tmp_path: Path, signum: int
) -> None:
    run_dir = tmp_path / "a run"  # the command must be quoted
    # without checkpoints by time: the one that is found afterwards was written because of the signal
    process = start_tool("train_search", *killed_search, "--save_minutes=60", f"--run_dir={run_dir}", cwd=ROOT)
    output = stop_after(process, run_dir, 1, 3 * step_seconds(reference), signum)
    assert process.returncode == 128 + signum, output
    assert "Traceback" not in output
    assert position(run_dir) > "epoch-0001-step-000000"
    command = next(line for line in output.splitlines() if line.startswith("resume:")).removeprefix("resume:").strip()
    assert command.startswith("python tools/train_search.py ") and command.endswith(" --resume")
    tool, *argv = shlex.split(command)[1:]
    status, output = run_tool(Path(tool).stem, *argv, cwd=ROOT)
    assert status == 0, output
    assert_same_outcome(reference, run_dir)


#: Runs a tool and kills it at its n-th change of a file in the checkpoint folder (any, below the run directory).
DRIVER = """
import os, runpy, signal, sys
moment, folder, tool = int(sys.argv[1]), sys.argv[2], sys.argv[3]
count = 0

def hook(event, args):
    global count
    if event not in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod"):
        return
    if folder in str(args[0]) and not (event == "open" and args[1] == "r"):
        count += 1
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
sys.argv = sys.argv[3:]
runpy.run_path(tool, run_name="__main__")
"""


@posix
def test_search_killed_while_it_writes(reference: Path, killed_search: list[str], tmp_path: Path) -> None:
    """Three kills between two file operations of this or that write, drawn from all of the first steps and epochs."""
    run_dir, driver = tmp_path / "run", tmp_path / "driver.py"
    driver.write_text(DRIVER)
    draw = random.Random(3)
    argv = [*killed_search, f"--run_dir={run_dir}"]
    for _ in range(3):
        moment = str(draw.randint(10, 90))
        process = start_tool("train_search", *argv, driver=(str(driver), moment, str(run_dir)))
        output, _ = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, output
        argv = [f"--run_dir={run_dir}", "--resume"]
    status, output = run_tool("train_search", *argv)
    assert status == 0, output
    assert_same_outcome(reference, run_dir)
    assert leftovers(run_dir) == []


@posix
def test_training_with_random_masks_killed(data: Path, tmp_path: Path) -> None:
    settings = flags({**TRAIN, "dataset": "folder", "data": data, "batch_size": 8, "save_minutes": 0.0})
    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    status, output = run_tool("train", *settings, f"--run_dir={whole}")
    assert status == 0, output
    draw = random.Random(5)
    argv = [*settings, f"--run_dir={run_dir}"]
    # no path is dropped in the first epoch, whose 12 steps and end are 13 of 26 positions
    for positions in (draw.randint(14, 16), draw.randint(1, 3)):
        process = start_tool("train", *argv)
        delay = draw.uniform(0.0, 1.0) * step_seconds(whole)
        output = stop_after(process, run_dir, positions, delay, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, output
        argv = [*settings, f"--run_dir={run_dir}", "--resume"]
    status, output = run_tool("train", *argv)
    assert status == 0, output
    assert_same_outcome(whole, run_dir)


class Draws(Callback):
    """What a network with dropout does, say: uses the global generators in every step."""

    def on_step_end(self, search: Any, step: int, logs: dict[str, Any]) -> None:
        random.random()
        np.random.standard_normal()
        paddle.rand([1])


@pytest.mark.parametrize("settings", [{"unrolled": True}, {"fidelity": "official"}], ids=["second order", "official"])
def test_other_settings_crashed_in_the_middle_of_an_epoch(tmp_path: Path, settings: dict[str, Any]) -> None:
    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    searcher(whole, [Draws()], **settings).run()
    with pytest.raises(Crash):
        # the step that crashes is lost, the one before is saved
        searcher(run_dir, [Draws(), CrashAfter(3)], save_minutes=0.0, **settings).run()
    assert position(run_dir) == "epoch-0000-step-000002"
    resumed(run_dir, [Draws()]).run()
    assert_same_outcome(whole, run_dir)


def test_same_seed_same_result_other_seed_other_result(tmp_path: Path) -> None:
    for name, seed in (("one", 4), ("two", 4), ("other", 5)):
        searcher(tmp_path / name, seed=seed, epochs=1).run()
    assert_same_outcome(tmp_path / "one", tmp_path / "two")
    with pytest.raises(AssertionError):
        assert_same_outcome(tmp_path / "one", tmp_path / "other")
