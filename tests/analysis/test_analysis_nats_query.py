"""What is told of one architecture, by the library and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nats_made import COUNT, made_table, sample

from paddle_darts import cli
from paddle_darts.analysis.complexity import complexity
from paddle_darts.analysis.nats import costs, isomorphic, look_up, read_table, unique_count, write_table
from paddle_darts.analysis.nats.costs import IMAGES
from paddle_darts.analysis.nats.query import find_cell
from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import NasBench201Genotype, genotype_document
from paddle_darts.networks import build_network
from paddle_darts.spaces.nas_bench_201 import architectures

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|"


# ------------------------------------------------------------------------------------------ isomorphic cells
def test_the_published_number_of_different_cells() -> None:
    assert unique_count() == 6466


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # node 1 copies the input: reading it is reading the input
        (
            "|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
            "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|",
        ),
        # an edge out of a node that holds nothing
        (
            "|none~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|",
            "|none~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|",
        ),
        # the order of a sum
        (
            "|skip_connect~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|",
            "|skip_connect~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|",
        ),
    ],
)
def test_cells_that_compute_the_same(one: str, other: str) -> None:
    cells = [NasBench201Genotype.parse(text) for text in (one, other)]
    same = isomorphic(cells[0])
    assert same == isomorphic(cells[1]) and {one, other} <= {architectures()[index] for index in same}
    assert list(same) == sorted(same)


def test_classes_are_a_partition() -> None:
    seen: set[int] = set()
    classes = 0
    for index in range(COUNT):
        if index not in seen:
            members = isomorphic(NasBench201Genotype.parse(architectures()[index]))
            assert index == members[0] and not seen.intersection(members)
            seen.update(members)
            classes += 1
    assert classes == unique_count()


# ------------------------------------------------------------------------------------------ sizes
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120"])
def test_costs_are_those_of_the_benchmark(dataset: str) -> None:
    for index, budgets in sample()["tss"].items():
        run = budgets["200"]["runs"][f"{dataset}/888"]
        counted = costs(NasBench201Genotype.parse(architectures()[int(index)]), dataset.lower())
        assert counted.params == round(run["params_M"] * 1e6) and counted.flops == round(run["flops_M"] * 1e6)
        assert counted.flops - counted.macs == IMAGES[dataset.lower()][0]


@pytest.mark.parametrize(("arch", "dataset", "cells"), [(CELL, "cifar100", 1), (DEAD, "cifar10", 2), (7, "cifar10", 1)])
def test_costs_are_those_of_the_network(arch: str | int, dataset: str, cells: int) -> None:
    cell = find_cell(arch)
    classes, pixels = IMAGES[dataset]
    network = build_network(cell, num_classes=classes, init_channels=4, layers=3 * cells + 2)
    found = complexity(network, [3, pixels, pixels])
    assert costs(cell, dataset, channels=4, cells=cells)[:2] == (found.params, found.macs)


# ------------------------------------------------------------------------------------------ looking up
def test_every_way_to_name_an_architecture(tmp_path: Path) -> None:
    index = architectures().index(CELL)
    run = tmp_path / "run"
    run.mkdir()
    (run / "genotype.json").write_text(json.dumps(genotype_document(NasBench201Genotype.parse(CELL))))
    for arch in (CELL, index, str(index), NasBench201Genotype.parse(CELL), "CDARTS_NATS_1", str(run)):
        facts = look_up(arch)
        assert (facts.arch, facts.index) == (CELL, index)
        assert facts.name == ("CDARTS_NATS_1" if arch == "CDARTS_NATS_1" else None)


def test_dead_cells() -> None:
    facts = look_up(DEAD)
    assert not facts.valid and "no: nothing of the input reaches the output" in "\n".join(facts.lines())
    assert look_up(CELL).valid


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("|nor_conv_3x4~0|+|none~0|none~1|+|none~0|none~1|none~2|", "did you mean 'nor_conv_3x3'"),
        ("15625", "0 to 15624"),
        ("-1", "0 to 15624"),
        ("DARTS_V2", "a cell of the space darts"),
        ("CDARTS_NATS_7", "did you mean 'CDARTS_NATS_"),
        ("", "genotype"),
    ],
)
def test_what_is_no_architecture(arch: str, message: str) -> None:
    with pytest.raises(GenotypeError, match=message):
        look_up(arch)


def test_results_of_a_table() -> None:
    table = made_table("cifar100_valid", "cifar100_test")
    facts = look_up(CELL, table)
    at = facts.results["cifar100_test"]
    assert (at.accuracy, at.rank) == (table.accuracy(CELL, "cifar100_test"), table.rank(CELL, "cifar100_test"))
    assert (at.best_arch, at.best_accuracy) == table.best("cifar100_test")
    assert at.percentile == table.percentile(CELL, "cifar100_test")
    row = next(line for line in facts.lines() if line.startswith("cifar100_test"))
    assert row.split() == ["cifar100_test", f"{at.accuracy:.2f}", str(at.rank), f"{at.percentile:.2f}",
                           f"{at.best_accuracy:.2f}", at.best_arch]  # fmt: skip


# ------------------------------------------------------------------------------------------ the command
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(made_table("cifar10_test", "imagenet16_120_test"), tmp_path / "table.csv")
    assert cli.run_command("query", [CELL, "--nats_table", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == look_up(CELL, read_table(path)).lines()
    assert cli.run_command("query", ["123", "--nats-table", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(look_up(123, read_table(path)).as_dict()))
    assert printed["index"] == 123 and printed["costs"]["cifar10"]["macs"] > 0
    assert set(printed["results"]) == {"cifar10_test", "imagenet16_120_test"}


def test_command_exports_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(made_table(), tmp_path / "table.csv")
    copy = tmp_path / "table.npz"
    assert cli.run_command("query", ["--nats_table", str(path), "--export", str(copy)]) == 0
    assert str(copy) in capsys.readouterr().err
    assert (read_table(copy).column("cifar10_test") == read_table(path).column("cifar10_test")).all()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["|nor_conv_3x4~0|+|none~0|none~1|+|none~0|none~1|none~2|"], "did you mean 'nor_conv_3x3'"),
        (["0", "--nats_table", "nowhere.csv"], "no such table: nowhere.csv"),
    ],
)
def test_command_with_errors(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command("query", argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


@pytest.mark.parametrize("argv", [[], ["0", "--export", "table.csv"], ["0", "--nats_reader", "other"]])
def test_command_with_flags_that_do_not_fit(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run_command("query", argv)
    assert stop.value.code == 2 and "query.py: error" in capsys.readouterr().err


def test_command_on_the_real_table(nats_table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command("query", ["CDARTS_NATS_1", "--nats_table", str(nats_table), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    found = {column: round(result["accuracy"], 2) for column, result in results.items()}
    assert found.items() >= {"cifar10_test": 94.37, "cifar100_test": 73.09, "imagenet16_120_test": 46.33}.items()
    assert results["cifar10_test"]["rank"] <= 3
