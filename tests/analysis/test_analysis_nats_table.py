"""The table of all accuracies: ranks, percentiles, files, and every way in which a file can be wrong."""

from __future__ import annotations

import csv
import json
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats_made import COUNT, made_table, sample

from paddle_darts.analysis.nats import COLUMNS, NatsTable, isomorphic, read_table, true_accuracy, write_table
from paddle_darts.analysis.nats.files import collect
from paddle_darts.errors import ConfigError, DataError, GenotypeError
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.spaces.nas_bench_201 import architectures

ROUGH = made_table("cifar10_test", "cifar100_valid", levels=7)


# ------------------------------------------------------------------------------------------ answers
@given(st.integers(0, COUNT - 1), st.sampled_from(ROUGH.columns))
@settings(max_examples=50, deadline=None)
def test_rank_and_percentile_by_their_definition(index: int, column: str) -> None:
    values = ROUGH.column(column)
    assert ROUGH.rank(index, column) == 1 + int((values > values[index]).sum())
    assert ROUGH.percentile(index, column) == 100 * int((values <= values[index]).sum()) / COUNT


def test_best_and_worst() -> None:
    table = made_table()
    arch, accuracy = table.best("cifar10_test")
    values = table.column("cifar10_test")
    assert accuracy == values.max() == table.accuracy(arch, "cifar10_test")
    assert (table.rank(arch, "cifar10_test"), table.percentile(arch, "cifar10_test")) == (1, 100.0)
    worst = int(values.argmin())
    assert table.rank(worst, "cifar10_test") == 1 + int((values > values.min()).sum())
    assert table.mean("cifar10_test") == pytest.approx(values.mean())


def test_top_is_sorted_and_equals_stand_by_index() -> None:
    top = ROUGH.top("cifar10_test", 5000)
    keys = [(-accuracy, ROUGH.index(arch)) for arch, accuracy in top]
    assert len(top) == 5000 and keys == sorted(keys)
    assert ROUGH.top("cifar10_test", 0) == [] and len(ROUGH.top("cifar10_test", 10**6)) == COUNT
    with pytest.raises(ConfigError, match="-1"):
        ROUGH.top("cifar10_test", -1)


def test_an_architecture_may_be_given_in_any_form() -> None:
    text = architectures()[123]
    forms = (123, np.int64(123), text, NasBench201Genotype.parse(text))
    assert {ROUGH.accuracy(form, "cifar10_test") for form in forms} == {float(ROUGH.column("cifar10_test")[123])}
    assert ROUGH.row(text) == {column: float(ROUGH.column(column)[123]) for column in ROUGH.columns}


@pytest.mark.parametrize("wrong", [-1, COUNT, True, 1.0, None])
def test_no_index(wrong: object) -> None:
    with pytest.raises(GenotypeError, match="0 to 15624"):
        ROUGH.accuracy(wrong, "cifar10_test")


def test_no_architecture() -> None:
    with pytest.raises(GenotypeError, match="did you mean 'nor_conv_3x3'"):
        ROUGH.accuracy("|nor_conv_3x4~0|+|none~0|none~1|+|none~0|none~1|none~2|", "cifar10_test")


def test_unknown_column() -> None:
    with pytest.raises(DataError, match="did you mean 'cifar10_test'"):
        ROUGH.accuracy(0, "cifar10_tset")


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        ROUGH.column("cifar10_test")[0] = 100


