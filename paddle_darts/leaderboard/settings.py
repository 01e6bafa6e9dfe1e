"""From what the user gives to a protocol: the recipe or the stored one under it, everything checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from paddle_darts.engine.parsing import check_names, read_recipe, typed
from paddle_darts.engine.rundir import changed_settings
from paddle_darts.errors import ConfigError, RunError
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.io.files import read_config, write_text
from paddle_darts.leaderboard.config import FREE, LeaderboardConfig
from paddle_darts.resources import find_config
from paddle_darts.spaces import get_space
from paddle_darts.threads import available_cores

#: The file of a leaderboard that holds its protocol.
PROTOCOL = "protocol.yml"


def leaderboard_settings(given: Mapping[str, Any]) -> LeaderboardConfig:
    """Complete settings from flags or keyword arguments (``config`` = recipe file).

    Without a recipe file a leaderboard that has begun goes on with its own settings; a new one takes the recipe of
    its space and data set, if there is one. ConfigError for what cannot be.
    """
    values = {name: os.fspath(v) if isinstance(v, os.PathLike) else v for name, v in given.items()}
    base, source = _base(values)
    merged = {**base, **values}
    check_names(base, [LeaderboardConfig], {}, source)
    check_names(values, [LeaderboardConfig], {}, "settings")
    if isinstance(merged.get("seeds"), list):
        merged["seeds"] = ",".join(map(str, merged["seeds"])) + ","
    (config,) = typed([LeaderboardConfig], merged, source if not values else "settings")
    config = replace(config, layers=config.layers or get_space(config.space).layers)
    _check(config)
    return config


def _base(values: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What stands under the given settings, and where it comes from; takes ``config`` out of ``values``."""
    path = values.pop("config", None)
    if path:
        return read_recipe(path), str(path)
    stored = Path(str(values.get("out", LeaderboardConfig.out))) / PROTOCOL
    if stored.is_file():
        return {**read_config(stored), "report_only": False, "out": str(stored.parent)}, str(stored)
    space, dataset = (str(values.get(key, getattr(LeaderboardConfig, key))) for key in ("space", "dataset"))
    name = f"leaderboard/{space}_{dataset}.yml"
    return (read_recipe(name), name) if find_config(name) else ({}, "defaults")


def _check(config: LeaderboardConfig) -> None:
    """Values that no leaderboard can have; those of the searches are checked with each entry."""
    for name in ("jobs", "threads", "epochs"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    if config.space != NasBench201Genotype.space:
        raise ConfigError(f"only cells of {NasBench201Genotype.space} have known accuracies, got space {config.space}")
    if not config.nats_table:
        raise ConfigError("a leaderboard needs the true accuracy of all cells: give --nats_table FILE")
    seeds_of(config)


def seeds_of(config: LeaderboardConfig) -> list[int]:
    """The seeds in order, each once; ConfigError for anything that is none."""
    text = str(config.seeds)
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    wrong = not numbers or min(numbers) < 0
    if wrong or ("," not in text and numbers == [0]):
        raise ConfigError(f"seeds must be a number of seeds, or seeds from 0 with commas between, got {text!r}")
    return list(dict.fromkeys(numbers)) if "," in text else list(range(numbers[0]))


def threads_of(config: LeaderboardConfig) -> int:
    """CPU threads of each entry."""
    return config.threads or max(1, available_cores() // config.jobs)


def check_protocol(config: LeaderboardConfig) -> None:
    """RunError when the directory was begun under another protocol."""
    stored = read_config(Path(config.out) / PROTOCOL)
    if stored:
        refuse_changes(stored, asdict(config), FREE, f"the leaderboard {config.out}")


def keep_protocol(config: LeaderboardConfig) -> None:
    """Stores the settings in the directory; RunError when it was begun under another protocol."""
    check_protocol(config)
    path, wanted = Path(config.out) / PROTOCOL, yaml.safe_load(yaml.safe_dump(asdict(config)))
    try:
        write_text(path, yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise RunError(f"the directory {config.out} cannot be written to: {error}") from error


def refuse_changes(stored: Mapping[str, Any], wanted: Mapping[str, Any], free: tuple[str, ...], what: str) -> None:
    """RunError that lists the settings, apart from ``free`` ones, in which two mappings differ."""
    changed = changed_settings(stored, wanted, free)
    if changed:
        raise RunError(
            f"{what} was started with other settings ({'; '.join(changed)}); go on with those, or give another --out"
        )
