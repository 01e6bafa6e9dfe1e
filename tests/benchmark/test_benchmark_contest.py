"""Workers, turns and results, with real processes; no time is ever judged."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from typing import ClassVar

import pytest

from paddle_darts import cli
from paddle_darts.benchmark import contest as contest_module
from paddle_darts.benchmark import machine
from paddle_darts.benchmark.commands import benchmark
from paddle_darts.benchmark.config import BenchmarkConfig
from paddle_darts.benchmark.contest import BenchmarkError, Worker, _environment, contest
from paddle_darts.benchmark.result import Measurement, spread
from paddle_darts.errors import ConfigError

TINY = BenchmarkConfig(batch_size=2, channels=2, layers=1, image_size=8, threads=1, repeats=2, warmup=1)
KEYS = {"median_s", "spread", "images_per_s", "peak_rss_mb", "op_calls", "threads"}


def test_from_the_command_line_to_the_file(tmp_path, capsys):
    """With the peer, if there is one."""
    peer = ["--peer", "torch"] if importlib.util.find_spec("torch") else []
    given = {"batch_size": 2, "channels": 2, "layers": 1, "image_size": 8, "threads": 1, "repeats": 3, "warmup": 1}
    sizes = [f"--{name}={value}" for name, value in given.items()]
    file = tmp_path / "found" / "result.json"
    argv = ["benchmark", "search-step", *sizes, *peer, "--kernels", "off", "--json", str(file)]
    assert cli.main(argv) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("search-step: method darts, space darts, batch size 2, channels 2, layers 1")
    found = json.loads(file.read_text())
    assert set(found) >= KEYS | {"case", "times", "machine", "import_rss_mb", "other_load"}
    assert (found["threads"], found["kernels"], found["batch_size"], len(found["times"])) == (1, "paddle", 2, 3)
    assert found["median_s"] == sorted(found["times"])[1]
    assert found["images_per_s"] == pytest.approx(2 / found["median_s"])
    assert 50 < found["import_rss_mb"] < found["peak_rss_mb"] and found["op_calls"] > 500
    assert found["machine"]["cpu"] and found["version"].startswith("paddle ")
    if peer:
        other = found["peer"]
        assert set(other) >= KEYS and other["threads"] == 1 and other["op_calls"] > 500
        assert found["ratio"] == pytest.approx(other["median_s"] / found["median_s"])
        assert found["memory_ratio"] == pytest.approx(found["peak_rss_mb"] / other["peak_rss_mb"])
        assert f"{found['ratio']:.2f}x" in printed and "torch" in printed
    else:
        assert not {"peer", "ratio"} & set(found)


class Fake:
    """A worker without a process, which notes what is asked of it."""

    log: ClassVar[list[str]] = []

    def __init__(self, name, case, config):
        self.name, self.pid = name, os.getpid()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.log.append(f"{self.name} ended")

    def start(self):
        self.log.append(f"{self.name} starts")

    def step(self, counted):
        self.log.append(f"{self.name} {'counts' if counted else 'warms up'}")

    def finish(self):
        return self.name


def test_in_turns(monkeypatch):
    monkeypatch.setattr(contest_module, "Worker", Fake)
    monkeypatch.setattr(contest_module, "PAUSE", 0.0)
    Fake.log.clear()
    assert contest("data", TINY, ["ours", "torch"]).found == {"ours": "ours", "torch": "torch"}
    turns = [f"{name} {what}" for what in ("warms up", "counts", "counts") for name in ("ours", "torch")]
    assert Fake.log == ["ours starts", "torch starts", *turns, "torch ended", "ours ended"]


def test_time_limit(monkeypatch):
    """Three repetitions at least, none after the limit."""
    worker = Worker("ours", "data", BenchmarkConfig(time_limit=1.0))
    monkeypatch.setattr(worker, "_ask", lambda request: {"seconds": 5.0})
    for turn in range(10):
        worker.step(counted=turn >= 2)
    assert worker.times == [5.0] * 3


def test_a_setting_that_a_worker_refuses():
    with pytest.raises(ConfigError, match="ours: device must be cpu, gpu or gpu:N, got 'tpu'"):
        benchmark("data", device="tpu", repeats=1)


def test_the_last_words_of_a_worker():
    with Worker("ours", "nothing", TINY) as worker, pytest.raises(BenchmarkError) as caught:
        worker.start()
    text = str(caught.value)
    assert text.startswith("the worker of ours ended with status 1; its last words:\n")
    assert text.endswith("KeyError: 'nothing'") and len(text.splitlines()) <= 16


def test_a_killed_worker():
    with Worker("ours", "data", TINY) as worker:
        worker._process.kill()
        with pytest.raises(BenchmarkError, match=r"killed by signal 9 \(out of memory\?\).*\nit said nothing"):
            worker.start()


def test_environment_of_a_worker(monkeypatch):
    monkeypatch.setenv("PADDLE_DARTS_KERNELS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    on, off = _environment(3, kernels=True), _environment(3, kernels=False)
    assert "PADDLE_DARTS_KERNELS" not in on and off["PADDLE_DARTS_KERNELS"] == "0"
    assert on["OMP_NUM_THREADS"] == on["MKL_NUM_THREADS"] == "3"
    code = "import paddle_darts, sys; print('paddle' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=on, cwd="/", capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_the_memory_of_the_parent_is_not_counted():
    ballast = b"x" * 600 * 2**20
    code = "from paddle_darts.benchmark.machine import peak_rss_mb; print(peak_rss_mb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment(1, True))
    assert float(done.stdout) < 300 < len(ballast) / 2**20 < machine.peak_rss_mb()


def test_spread():
    assert spread([1.0]) == 0.0
    assert spread([2.0, 2.0, 2.0]) == 0.0
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1 / 3)


def test_measurement():
    facts = {"op_calls": 3, "threads": 2, "kernels": None, "version": "x 1", "peak_rss_mb": 10.04, "import_rss_mb": 5.0}
    found = Measurement.of([3.0, 1.0, 2.0], images=4, **facts)
    assert (found.median_s, found.images_per_s, found.peak_rss_mb) == (2.0, 2.0, 10.0)


def test_other_load():
    """The work of a process is that of others, unless it is one of ours."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        everything, without = machine.OtherLoad(), machine.OtherLoad([busy.pid])
        time.sleep(0.6)
        found = everything.cores() - without.cores()
        busy.kill()
    assert 0.1 < found <= 1.1


TALKATIVE = """
import os
from paddle_darts.benchmark import worker
from paddle_darts.benchmark.side import Step

class Side:
    def build(self, case): print("a library speaks"); os.system("echo a program speaks"); return Step(self.run, 5)
    def run(self): print("and again")
    def describe(self): return {"threads": 1, "version": "x", "kernels": None}
    def synchronize(self): pass
    def count_op_calls(self, run): run(); return 7

worker._side = lambda *_: Side()
worker.main()
"""


def test_what_libraries_print_does_not_break_the_protocol():
    requests = [{"contestant": "ours", "case": "data", "config": {}}, {"do": "step"}, {"do": "finish"}]
    done = subprocess.run(
        [sys.executable, "-c", TALKATIVE],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        env=_environment(1, True),
    )
    built, step, finish = map(json.loads, done.stdout.splitlines())
    assert built["images"] == 5 and step["seconds"] >= 0 and finish["op_calls"] == 7
    assert all(words in done.stderr for words in ("a library speaks", "a program speaks", "and again"))
    assert done.returncode == 0
