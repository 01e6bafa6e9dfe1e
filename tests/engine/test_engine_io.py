"""Random states through JSON, and files that are whole or not there."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path

import numpy as np
import paddle
import pytest

from paddle_darts.io import rng
from paddle_darts.io.files import read_config, read_json, read_rows, write_atomic, write_json, write_rows


def draws() -> list[list[float]]:
    return [
        [random.random(), random.gauss(0, 1)],
        [*np.random.rand(3), *np.random.standard_normal(3)],
        paddle.rand([3]).tolist() + paddle.randn([3]).tolist() + paddle.randperm(5).tolist(),
    ]


def test_random_states_survive_json_exactly() -> None:
    rng.seed_everything(11)
    draws()  # leaves half a pair of normal numbers in Python's and NumPy's generators
    random.gauss(0, 1)
    np.random.standard_normal()
    text = json.dumps(rng.capture())
    expected = [draws(), draws()]
    rng.seed_everything(12)
    assert draws() != expected[0]
    rng.restore(json.loads(text))
    assert json.dumps(rng.capture()) == text
    assert [draws(), draws()] == expected


def test_capturing_draws_nothing() -> None:
    rng.seed_everything(3)
    expected = draws()
    rng.seed_everything(3)
    rng.capture()
    assert draws() == expected


def test_each_generator_is_seeded() -> None:
    rng.seed_everything(5)
    first = draws()
    rng.seed_everything(5)
    assert draws() == first
    rng.seed_everything(6)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = write_json(tmp_path / "a.json", {"x": 0.1 + 0.2})

    def fail(part: Path) -> None:
        part.write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_atomic(target, fail)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"] and read_json(target) == {"x": 0.1 + 0.2}


def test_rows_and_damaged_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"epoch": 0, "loss": 1 / 3, "name": "深"}, {"epoch": 1, "loss": None}]
    path = write_rows(tmp_path / "r.jsonl", rows)
    assert read_rows(path) == rows
    path.write_text(path.read_text(encoding="utf-8") + '[1]\n{"epoch": 2, "lo', encoding="utf-8")
    assert read_rows(path) == rows and read_rows(tmp_path / "none") == []
    (tmp_path / "d.json").write_text("{")
    (tmp_path / "d.yaml").write_text("a: [")
    with caplog.at_level(logging.WARNING):
        assert read_json(tmp_path / "d.json") is None and read_config(tmp_path / "d.yaml") == {}
    assert "d.json cannot be read" in caplog.text and "d.yaml cannot be read" in caplog.text
    caplog.clear()
    assert read_json(tmp_path / "none") is None and read_config(tmp_path / "none") == {} and caplog.text == ""