def test_true_accuracy_is_plain_json_of_every_column() -> None:
    facts = true_accuracy(ROUGH, architectures()[5])
    assert json.loads(json.dumps(facts)) == facts and len(facts) == 3 * len(ROUGH.columns)
    assert facts["true_cifar100_valid"] == ROUGH.accuracy(5, "cifar100_valid")
    assert facts["true_cifar100_valid_rank"] == ROUGH.rank(5, "cifar100_valid")
    assert facts["true_cifar100_valid_percentile"] == ROUGH.percentile(5, "cifar100_valid")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no column"),
        ({"cifar10_tests": np.zeros(COUNT)}, "did you mean 'cifar10_test'"),
        ({"cifar10_test": np.zeros(COUNT - 1)}, "shape"),
        ({"cifar10_test": np.full(COUNT, np.nan)}, "architecture 0 has nan"),
        ({"cifar10_test": np.full(COUNT, 100.5)}, "architecture 0 has 100.5"),
    ],
)
def test_impossible_columns(columns: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        NatsTable(columns)


# ------------------------------------------------------------------------------------------ files
@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_files_keep_every_digit(tmp_path: Path, suffix: str) -> None:
    table = made_table(*COLUMNS, levels=99999)
    read = read_table(write_table(table, tmp_path / f"table{suffix}"))
    assert read.columns == COLUMNS and read.datasets == ("cifar10", "cifar100", "imagenet16_120")
    for column in COLUMNS:
        np.testing.assert_array_equal(read.column(column), table.column(column))


def test_rows_may_stand_in_any_order(tmp_path: Path) -> None:
    path = write_table(ROUGH, tmp_path / "table.csv")
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *sorted(rows)]) + "\n\n")
    np.testing.assert_array_equal(read_table(path).column("cifar10_test"), ROUGH.column("cifar10_test"))


