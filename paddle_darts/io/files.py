"""Files that are never half there, and the readers that go with them."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

log = logging.getLogger(__name__)

#: How the names of files begin that are being written; what a killed process leaves of them may be deleted.
PARTIAL = ".partial-"


def write_atomic(path: Path, write: Callable[[Path], object]) -> Path:
    """Lets ``write`` fill a temporary file beside ``path`` (same suffix), flushes it to disk, moves it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{PARTIAL}{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        # mkstemp makes files for the owner alone; give this one what any newly written file would get.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def exists(text: str) -> bool:
    """Whether ``text`` names something on disk; a printed genotype may be too long for a path or hold a null byte."""
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):
        return False


def write_text(path: Path, text: str) -> Path:
    """:func:`write_atomic` for text in UTF-8."""
    return write_atomic(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_json(path: Path, document: Any) -> Path:
    """:func:`write_atomic` for JSON; floats keep all their digits."""
    return write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """One JSON object per line."""
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def sync(path: Path) -> None:
    """Flushes a file or a folder to disk, where the system can."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # folders cannot be opened on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> Any:
    """The JSON document, or None when the file is missing or damaged (a warning names it)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read and is left out: %s", path, error)
        return None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file in order; damaged lines (a killed run's last one) are skipped."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def read_config(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file, or an empty one when it is missing or damaged."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        log.warning("%s cannot be read and is left out: %s", path, error)
        return {}
    return document if isinstance(document, dict) else {}
