"""What can be chosen: the operations and skeleton rules of each search space."""

from __future__ import annotations

from paddle_darts.errors import ConfigError, unknown
from paddle_darts.spaces.base import CellSpace
from paddle_darts.spaces.darts import DARTS
from paddle_darts.spaces.nas_bench_201 import NAS_BENCH_201

SPACES: dict[str, CellSpace] = {space.name: space for space in (DARTS, NAS_BENCH_201)}


def list_spaces() -> list[str]:
    """Names of the search spaces."""
    return sorted(SPACES)


def get_space(name: str) -> CellSpace:
    """The search space ``name``; ConfigError with the nearest match when there is none."""
    if name not in SPACES:
        raise ConfigError(unknown("search space", name, SPACES))
    return SPACES[name]


__all__ = ["DARTS", "NAS_BENCH_201", "SPACES", "CellSpace", "get_space", "list_spaces"]
