"""One file per search method. To add one: write its file, add one line to the registry below."""

from __future__ import annotations

from paddle_darts.errors import ConfigError, unknown
from paddle_darts.methods.base import Batch, MethodOptions, SearchMethod, StepResult
from paddle_darts.methods.darts import Darts, DartsOptions
from paddle_darts.methods.ddsas import Ddsas
from paddle_darts.methods.dr_nas import DrNas
from paddle_darts.methods.fair_darts import FairDarts
from paddle_darts.methods.gdas import Gdas
from paddle_darts.methods.p_darts import PDarts
from paddle_darts.methods.pc_darts import PcDarts
from paddle_darts.methods.random_search import RandomSearch
from paddle_darts.methods.regularized_evolution import RegularizedEvolution
from paddle_darts.methods.sgas import Sgas
from paddle_darts.methods.simulated_annealing import SimulatedAnnealing

GRADIENT_BASED = (Darts, PcDarts, PDarts, FairDarts, Sgas, DrNas, Ddsas, Gdas)
SAMPLE_BASED = (RandomSearch, RegularizedEvolution, SimulatedAnnealing)
METHODS: dict[str, type[SearchMethod]] = {method.name: method for method in (*GRADIENT_BASED, *SAMPLE_BASED)}


def list_methods() -> list[str]:
    """Names of the search methods."""
    return sorted(METHODS)


def get_method(name: str) -> type[SearchMethod]:
    """The method class ``name``; ConfigError with the nearest match when there is none."""
    if name not in METHODS:
        raise ConfigError(unknown("method", name, METHODS))
    return METHODS[name]


__all__ = [
    "METHODS",
    "Batch",
    "Darts",
    "DartsOptions",
    "MethodOptions",
    "SearchMethod",
    "StepResult",
    "get_method",
    "list_methods",
]
