"""Simulated annealing over single operations, with the semantics of PaddleSlim's controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paddle_darts.controllers import SAController
from paddle_darts.methods.sampled import SampledMethod, SampledOptions


@dataclass
class SimulatedAnnealingOptions(SampledOptions):
    """Settings of simulated annealing.

    Args:
        init_temperature: temperature at the beginning, in units of the accuracy (a share of 1).
        reduce_rate: factor of the temperature per candidate.
    """

    init_temperature: float = 1.0
    reduce_rate: float = 0.85


class SimulatedAnnealing(SampledMethod):
    """Trains neighbours of the cell that was accepted last; worse ones are accepted ever more rarely."""

    name = "simulated_annealing"
    options_class = SimulatedAnnealingOptions

    def new_controller(self, range_table: list[int], constrain_func: Any, seed: int) -> SAController:
        o = self.options
        return SAController(
            range_table,
            o.reduce_rate,
            o.init_temperature,
            max_try_times=50000,
            constrain_func=constrain_func,
            seed=seed,
        )
