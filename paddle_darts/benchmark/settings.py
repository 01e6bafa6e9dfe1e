"""From what the user gives to settings that can be measured; what cannot is refused before any worker starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from paddle_darts.benchmark.checks import check_method, check_peer, check_sizes, order_of
from paddle_darts.benchmark.config import AXES, CASES, CONTESTANTS, SWEEP, BenchmarkConfig, Measured, SweepConfig
from paddle_darts.engine.parsing import check_names, read_recipe, typed
from paddle_darts.errors import ConfigError, unknown
from paddle_darts.genotypes import genotype
from paddle_darts.spaces import get_space
from paddle_darts.threads import available_cores

M = TypeVar("M", bound=Measured)


def take_case(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The case that a command line begins with, and the rest of it."""
    known = [*CASES, SWEEP]
    if not argv or argv[0].startswith("-"):
        raise ConfigError(f"what should be measured? Give one of {', '.join(known)} first")
    if argv[0] not in known:
        raise ConfigError(unknown("case", argv[0], known))
    return argv[0], list(argv[1:])


def benchmark_settings(case: str, given: Mapping[str, Any]) -> BenchmarkConfig:
    """The settings of one measurement, all defaults filled in; ConfigError for what cannot be measured."""
    if case not in CASES:
        raise ConfigError(unknown("case", case, CASES))
    config = _complete(BenchmarkConfig, given, case)
    genotype(config.arch)
    config = replace(config, unrolled=order_of(case, config))
    _check_file(config.json)
    if config.peer == "torch":
        check_peer(case, config)
    return config


def sweep_settings(given: Mapping[str, Any]) -> SweepConfig:
    """The settings of a sweep, checked at its largest and smallest points."""
    config = _complete(SweepConfig, given, "search-step")
    if config.space != "darts":
        raise ConfigError(
            f"a sweep is of the space darts, got {config.space}; measure single points of other spaces by search-step"
        )
    for name, allowed in (("contestants", CONTESTANTS), ("points", AXES)):
        chosen = getattr(config, name)
        if not chosen:
            raise ConfigError(f"{name} must name at least one of {', '.join(allowed)}")
        for entry in chosen:
            if entry not in allowed:
                raise ConfigError(unknown(f"entry of {name}", entry, allowed))
    for axis in AXES:
        if axis in config.points and not getattr(config, f"sweep_{axis}"):
            raise ConfigError(f"sweep_{axis} names no value; leave {axis} out of points instead")
        for value in getattr(config, f"sweep_{axis}"):
            check_sizes(replace(config, **{axis: value}))
    _check_file(config.json)
    if "torch" in config.contestants:
        check_peer("search-step", config)
    return config


def _complete(cls: type[M], given: Mapping[str, Any], case: str) -> M:
    values = dict(given)
    path = values.pop("config", None)
    values = {**(read_recipe(path) if path else {}), **values}
    if isinstance(values.get("kernels"), bool):  # YAML reads on and off so
        values["kernels"] = "on" if values["kernels"] else "off"
    check_names(values, [cls], {}, str(path or "settings"))
    (config,) = typed([cls], values, "settings")
    check_method(case, config.method)
    space = _space(case, config, "space" in values)
    config = replace(
        config,
        space=space,
        threads=config.threads if config.threads is not None else available_cores(),
        **{name: size for name, size in CASES[case].sizes[space]._asdict().items() if getattr(config, name) is None},
    )
    check_sizes(config)
    return config


def _space(case: str, config: Measured, given: bool) -> str:
    """The space of the network: in train-step that of the genotype, whatever the default is."""
    asked = get_space(config.space).name
    if case != "train-step":
        return asked
    found = genotype(config.arch).space
    if given and asked != found:
        raise ConfigError(f"{config.arch} is a cell of {found}, got space {asked!r}; leave it out")
    return found


def _check_file(path: str | None) -> None:
    """Said now rather than after an hour of measuring."""
    if path is not None and (not path or Path(path).is_dir()):
        raise ConfigError(f"json must be the name of a file, got {path!r}")
