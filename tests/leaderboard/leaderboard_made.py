"""A made-up table, tiny settings, and entries whose searches are made up, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from paddle_darts.analysis.nats import NatsTable, write_table
from paddle_darts.spaces.nas_bench_201 import architectures

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("cifar10_test", "cifar100_test", "imagenet16_120_test")

#: A search takes two or three seconds.
TINY: dict[str, Any] = {
    "dataset": "digits",
    "image_size": 8,
    "init_channels": 2,
    "layers": 5,
    "batch_size": 256,
    "epochs": 2,
    "threads": 1,
}


def made_table() -> NatsTable:
    """Random accuracies from 10 to 90 percent with two decimals."""
    generator = np.random.default_rng(0)
    count = len(architectures())
    return NatsTable({column: generator.integers(1000, 9001, count) / 100 for column in COLUMNS}, "made")


def write_made_table(folder: Path) -> Path:
    return write_table(made_table(), folder / "table.csv")


def write_entry(
    out: Path, name: str, seed: int, cells: Sequence[str | None], method: str = "darts", done: bool = True
) -> Path:
    """The run directory of an entry that has had these cells after its epochs."""
    path = out / name / f"seed{seed}"
    path.mkdir(parents=True)
    settings = {"method": method, "seed": seed, "epochs": len(cells)}
    (path / "entry.yml").write_text(yaml.safe_dump(settings))
    (path / "config.yaml").write_text(yaml.safe_dump(settings))
    history = [
        {"epoch": i, "genotype": cell, "seconds": 1.5, "peak_rss_mb": 100.0 + 10 * seed + i}
        for i, cell in enumerate(cells)
    ]
    (path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    if done:
        (path / "summary.json").write_text("{}")
    return path


def start(*argv: str) -> subprocess.Popen[str]:
    """`python tools/leaderboard.py argv` in the background."""
    command = [sys.executable, str(ROOT / "tools" / "leaderboard.py"), *argv]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def wait_for(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value of ``what()``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing after {seconds} s")


def search_processes(out: Path) -> list[int]:
    """The searches that run below a directory, by process id."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if "search" in words and any(word.startswith(str(out) + os.sep) for word in words):
            found.append(process.info["pid"])
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
