"""GDAS: one candidate per edge and pass, drawn with Gumbel noise (arXiv 1910.04465; D-X-Y/AutoDL-Projects, GDAS.py).

Deviation: both cell kinds are searched, with DARTS' derivation; the paper fixes the reduction cell in a variant.
"""

from __future__ import annotations

from dataclasses import dataclass

from paddle_darts.errors import ConfigError
from paddle_darts.methods.gradient import GradientMethod, GradientOptions
from paddle_darts.methods.parts.gumbel import gdas_mix
from paddle_darts.networks.supernet import CellMix, SupernetSpec
from paddle_darts.nn.schedules import annealed


@dataclass
class GdasOptions(GradientOptions):
    """Settings of GDAS.

    Args:
        tau_max: temperature of the Gumbel softmax in the first epoch.
        tau_min: temperature in the last epoch; linear in between.
    """

    weight_decay: float = 5e-4
    nesterov: bool = True
    weights_first: bool = True
    tau_max: float = 10.0
    tau_min: float = 0.1


class Gdas(GradientMethod):
    """Every pass runs one drawn candidate per edge; a straight-through gradient reaches the ones not drawn."""

    name = "gdas"
    options_class = GdasOptions

    def __init__(self, spec: SupernetSpec, options: GdasOptions, *rest: object) -> None:
        if not 0 < options.tau_min <= options.tau_max:
            raise ConfigError(
                f"the temperature must fall and stay above 0, got tau_max={options.tau_max}, tau_min={options.tau_min}"
            )
        super().__init__(spec, options, *rest)

    @property
    def temperature(self) -> float:
        """Falls linearly from tau_max in the first epoch to tau_min in the last."""
        return annealed(self.epoch, self.epochs, self.options.tau_max, self.options.tau_min)

    def cell_mix(self, kind: str) -> CellMix:
        """A new draw; all cells of a kind share it."""
        return gdas_mix(self.alphas[kind], self.temperature, self.source)

    def facts(self) -> dict[str, float]:
        return {"temperature": self.temperature}
