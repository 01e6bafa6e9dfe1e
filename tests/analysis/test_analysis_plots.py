"""Curves, heat maps, the animation, and the refreshing of a run's plots folder."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from analysis_run import DARTS_V2, NASNET, NB201, NB201_SKIPS, SPARSE, make_run
from PIL import Image

from paddle_darts.analysis import (
    draw_arch_weights,
    draw_curves,
    draw_true_accuracy,
    edge_labels,
    gif_from_run,
    heatmap,
    search_gif,
)
from paddle_darts.analysis.gif import SIZE
from paddle_darts.analysis.looks import LOOKS
from paddle_darts.analysis.panels import curve_panels, true_fact, true_panels
from paddle_darts.analysis.plots import refresh_plots
from paddle_darts.analysis.stored import as_genotype
from paddle_darts.errors import RunError
from paddle_darts.genotypes import Genotype, genotype, genotype_document
from paddle_darts.genotypes.nas_bench_201 import EDGES


def durations(picture):
    found = []
    for index in range(picture.n_frames):
        picture.seek(index)
        found.append(picture.info["duration"])
    return found


def is_drawn(path):
    if path.suffix == ".svg":
        return ElementTree.parse(path).getroot().tag.endswith("svg")
    return len(Image.open(path).convert("RGB").getcolors(1 << 24)) > 20


def test_edge_labels():
    assert edge_labels(14)[:3] == ["c_{k-2} → 0", "c_{k-1} → 0", "c_{k-2} → 1"]
    assert edge_labels(14)[-1] == "2 → 3"
    assert edge_labels(6) == ["c_in → 1", "c_in → 2", "1 → 2", "c_in → c_out", "1 → c_out", "2 → c_out"]
    assert edge_labels(4) == ["edge 0", "edge 1", "edge 2", "edge 3"]


def test_heatmap_is_darkest_where_the_weight_is_largest():
    table = np.full((3, 4), 0.1, np.float32)
    table[1, 2] = 0.7
    picture = heatmap(table, ["a", "b", "c"], ["w", "x", "y", "z"], "normal cell")
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    dark = np.argwhere(picture.astype(int).sum(2) == picture.astype(int).sum(2)[picture[..., 0] < 20].min())
    assert len(dark) > 300  # a field, not a letter
    wider = heatmap(np.full((3, 8), 0.1), ["a", "b", "c"], list("abcdefgh"))
    assert wider.shape[1] > picture.shape[1]


def test_heatmap_leaves_missing_values_blank():
    picture = heatmap([[None, 0.5], [0.2, float("nan")]], ["a", "b"], ["x", "y"])
    assert picture.size
    assert heatmap([[None]], ["a"], ["x"]).size


def test_curves_need_only_what_is_there(tmp_path):
    assert draw_curves([], tmp_path) == []
    assert draw_curves([{"epoch": 0, "train_loss": None, "note": "x"}], tmp_path) == []
    rows = [{"epoch": e, "train_loss": 1.0 / (e + 1), "valid_top1": 10.0 * e if e == 2 else None} for e in range(4)]
    written = draw_curves(rows, tmp_path)
    assert [p.name for p in written] == ["curves.svg", "curves.png"]
    assert all(map(is_drawn, written))


def test_arch_weights_follow_a_staged_search(tmp_path):
    early = [[0.3, 0.3, 0.4]] * 5
    rows = [
        {"epoch": 0, "ops": ["none", "skip_connect", "sep_conv_3x3"], "probabilities": {"normal": early}},
        {"epoch": 1, "ops": ["sep_conv_3x3", "none"], "probabilities": {"normal": [[0.6, None]] * 5}},
    ]
    written = draw_arch_weights(rows, tmp_path)
    assert [p.name for p in written] == ["arch_weights.svg", "arch_weights.png"] and all(map(is_drawn, written))
    assert draw_arch_weights([{"epoch": 0}], tmp_path) == []


def test_gif_has_one_frame_per_epoch(tmp_path):
    first, second = Genotype.from_dict(DARTS_V2), Genotype.from_dict(NASNET)
    frames = [
        {"epoch": 0, "genotype": None, "train_loss": 2.3, "valid_top1": None},
        {"epoch": 1, "genotype": first, "train_loss": 1.5, "valid_top1": 31.25},
        {"epoch": 2, "genotype": first, "train_loss": 1.5, "valid_top1": 31.25},
        {"epoch": 3, "genotype": second, "valid_top1": 86.3281},
    ]
    picture = Image.open(search_gif(frames, tmp_path / "a" / "s.gif", seconds_per_frame=0.5))
    assert picture.n_frames == 4 and picture.size == (1300, 700) and picture.info["loop"] == 0
    assert durations(picture) == [500, 500, 500, 4000]
    stills = []
    for index in range(4):
        picture.seek(index)
        stills.append(np.asarray(picture.convert("RGB")).astype(int))
    assert (stills[1][:630] == stills[2][:630]).all() and (stills[1] != stills[2]).any()
    assert (stills[3][:630] != stills[2][:630]).any()

    def red(still):
        return int(((still[640:, :, 0] > 180) & (still[640:, :, 1:].max(2) < 90)).sum())

    assert red(stills[0]) == 0 and red(stills[3]) > 200


@pytest.mark.parametrize("cells", [SPARSE, NB201], ids=["sparse", "nb201"])
def test_gif_of_other_cells(tmp_path, cells):
    run = make_run(tmp_path / "run", epochs=4, genotype=cells)
    picture = Image.open(gif_from_run(run))
    stills = []
    for index in range(picture.n_frames):
        picture.seek(index)
        stills.append(np.asarray(picture.convert("RGB")).astype(int)[:630])
    assert len(stills) == 4
    assert (stills[0] != stills[1]).any() and (stills[1] != stills[2]).any() and (stills[2] == stills[3]).all()


def test_gif_without_dot_and_without_frames(tmp_path):
    frames = [{"epoch": 0, "genotype": Genotype.from_dict(NASNET)}]
    assert is_drawn(search_gif(frames, tmp_path / "s.gif", backend="networkx"))
    with pytest.raises(RunError, match="no epochs"):
        search_gif([], tmp_path / "e.gif")
    with pytest.raises(RunError, match=r"history\.jsonl"):
        gif_from_run(tmp_path)


def test_refresh_draws_cells_only_when_they_change(tmp_path):
    run = make_run(tmp_path / "run", epochs=4)
    names = {p.name for p in refresh_plots(run)}
    assert names == {
        "normal.svg", "normal.png", "reduce.svg", "reduce.png", "curves.svg", "curves.png",
        "arch_weights.svg", "arch_weights.png",
    }  # fmt: skip
    again = {p.name for p in refresh_plots(run, final=True)}
    assert "normal.svg" not in again and {"search.gif", "probabilities.png"} <= again
    assert is_drawn(run / "plots" / "probabilities.png")
    assert Image.open(run / "plots" / "search.gif").n_frames == 4
    document = json.loads((run / "genotype.json").read_text())
    (run / "genotype.json").write_text(json.dumps({**document, "genotype": NASNET}))
    assert "normal.svg" in {p.name for p in refresh_plots(run)}
    (run / "genotype.json").write_text(json.dumps({**document, "genotype": None}))
    refresh_plots(run)
    assert not (run / "plots" / "normal.svg").exists()  # an old picture would pass for the present cell
    assert not [p for p in (run / "plots").iterdir() if p.name.startswith(".") and p.name != ".drawn.json"]


def test_gif_of_one_cell_uses_the_whole_height(tmp_path):
    frames = [{"epoch": 0, "genotype": None}, {"epoch": 1, "genotype": genotype(NB201)}]
    picture = Image.open(search_gif(frames, tmp_path / "s.gif"))
    assert picture.size == SIZE
    picture.seek(1)
    rows = np.flatnonzero((np.asarray(picture.convert("L"))[60:630] < 200).any(axis=1)) + 60
    assert rows.min() < 335 < rows.max() and abs((rows.min() + rows.max()) / 2 - 335) < 30


def test_refresh_of_a_run_with_one_kind_of_cells(tmp_path):
    run = make_run(tmp_path / "run", epochs=4, genotype=NB201, truth=True)
    written = refresh_plots(run, final=True)
    pictures = ("cell", "curves", "true_accuracy", "arch_weights")
    names = {f"{name}.{form}" for name in pictures for form in ("svg", "png")}
    assert {p.name for p in written} == names | {"search.gif", "probabilities.png"}
    assert all(map(is_drawn, (p for p in written if p.suffix != ".gif")))
    assert "cell.svg" not in {p.name for p in refresh_plots(run)}
    document = json.loads((run / "genotype.json").read_text())
    (run / "genotype.json").write_text(json.dumps({**document, "genotype": NB201_SKIPS}))
    assert "cell.svg" in {p.name for p in refresh_plots(run)}
    (run / "genotype.json").write_text(json.dumps({**document, "genotype": None}))
    refresh_plots(run)
    assert not (run / "plots" / "cell.svg").exists()


@pytest.mark.parametrize("cells", [DARTS_V2, SPARSE, NB201], ids=["darts", "sparse", "nb201"])
def test_every_stored_form_is_read(cells):
    one = genotype(cells)
    forms = [one, cells, str(one), genotype_document(one), {"space": one.space, "genotype": str(one)}]
    assert [as_genotype(form) for form in forms] == [one] * len(forms)


@pytest.mark.parametrize("value", [None, {}, "", "CDARTS_NATS_1", {"genotype": None}, {"cells": 3}, "|x~0|", 7])
def test_what_is_no_genotype_is_not_drawn(value):
    assert as_genotype(value) is None


def test_rows_of_the_looks_are_those_of_the_spaces():
    assert LOOKS["nas_bench_201"].edges(6) == [(source, target) for target, source in EDGES]
    assert LOOKS["darts"].edges(14)[-1] == (4, 5) and LOOKS["darts"].edges(13) is None
    assert not any(LOOKS["darts"].edges(rows) and LOOKS["nas_bench_201"].edges(rows) for rows in range(1, 200))


def test_panels_of_a_history_with_two_kinds_of_cells():
    row = {"epoch": 0, "train_loss": 1.0, "valid_loss": None, "valid_top1": 3, "lr": 0.1, "skip_share": 0.5}
    panels = curve_panels([{**row, "skip_share_reduce": 0.25}])
    assert [p.heading for p in panels] == ["Loss", "Accuracy (%)", "Share of skip connections", "Learning rate"]
    found = [[(line.label, line.values, line.colour, line.dash) for line in p.lines] for p in panels]
    assert found == [
        [("train", [1.0], "#0067a5", "solid")],
        [("valid", [3.0], "#b4500b", "dashed")],
        [("normal cell", [0.5], "#0067a5", "solid"), ("reduction cell", [0.25], "#b4500b", "dashed")],
        [("learning rate", [0.1], "#5a4fb0", "solid")],
    ]
    assert [line.label for line in curve_panels([row])[2].lines] == ["cell"]


def test_true_accuracy_with_the_best_possible(tmp_path):
    rows = [
        {"epoch": 0, "true_cifar10_test": None, "true_cifar10_test_best": 94.37},
        {"epoch": 1, "true_cifar10_test": 91.5, "true_cifar10_test_rank": 4000, "true_cifar10_test_percentile": 74.4},
        {"epoch": 2, "true_cifar10_test": 93.5, "true_cifar10_test_percentile": 96.0, "true_cifar100_test": 70},
    ]
    first, second, ranks = true_panels(rows)
    assert [p.heading for p in (first, second)] == [f"True accuracy, {c} test (%)" for c in ("cifar10", "cifar100")]
    assert ranks.heading == "Rank percentile (%)" and len(ranks.lines) == 1
    assert [(line.label, line.dash) for line in first.lines] == [
        ("current architecture", "solid"),
        ("best possible", "dashed"),
    ]
    assert first.lines[1].values == [94.37] * 3 and first.lines[0].values[1:] == [91.5, 93.5]
    assert [line.label for line in second.lines] == ["current architecture"]
    assert [p.name for p in draw_true_accuracy(rows, tmp_path)] == ["true_accuracy.svg", "true_accuracy.png"]
    assert true_panels([{"epoch": 0, "train_loss": 1.0}]) == []
    assert draw_true_accuracy([{"epoch": 0, "true_cifar10_test": None}], tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_keys_of_the_truth():
    assert true_fact("true_imagenet16_120_test") == ("imagenet16_120_test", "accuracy")
    assert true_fact("true_cifar10_test_rank") == ("cifar10_test", "rank")
    assert true_fact("true_cifar10_valid_best") == ("cifar10_valid", "best")
    assert true_fact("train_top1") is None and true_fact("trueness") is None


def test_six_columns_are_told_apart():
    columns = [f"{data}_{split}" for data in ("cifar10", "cifar100", "imagenet16_120") for split in ("valid", "test")]
    facts = {f"true_{c}{fact}": 5.0 for c in columns for fact in ("", "_percentile")}
    *accuracies, ranks = true_panels([{"epoch": 0, **facts}])
    assert len(accuracies) == 6 and len({(line.colour, line.dash) for line in ranks.lines}) == 6


def test_refresh_of_a_training_run_and_of_an_empty_one(tmp_path):
    assert refresh_plots(tmp_path, final=True) == []
    (tmp_path / "history.jsonl").write_text('{"epoch": 0, "train_loss": 1.0}\n{"epoch": 1, "tr')
    assert [p.name for p in refresh_plots(tmp_path, final=True)] == ["curves.svg", "curves.png"]
