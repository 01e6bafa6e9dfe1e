"""Small runs on the digits, in this process and through the tools, and the comparison of what they leave behind."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from paddle_darts.data import DataBundle, load_dataset
from paddle_darts.engine import Callback, SearchController, Trainer
from paddle_darts.engine.recipes import search_settings, train_settings
from paddle_darts.methods import get_method

ROOT = Path(__file__).resolve().parents[2]

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

#: A supernet of 2 cells with 5 edges each; on `few_digits` an epoch has 3 steps.
SEARCH: dict[str, Any] = {
    "dataset": "digits",
    "image_size": 8,
    "init_channels": 2,
    "layers": 2,
    "steps": 2,
    "multiplier": 2,
    "batch_size": 16,
    "epochs": 2,
    "arch_learning_rate": 0.05,
}
#: Drop path and cutout draw random numbers in every step; on `few_digits` an epoch has 3 steps.
TRAIN: dict[str, Any] = {
    "arch": "DARTS_V1",
    "dataset": "digits",
    "image_size": 8,
    "init_channels": 2,
    "layers": 3,
    "batch_size": 32,
    "epochs": 2,
    "drop_path_prob": 0.4,
    "cutout": True,
    "cutout_length": 3,
    "bn_init": "uniform",
}


class Crash(BaseException):
    """Ends a run like a kill does: nothing of the library catches it, nothing is saved."""


class CrashAfter(Callback):
    """Crashes after so many steps of this process."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_step_end(self, search: Any, step: int, logs: dict[str, Any]) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash


@functools.cache
def few_digits() -> DataBundle:
    """96 images to train on, 64 to test on."""
    digits = load_dataset("digits", image_size=8)
    parts = {"train": digits.train.subset(slice(96)), "test": digits.test.subset(slice(64))}
    return DataBundle(**{**vars(digits), **parts})


def write_digits(folder: Path) -> Path:
    """The same images as files, for runs in processes of their own: ``folder``/train|test/<class>/<n>.png."""
    digits = few_digits()
    for part, data in (("train", digits.train), ("test", digits.test)):
        for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            path = folder / part / str(label) / f"{i:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(path)
    return folder


def searcher(run_dir: Path, callbacks: Sequence[Callback] = (), **settings: Any) -> SearchController:
    """A search of SEARCH in this process, without pictures unless asked for."""
    own = get_method(settings.get("method", "darts")).options_class
    # without a supernet there is no rate of the architecture
    base = {key: value for key, value in SEARCH.items() if key != "arch_learning_rate" or hasattr(own, key)}
    config, options = search_settings({**base, "run_dir": str(run_dir), **settings})
    return SearchController(config, options, few_digits(), callbacks)


def trainer(run_dir: Path, callbacks: Sequence[Callback] = (), **settings: Any) -> Trainer:
    """A training of TRAIN in this process."""
    return Trainer(train_settings({**TRAIN, "run_dir": str(run_dir), **settings}), few_digits(), callbacks)


def resumed(run_dir: Path, callbacks: Sequence[Callback] = (), **settings: Any) -> SearchController:
    """The search of a run directory, continued with its own settings."""
    config, options = search_settings({"run_dir": str(run_dir), "resume": True, **settings})
    return SearchController(config, options, few_digits(), callbacks)


def flags(settings: dict[str, Any]) -> list[str]:
    """Settings as command-line flags."""
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in settings.items()]


def environment() -> dict[str, str]:
    """One thread, whatever the machine: the runs that are compared must not differ in it."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def start_tool(tool: str, *argv: str, driver: Sequence[str] = (), **popen: Any) -> subprocess.Popen:
    """`python tools/<tool>.py argv`, its output captured."""
    command = [sys.executable, *driver, str(ROOT / "tools" / f"{tool}.py"), *argv]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), **popen
    )


def run_tool(tool: str, *argv: str, **popen: Any) -> tuple[int, str]:
    """Exit status and output of a tool."""
    process = start_tool(tool, *argv, **popen)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def rows(run_dir: Path, name: str = "history.jsonl") -> list[dict[str, Any]]:
    """The rows of a JSON-lines file, strictly read."""
    return [json.loads(line) for line in (run_dir / name).read_text(encoding="utf-8").splitlines()]


def outcome(run_dir: Path) -> dict[str, Any]:
    """All that must be the same, bit by bit, however often the run was interrupted."""
    # genotype.json, and genotype_<variant>.json of other rules
    found: dict[str, Any] = {path.name: path.read_bytes() for path in run_dir.glob("genotype*.json")}
    assert "genotype.json" in found
    for pointer in ("latest", "best"):
        folder = (run_dir / "checkpoint" / pointer).resolve()
        found[pointer] = folder.name
        for file in sorted(folder.iterdir()):
            # the whole content: weights, alphas, optimizers; position, random states, best accuracy so far
            content = file.read_bytes() if file.name != "state.json" else json.loads(file.read_text())
            if file.name == "state.json":
                content["meter"].pop("seconds")
            found[f"{pointer}/{file.name}"] = content
    # seconds and memory are measurements
    kept = [{k: v for k, v in row.items() if k not in ("seconds", "peak_rss_mb")} for row in rows(run_dir)]
    found["history"] = kept
    if (run_dir / "alphas.jsonl").exists():
        found["alphas"] = rows(run_dir, "alphas.jsonl")
    assert any(key.startswith("latest/") and key.endswith(".safetensors") for key in found)
    return found


def assert_same_outcome(one: Path, other: Path) -> None:
    """Compares part by part, so that a failure says what differs rather than showing it."""
    first, second = outcome(one), outcome(other)
    assert first.keys() == second.keys()
    assert [key for key in first if first[key] != second[key]] == []


def leftovers(run_dir: Path) -> list[str]:
    """What a killed or failed write may leave, anywhere in the run directory."""
    return [str(path) for path in run_dir.rglob(".*") if path.name != ".drawn.json"]


def position(run_dir: Path) -> str:
    """What `latest` points to."""
    try:
        return os.readlink(run_dir / "checkpoint" / "latest")
    except OSError:
        return ""


def wait_until(what: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not what() and process.poll() is None:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def step_seconds(whole: Path) -> float:
    """How long a step takes on this machine now, so that delays neither miss steps nor the end of the run.

    An epoch has 12 of them, or 6 and as many measured batches.
    """
    return rows(whole)[-1]["seconds"] / 12


def stop_after(process: subprocess.Popen, run_dir: Path, positions: int, delay: float, signum: int) -> str:
    """Lets the run make so many positions more, waits, sends the signal; returns the output."""
    seen = {position(run_dir)}
    # a run that starts rewrites environment.json; before that, nothing of this process is in the directory
    stamp = (run_dir / "environment.json").stat().st_mtime_ns if run_dir.exists() else 0
    wait_until(
        lambda: (run_dir / "config.yaml").exists() and (run_dir / "environment.json").stat().st_mtime_ns != stamp,
        process,
    )
    for _ in range(positions):
        wait_until(lambda: position(run_dir) not in seen, process)
        seen.add(position(run_dir))
    time.sleep(delay)
    process.send_signal(signum)
    return process.communicate(timeout=120)[0]
