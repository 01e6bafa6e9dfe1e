"""Which settings a run gets: its own on resume, else a recipe, with flags or keyword arguments over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from paddle_darts.data.registry import DATASETS
from paddle_darts.engine.config import DataSettings, EvaluateConfig, SearchConfig, TrainConfig
from paddle_darts.engine.parsing import check_names, field_names, read_recipe, typed
from paddle_darts.engine.rundir import RunDirectory
from paddle_darts.errors import ConfigError, GenotypeError, unknown
from paddle_darts.genotypes import NasBench201Genotype, entry, genotype
from paddle_darts.methods import METHODS, MethodOptions, get_method
from paddle_darts.methods.gradient import GradientOptions
from paddle_darts.networks import network_size
from paddle_darts.resources import find_config
from paddle_darts.spaces import get_space
from paddle_darts.spaces.nas_bench_201 import SIZE_CELL

Settings = Mapping[str, Any]


def search_settings(given: Settings) -> tuple[SearchConfig, MethodOptions]:
    """The settings of a search from what the user gave (``config`` = recipe file)."""
    values = _plain(given)
    stored = _stored(values)
    base, source = stored or _recipe(values, "search", [_search_family(values)])
    merged = {**base, **values}
    method = get_method(str(merged.get("method", SearchConfig.method)))
    classes: list[type] = [SearchConfig, method.options_class]
    owners = {name: m.options_class for name, m in METHODS.items()}
    if stored is None:
        check_names(base, classes, owners, source)
    check_names(values, classes, owners, "settings")
    if merged.get("fidelity") == "official":
        merged = {**method.official, **merged}
    # what a stored run has beyond these classes (another method's settings) is named when the run is reopened
    merged = {name: value for name, value in merged.items() if name in field_names(classes)}
    config, options = typed(classes, merged, source if not values else "settings")
    _check(config)
    _check_not_negative(options, GradientOptions if isinstance(options, GradientOptions) else MethodOptions)
    return of_space(config), options


def of_space(config: SearchConfig) -> SearchConfig:
    """What a config leaves open and its search space decides, filled in.

    ConfigError for an unknown space, for a table of NAS-Bench-201 where another space is searched, and for sizes that
    cells of NAS-Bench-201, which are all of one form, do not have.
    """
    space = get_space(config.space)
    if config.nats_table and config.space != NasBench201Genotype.space:
        raise ConfigError(
            f"nats_table tells the accuracy of cells of the space {NasBench201Genotype.space}, got {config.space}"
        )
    for name in _OF_THE_CELL if space.every_edge else ():
        if getattr(config, name) not in (None, getattr(space, name)):
            raise ConfigError(
                f"{name} is {getattr(space, name)} in {space.name}, got {getattr(config, name)}; leave it out"
            )
    open_ones = {name: getattr(space, name) for name in _BY_SPACE if getattr(config, name) is None}
    return replace(config, **open_ones)


_OF_THE_CELL = ("steps", "multiplier", "stem_multiplier")
#: Settings of a search whose default depends on the space.
_BY_SPACE = (*_OF_THE_CELL, "layers", "track_running_stats")


def _search_family(values: Settings) -> str:
    """The name that recipes of a method in a space begin with."""
    method, space = str(values.get("method", SearchConfig.method)), str(values.get("space", SearchConfig.space))
    return method if space == SearchConfig.space else f"{method}_{space}"


def train_settings(given: Settings) -> TrainConfig:
    """The settings of a training. Without a recipe file: that of the genotype's family on this data set, or DARTS'.

    Widths of the NATS-Bench size space come with its cell, unless another one is named.
    """
    values = _plain(given)
    if values.get("channels") and not values.get("resume"):
        values.setdefault("arch", SIZE_CELL)
    family, space = _family(values.get("arch"))
    fallback = "darts" if space == "darts" else family
    base, source = _stored(values) or _recipe(values, "train", [family, fallback])
    check_names(base, [TrainConfig], {}, source)
    check_names(values, [TrainConfig], {}, "settings")
    (config,) = typed([TrainConfig], {**base, **values}, source if not values else "settings")
    if not config.arch:
        raise ConfigError("what should be trained? Give --arch a genotype name, a file, a run directory or its text")
    _check(config)
    return complete(config, _family(config.arch)[1])


def complete(config: TrainConfig, space: str) -> TrainConfig:
    """What a config leaves open and the search space of the genotype decides, filled in.

    ConfigError where it asks for what networks of that space do not have.
    """
    size = network_size(space, config.init_channels, config.layers, config.channels)
    benchmark = space == NasBench201Genotype.space
    drop_path_prob = config.drop_path_prob
    if drop_path_prob is None:
        drop_path_prob = 0.0 if benchmark else 0.2
    stem = config.stem or ("cifar" if benchmark else None)
    return replace(config, **size._asdict(), drop_path_prob=drop_path_prob, stem=stem)


def evaluate_settings(given: Settings) -> EvaluateConfig:
    """The settings of an evaluation."""
    check_names(given, [EvaluateConfig], {}, "settings")
    (config,) = typed([EvaluateConfig], _plain(given), "settings")
    if not config.run:
        raise ConfigError("which run should be evaluated? Give --run the directory of a training")
    return config


def _stored(values: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    """The settings of the run to resume, and where they come from; None when there is none to resume.

    A recipe that is named besides counts as given: where it differs, resuming is refused.
    """
    if not values.get("resume"):
        return None
    if not values.get("run_dir"):
        raise ConfigError("--resume needs the --run_dir of the run to continue")
    run = RunDirectory(values["run_dir"])
    if not run.exists:
        return None
    path = values.pop("config", None)
    recipe = read_recipe(path) if path else {}
    values.update({k: v for k, v in recipe.items() if k not in values})
    return {k: v for k, v in run.config().items() if k not in ("run_dir", "resume")}, str(run.path / "config.yaml")


def _plain(given: Settings) -> dict[str, Any]:
    """The given settings with paths as text."""
    return {name: os.fspath(v) if isinstance(v, os.PathLike) else v for name, v in given.items()}


def _recipe(values: dict[str, Any], tool: str, families: list[str]) -> tuple[dict[str, Any], str]:
    """The recipe under the given settings, and its name; takes ``config`` out of ``values``.

    Without a recipe file: the first family that has one for the data set, else for CIFAR-10 (the settings of the
    papers without what is said of its images; ``values`` names the data set).
    """
    path = values.pop("config", None)
    if path:
        return read_recipe(path), str(path)
    dataset = values.get("dataset", DataSettings.dataset)
    for family in families:
        for data in (dataset, DataSettings.dataset):
            name = f"{tool}/{family}_{data}.yml"
            if find_config(name):
                foreign = _OF_THE_IMAGES if data != dataset else ()
                return {key: value for key, value in read_recipe(name).items() if key not in foreign}, name
    return {}, "defaults"


#: Settings of a recipe that mean nothing for another data set.
_OF_THE_IMAGES = ("mean", "std", "split")


def _family(arch: object) -> tuple[str, str]:
    """The family whose recipe a genotype has, and its search space: of registered ones their family, else the space.

    What cannot be read counts as a cell of DARTS here; building it will say what is wrong.
    """
    try:
        found = entry(str(arch))
        return found.family, found.genotype.space
    except GenotypeError:
        pass
    try:
        space = genotype(str(arch)).space
    except GenotypeError:
        space = "darts"
    return space, space


def _check(config: SearchConfig | TrainConfig) -> None:
    """Values that no run can have."""
    if config.dataset not in DATASETS:
        raise ConfigError(unknown("data set", config.dataset, DATASETS))
    for name in ("epochs", "batch_size", "report_freq", "layers", "threads", "stem_multiplier"):
        value = getattr(config, name, None)
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    if config.seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {config.seed}")
    _check_not_negative(config, type(config))


def _check_not_negative(settings: object, cls: type) -> None:
    """The numbers among the fields of ``cls``; those that a method adds of its own are the method's to check."""
    for field in fields(cls):
        value = getattr(settings, field.name)
        if isinstance(value, float) and value < 0:
            raise ConfigError(f"{field.name} must not be negative, got {value}")
