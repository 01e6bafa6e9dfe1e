"""From a tree of image files to a searched, trained and measured network, and the settings on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_trees import write_imagenet

from paddle_darts import cli
from paddle_darts.data import ImageList, image_list, load_dataset
from paddle_darts.data.augment import Augmentation
from paddle_darts.data.colour import STANDARD
from paddle_darts.engine.batches import augmentation
from paddle_darts.engine.config import DataSettings

ROOT = Path(__file__).resolve().parents[2]
#: Maps of 64 / 8 = 8 pixels after the stem.
TINY = ["--image_size", "64", "--stem", "imagenet", "--init_channels", "4", "--layers", "3", "--epochs", "1"]
TINY += ["--dataset", "imagenet"]


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    return write_imagenet(tmp_path / "imagenet", train=6, val=2)


def history(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def test_from_a_split_to_a_measured_network(imagenet, tmp_path, monkeypatch, capsys):
    """The images of a batch are read together, and no others with them."""
    monkeypatch.chdir(tmp_path)
    read: list[int] = []
    real = ImageList.pixels
    monkeypatch.setattr(ImageList, "pixels", lambda self, i, crops=None: (read.append(len(i)), real(self, i, crops))[1])
    split, found, trained = "split", tmp_path / "found", tmp_path / "trained"
    cli_split = ["imagenet-split", "--src", str(imagenet), "--dst", split, "--train-portion", "0.5"]
    assert cli.main([*cli_split, "--val-portion", "0.3"]) == 0
    small = ["--steps", "2", "--multiplier", "2", "--batch_size", "4"]
    assert cli.main(["search", "--data", split, *TINY, *small, "--run_dir", str(found)]) == 0
    printed = capsys.readouterr().out
    assert "genotype = Genotype(" in printed
    # training goes on with all images, not with those of the split
    assert f"--data {imagenet}" in printed and "--stem imagenet" in printed
    # 9 images for the weights, 6 for the architecture; the latter are measured once more
    assert sorted(read) == sorted([4, 4, 1, 4, 2, 4, 4, 2])
    (row,) = history(found)
    assert np.isfinite(row["train_loss"]) and np.isfinite(row["valid_loss"]) and row["test_top1"] is None

    read.clear()
    extra = ["--color_jitter", "--auto_aug", "--no_cutout", "--auxiliary", "--drop_path_prob", "0"]
    argv = ["train", "--arch", str(found), "--data", str(imagenet), *TINY, *extra, "--batch_size", "5"]
    assert cli.main([*argv, "--run_dir", str(trained)]) == 0
    assert read == [5, 5, 5, 3, 5, 1]
    capsys.readouterr()
    assert cli.main(["evaluate", "--run", str(trained), "--batch_size", "3", "--latency_runs", "0"]) == 0
    printed = capsys.readouterr().out
    assert f"top-1 accuracy   {history(trained)[-1]['test_top1']:.2f} %" in printed and "test images      6" in printed


def test_tool_on_folders(imagenet, tmp_path):
    """The plain way: no split of one's own, the tool in a process of its own."""
    tool, run = str(ROOT / "tools" / "train_search.py"), tmp_path / "run"
    flags = [*TINY, "--data", str(imagenet), "--batch_size", "5", "--steps", "1", "--multiplier", "1"]
    done = subprocess.run(
        [sys.executable, tool, *flags, "--threads", "1", "--run_dir", str(run)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "genotype = Genotype(" in done.stdout and len(history(run)) == 1


def test_damaged_image_ends_the_run_with_one_line(imagenet, tmp_path, capsys):
    for path in (imagenet / "train" / "n02").iterdir():
        path.write_bytes(b"nothing")
    argv = ["search", *TINY, "--data", str(imagenet), "--steps", "1", "--multiplier", "1", "--batch_size", "9"]
    assert cli.main([*argv, "--run_dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and "n02_00" in error and "not a readable image" in error


def test_search_stopped_and_resumed_sees_the_same_batches(imagenet, tmp_path, monkeypatch):
    """Killed in the middle of an epoch: the resumed run decodes what was left and ends with the same numbers."""
    from paddle_darts.engine import Callback, SearchController

    class Kill(Callback):
        def on_step_end(self, search, step, logs):
            if step == 1:
                search.save()
                raise SystemExit("killed")

    settings = {"dataset": "imagenet", "data": str(imagenet), "image_size": 32, "init_channels": 2, "layers": 2}
    settings |= {"steps": 1, "multiplier": 1, "batch_size": 3, "epochs": 2, "color_jitter": True, "auto_aug": True}
    SearchController(**settings, run_dir=str(tmp_path / "whole"), callbacks=[]).run()
    with pytest.raises(SystemExit):
        SearchController(**settings, run_dir=str(tmp_path / "killed"), callbacks=[Kill()]).run()
    opened: list[str] = []
    real = image_list.open_image
    monkeypatch.setattr(image_list, "open_image", lambda path, c: (opened.append(path.name), real(path, c))[1])
    SearchController(resume=True, run_dir=str(tmp_path / "killed"), callbacks=[]).run()
    assert len(opened) == 2 * 3 * (1 + 3) + 2 * 9, "one step of the first epoch, three of the second, two measurings"
    for name in ("train_loss", "valid_loss", "valid_top1", "genotype"):
        whole, killed = ([row[name] for row in history(tmp_path / run)] for run in ("whole", "killed"))
        assert whole == killed, name
    for name in ("genotype.json", "alphas.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_settings_of_the_augmentation(imagenet):
    large, small = load_dataset("imagenet", imagenet), load_dataset("digits", image_size=16)
    assert augmentation(DataSettings(), large) == Augmentation(flip=True, random_resized_crop=True)
    everything = DataSettings(color_jitter=True, auto_aug=True, cutout=True, flip=False, crop_padding=3)
    expected = Augmentation(3, False, 16, True, STANDARD, "imagenet")
    assert augmentation(everything, large) == expected
    plain = DataSettings(random_resized_crop=False)
    assert augmentation(plain, large) == Augmentation(flip=True)
    assert augmentation(DataSettings(), small) == Augmentation(crop_padding=2)
    assert augmentation(DataSettings(auto_aug=True), small).auto_augment == "cifar10"
    resized = augmentation(DataSettings(random_resized_crop=True), small)
    assert resized.random_resized_crop and resized.crop_padding == 0
