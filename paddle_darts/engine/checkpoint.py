"""Checkpoints: complete folders, swapped in atomically, never half written.

``checkpoint/latest`` and ``checkpoint/best`` are relative links to folders beside them (small text files with the
folder's name where links cannot be made). A folder holds one safetensors file per group of tensors and
``state.json``. It is written under a temporary name, flushed, renamed, and only then pointed to.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paddle

from paddle_darts.errors import RunError
from paddle_darts.io.files import PARTIAL, read_json, sync, write_json
from paddle_darts.io.tensors import load_tensors, save_tensors

SCHEMA = 1
POINTERS = ("latest", "best")
#: Folders that pruning may delete; anything else in there is the user's.
_OURS = re.compile(r"epoch-\d{4,}-step-\d{6,}|" + re.escape(PARTIAL) + ".+")

Groups = Mapping[str, Mapping[str, paddle.Tensor]]


def checkpoint_name(epoch: int, step: int) -> str:
    """The folder of a position; names sort as positions do."""
    return f"epoch-{epoch:04d}-step-{step:06d}"


def save_checkpoint(
    folder: Path, name: str, groups: Groups, state: Mapping[str, Any], pointers: tuple[str, ...] = ("latest",)
) -> Path:
    """Writes ``folder``/``name``, points to it, and removes folders that nothing points to any more.

    ``pointers`` are swapped in order. ``latest`` must be the last: a run killed between two swaps then repeats the
    way to this position and the swaps with it, whereas it would never come back to a ``best`` that was left out.
    On an error (a full disk, say) the partial folder is removed and the older checkpoints stay valid; RunError
    says what happened.
    """
    partial, final = folder / f"{PARTIAL}{name}", folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        partial.mkdir()
        checksums = {}
        for group, tensors in groups.items():
            checksums[group] = save_tensors(partial / f"{group}.safetensors", tensors)
            sync(partial / f"{group}.safetensors")
        write_json(partial / "state.json", {"schema": SCHEMA, "checksums": checksums, **state})
        sync(partial)
        if final in _pointed(folder):
            # the same position saved twice: both are complete and equal
            _remove(partial)
        else:
            _remove(final)  # complete or not: nothing needs it
            partial.rename(final)
        sync(folder)
        for pointer in pointers:
            _point(folder, pointer, name)
        sync(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            _remove(partial)
        raise RunError(f"the checkpoint {final} could not be written: {error}") from error
    _prune(folder)
    return final


def load_checkpoint(folder: Path, pointer: str = "latest") -> tuple[dict[str, dict[str, paddle.Tensor]], dict]:
    """Tensor groups and state of a checkpoint; RunError when there is none or it is damaged."""
    found = read_pointer(folder, pointer)
    if found is None and os.path.lexists(folder / pointer):
        raise RunError(f"{folder / pointer} points to a checkpoint that is missing or incomplete")
    if found is None:
        raise RunError(f"{folder} has no checkpoint {pointer!r}")
    state = read_json(found / "state.json")
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        got = state.get("schema") if isinstance(state, dict) else None
        raise RunError(f"{found / 'state.json'} is damaged or of another version (schema {got}, expected {SCHEMA})")
    checksums = state.get("checksums", {})
    names = sorted({*checksums, *(path.stem for path in found.glob("*.safetensors"))})
    return {name: load_tensors(found / f"{name}.safetensors", checksums.get(name)) for name in names}, state


def has_checkpoint(folder: Path) -> bool:
    """Whether there is something to load, be it damaged."""
    return os.path.lexists(folder / "latest") or read_pointer(folder) is not None


def read_pointer(folder: Path, pointer: str = "latest") -> Path | None:
    """The complete folder that a pointer names, or None.

    Copying a run may turn a link into a folder or lose it; without ``latest`` the newest complete folder is meant.
    """
    path = folder / pointer
    if path.is_symlink():
        target = folder / os.readlink(path)
    elif path.is_file():
        # without a name (an emptied file) it must not come out as ``folder`` itself
        target = folder / (path.read_text(encoding="utf-8").strip() or pointer)
    elif path.is_dir() or pointer != "latest":
        target = path
    else:
        complete = (state.parent for state in folder.glob("epoch-*/state.json") if _OURS.fullmatch(state.parent.name))
        return max(complete, default=None)
    return target if (target / "state.json").is_file() else None


def tensor_bytes(groups: Groups) -> int:
    """Size of a checkpoint's tensors."""
    return sum(math.prod(t.shape) * t.element_size() for tensors in groups.values() for t in tensors.values())


def _point(folder: Path, pointer: str, name: str) -> None:
    temporary, path = folder / f"{PARTIAL}{pointer}", folder / pointer
    _remove(temporary)
    try:
        temporary.symlink_to(name, target_is_directory=True)
    except (OSError, NotImplementedError):
        temporary.write_text(name, encoding="utf-8")
        sync(temporary)
    if path.is_dir() and not path.is_symlink():  # a copied run: nothing replaces a folder
        path.rename(folder / f"{PARTIAL}copied-{pointer}")
    os.replace(temporary, path)


def _pointed(folder: Path) -> set[Path | None]:
    return {read_pointer(folder, pointer) for pointer in POINTERS if os.path.lexists(folder / pointer)}


def _prune(folder: Path) -> None:
    kept = _pointed(folder)
    for entry in folder.iterdir():
        if _OURS.fullmatch(entry.name) and entry not in kept:
            with contextlib.suppress(OSError):
                _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
