"""``sanas.checkpoints``: the state of a sample-based search as one JSON file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddle_darts.controllers.remote.service import SCHEMA
from paddle_darts.errors import ConfigError
from paddle_darts.io.files import read_json, write_json
from paddle_darts.search_space import CombineSearchSpace

NAME = "sanas.checkpoints"


def configs_hash(space: CombineSearchSpace) -> str:
    """What tells search spaces apart: their classes, ranges and options, as a hash."""
    parts = [
        [type(part).__name__, list(part.range_table()), sorted((k, repr(v)) for k, v in vars(part)["options"].items())]
        if "options" in vars(part)
        else [type(part).__name__, list(part.range_table())]
        for part in space.spaces
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def write_checkpoint(folder: Path, state: Mapping[str, Any], configs: str, trial_history: Mapping[str, Any]) -> Path:
    """Writes the state of a server or a `LocalClient`; the file is never half there.

    The controller's own entries are at the top, so that it reads the file too.
    """
    rest = {name: value for name, value in state.items() if name != "controller"}
    # one call that nothing interrupts: another thread may be changing it
    history = json.loads(json.dumps(trial_history))
    document = {**state["controller"], "search": rest, "configs": configs, "trial_history": history}
    return write_json(folder / NAME, document)


def read_checkpoint(folder: Path, configs: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """State for a server or a `LocalClient`, and the history of trials, from what we or PaddleSlim wrote.

    ConfigError when there is none, when it is damaged, and when it is of other configs (PaddleSlim's do not say which;
    the controller compares the ranges of the tokens).
    """
    path = folder / NAME if folder.is_dir() else folder
    document = read_json(path)
    if not isinstance(document, dict):
        raise ConfigError(f"load_checkpoint: no readable {NAME} at {path}")
    if "_range_table" in document:
        steps = document.get("_iter", 0)
        return {"schema": SCHEMA, "controller": document, "steps": steps, "open": [], "scored": []}, {}
    if document.get("configs") != configs:
        raise ConfigError(f"{path} belongs to a search with other configs; search with those, or begin anew")
    search = document.get("search")
    if not isinstance(search, dict) or not {"steps", "open", "scored"} <= search.keys():
        raise ConfigError(f"{path} is damaged: it does not tell how far the search was")
    return {"controller": document, **search}, dict(document.get("trial_history") or {})
