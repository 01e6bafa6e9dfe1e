"""Regularised evolution: tournaments in a population that loses its oldest member (arXiv 1802.01548)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paddle_darts.controllers import RegularizedEvolutionController
from paddle_darts.methods.sampled import SampledMethod, SampledOptions


@dataclass
class RegularizedEvolutionOptions(SampledOptions):
    """Settings of regularised evolution; the defaults are those of the experiments of NATS-Bench.

    Args:
        population_size: members of the population.
        sample_size: members that compete for being the parent.
    """

    population_size: int = 10
    sample_size: int = 3


class RegularizedEvolution(SampledMethod):
    """Trains mutations of the winners of tournaments."""

    name = "regularized_evolution"
    options_class = RegularizedEvolutionOptions

    def new_controller(self, range_table: list[int], constrain_func: Any, seed: int) -> RegularizedEvolutionController:
        o = self.options
        return RegularizedEvolutionController(
            range_table, o.population_size, o.sample_size, constrain_func=constrain_func, seed=seed
        )
