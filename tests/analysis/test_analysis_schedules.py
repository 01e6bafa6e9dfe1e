"""Pictures of schedules: which panels they have, what stands in them, and that the same rows give the same file."""

import math
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from paddle_darts.analysis.schedules import draw_schedule, panels


def staged(epochs=6):
    """Two stages; the architecture rests in the first epoch of each."""
    half = epochs // 2
    return [
        {
            "epoch": e,
            "stage": e // half,
            "lr": 0.1 * (1 + math.cos(math.pi * e / epochs)),
            "batch_size": 64,
            "arch": e % half > 0,
            "candidates_per_edge": 8 - 3 * (e // half),
            "undecided_normal": epochs - e,
            "undecided_reduce": epochs - e,
            "new_fact": e,
            "decided_normal": "max_pool_3x3 from 0 into node 1" if e else None,
        }
        for e in range(epochs)
    ]


@pytest.mark.parametrize("kinds", [("normal", "reduce"), ("cell",)], ids=len)
def test_panels_of_every_kind_of_cells(tmp_path, kinds):
    rows = [
        {"epoch": e, "lr": 0.1, **{f"{what}_{k}": 6 - e for what in ("available", "undecided") for k in kinds}}
        for e in range(3)
    ]
    found = dict(panels(rows))
    assert found["undecided edges per cell"] == tuple(f"undecided_{kind}" for kind in kinds)
    assert found["available operations per cell"] == tuple(f"available_{kind}" for kind in kinds)
    assert len(found) == 3
    assert draw_schedule(rows, tmp_path / "schedule")[0].is_file()


def test_panels_show_what_changes():
    found = dict(panels(staged()))
    assert list(found) == [
        "learning rate of the weights",
        "operations per edge",
        "undecided edges per cell",
        "new fact",
    ]
    assert found["undecided edges per cell"] == ("undecided_normal", "undecided_reduce")
    assert panels([{"epoch": 0, "lr": 0.1, "batch_size": 4}]) == [("learning rate of the weights", ("lr",))]
    assert panels([]) == []


def test_values_that_were_not_always_due_are_left_out():
    rows = staged()
    rows[2]["new_fact"] = None
    assert "new fact" not in dict(panels(rows))


@pytest.mark.parametrize("rows", [staged(), staged(2), [{"epoch": 0, "lr": 0.1}]], ids=["staged", "short", "one"])
def test_pictures(rows, tmp_path):
    written = draw_schedule(rows, tmp_path / "sub" / "schedule_x", ("svg", "png"))
    assert [path.name for path in written] == ["schedule_x.svg", "schedule_x.png"]
    assert ElementTree.parse(written[0]).getroot().tag.endswith("svg")
    assert len(Image.open(written[1]).convert("RGB").getcolors(1 << 24)) > 20


def test_shading_and_stages_are_drawn(tmp_path):
    def text(rows):
        return draw_schedule(rows, tmp_path / "x")[0].read_text()

    plain = [{**row, "stage": 0, "arch": True} for row in staged()]
    resting = [{**row, "stage": 0} for row in staged()]
    assert "architecture rests" in text(resting) and "architecture rests" not in text(plain)
    assert text(resting).count("#f1f3f6") == 2 * len(panels(staged())) and "#f1f3f6" not in text(plain)
    assert "stage 1" in text(staged()) and "stage 0" not in text(resting)


def test_same_rows_same_file(tmp_path):
    first = draw_schedule(staged(), tmp_path / "x")[0].read_bytes()
    assert draw_schedule(staged(), tmp_path / "x")[0].read_bytes() == first


def test_nothing_for_no_rows(tmp_path):
    assert draw_schedule([], tmp_path / "x") == [] and not list(tmp_path.iterdir())
