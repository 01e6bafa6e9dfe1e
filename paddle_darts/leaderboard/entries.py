"""What a leaderboard consists of: an entry is a method, perhaps with settings of its own, and a seed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from paddle_darts.engine.config import FREE_ON_RESUME
from paddle_darts.engine.recipes import search_settings
from paddle_darts.engine.rundir import RunDirectory
from paddle_darts.errors import ConfigError, RunError, unknown
from paddle_darts.io.files import read_config, read_json, write_text
from paddle_darts.leaderboard.config import SHARED, LeaderboardConfig
from paddle_darts.leaderboard.settings import refuse_changes, seeds_of
from paddle_darts.methods import SearchMethod, get_method, list_methods

ALL = "all"
#: Files of an entry besides those of its run: its settings, what it printed, how it failed.
SETTINGS, OUTPUT, FAILURE = "entry.yml", "output.txt", "failure.json"
#: What the command line of an entry says instead of its settings.
_BY_FLAG = ("run_dir", "resume", "threads")


@dataclass(frozen=True)
class Entry:
    """A search of the leaderboard: its ``settings`` are complete, its run directory is ``path``."""

    name: str
    seed: int
    path: Path
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"{self.name} seed {self.seed}"

    @property
    def method(self) -> str:
        return str(self.settings["method"])

    @property
    def begun(self) -> bool:
        return RunDirectory(self.path).exists

    @property
    def done(self) -> bool:
        """Whether the search has come to its end."""
        return self.begun and (self.path / "summary.json").is_file()

    @property
    def failure(self) -> str | None:
        """The last error of a search that failed and has not been started again."""
        return (read_json(self.path / FAILURE) or {}).get("error")

    @property
    def history(self) -> list[dict[str, Any]]:
        return RunDirectory(self.path).history()

    def prepare(self) -> None:
        """Writes the settings; RunError when the search has begun with others."""
        wanted = yaml.safe_load(yaml.safe_dump(dict(self.settings)))
        if self.begun:
            refuse_changes(read_config(self.path / SETTINGS), wanted, FREE_ON_RESUME, f"{self.title} in {self.path}")
        try:
            write_text(self.path / SETTINGS, yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True))
        except OSError as error:
            raise RunError(f"{self.path} cannot be written to: {error}") from error


def plan(config: LeaderboardConfig) -> list[Entry]:
    """The entries, seed by seed, so that a leaderboard that is stopped early has all methods.

    ConfigError for unknown names, with the nearest one, and for settings that a method cannot have.
    """
    settings = {name: entry_settings(name, config) for name in entry_names(config)}
    return [
        Entry(name, seed, Path(config.out) / name / f"seed{seed}", {**values, "seed": seed})
        for seed in seeds_of(config)
        for name, values in settings.items()
    ]


def entry_names(config: LeaderboardConfig) -> list[str]:
    """The chosen names in the order given; ``all``: the methods, and the variants after them."""
    for name in config.per_method:
        if not re.fullmatch(r"[\w.-]+", name):
            raise ConfigError(f"the name of an entry has letters, digits and _.- only, got {name!r}")
    known = list(dict.fromkeys([*list_methods(), *config.per_method]))
    for name in config.per_method:
        if name not in list_methods() and "method" not in config.per_method[name]:
            raise ConfigError(f"per_method: {unknown('method', name, list_methods())}")
    chosen = [one for name in config.methods for one in (known if name == ALL else [name])]
    for name in chosen:
        if name not in known:
            raise ConfigError(unknown("method", name, [*known, ALL]))
    if not chosen:
        raise ConfigError("methods names none; give all, or some of " + ", ".join(known))
    return list(dict.fromkeys(chosen))


def entry_settings(name: str, config: LeaderboardConfig) -> dict[str, Any]:
    """The complete settings of a search, but for its seed: the entry's own over the protocol's over the recipe's."""
    own = {"method": name, **config.per_method.get(name, {})}
    given = {key: getattr(config, key) for key in SHARED} | config.common
    given |= {key: value for key, value in own.items() if key != "epochs_scale"}
    try:
        _, options = search_settings({"epochs": config.epochs, **given})
        if "epochs" not in given:
            given["epochs"] = _epochs(own, options, config.epochs)
        search, options = search_settings(given)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    return {key: value for key, value in {**asdict(search), **asdict(options)}.items() if key not in _BY_FLAG}


def _epochs(own: Mapping[str, Any], options: Any, budget: int) -> int:
    """The setting ``epochs`` that takes the budget.

    Staged methods count the epochs of one stage; methods that look at one half of the data only have more of them.
    """
    scale = own.get("epochs_scale", 1)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or scale <= 0:
        raise ConfigError(f"epochs_scale must be a number above 0, got {scale!r}")
    method = get_method(own["method"])
    passes = method.passes_per_epoch * method.total_epochs(options, 1)
    return max(1, int(SearchMethod.passes_per_epoch * budget * scale / passes))


def stored_entries(out: Path) -> list[Entry]:
    """Every entry of the directory, also those that were not asked for this time; by name and seed."""
    found = []
    for path in sorted(out.glob(f"*/seed*/{SETTINGS}")):
        seed, settings = path.parent.name.removeprefix("seed"), read_config(path)
        if seed.isdigit() and "method" in settings:
            found.append(Entry(path.parent.parent.name, int(seed), path.parent, settings))
    return sorted(found, key=lambda entry: (entry.name, entry.seed))
