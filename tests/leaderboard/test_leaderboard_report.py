"""Table and plots from recorded histories."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from leaderboard_made import COLUMNS, TINY, made_table, write_entry, write_made_table

from paddle_darts.errors import ConfigError, RunError
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.leaderboard import LeaderboardResult, leaderboard
from paddle_darts.leaderboard.entries import stored_entries
from paddle_darts.leaderboard.results import Spread, noise, outcome, rows_of
from paddle_darts.leaderboard.settings import keep_protocol, leaderboard_settings
from paddle_darts.spaces.nas_bench_201 import architectures

TABLE = made_table()
SKIPS = str(NasBench201Genotype(("skip_connect",) * 6))
DEAD = str(NasBench201Genotype(("none",) * 6))
CELLS = architectures()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Darts with three seeds, one without a cell; random search with one; entries that are not done."""
    write_entry(tmp_path / "out", "darts", 0, [CELLS[5], CELLS[100], SKIPS])
    write_entry(tmp_path / "out", "darts", 1, [None, CELLS[7], CELLS[8000]])
    write_entry(tmp_path / "out", "darts", 2, [CELLS[9], None, None])
    write_entry(tmp_path / "out", "luck", 0, [CELLS[11]] * 5 + [DEAD], method="random_search")
    write_entry(tmp_path / "out", "gdas", 0, [CELLS[3]], done=False)
    failed = write_entry(tmp_path / "out", "sgas", 0, [], done=False)
    (failed / "failure.json").write_text('{"status": 2, "error": "too few epochs"}')
    return tmp_path / "out"


@pytest.fixture
def reported(out: Path, tmp_path: Path) -> LeaderboardResult:
    table = write_made_table(tmp_path)
    return leaderboard(**TINY, out=out, nats_table=table, report_only=True, per_method={"luck": {"epochs_scale": 2}})


def test_files(reported: LeaderboardResult, out: Path) -> None:
    assert [path.name for path in reported.files] == [
        *("leaderboard.json", "leaderboard.csv", "leaderboard.md"),
        *("accuracy.svg", "accuracy.png", "skips.svg", "skips.png"),
    ]
    assert all(path.parent == out and path.stat().st_size > 500 for path in reported.files)
    assert (reported.status, reported.progress) == (0, None)


def test_the_table_grades_the_last_cell(reported: LeaderboardResult, out: Path) -> None:
    document = json.loads((out / "leaderboard.json").read_text())
    assert document["columns"] == list(COLUMNS)
    rows = {row["name"]: row for row in document["rows"]}
    assert set(rows) == {"darts", "luck"}
    for column in COLUMNS:
        values = [TABLE.accuracy(SKIPS, column), TABLE.accuracy(8000, column)]
        found = rows["darts"]["accuracy"][column]
        assert found["mean"] == pytest.approx(np.mean(values))
        assert found["std"] == pytest.approx(np.std(values, ddof=1)) and found["count"] == 2
        dead = rows["luck"]["accuracy"][column]
        assert (dead["mean"], dead["std"]) == (pytest.approx(TABLE.accuracy(DEAD, column)), None)
    darts = rows["darts"]
    ranks = [TABLE.percentile(SKIPS, COLUMNS[0]), TABLE.percentile(8000, COLUMNS[0])]
    assert darts["percentile"] == pytest.approx(np.mean(ranks))
    skips = NasBench201Genotype.parse(CELLS[8000]).count("skip_connect")
    assert darts["skips"] == (6 + skips) / 2
    assert (darts["valid"], darts["seeds"]) == (1 + NasBench201Genotype.parse(CELLS[8000]).valid, [0, 1, 2])
    assert (darts["seconds"], darts["peak_mb"], darts["kind"]) == (4.5, 122.0, "gradient")
    assert (rows["luck"]["valid"], rows["luck"]["kind"], rows["luck"]["seconds"]) == (0, "samples", 9.0)


def test_references_and_order(reported: LeaderboardResult, out: Path) -> None:
    lines = list(csv.DictReader((out / "leaderboard.csv").read_text().splitlines()))
    means = [float(line["cifar10_test_mean"]) for line in lines[:-2]]
    assert len(means) == 2 and means == sorted(means, reverse=True)
    best, random = lines[-2:]
    values = TABLE.column("cifar100_test")
    assert float(best["cifar100_test_mean"]) == values.max() and best["cifar100_test_std"] == ""
    assert float(random["cifar100_test_mean"]) == pytest.approx(values.mean())
    assert float(random["cifar100_test_std"]) == pytest.approx(values.std())


