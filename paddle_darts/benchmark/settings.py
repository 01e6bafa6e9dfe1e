"""From what the user gives to settings that can be measured; what cannot is refused before any worker starts."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from paddle_darts.benchmark.config import AXES, CASES, CONTESTANTS, SWEEP, BenchmarkConfig, Measured, SweepConfig
from paddle_darts.engine.parsing import check_names, read_recipe, typed
from paddle_darts.errors import ConfigError, unknown
from paddle_darts.genotypes import genotype
from paddle_darts.methods import get_method
from paddle_darts.networks.evaluation import check_size
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
    _check_file(config.json)
    if config.peer == "torch":
        check_peer(case, config)
    return config


def sweep_settings(given: Mapping[str, Any]) -> SweepConfig:
    """The settings of a sweep, checked at its largest and smallest points."""
    config = _complete(SweepConfig, given, "search-step")
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


def check_sizes(config: Measured) -> None:
    """Sizes and counts that cannot be."""
    for name, least in (
        ("epoch", 0),
        ("batch_size", 1),
        ("image_size", 4),
        ("threads", 1),
        ("repeats", 1),
        ("warmup", 0),
    ):
        value = getattr(config, name)
        if value is not None and value < least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")
    if config.time_limit is not None and config.time_limit <= 0:
        raise ConfigError(f"time_limit must be above 0 seconds, got {config.time_limit}")
    if config.channels is not None and config.layers is not None:
        try:
            check_size(config.layers, config.channels)
        except ConfigError as error:  # the flag has a shorter name here
            raise ConfigError(str(error).replace("init_channels", "channels")) from None


def check_peer(case: str, config: Measured) -> None:
    """What the PyTorch program does not have."""
    if not CASES[case].has_peer:
        raise ConfigError(f"{case} has no PyTorch program to compare with; leave --peer out")
    if (config.method, config.space) != ("darts", "darts") and case != "train-step":
        raise ConfigError(
            f"the PyTorch program is DARTS in the space darts, got method {config.method!r}, space {config.space!r}"
        )
    arch = genotype(getattr(config, "arch", BenchmarkConfig.arch))
    if case == "train-step" and (arch.sparse or arch.network.pool_bn):
        raise ConfigError(f"the PyTorch program builds cells of pairs without norms behind pools, not {config.arch}")
    if config.image_size % 4 or (case == "train-step" and config.image_size != 32):
        sizes = "32" if case == "train-step" else "a multiple of 4"
        raise ConfigError(f"the PyTorch program needs image_size to be {sizes}, got {config.image_size}")
    if importlib.util.find_spec("torch") is None:
        raise ConfigError('PyTorch is not installed: run `pip install -e ".[torch]"`, or leave it out')


def _complete(cls: type[M], given: Mapping[str, Any], case: str) -> M:
    values = dict(given)
    path = values.pop("config", None)
    values = {**(read_recipe(path) if path else {}), **values}
    if isinstance(values.get("kernels"), bool):  # YAML reads on and off so
        values["kernels"] = "on" if values["kernels"] else "off"
    check_names(values, [cls], {}, str(path or "settings"))
    (config,) = typed([cls], values, "settings")
    config = replace(
        config,
        channels=CASES[case].channels if config.channels is None else config.channels,
        layers=CASES[case].layers if config.layers is None else config.layers,
        threads=config.threads if config.threads is not None else available_cores(),
    )
    get_method(config.method)
    get_space(config.space)
    check_sizes(config)
    return config


def _check_file(path: str | None) -> None:
    """Said now rather than after an hour of measuring."""
    if path is not None and (not path or Path(path).is_dir()):
        raise ConfigError(f"json must be the name of a file, got {path!r}")
