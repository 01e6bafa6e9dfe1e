"""A measurement from start to end: what the command line and Python callers use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from paddle_darts.benchmark.config import CASES, SWEEP, SWEEP_ABOUT, BenchmarkConfig, Measured
from paddle_darts.benchmark.contest import contest
from paddle_darts.benchmark.result import Result
from paddle_darts.benchmark.settings import benchmark_settings, sweep_settings
from paddle_darts.benchmark.sweep import run_sweep, sweep_points
from paddle_darts.io.files import write_json


def benchmark(case: str, **settings: Any) -> Result:
    """Measures one case; keyword arguments are the settings of the command line.

    Example: ``benchmark("search-step", batch_size=4, threads=2, peer="torch").ratio``.
    """
    return run_benchmark(case, benchmark_settings(case, settings))


def run_benchmark(case: str, config: BenchmarkConfig) -> Result:
    """Measures one case under complete settings and writes ``config.json``, if it is asked for."""
    names = ["ours", *([config.peer] if config.peer else [])]
    found, other_load = contest(case, config, names)
    result = Result(case, config, found["ours"], found.get(str(config.peer)), other_load)
    if config.json:
        write_json(Path(config.json), result.as_dict())
    return result


def measure(case: str, given: Mapping[str, Any], dry: bool = False) -> list[str]:
    """The printed result of a case or a sweep; with ``dry`` only what would be measured."""
    if case == SWEEP:
        plan = sweep_settings(given)
        return _shown(plan, f"{len(list(sweep_points(plan)))} points") if dry else run_sweep(plan).lines()
    config = benchmark_settings(case, given)
    return _shown(config, case) if dry else run_benchmark(case, config).lines()


def overview() -> list[str]:
    """The cases, for the help."""
    about = {**{name: case.about for name, case in CASES.items()}, SWEEP: SWEEP_ABOUT}
    head = "usage: benchmark.py {" + ",".join(about) + "} [flags]"
    return [head, "", *(f"  {name:<12} {text}" for name, text in about.items()), "", "Flags of all but sweep:", ""]


def _shown(config: Measured, what: str) -> list[str]:
    settings = yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True).rstrip()
    return [settings, "", f"dry run: {what}; nothing was measured"]
