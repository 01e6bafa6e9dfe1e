"""Measuring contestants in turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import paddle_darts
from paddle_darts.benchmark.config import BenchmarkConfig
from paddle_darts.benchmark.machine import OtherLoad
from paddle_darts.benchmark.result import Measurement
from paddle_darts.errors import ConfigError, PaddleDartsError

log = logging.getLogger(__name__)

#: Seconds between two turns: threads of OpenMP go on spinning for 0.2 s after their work (Intel's, in Paddle).
PAUSE = 0.25
#: Repetitions that `time_limit` leaves.
LEAST = 3
#: Cores that other processes may keep busy without a warning.
QUIET = 0.15
_TAIL = 15


class BenchmarkError(PaddleDartsError):
    """A contestant died; the text ends with its last words."""


class Contest(NamedTuple):
    """The measurements by contestant, and how many cores other processes kept busy on average."""

    found: dict[str, Measurement]
    other_load: float


def contest(case: str, config: BenchmarkConfig, contestants: Sequence[str]) -> Contest:
    """Measures ``contestants`` ("ours", "plain", "torch") on one case, each in a process of its own.

    One step at a time: first of all, first of all again, ..., so that only one of them computes at any moment.
    ``config`` must be complete (:func:`paddle_darts.benchmark.settings.benchmark_settings`).
    """
    from tqdm.auto import tqdm

    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(name, case, config)) for name in contestants]
        total = (config.warmup + config.repeats) * len(workers)
        bar = stack.enter_context(tqdm(total=total, unit="step", leave=False, disable=None, file=sys.stderr))
        for worker in workers:
            bar.set_description(f"{case}: starting {worker.name}")
            worker.start()
        others = OtherLoad([worker.pid for worker in workers])
        for turn in range(config.warmup + config.repeats):
            for worker in workers:
                bar.set_description(f"{case}: {worker.name}")
                if len(workers) > 1:
                    time.sleep(PAUSE)
                worker.step(counted=turn >= config.warmup)
                bar.update()
        load = others.cores()
        if load > QUIET:
            log.warning("other processes kept %.1f cores busy meanwhile: do not rely on these times", load)
        bar.set_description(f"{case}: counting operator calls")
        return Contest({worker.name: worker.finish() for worker in workers}, round(load, 2))


class Worker:
    """The process of one contestant, seen from outside; a context manager that ends it."""

    def __init__(self, name: str, case: str, config: BenchmarkConfig) -> None:
        self.name, self.case, self.config = name, case, config
        self.times: list[float] = []
        self._built: dict[str, Any] = {}

    def __enter__(self) -> Worker:
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "paddle_darts.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=_environment(self.config.threads or 1, kernels=self.name != "plain" and self.config.kernels == "on"),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Imports the framework and builds the step."""
        self._built = self._ask({"contestant": self.name, "case": self.case, "config": asdict(self.config)})

    def step(self, counted: bool) -> None:
        """One repetition, unless this contestant has had its time."""
        limit = self.config.time_limit
        if limit is not None and len(self.times) >= LEAST and sum(self.times) >= limit:
            return
        seconds = self._ask({"do": "step"})["seconds"]
        if counted:
            self.times.append(seconds)

    def finish(self) -> Measurement:
        """What all repetitions come to; the last thing to ask for."""
        return Measurement.of(self.times, **self._built, **self._ask({"do": "finish"}))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchmarkError(self._last_words())
        reply = json.loads(answer)
        if "error" in reply:
            raise ConfigError(f"{self.name}: {reply['error']}")
        return reply

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        tail = "".join(self._errors.readlines()[-_TAIL:]).rstrip() or "it said nothing"
        how = f"was killed by signal {-status} (out of memory?)" if status < 0 else f"ended with status {status}"
        return f"the worker of {self.name} {how}; its last words:\n{tail}"


def _environment(threads: int, kernels: bool) -> dict[str, str]:
    """The environment of a worker: threads before any import, our package found wherever it lies."""
    env = dict(os.environ)
    env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    env.pop("PADDLE_DARTS_KERNELS", None)
    if not kernels:
        env["PADDLE_DARTS_KERNELS"] = "0"
    package = str(Path(paddle_darts.__file__).resolve().parents[1])
    env["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [env.get("PYTHONPATH")])])
    return env
