"""P-DARTS: deeper supernets over fewer candidates, in stages (arXiv 1904.12760; chenxin061/pdarts).

Deviations: stages, their depths and how many candidates they drop are settings; wrong counts are an error (the
official program falls back to other numbers in silence); genotypes under every limit of skip connections are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import AnyGenotype
from paddle_darts.methods.gradient import GradientMethod, GradientOptions, parameter
from paddle_darts.methods.parts.progressive import (
    derivation,
    drop_weakest,
    on_probabilities,
    restricted_genotypes,
    skip_dropout,
)
from paddle_darts.networks.supernet import CellMix, SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.schedules import cosine, warm_up


@dataclass
class PDartsOptions(GradientOptions):
    """Settings of P-DARTS; ``epochs`` counts those of one stage.

    Args:
        add_layers: cells that each stage has more than --layers; the first 0 may be left out.
        add_width: channels that each stage has more than --init_channels.
        dropout_rate: initial dropout after stride-1 skip connections, per stage.
        num_to_drop: candidates that every edge loses at the end of each stage but the last.
        derive: official, or with_none (none may be chosen, as in published model cards).
    """

    learning_rate_min: float = 0.0
    arch_learning_rate: float = 6e-4
    arch_grad_clip: float = 5.0
    arch_start_epoch: int = 10
    add_layers: list[int] = field(default_factory=lambda: [0, 6, 12])
    add_width: list[int] = field(default_factory=lambda: [0, 0, 0])
    dropout_rate: list[float] = field(default_factory=lambda: [0.1, 0.4, 0.7])
    num_to_drop: list[int] = field(default_factory=lambda: [3, 2])
    derive: Literal["official", "with_none"] = "official"

    @property
    def stages(self) -> int:
        return len(self.dropout_rate)

    def per_stage(self, name: str) -> list[int]:
        """``add_layers`` or ``add_width`` with one entry per stage; ConfigError for another count."""
        given = list(getattr(self, name))
        full = [0, *given] if len(given) == self.stages - 1 else given
        if len(full) != self.stages:
            raise ConfigError(f"{name} needs a number for each of the {self.stages} stages, got {given}")
        return full

    def check(self, candidates: int) -> None:
        """ConfigError for lists that do not fit each other or so many ``candidates`` per edge."""
        drops = self.num_to_drop
        if not self.stages or len(drops) != self.stages - 1:
            raise ConfigError(
                f"num_to_drop needs a number after each of the {self.stages} stages but the last, got {drops}; "
                "the number of stages is that of dropout_rate"
            )
        if any(count < 0 for count in drops) or sum(drops) >= candidates:
            raise ConfigError(
                f"num_to_drop must be 0 or more and leave at least one of the {candidates} candidates of an edge, "
                f"got {drops}"
            )
        if any(not 0 <= rate < 1 for rate in self.dropout_rate):
            raise ConfigError(f"every dropout_rate must be at least 0 and below 1, got {self.dropout_rate}")


class PDarts(GradientMethod):
    """After every stage the weakest candidates of each edge go, and a deeper supernet starts from scratch."""

    name = "p_darts"
    options_class = PDartsOptions

    @classmethod
    def total_epochs(cls, options: PDartsOptions, epochs: int) -> int:
        return epochs * options.stages

    def __init__(self, spec: SupernetSpec, options: PDartsOptions, epochs: int, source: RandomSource) -> None:
        options.check(len(spec.primitives))
        self.base, self.stage_epochs = spec, epochs // options.stages
        shape = (spec.num_edges, len(spec.primitives))
        self.switches = {kind: np.ones(shape, dtype=bool) for kind in spec.kind_names}
        self._stage = 0
        super().__init__(spec, options, epochs, source)

    def first_spec(self, spec: SupernetSpec) -> SupernetSpec:
        # sizes that are impossible are refused now, not when their stage begins
        specs = [self.stage_spec(number) for number in range(self.options.stages)]
        return specs[0]

    def stage_spec(self, number: int) -> SupernetSpec:
        """The supernet of a stage, over the candidates that are left now."""
        o = self.options
        return replace(
            self.base,
            layers=self.base.layers + o.per_stage("add_layers")[number],
            init_channels=self.base.init_channels + o.per_stage("add_width")[number],
            switches=list(self.switches.values()),
            skip_dropout=o.dropout_rate[number] > 0,
        )

    def initial_arch(self) -> dict[str, paddle.Tensor]:
        """One alpha per candidate that is left, [edges, ON ops]."""
        shape = (self.spec.num_edges, self.candidates_per_edge)
        return {f"alphas_{kind}": parameter(1e-3 * self.source.normal(shape)) for kind in self.switches}

    @property
    def candidates_per_edge(self) -> int:
        """How many candidates every edge still has."""
        return int(next(iter(self.switches.values()))[0].sum())

    def cell_mix(self, kind: str) -> CellMix:
        switches = self.switches[kind]
        chosen = F.softmax(self.alphas[kind], axis=-1).flatten()
        # columns that are off point at the zero behind all weights
        index = np.full(switches.shape, chosen.shape[0])
        index[switches] = np.arange(chosen.shape[0])
        padded = paddle.concat([chosen, paddle.zeros([1], chosen.dtype)])
        weights = paddle.gather(padded, paddle.to_tensor(index.ravel())).reshape(switches.shape)
        return CellMix(weights, active=switches)

    # ---- stages
    @property
    def stage(self) -> int:
        return self._stage

    @property
    def shortest_stage(self) -> int:
        return self.stage_epochs

    @property
    def epoch_in_stage(self) -> int:
        return self.epoch - self._stage * self.stage_epochs

    @property
    def learns_architecture(self) -> bool:
        return self.epoch_in_stage >= self.options.arch_start_epoch

    def begin_epoch(self, epoch: int) -> None:
        while self._stage < epoch // self.stage_epochs:
            self.enter_next_stage()
        super().begin_epoch(epoch)
        self.supernet.skip_dropout_prob = self.skip_dropout

    def enter_next_stage(self) -> None:
        """Drops the weakest candidates of every edge and starts a new supernet with new alphas."""
        count = self.options.num_to_drop[self._stage]
        tables = self.probabilities()
        self.switches = {kind: drop_weakest(tables[kind], on, count) for kind, on in self.switches.items()}
        self._stage += 1
        self.build(self.stage_spec(self._stage))

    @property
    def skip_dropout(self) -> float:
        """The dropout after skip connections in this epoch."""
        o = self.options
        return skip_dropout(o.dropout_rate[self._stage], self.epoch_in_stage, self.stage_epochs, o.arch_start_epoch)

    def learning_rate(self, epoch: int) -> float:
        """A cosine over every stage."""
        o, position = self.options, self.epoch_in_stage
        rate = cosine(position + o.lr_offset, self.stage_epochs, o.learning_rate, o.learning_rate_min)
        return warm_up(position, rate, o.learning_rate, epochs=o.warmup_epochs)

    # ---- what has been found
    def probabilities(self) -> dict[str, np.ndarray]:
        return {kind: on_probabilities(self.alphas[kind].numpy(), on) for kind, on in self.switches.items()}

    def derive_from(self, strengths: dict[str, np.ndarray]) -> AnyGenotype:
        return derivation(self.spec, self.switches, self.options.derive == "with_none")(strengths)

    def variants(self) -> dict[str, AnyGenotype | None]:
        """The genotypes under every limit of skip connections in the normal cell (the authors recommend 2)."""
        derive, strengths = derivation(self.spec, self.switches), self.strengths()
        edges = self.spec.num_edges if self.spec.every_edge else 2 * self.spec.steps
        limits = range(edges, -1, -1)
        found = restricted_genotypes(derive, strengths, limits, self.spec.primitives)
        return {f"max_skip_{limit}": found.get(limit) for limit in limits}

    def facts(self) -> dict[str, Any]:
        return {"skip_dropout": self.skip_dropout, "candidates_per_edge": self.candidates_per_edge}

    # ---- checkpoints
    def state(self) -> dict[str, Any]:
        switches = {kind: table.tolist() for kind, table in self.switches.items()}
        return {**super().state(), "stage": self._stage, "switches": switches}

    def load_state(self, state: dict[str, Any]) -> None:
        switches = {kind: np.array(state["switches"][kind], dtype=bool) for kind in self.switches}
        same = all(np.array_equal(on, switches[kind]) for kind, on in self.switches.items())
        if state["stage"] != self._stage or not same:
            self._stage, self.switches = state["stage"], switches
            self.build(self.stage_spec(self._stage))
        super().load_state(state)
