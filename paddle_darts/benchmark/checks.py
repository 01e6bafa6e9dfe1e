"""What cannot be measured: sizes, methods without such a step, and what the PyTorch program does not have."""

from __future__ import annotations

import importlib.util
from dataclasses import fields

from paddle_darts.benchmark.config import CASES, BenchmarkConfig, Measured
from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import Genotype, genotype
from paddle_darts.methods import get_method
from paddle_darts.methods.sampled import SampledMethod
from paddle_darts.networks.evaluation import check_size
from paddle_darts.spaces import get_space

#: What the PyTorch program searches with, and in; it trains cells of the space darts only.
PEER_METHOD, PEER_SPACES = "darts", ("darts", "nas_bench_201")


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
        space = get_space(config.space)
        try:
            check_size(config.layers, config.channels, odd="reduce" not in space.kinds)
            space.layout(config.layers, None)
        except ConfigError as error:  # the flag has a shorter name here
            raise ConfigError(str(error).replace("init_channels", "channels")) from None


def check_method(case: str, method: str) -> None:
    """Methods that there are not, or that have nothing like the step of a case."""
    cls = get_method(method)
    if case in ("search-step", "arch-step") and issubclass(cls, SampledMethod):
        raise ConfigError(
            f"{method} has no supernet for {case}: it trains one cell after the other; "
            "measure that by train-step, with the cell as --arch"
        )


def knows_second_order(method: str) -> bool:
    """Whether a method has the setting ``unrolled``."""
    return any(f.name == "unrolled" for f in fields(get_method(method).options_class))


def order_of(case: str, config: BenchmarkConfig) -> bool | None:
    """Whether an architecture step is one of second order; None for other steps."""
    if case != "arch-step":
        if config.unrolled is not None:
            raise ConfigError(f"unrolled is a setting of arch-step; {case} has none")
        return None
    known = knows_second_order(config.method)
    if config.unrolled and not known:
        raise ConfigError(f"the method {config.method} has no second-order step; leave unrolled out")
    return known if config.unrolled is None else config.unrolled


def check_peer(case: str, config: Measured) -> None:
    """What the PyTorch program does not have."""
    if not CASES[case].has_peer:
        raise ConfigError(f"{case} has no PyTorch program to compare with; leave --peer out")
    if case == "train-step":
        _check_peer_cell(config.arch)
    elif config.method != PEER_METHOD or config.space not in PEER_SPACES:
        raise ConfigError(
            f"the PyTorch program searches with {PEER_METHOD}, in the spaces {' and '.join(PEER_SPACES)}; "
            f"got method {config.method!r}, space {config.space!r}"
        )
    if config.image_size % 4 or (case == "train-step" and config.image_size != 32):
        sizes = "32" if case == "train-step" else "a multiple of 4"
        raise ConfigError(f"the PyTorch program needs image_size to be {sizes}, got {config.image_size}")
    if importlib.util.find_spec("torch") is None:
        raise ConfigError('PyTorch is not installed: run `pip install -e ".[torch]"`, or leave it out')


def _check_peer_cell(arch: str) -> None:
    """Cells that the PyTorch program cannot build."""
    cell = genotype(arch)
    if not isinstance(cell, Genotype):
        raise ConfigError(f"the PyTorch program trains cells of the space darts, not of {cell.space}; leave --peer out")
    if cell.sparse or cell.network.pool_bn:
        raise ConfigError(f"the PyTorch program builds cells of pairs without norms behind pools, not {arch}")
