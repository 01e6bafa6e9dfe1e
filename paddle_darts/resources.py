"""Where the data files of the project lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """The folder ``name`` ("genotypes" or "configs"), whatever the working directory is."""
    installed = _PACKAGE / "_resources" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def find_config(path: str | Path) -> Path | None:
    """A recipe by path, else by its place below ``configs/`` ("configs/" and ".yml" may be left out)."""
    given = Path(path)
    if given.is_file():
        return given
    below = Path(*given.parts[1:]) if given.parts[:1] == ("configs",) else given
    root = resource_dir("configs").resolve()
    for name in (str(below), f"{below}.yml"):
        found = (root / name).resolve()
        if found.is_file() and found.is_relative_to(root):
            return found
    return None