CELL = architectures()[10]
DAMAGE = {
    "an empty file": (lambda lines: [], "the file is empty"),
    "no header": (lambda lines: lines[1:], "line 1: expected the header arch,<column>"),
    "no column": (lambda lines: [line.split(",")[0] for line in lines], "line 1: expected the header"),
    "a column misspelt": (lambda lines: ["arch,cifar10_tes", *lines[1:]], "line 1: unknown column .*'cifar10_test'"),
    "a column twice": (lambda lines: [f"{line},{line.split(',')[1]}" for line in lines], "stands twice"),
    "too few rows": (lambda lines: lines[:-3], "3 of 15625 architectures are missing, the first is"),
    "a row twice": (lambda lines: [*lines, lines[11]], "line 15627: .* stands twice, first in line 12"),
    "a field too many": (lambda lines: [*lines[:5], lines[5] + ",1", *lines[6:]], "line 6: 3 fields"),
    "no number": (lambda lines: [*lines[:11], f"{CELL},good", *lines[12:]], "line 12: 'good' is no number"),
    "NaN": (lambda lines: [*lines[:11], f"{CELL},nan", *lines[12:]], "line 12: 'nan' is no accuracy"),
    "more than all": (lambda lines: [*lines[:11], f"{CELL},100.1", *lines[12:]], "line 12: '100.1' is no accuracy"),
    "an unknown operation": (
        lambda lines: [*lines, lines[1].replace("_3x3", "_5x5")],
        "line 15627: unknown architecture: edge .* did you mean",
    ),
    "another spelling": (lambda lines: [*lines, lines[1].replace("+", " + ")], "line 15627: .*not written as"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_csv(tmp_path: Path, what: str) -> None:
    damage, message = DAMAGE[what]
    path = write_table(made_table(), tmp_path / "table.csv")
    path.write_text("".join(line + "\n" for line in damage(path.read_text().splitlines())))
    with pytest.raises(DataError, match=message) as error:
        read_table(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"PK\x03\x04 no archive"])
@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_other_files(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_table(path)


def test_missing_files_and_unknown_kinds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such table"):
        read_table(tmp_path / "table.csv")
    (tmp_path / "table.txt").write_text("")
    with pytest.raises(DataError, match=r"\.csv or \.npz"):
        read_table(tmp_path / "table.txt")
    with pytest.raises(ConfigError, match=r"\.csv or \.npz"):
        write_table(ROUGH, tmp_path / "table.txt")
    with pytest.raises(ConfigError, match="did you mean 'own'"):
        read_table(tmp_path, reader="owm")
    with pytest.raises(DataError, match="holds no meta"):
        read_table(tmp_path)


# ------------------------------------------------------------------------------------------ the official benchmark
def test_collecting_asks_for_every_column_of_every_architecture() -> None:
    def accuracy(index: int, dataset: str, split: str) -> float:
        return index / COUNT + {"cifar10": 10, "cifar100": 20, "ImageNet16-120": 30}[dataset] + (split == "test")

    table = collect(accuracy, "asked")
    assert table.columns == COLUMNS
    assert table.accuracy(5000, "imagenet16_120_test") == pytest.approx(31.32)
    assert table.accuracy(5000, "cifar10_valid") == pytest.approx(10.32)


class FakeBench:
    """Keeps, as the official package, what it has once read."""

    def __init__(self) -> None:
        self.arch2infos_dict: dict[int, str] = {}
        self.most = 0

    def get_more_info(self, index: int, dataset: str, hp: str, is_random: bool) -> dict[str, float]:
        assert (hp, is_random) == ("200", False)
        self.arch2infos_dict[index] = "large"
        self.most = max(self.most, len(self.arch2infos_dict))
        if dataset == "cifar10-valid":  # the half-trained network, which is not the one that papers report
            return {"valid-accuracy": 1.0, "test-accuracy": 2.0}
        return {"test-accuracy": 3.0} if dataset == "cifar10" else {"valid-accuracy": 4.0, "test-accuracy": 5.0}


def test_the_official_package_by_the_convention_of_the_papers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = FakeBench()

    def create(path: str, space: str, fast_mode: bool, verbose: bool) -> FakeBench:
        assert (path, space, fast_mode, verbose) == (str(tmp_path), "tss", True, False)
        return bench

    monkeypatch.setitem(sys.modules, "nats_bench", types.SimpleNamespace(create=create))
    row = read_table(tmp_path, reader="nats_bench").row(7)
    assert row == dict(zip(COLUMNS, (1.0, 3.0, 4.0, 5.0, 4.0, 5.0), strict=True))
    assert bench.most == 1


def test_without_the_official_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    with pytest.raises(DataError, match="pip install nats_bench"):
        read_table(tmp_path, reader="nats_bench")


# ------------------------------------------------------------------------------------------ the real table
def test_the_real_table(nats_table: Path) -> None:
    made_table()  # what is built once for all tables does not count
    start = time.perf_counter()
    table = read_table(nats_table)
    assert time.perf_counter() - start < 2
    best = {column: round(table.best(column)[1], 2) for column in table.columns}
    assert best.items() >= {"cifar10_test": 94.37, "cifar100_test": 73.51, "imagenet16_120_test": 47.31}.items()
    assert table.accuracy("|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|"
                          "skip_connect~2|", "cifar10_test") == pytest.approx(54.30, abs=0.005)  # fmt: skip
    with nats_table.open(newline="") as file:
        rows = {row["arch"]: float(row["cifar10_test"]) for row in csv.DictReader(file)}
    assert [rows[arch] for arch in architectures()] == table.column("cifar10_test").tolist()


def test_the_real_table_holds_the_means_of_the_records(nats_table: Path) -> None:
    """Papers' convention: all seeds, 200 epochs, CIFAR-10 trained on all of its training images."""
    table = read_table(nats_table)
    sets = {"cifar10": "ori-test", "cifar100": "x-test", "ImageNet16-120": "x-test"}
    for index, budgets in sample()["tss"].items():
        for dataset, set_name in sets.items():
            seeds = budgets["200"]["seeds"][dataset]
            runs = [budgets["200"]["runs"][f"{dataset}/{seed}"]["eval"][set_name]["acc"] for seed in seeds]
            column = f"{dataset.lower().replace('-', '_')}_test"
            assert table.accuracy(int(index), column) == pytest.approx(sum(runs) / len(runs), abs=6e-5)


def test_isomorphic_cells_differ_by_training_noise_alone(nats_table: Path) -> None:
    """The classes are right when their cells were equally good: their spread is far below that of all cells."""
    table = read_table(nats_table)
    values = table.column("cifar10_test")
    cells = [NasBench201Genotype.parse(arch) for arch in architectures()[:400]]
    spreads = [np.std(values[list(isomorphic(cell))]) for cell in cells if cell.valid and len(isomorphic(cell)) > 3]
    assert len(spreads) > 50 and np.mean(spreads) < 0.1 * np.std(values)
