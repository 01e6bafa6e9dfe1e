"""The dashboard of runs in both spaces, read back from its record file."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from analysis_run import DARTS_V2, NB201, make_run
from visualdl import LogReader

from paddle_darts.engine.dashboard import Dashboard
from paddle_darts.genotypes import genotype


def shown(folder: Any, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
    """The record that a finished run leaves, and the rows of its history."""
    run = make_run(folder / "run", epochs=3, **settings)
    rows, arch = (
        [json.loads(line) for line in (run / name).read_text().splitlines()]
        for name in ("history.jsonl", "alphas.jsonl")
    )
    directory = SimpleNamespace(vdl=run / "vdl", arch_history=lambda: arch[:2])
    search = SimpleNamespace(run_dir=directory, config={"method": "darts", "epochs": 3}, rows=rows[:2])
    dashboard = Dashboard()
    dashboard.on_search_begin(search)  # the two epochs of before a resume
    dashboard.on_epoch_end(search, 2, {**arch[2], **rows[2]})
    dashboard.on_search_end(search, None)
    [record] = (run / "vdl").glob("vdlrecords.*.log")
    return LogReader(file_path=str(record)), rows


def points(reader: Any, tag: str) -> list[tuple[int, float]]:
    return [(point.id, point.value) for point in reader.get_data("scalar", tag)]


@pytest.mark.parametrize("cells", [DARTS_V2, NB201], ids=["darts", "nb201"])
def test_cells_and_weights_of_every_kind(tmp_path, cells):
    reader, rows = shown(tmp_path, genotype=cells)
    kinds = genotype(cells).kinds
    tags = reader.get_tags()
    assert set(tags["histogram"]) == {f"architecture/{kind}" for kind in kinds}
    assert set(tags["image"]) == {f"{what}/{kind}" for what in ("cell", "architecture weights") for kind in kinds}
    for kind in kinds:  # nothing is derived in the first epoch
        assert [image.id for image in reader.get_data("image", f"cell/{kind}")] == [1, 2]
    assert points(reader, "loss/train") == [(row["epoch"], pytest.approx(row["train_loss"])) for row in rows]
    assert not [tag for tag in tags["scalar"] if tag.startswith("true")]


def test_skip_connections_of_one_and_of_two_kinds(tmp_path):
    share = "cells/share of skip connections"
    for name, cells, expected in (
        ("one", NB201, {share: "skip_share"}),
        ("two", DARTS_V2, {f"{share}, normal": "skip_share", f"{share}, reduction": "skip_share_reduce"}),
    ):
        reader, rows = shown(tmp_path / name, genotype=cells)
        assert {tag for tag in reader.get_tags()["scalar"] if tag.startswith("cells/")} == set(expected)
        for tag, key in expected.items():
            assert points(reader, tag) == [(row["epoch"], pytest.approx(row[key])) for row in rows[1:]]


def test_true_accuracy_rank_and_percentile(tmp_path):
    reader, rows = shown(tmp_path, genotype=NB201, truth=True)
    for tag, key in (
        ("true accuracy/cifar10_test", "true_cifar10_test"),
        ("true rank/cifar100_test", "true_cifar100_test_rank"),
        ("true percentile/cifar10_test", "true_cifar10_test_percentile"),
    ):
        assert points(reader, tag) == [(row["epoch"], pytest.approx(row[key])) for row in rows[1:]], tag
    assert points(reader, "true best/cifar10_test") == [(epoch, pytest.approx(94.37)) for epoch in range(3)]
