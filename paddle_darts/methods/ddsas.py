"""DDSAS: a small sub-space of operations that moves through the search space (Yang et al., ACML 2021;
xingxing-123/DDSAS).

Deviations: the published settings are the defaults, shrinking never empties an edge, second order is not offered (it
crashes in the authors' program). See :mod:`paddle_darts.methods.parts.subspace`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import paddle

from paddle_darts.errors import ConfigError
from paddle_darts.methods.base import Batch, StepResult
from paddle_darts.methods.gradient import GradientMethod, GradientOptions
from paddle_darts.methods.parts.gumbel import gumbel_noise
from paddle_darts.methods.parts.subspace import SpaceChange, SubSpace, get_space_config, mixing_weights
from paddle_darts.networks.supernet import CellMix, SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.optimizers import clip_gradients
from paddle_darts.nn.schedules import annealed
from paddle_darts.spaces import get_space

log = logging.getLogger(__name__)


@dataclass
class DdsasOptions(GradientOptions):
    """Settings of DDSAS.

    Args:
        space_config: space_config_static, _shrink, _expand or _imagenet: operations, and when their number changes.
        stage_epochs: epochs at which the stages of the space begin (default: those of space_config).
        dss_max_ops: operations besides none that are active at a time in a cell, over all edges.
        dss_freq: steps between two choices of the active operations.
        rdss_prob: probability that a choice is random.
        confidence: weight of the exploration bonus.
        saliency_type: simple, or all (with normalised weights the betas then learn nothing).
        no_norm: leave the weights of an edge unnormalised.
        gumbel: add Gumbel noise to the architecture weights, anew for every cell and pass.
        tau_max: temperature of that noise in the first epoch.
        tau_min: temperature in the last epoch.
        safe_shrink: never take the last operation of an edge (the authors' program may).
        clip_with_arch: count the architecture's gradient into the norm by which the weights' gradient is clipped.
    """

    space_config: str = "space_config_static"
    stage_epochs: list[int] = field(default_factory=list)
    dss_max_ops: int = 28
    dss_freq: int = 30
    rdss_prob: float = 0.0
    confidence: float = 1.44
    saliency_type: Literal["simple", "all"] = "simple"
    no_norm: bool = False
    gumbel: bool = False
    tau_max: float = 10.0
    tau_min: float = 0.1
    safe_shrink: bool = True
    clip_with_arch: bool = False


class Ddsas(GradientMethod):
    """Only the operations with the best upper confidence bounds are computed; the genotype is read from saliencies."""

    name = "ddsas"
    options_class = DdsasOptions
    official: ClassVar = {"valid_batches": "fresh", "lr_offset": 1, "stale_gradients": True, "safe_shrink": False}

    def __init__(self, spec: SupernetSpec, options: DdsasOptions, epochs: int, source: RandomSource) -> None:
        o, config = options, get_space_config(options.space_config)
        if config.type != "expand":  # only there the order of the operations counts
            config = replace(config, primitives=spec.primitives)
        elif set(config.primitives) != set(spec.primitives):
            raise ConfigError(f"{config.name} opens the operations of the DARTS space, got those of {spec.space}")
        if o.dss_freq < 1 or not 0 <= o.rdss_prob <= 1 or not 0 < o.tau_min <= o.tau_max:
            raise ConfigError(
                "dss_freq must be at least 1, rdss_prob between 0 and 1, and 0 < tau_min <= tau_max; got "
                f"{o.dss_freq}, {o.rdss_prob}, {o.tau_min}, {o.tau_max}"
            )
        if o.stage_epochs:
            config = _moved(config, o.stage_epochs)
        if o.saliency_type == "all" and not o.no_norm:
            log.warning("saliency_type all with normalised weights: the betas get no gradient; use no_norm or simple")
        self.space = SubSpace(
            config,
            spec.steps,
            o.dss_max_ops,
            o.confidence,
            o.saliency_type,
            o.safe_shrink,
            spec.kind_names,
            get_space(spec.space).inputs,
        )
        self._step, self._begun = 0, -1
        super().__init__(spec, options, epochs, source)

    def first_spec(self, spec: SupernetSpec) -> SupernetSpec:
        return replace(spec, ops=self.space.config.primitives)

    def initial_arch(self) -> dict[str, paddle.Tensor]:
        alphas, betas = super().initial_arch(), super().initial_arch()
        return {**alphas, **{name.replace("alphas", "betas"): values for name, values in betas.items()}}

    @property
    def betas(self) -> dict[str, paddle.Tensor]:
        """The parameters of the space by cell kind."""
        return {kind: self.arch[f"betas_{kind}"] for kind in self.spec.kind_names}

    @property
    def temperature(self) -> float:
        """Falls linearly from tau_max in the first epoch to tau_min in the last."""
        return annealed(self.epoch, self.epochs, self.options.tau_max, self.options.tau_min)

    def mixture(self) -> list[CellMix]:
        return [self.cell_mix(kind) for kind in self.spec.kinds] if self.options.gumbel else super().mixture()

    def cell_mix(self, kind: str) -> CellMix:
        o, alpha, active = self.options, self.alphas[kind], self.space.active[kind]
        noise = gumbel_noise(tuple(alpha.shape), self.source) if o.gumbel else None
        weights = mixing_weights(
            alpha, self.betas[kind], active, o.saliency_type, not o.no_norm, noise, self.temperature
        )
        return CellMix(weights, active=active)

    def begin_epoch(self, epoch: int) -> None:
        super().begin_epoch(epoch)
        if epoch == self._begun:  # resumed within the epoch
            return
        self._begun, self._step = epoch, 0
        change = self.space.begin_epoch(epoch)
        if change is not None:
            log.info("the space changes: %d operations open, %d closed", len(change.added), len(change.removed))

    def step(self, train: Batch, valid: Batch) -> StepResult:
        self.move()
        self._step += 1
        return super().step(train, valid)

    def move(self) -> SpaceChange | None:
        """Chooses the active operations where a window begins; at random as long as the architecture rests."""
        if not self.learns_architecture:
            return self.space.select_random(self.source)
        if self._step % self.options.dss_freq:
            return None
        tables = ({kind: t.numpy() for kind, t in group.items()} for group in (self.alphas, self.betas))
        self.space.update(*tables)
        if self.options.rdss_prob and self.source.uniform((1,))[0] < self.options.rdss_prob:
            return self.space.select_random(self.source)
        return self.space.select()

    def update_arch(self, gradients: list[paddle.Tensor | None]) -> None:
        """Alphas and betas are clipped apart."""
        by_name = dict(zip(self.arch, gradients, strict=True))
        if self.options.arch_grad_clip:
            for group in ("alphas", "betas"):
                found = [g for name, g in by_name.items() if name.startswith(group) and g is not None]
                clip_gradients(found, self.options.arch_grad_clip)
        self.arch_optimizer.step(gradients)

    def probabilities(self) -> dict[str, np.ndarray]:
        """The saliencies of the operations that are available."""
        return {kind: table.astype("float32") for kind, table in self.strengths().items()}

    def strengths(self) -> dict[str, np.ndarray]:
        return self.space.strengths()

    @property
    def stage(self) -> int:
        return max(0, self.space.stage - (self.space.config.type == "expand"))

    def facts(self) -> dict[str, Any]:
        counts = {f"available_{kind}": int(table.sum()) for kind, table in self.space.available.items()}
        return {**counts, **{f"active_{kind}": int(table.sum()) for kind, table in self.space.active.items()}}

    def state(self) -> dict[str, Any]:
        return {**super().state(), "space": self.space.state_dict(), "step": self._step, "begun": self._begun}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.space.load_state_dict(state["space"])
        self._step, self._begun = state["step"], state["begun"]


def _moved(config: Any, epochs: list[int]) -> Any:
    """The space configuration with its stages at other epochs."""
    if len(epochs) != len(config.stages):
        raise ConfigError(
            f"stage_epochs needs {len(config.stages)} epochs for the stages of {config.name}, got {epochs}"
        )
    return replace(config, stages=tuple((e, number) for e, (_, number) in zip(epochs, config.stages, strict=True)))
