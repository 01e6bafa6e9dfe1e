"""The sweep: its points, its file, its picture. What it would measure is made up here."""

from __future__ import annotations

import json
import logging

import pytest

from paddle_darts.benchmark import sweep as sweep_module
from paddle_darts.benchmark.contest import Contest
from paddle_darts.benchmark.result import Measurement
from paddle_darts.benchmark.settings import sweep_settings
from paddle_darts.benchmark.sweep import axis_points, run_sweep, sweep_points
from paddle_darts.errors import ConfigError

SMALL = {
    "batch_size": 4,
    "channels": 4,
    "layers": 2,
    "threads": 1,
    "contestants": ["ours", "plain"],
    "points": ["batch_size", "threads"],
    "sweep_batch_size": [8, 4, 2],
    "sweep_threads": [1, 2],
}


@pytest.fixture
def measured(monkeypatch):
    """What was asked for: (contestants, batch size, threads)."""
    log = []

    def contest(case, config, contestants):
        log.append((tuple(contestants), config.batch_size, config.threads))
        memory = 100.0 + 10 * config.batch_size
        seconds = config.batch_size / config.threads
        found = Measurement(seconds, 0.0, 1.0, memory, 10, config.threads, 100.0, "paddle", "paddle 3", [seconds])
        return Contest(dict.fromkeys(contestants, found), 0.0)

    monkeypatch.setattr(sweep_module, "contest", contest)
    return log


@pytest.fixture
def config(tmp_path):
    return sweep_settings({**SMALL, "json": str(tmp_path / "out" / "sweep.json")})


def test_points(config):
    points = [(p.batch_size, p.channels, p.layers, p.threads) for p in sweep_points(config)]
    assert points == [(4, 4, 2, 1), (2, 4, 2, 1), (8, 4, 2, 1), (4, 4, 2, 2)]
    assert [p.batch_size for p in axis_points(config, "batch_size")] == [2, 4, 8]


def test_file_and_picture(config, measured, tmp_path):
    result = run_sweep(config)
    assert measured[:2] == [(("ours",), 4, 1), (("plain",), 4, 1)] and len(measured) == 8
    document = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert document["case"] == "search-step" and document["machine"]["cpu"] and len(document["points"]) == 8
    assert {row["contestant"] for row in document["points"]} == {"ours", "plain"}
    names = [path.name for path in result.files]
    assert names == ["sweep.json", "sweep.svg", "sweep.png"]
    assert all(path.stat().st_size > 1000 for path in result.files)
    picture = result.files[1].read_text()
    assert picture.count("<!-- batch size -->") == picture.count("<!-- threads -->") == 1
    assert "<!-- channels -->" not in picture and "<!-- PyTorch -->" not in picture
    assert len(result.lines()) == 1 + 8 + 1 + 3


def test_it_goes_on_where_it_was(config, measured, monkeypatch):
    real, left = sweep_module.contest, [3]

    def stopped(*args):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(sweep_module, "contest", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(config)
    monkeypatch.setattr(sweep_module, "contest", real)
    run_sweep(config)
    assert len(measured) == len(set(measured)) == 8, "nothing twice"
    run_sweep(config)
    assert len(measured) == 8


def test_ours_and_the_peer_are_measured_in_turns(tmp_path, measured, monkeypatch):
    monkeypatch.setattr("paddle_darts.benchmark.settings.check_peer", lambda *_: None)
    given = {**SMALL, "contestants": ["torch", "plain", "ours"], "points": ["threads"], "sweep_threads": [1]}
    run_sweep(sweep_settings({**given, "json": str(tmp_path / "a.json")}))
    assert measured == [(("ours", "torch"), 4, 1), (("plain",), 4, 1)]


def test_points_that_do_not_fit_into_memory(config, measured, monkeypatch, caplog):
    class Memory:
        available, total = 175 * 2**20, 2**30

    monkeypatch.setattr(sweep_module.psutil, "virtual_memory", lambda: Memory)
    with caplog.at_level(logging.WARNING):
        result = run_sweep(config)  # 140 MB in the middle, so 180 at twice the batch; 157 are free
    assert [m for m in measured if m[1] == 8] == [] and len(result.rows) == 6
    assert "ours is left out here: it would need about 180 MB, 158 MB are free" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": {"cpu": "Z80", "cores": 1}}, "was measured on another machine"),
        ({"case": "other"}, "does not hold a sweep"),
        ({"points": None}, "does not hold a sweep"),
    ],
)
def test_files_that_are_left_alone(config, measured, tmp_path, change, message):
    run_sweep(config)
    path = tmp_path / "out" / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=message):
        run_sweep(config)
    assert path.read_bytes() == before
