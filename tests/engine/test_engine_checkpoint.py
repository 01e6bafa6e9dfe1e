"""Checkpoints alone: complete or not there, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddle_darts.engine import checkpoint
from paddle_darts.engine.checkpoint import (
    checkpoint_name,
    has_checkpoint,
    load_checkpoint,
    read_pointer,
    save_checkpoint,
)
from paddle_darts.errors import RunError


def groups(value: float) -> dict[str, dict[str, paddle.Tensor]]:
    return {
        "weights": {"a": paddle.full([3, 2], value), "b.c": paddle.full([2], value, "float64")},
        "arch": {"normal": paddle.full([1], value)},
    }


def save(folder: Path, value: int, pointers: tuple[str, ...] = ("latest",)) -> Path:
    return save_checkpoint(folder, checkpoint_name(value, 0), groups(value), {"value": value}, pointers)


def value_of(folder: Path, pointer: str = "latest") -> int:
    """The value that a checkpoint was saved with, after checking that all of it belongs together."""
    loaded, state = load_checkpoint(folder, pointer)
    assert {g: set(t) for g, t in loaded.items()} == {g: set(t) for g, t in groups(0).items()}
    for tensors in loaded.values():
        for tensor in tensors.values():
            np.testing.assert_array_equal(tensor.numpy(), np.full(tensor.shape, state["value"]))
    return state["value"]


def test_values_and_types_survive(tmp_path: Path) -> None:
    special = np.array([0.1, -0.0, 1e-45, np.inf, 3.4e38], np.float32)
    tensors = {"f": paddle.to_tensor(special), "i": paddle.to_tensor([2**60], dtype="int64"), "s": paddle.ones([])}
    save_checkpoint(tmp_path, checkpoint_name(0, 0), {"g": tensors}, {"x": 0.1})
    loaded, state = load_checkpoint(tmp_path)
    assert loaded["g"]["f"].numpy().tobytes() == special.tobytes()
    assert (loaded["g"]["i"].dtype, loaded["g"]["i"].item()) == (paddle.int64, 2**60)
    assert loaded["g"]["s"].shape == []
    assert state["x"] == 0.1


def test_pointers_are_relative_links_and_older_folders_go(tmp_path: Path) -> None:
    save(tmp_path, 1, ("best", "latest"))
    for value in (2, 3):
        save(tmp_path, value)
    folders = {"epoch-0001-step-000000", "epoch-0003-step-000000"}
    assert {p.name for p in tmp_path.iterdir()} == {"best", "latest", *folders}
    assert os.readlink(tmp_path / "latest") == "epoch-0003-step-000000"
    assert os.readlink(tmp_path / "best") == "epoch-0001-step-000000"
    moved = tmp_path.with_name("moved")
    shutil.move(tmp_path, moved)
    assert (value_of(moved), value_of(moved, "best")) == (3, 1)


def test_pruning_leaves_alone_what_is_not_ours(tmp_path: Path) -> None:
    save(tmp_path, 1)
    shutil.copytree(tmp_path / checkpoint_name(1, 0), tmp_path / "epoch-0001 keep this")
    (tmp_path / "notes.txt").write_text("mine")
    save(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "latest") == [
        "epoch-0001 keep this",
        "epoch-0002-step-000000",
        "notes.txt",
    ]


def test_files_have_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    usual = (tmp_path / "other").stat().st_mode
    assert {p.stat().st_mode for p in save(tmp_path / "c", 1).iterdir()} == {usual}


WRITES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "shutil.rmtree")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("before", "outcomes"),
    [
        ("not saved", {(1, 1), (1, 2), (2, 2)}),
        ("saved but not pointed to", {(1, 1), (1, 2), (2, 2)}),
        ("saved and already the best", {(1, 2), (2, 2)}),
        ("saved", {(2, 2)}),
    ],
)
def test_killed_between_any_two_file_operations(tmp_path: Path, before: str, outcomes: set[tuple[int, int]]) -> None:
    """For every operation on a file in turn, a process that saves position 2 is killed right before it.

    ``before`` says how far an earlier process had come with position 2, ``outcomes`` which (latest, best) may be found.
    """
    arguments = {"value": 2}, groups(2), ("best", "latest")
    found = []
    for moment in range(1, 200):
        folder = tmp_path / str(moment)
        save(folder, 1, ("best", "latest"))
        if before == "saved but not pointed to":
            shutil.copytree(folder / checkpoint_name(1, 0), folder / checkpoint_name(2, 0))
        elif before != "not saved":
            save(folder, 2, ("best",) if "best" in before else ("best", "latest"))
        child = os.fork()
        if child == 0:
            _save_and_die(folder, moment, *arguments)
        _, status = os.waitpid(child, 0)
        found.append((value_of(folder), value_of(folder, "best")))
        # the resumed run comes to the same position, and then to the next
        save(folder, 2, ("best", "latest"))
        assert (value_of(folder), value_of(folder, "best")) == (2, 2)
        save(folder, 3)
        assert {p.name for p in folder.iterdir()} == {"latest", "best", checkpoint_name(2, 0), checkpoint_name(3, 0)}
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            break
    assert len(found) > 15 and found == sorted(found) and found[-1] == (2, 2)
    assert set(found) == outcomes


def _save_and_die(folder: Path, moment: int, state: dict[str, Any], tensors: dict, pointers: tuple[str, ...]) -> None:
    count = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal count
        if event in WRITES and str(folder) in str(args[0]):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    status = 1
    try:
        sys.addaudithook(hook)
        save_checkpoint(folder, checkpoint_name(2, 0), tensors, state, pointers)
        status = 0
    finally:
        os._exit(status)  # nothing of pytest may run in the child


def test_a_full_disk_in_the_middle_of_a_file(tmp_path: Path) -> None:
    """The limit on the size of a file cuts a real write short."""
    resource = pytest.importorskip("resource")
    save(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = {"weights": {"w": paddle.zeros([100_000])}}
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        with pytest.raises(RunError, match=r"epoch-0002-step-000000 could not be written: .*File too large"):
            save_checkpoint(tmp_path, checkpoint_name(2, 0), large, {"value": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert value_of(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch-0001-step-000000", "latest"]


def test_where_links_cannot_be_made_a_text_file_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    save(tmp_path, 1, ("best", "latest"))
    save(tmp_path, 2)
    assert (tmp_path / "latest").read_text() == "epoch-0002-step-000000" and not (tmp_path / "latest").is_symlink()
    assert (value_of(tmp_path), value_of(tmp_path, "best")) == (2, 1)
    (tmp_path / "latest").write_text("")
    with pytest.raises(RunError, match="latest points to a checkpoint that is missing or incomplete"):
        load_checkpoint(tmp_path)
    assert has_checkpoint(tmp_path)


@pytest.mark.parametrize("how", ["folders instead of links", "links lost"])
def test_copied_runs_go_on(tmp_path: Path, how: str) -> None:
    save(tmp_path / "run", 1, ("best", "latest"))
    save(tmp_path / "run", 2)
    # what `cp -L` and most object stores make of links, and what `zip` makes of them
    copied = Path(shutil.copytree(tmp_path / "run", tmp_path / "copy", symlinks=how == "links lost"))
    if how == "links lost":
        (copied / "latest").unlink()
        (copied / "best").unlink()
    assert has_checkpoint(copied)
    assert value_of(copied) == 2
    save(copied, 3)
    assert value_of(copied) == 3 and (copied / "latest").is_symlink()
    if how != "links lost":
        assert value_of(copied, "best") == 1


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no checkpoint 'latest'"):
        load_checkpoint(tmp_path / "nothing")
    assert not has_checkpoint(tmp_path / "nothing")

    def damaged(name: str, change: Any) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        file = save(folder, 1) / name
        change(file)
        with pytest.raises(RunError) as caught:
            load_checkpoint(folder)
        assert str(file) in str(caught.value) or name not in os.listdir(file.parent)
        return str(caught.value)

    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)

    assert "weights.safetensors is damaged" in damaged("weights.safetensors", flip)
    for cut in (0, 5, 60):
        message = damaged("weights.safetensors", lambda file, cut=cut: file.write_bytes(file.read_bytes()[:cut]))
        assert "weights.safetensors cannot be read as a safetensors file" in message
    assert "arch.safetensors cannot be read" in damaged("arch.safetensors", Path.unlink)
    assert "state.json is damaged" in damaged("state.json", lambda file: file.write_text('{"schema": 1'))
    assert "state.json is damaged" in damaged("state.json", lambda file: file.write_text("[]"))
    other = json.dumps({"schema": checkpoint.SCHEMA + 1})
    assert "another version (schema 2, expected 1)" in damaged("state.json", lambda file: file.write_text(other))
    assert "missing or incomplete" in damaged("state.json", Path.unlink)


def test_the_same_position_may_be_saved_twice(tmp_path: Path) -> None:
    first = save(tmp_path, 1)
    second = save(tmp_path, 1, ("best", "latest"))
    assert first == second == read_pointer(tmp_path) == read_pointer(tmp_path, "best")
    assert value_of(tmp_path) == 1