def test_markdown_says_what_must_be_known(reported: LeaderboardResult, out: Path) -> None:
    text = (out / "leaderboard.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 2 + 2 and len({line.count("|") for line in table}) == 1
    darts = next(line for line in table if "`darts`" in line)
    values = [TABLE.accuracy(SKIPS, COLUMNS[0]), TABLE.accuracy(8000, COLUMNS[0])]
    assert f"| {np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} |" in darts
    for part in (
        "digits, images of 8 pixels",
        "a budget of 2 epochs",
        "`luck`: epochs_scale 2.",
        "Not done: gdas seed 0",
        "Failed: sgas seed 0: too few epochs",
        f"Noise: seeds of one entry differ by {np.std(values, ddof=1):.2f} in CIFAR-10 test",
    ):
        assert part in text


def test_curves(out: Path) -> None:
    darts = [outcome(entry, TABLE) for entry in stored_entries(out) if entry.name == "darts"]
    assert darts[0].curve == tuple(TABLE.accuracy(cell, COLUMNS[0]) for cell in (5, 100, SKIPS))
    assert darts[0].skip_curve[-1] == 1.0 and darts[0].skips == 6
    assert math.isnan(darts[1].curve[0]) and math.isnan(darts[2].skip_curve[-1])
    assert darts[2].genotype is None and darts[2].accuracy is None and not darts[2].valid


def test_a_panel_per_entry(reported: LeaderboardResult, out: Path) -> None:
    for name in ("accuracy", "skips"):
        picture = (out / f"{name}.svg").read_text()
        assert picture.count("<!-- darts -->") == picture.count("<!-- luck -->") == 1
        assert "<!-- gdas -->" not in picture
    assert f"{TABLE.best(COLUMNS[0])[1]:.2f}" in (out / "accuracy.svg").read_text()


def test_noise_is_pooled_over_entries() -> None:
    """Weighted by the degrees of freedom; entries with one seed tell nothing."""

    class Found:
        def __init__(self, *values: float) -> None:
            self.accuracy = {"c": Spread.of(values)}

    groups = ([1.0, 3.0], [10.0, 11.0, 15.0], [7.0])
    squares = sum(((np.array(group) - np.mean(group)) ** 2).sum() for group in groups)
    assert noise([Found(*group) for group in groups], "c") == pytest.approx(math.sqrt(squares / 3))
    assert noise([Found(7.0)], "c") is None
    assert Spread.of([]) == Spread(None, None, 0)


def test_no_cell_at_all(tmp_path: Path) -> None:
    """An entry that never derives a cell comes last, without an accuracy."""
    write_entry(tmp_path / "out", "fair_darts", 0, [None, None], method="fair_darts")
    write_entry(tmp_path / "out", "darts", 0, [DEAD, DEAD])
    result = leaderboard(**TINY, out=tmp_path / "out", nats_table=write_made_table(tmp_path), report_only=True)
    assert [row.name for row in result.board.rows] == ["darts", "fair_darts"]
    assert result.board.rows[1].accuracy[COLUMNS[0]] == Spread(None, None, 0)
    assert "| – |" in result.board.markdown()


def test_a_report_does_not_tell_of_another_protocol(out: Path, tmp_path: Path) -> None:
    settings = {**TINY, "out": out, "nats_table": write_made_table(tmp_path)}
    keep_protocol(leaderboard_settings(settings))
    with pytest.raises(RunError, match=r"started with other settings \(epochs: 2 -> 99\)"):
        leaderboard(out=out, report_only=True, epochs=99)
    assert leaderboard(out=out, report_only=True).board.config.epochs == 2
    assert not leaderboard_settings({"out": out}).report_only


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no leaderboard in"):
        leaderboard(**TINY, out=tmp_path / "out", nats_table=write_made_table(tmp_path), report_only=True)
    assert not (tmp_path / "out").exists()


def test_rows_keep_their_order_among_equals() -> None:
    assert rows_of([], TABLE) == []
