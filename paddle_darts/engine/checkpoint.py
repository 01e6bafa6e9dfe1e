"""Checkpoints: complete folders, swapped in atomically, never half written.

``checkpoint/latest`` and ``checkpoint/best`` are relative links to folders beside them (small text files with the
folder's name where links cannot be made). A folder holds one safetensors file per group of tensors and
``state.json``. It is written under a temporary name, flushed, renamed, and only then pointed to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paddle

from paddle_darts.errors import RunError
from paddle_darts.io.files import read_json, sync, write_json
from paddle_darts.io.tensors import load_tensors, save_tensors

SCHEMA = 1
POINTERS = ("latest", "best")
_PARTIAL = ".partial-"

Groups = Mapping[str, Mapping[str, paddle.Tensor]]


def save_checkpoint(
    folder: Path, name: str, groups: Groups, state: Mapping[str, Any], pointers: tuple[str, ...] = ("latest",)
) -> Path:
    """Writes ``folder``/``name``, points to it, and removes folders that nothing points to any more.

    On an error (a full disk, say) the partial folder is removed and the older checkpoints stay valid; RunError
    says what happened.
    """
    partial, final = folder / f"{_PARTIAL}{name}", folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        partial.mkdir()
        for group, tensors in groups.items():
            save_tensors(partial / f"{group}.safetensors", tensors)
            sync(partial / f"{group}.safetensors")
        write_json(partial / "state.json", {"schema": SCHEMA, **state})
        sync(partial)
        if final.exists() and read_pointer(folder, "latest") != final:
            _remove(final)
        if final.exists():
            # the same position saved twice: both are complete and equal
            _remove(partial)
        else:
            partial.rename(final)
        for pointer in pointers:
            _point(folder, pointer, name)
        sync(folder)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            _remove(partial)
        raise RunError(f"the checkpoint {final} could not be written: {error}") from error
    _prune(folder)
    return final


def load_checkpoint(folder: Path, pointer: str = "latest") -> tuple[dict[str, dict[str, paddle.Tensor]], dict]:
    """Tensor groups and state of a checkpoint; RunError when there is none or it is damaged."""
    found = read_pointer(folder, pointer)
    if found is None:
        raise RunError(f"{folder} has no checkpoint {pointer!r}")
    state = read_json(found / "state.json")
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        got = state.get("schema") if isinstance(state, dict) else None
        raise RunError(f"{found / 'state.json'} is damaged or of another version (schema {got}, expected {SCHEMA})")
    groups = {path.stem: load_tensors(path) for path in sorted(found.glob("*.safetensors"))}
    return groups, state


def read_pointer(folder: Path, pointer: str = "latest") -> Path | None:
    """The complete folder that a pointer names, or None."""
    path = folder / pointer
    if path.is_symlink():
        target = folder / os.readlink(path)
    elif path.is_file():
        target = folder / path.read_text(encoding="utf-8").strip()
    else:
        return None
    return target if (target / "state.json").is_file() else None


def tensor_bytes(groups: Groups) -> int:
    """Size of a checkpoint's tensors."""
    return sum(t.numel().item() * t.element_size() for tensors in groups.values() for t in tensors.values())


def _point(folder: Path, pointer: str, name: str) -> None:
    temporary = folder / f"{_PARTIAL}{pointer}"
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(name, target_is_directory=True)
    except (OSError, NotImplementedError):
        temporary.write_text(name, encoding="utf-8")
    os.replace(temporary, folder / pointer)


def _prune(folder: Path) -> None:
    kept = {read_pointer(folder, pointer) for pointer in POINTERS}
    for entry in folder.iterdir():
        if entry.name not in POINTERS and entry not in kept:
            with contextlib.suppress(OSError):
                _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
