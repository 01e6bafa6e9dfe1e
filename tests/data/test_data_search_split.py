"""The split tool: which images it chooses, that it can be repeated, and that it spoils nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from image_trees import CLASSES, write_classes, write_imagenet

from paddle_darts import cli
from paddle_darts.data import load_dataset, search_split
from paddle_darts.data.listing import make_listing
from paddle_darts.data.search_split import SplitSettings, choose, make_split, read_split
from paddle_darts.errors import ConfigError, DataError

HALF = SplitSettings(0.5, 0.25, seed=3)


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    return write_imagenet(tmp_path / "imagenet")


def listing(*counts):
    """Classes c00, c01, ... with so many images each."""
    names = [f"c{i:02d}" for i in range(len(counts))]
    paths = [f"train/{name}/{i:04d}.JPEG" for name, n in zip(names, counts, strict=True) for i in range(n)]
    labels = [label for label, n in enumerate(counts) for _ in range(n)]
    return make_listing(paths, labels, tuple(names))


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_shares_of_every_class():
    train, val = choose(listing(1300, 732, 1299, 20, 2), SplitSettings())
    assert np.bincount(train.labels).tolist() == [130, 73, 130, 2, 1]
    assert np.bincount(val.labels).tolist() == [32, 18, 32, 1, 1]  # ImageNet's 1300: as the official programs
    assert not set(train.paths.tolist()) & set(val.paths.tolist())
    for part in (train, val):
        assert part.paths.tolist() == sorted(set(part.paths.tolist()))
    everything = choose(listing(3, 10), SplitSettings(0.5, 0.5))
    assert sum(len(part.labels) for part in everything) == 13


def test_choice_depends_on_seed_and_class_alone():
    one, _ = choose(listing(40, 40), SplitSettings(0.2, 0.1))
    again, _ = choose(listing(40, 40), SplitSettings(0.2, 0.1))
    other, _ = choose(listing(40, 40), SplitSettings(0.2, 0.1, seed=1))
    more, _ = choose(listing(40, 40, 77), SplitSettings(0.2, 0.1))
    assert one.paths.tolist() == again.paths.tolist() == more.paths.tolist()[:16]
    assert one.paths.tolist() != other.paths.tolist()
    numbers = [[int(p[-9:-5]) for p in part.tolist()] for part in (one.paths[:8], one.paths[8:])]
    assert numbers[0] != numbers[1], "each class has its own random numbers"
    picked = np.zeros(40)
    for seed in range(300):
        train, _ = choose(listing(40, 2), SplitSettings(0.2, 0.1, seed=seed))
        picked[[int(p[-9:-5]) for p in train.paths.tolist()[:8]]] += 1
    assert picked.min() > 35 and picked.max() < 90  # 60 expected


def test_lists(imagenet, tmp_path):
    dst = tmp_path / "split"
    assert make_split(imagenet, dst, HALF) == (12, 6, 3, False)
    assert sorted(content(dst)) == ["split.json", "train.txt", "val.txt"]
    lines = (dst / "train.txt").read_text().splitlines()
    assert len(lines) == 12
    for line in lines:
        path, label = line.split(" ")
        assert (imagenet / path).is_file() and path.split("/")[:2] == ["train", CLASSES[int(label)]]
    assert not set(lines) & set((dst / "val.txt").read_text().splitlines())
    facts = json.loads((dst / "split.json").read_text())
    assert (facts["seed"], facts["train_portion"], facts["val_portion"], facts["complete"]) == (3, 0.5, 0.25, True)
    before = content(dst)
    assert make_split(imagenet, dst, HALF) == (12, 6, 3, True)
    assert content(dst) == before


@pytest.mark.parametrize("mode", ["copy", "symlink"])
def test_folders(imagenet, tmp_path, mode, monkeypatch):
    dst = tmp_path / "split"
    settings = SplitSettings(0.5, 0.25, 3, mode)
    make_split(imagenet, tmp_path / "lists", SplitSettings(0.5, 0.25, 3))
    place = search_split._place
    monkeypatch.setattr(search_split, "_place", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        make_split(imagenet, dst, settings)
    with pytest.raises(DataError, match="not finished"):
        read_split(dst)
    with pytest.raises(DataError, match=r"split: this split is not finished|has no training images"):
        load_dataset("imagenet", dst)
    monkeypatch.setattr(search_split, "_place", place)
    make_split(imagenet, dst, settings)
    for part in ("train", "val"):
        chosen = [line.split(" ")[0] for line in (tmp_path / "lists" / f"{part}.txt").read_text().splitlines()]
        placed = [line.split(" ")[0] for line in (dst / f"{part}.txt").read_text().splitlines()]
        assert [p.split("/", 1)[1] for p in chosen] == [p.split("/", 1)[1] for p in placed]
        assert sorted(placed) == sorted(p.relative_to(dst).as_posix() for p in (dst / part).rglob("*.*"))
        for one, two in zip(chosen, placed, strict=True):
            assert two.startswith(f"{part}/") and (dst / two).read_bytes() == (imagenet / one).read_bytes()
            assert (dst / two).is_symlink() == (mode == "symlink")
    before = {p: p.lstat().st_mtime_ns for p in dst.rglob("*.*") if p.suffix not in (".txt", ".json")}
    lost = next(iter(before))
    lost.unlink()
    assert make_split(imagenet, dst, settings).existed and lost.exists()
    assert all(p.lstat().st_mtime_ns == time for p, time in before.items() if p != lost)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "holds another split .*seed 3 there, 4 asked for"),
        ({"train_portion": 0.6}, "train_portion 0.5 there, 0.6 asked for"),
        ({"mode": "symlink"}, "mode lists there, symlink asked for"),
    ],
)
def test_splits_are_not_mixed(imagenet, tmp_path, change, message):
    dst = tmp_path / "split"
    make_split(imagenet, dst, HALF)
    before = content(dst)
    with pytest.raises(ConfigError, match=message):
        make_split(imagenet, dst, SplitSettings(**{**vars(HALF), **change}))
    assert content(dst) == before


def test_changed_source_and_foreign_folders(imagenet, tmp_path):
    dst = tmp_path / "split"
    make_split(imagenet, dst, HALF)
    write_classes(imagenet / "train", 12)
    with pytest.raises(ConfigError, match="train_md5"):
        make_split(imagenet, dst, HALF)
    before = content(imagenet)
    with pytest.raises(ConfigError, match="is not empty and holds no split"):
        make_split(imagenet, imagenet, HALF)
    assert content(imagenet) == before
    (dst / "split.json").write_text("[]")
    with pytest.raises(ConfigError, match="holds no split"):
        make_split(imagenet, dst, HALF)
    with pytest.raises(DataError, match="not the description of a split"):
        read_split(dst)


def test_check_finds_damaged_images_before_anything_is_written(imagenet, tmp_path):
    dst = tmp_path / "split"
    every = SplitSettings(0.5, 0.5)
    broken = imagenet / "train" / "n02" / "n02_003.JPEG"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    with pytest.raises(DataError, match=r"1 of 24 images cannot be read:\s+.*n02_003\.JPEG: not a readable image"):
        make_split(imagenet, dst, every, check=True)
    assert not dst.exists()
    broken.write_bytes(whole)
    assert make_split(imagenet, dst, every, check=True).train == 12


def test_impossible_splits(imagenet, tmp_path):
    for portions in ((0, 0.1), (0.1, 0), (1.1, 0.1), (0.1, -1)):
        with pytest.raises(ConfigError, match="above 0 and at most 1"):
            SplitSettings(*portions)
    with pytest.raises(ConfigError, match="exceed 1 together"):
        SplitSettings(0.9, 0.2)
    with pytest.raises(ConfigError, match="seed must be 0 or more, got -1"):
        SplitSettings(seed=-1)
    with pytest.raises(DataError, match="class c01 has 1 image"):
        choose(listing(5, 1), HALF)
    with pytest.raises(DataError, match="cannot be read"):
        make_split(tmp_path / "nowhere", tmp_path / "split", HALF)


def test_command(imagenet, tmp_path, capsys):
    dst = tmp_path / "split"
    argv = ["imagenet-split", "--src", str(imagenet), "--dst", str(dst), "--train-portion", "0.5"]
    assert cli.main([*argv, "--val_portion", "0.25", "--seed", "3", "--check"]) == 0
    printed = capsys.readouterr().out
    assert "now holds 12 + 6 images of 3 classes" in printed
    assert "next: python tools/train_search.py --dataset imagenet --stem imagenet --data" in printed
    assert cli.main([*argv, "--val-portion", "0.25", "--seed", "3"]) == 0
    assert "already held 12 + 6" in capsys.readouterr().out
    make_split(imagenet, tmp_path / "same", HALF)
    for name in ("train.txt", "val.txt"):
        assert (tmp_path / "same" / name).read_bytes() == (dst / name).read_bytes()
    assert cli.main([*argv, "--val-portion", "0.25"]) == 2
    assert "error:" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*argv, "--copy", "--symlink"])
    link = ["imagenet-split", "--src", os.path.relpath(imagenet), "--dst", str(tmp_path / "links"), "--symlink"]
    assert cli.main(link) == 0
    assert all(path.is_file() for path in (tmp_path / "links" / "train").rglob("*.*"))
