"""The way of a user with images of their own: search, retrain, evaluate, draw, all from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paddle_darts.cli import main
from paddle_darts.engine.parsing import read_recipe
from paddle_darts.engine.recipes import search_settings
from paddle_darts.genotypes import format_genotype, genotype
from paddle_darts.methods import METHODS
from paddle_darts.resources import resource_dir

TINY = ["--image_size", "15", "--batch_size", "8", "--init_channels", "2", "--layers", "3", "--epochs", "2"]


@pytest.fixture(params=["RGB", "L"])
def photos(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three classes of 12 odd-sized images that differ in brightness."""
    rng = np.random.default_rng(0)
    for label, level in (("dark", 40), ("grey", 120), ("light", 210)):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for i in range(12):
            shape = (17, 23, 3) if request.param == "RGB" else (17, 23)
            pixels = np.clip(rng.normal(level, 15, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels, request.param).save(folder / f"{i}.png")
    return tmp_path / "photos"


def test_from_images_to_a_measured_network(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, trained = tmp_path / "found", tmp_path / "trained"
    data = ["--dataset", "folder", "--data", str(photos)]
    assert main(["search", *data, *TINY, "--steps", "2", "--multiplier", "2", "--run_dir", str(found)]) == 0
    printed = capsys.readouterr().out
    assert "genotype = Genotype(" in printed and "report.html" in printed
    assert f"python tools/train.py --arch {found}" in printed

    flags = ["--learning_rate", "0.1", "--drop_path_prob", "0.1", "--auxiliary", "--cutout", "--cutout_length", "4"]
    assert main(["train", "--arch", str(found), *data, *TINY, *flags, "--run_dir", str(trained)]) == 0
    last = json.loads((trained / "history.jsonl").read_text().splitlines()[-1])
    assert json.loads((trained / "genotype.json").read_text()) == json.loads((found / "genotype.json").read_text())

    capsys.readouterr()
    assert main(["evaluate", "--run", str(trained), "--checkpoint", "latest", "--latency_runs", "2"]) == 0
    assert f"top-1 accuracy   {last['test_top1']:.2f} %" in capsys.readouterr().out

    assert main(["visualize", str(found), "-o", str(tmp_path / "pictures")]) == 0
    assert {p.name for p in (tmp_path / "pictures").iterdir()} == {
        f"{kind}.{suffix}" for kind in ("normal", "reduce") for suffix in ("svg", "png")
    }
    with Image.open(found / "plots" / "search.gif") as animation:
        assert animation.n_frames == 2


def test_printed_text_is_as_good_as_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole cell is longer than a file name may be."""
    monkeypatch.chdir(tmp_path)
    text = format_genotype(genotype("DARTS_V1"))
    assert len(text) > 255
    flags = ["--dataset", "digits", "--image_size", "8", "--init_channels", "2", "--layers", "3"]
    assert main(["train", "--arch", text, *flags, "--batch_size", "8", "--no_auxiliary", "--dry_run"]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert main(["visualize", text]) == 0
    assert (tmp_path / "genotype_normal.svg").is_file()


QUICK_STARTS = sorted(path.name for path in (resource_dir("configs") / "search").glob("quickstart*.yml"))


def test_every_method_has_a_quick_start() -> None:
    """That of DARTS in both spaces."""
    assert sorted(map(find_method, QUICK_STARTS)) == sorted([*METHODS, "darts"])


def find_method(recipe: str) -> str:
    return search_settings({"config": f"search/{recipe}"})[0].method


@pytest.mark.slow
@pytest.mark.parametrize("recipe", QUICK_STARTS)
def test_a_quick_start_finds_a_cell_that_trains(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages and decisions of the method, then the training that the search prints; chance is 10 %."""
    monkeypatch.chdir(tmp_path)
    found, trained = tmp_path / "found", tmp_path / "trained"
    assert main(["search", "-c", f"search/{recipe}", "--run_dir", str(found)]) == 0
    rows = [json.loads(line) for line in (found / "history.jsonl").read_text().splitlines()]
    assert max(row["valid_top1"] for row in rows) > 30 and rows[-1]["genotype"] is not None
    retrain = read_recipe(f"search/{recipe}")["retrain"]
    assert main(["train", "-c", retrain, "--arch", str(found), "--run_dir", str(trained)]) == 0
    assert json.loads((trained / "history.jsonl").read_text().splitlines()[-1])["test_top1"] > 95
