"""FairDARTS: independent sigmoids and a zero-one loss (arXiv 1911.12126; xiaomi-automl/FairDARTS).

Deviations: a cell in which no operation reaches the threshold is an error that says so (the official program crashes
later), and the cells by all three rules are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import AnyGenotype
from paddle_darts.methods.base import Batch, StepResult
from paddle_darts.methods.gradient import GradientMethod, GradientOptions, parameter
from paddle_darts.methods.parts.threshold import PARSE_METHODS, threshold_cell, threshold_genotype, zero_one_loss
from paddle_darts.networks.supernet import CellMix, SupernetSpec


@dataclass
class FairDartsOptions(GradientOptions):
    """Settings of FairDARTS.

    Args:
        aux_loss_weight: weight of the zero-one loss.
        sep_loss: l2 or l1, the form of the zero-one loss.
        single_level: weights and architecture learn together from the training batch.
        arch_lr_gamma: first decay rate of the architecture's Adam (0.9 always with single_level).
        parse_method: threshold_sparse, threshold_edge or darts.
        op_threshold: sigmoid that an operation must reach to be kept.
        fallback: darts: take the edges of its rule for a cell in which no operation reaches the threshold.
    """

    learning_rate: float = 0.005
    arch_learning_rate: float = 3e-3
    aux_loss_weight: float = 10.0
    sep_loss: Literal["l2", "l1"] = "l2"
    single_level: bool = False
    arch_lr_gamma: float = 0.9
    parse_method: Literal["darts", "threshold_sparse", "threshold_edge"] = "threshold_sparse"
    op_threshold: float = 0.85
    fallback: Literal["darts"] | None = None


class FairDarts(GradientMethod):
    """Candidates do not compete: a sigmoid each, pushed to 0 or 1; a threshold decides which are kept."""

    name = "fair_darts"
    options_class = FairDartsOptions
    official: ClassVar = {"valid_batches": "fresh", "lr_offset": 1}

    def __init__(self, spec: SupernetSpec, options: FairDartsOptions, *rest: object) -> None:
        if not 0 < options.op_threshold < 1:
            raise ConfigError(f"op_threshold must be between 0 and 1, got {options.op_threshold}")
        super().__init__(spec, options, *rest)

    def first_spec(self, spec: SupernetSpec) -> SupernetSpec:
        return replace(spec, ops=tuple(op for op in spec.primitives if op != "none"))

    def initial_arch(self) -> dict[str, paddle.Tensor]:
        shape = (self.spec.num_edges, len(self.spec.primitives))
        return {f"alphas_{kind}": parameter(np.zeros(shape)) for kind in self.spec.kind_names}

    @property
    def arch_betas(self) -> tuple[float, float]:
        return (0.9 if self.options.single_level else self.options.arch_lr_gamma), 0.999

    def cell_mix(self, kind: str) -> CellMix:
        return CellMix(F.sigmoid(self.alphas[kind]))

    def loss(self, batch: Batch, grads: str = "both", track_stats: bool = True) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Cross entropy plus the weighted zero-one loss, in both steps."""
        loss, logits = super().loss(batch, grads, track_stats)
        return loss + self.options.aux_loss_weight * self.separation(), logits

    def separation(self) -> paddle.Tensor:
        """The zero-one loss of the present sigmoids, 0-D."""
        return zero_one_loss(self.alphas.values(), self.options.sep_loss)

    def step(self, train: Batch, valid: Batch) -> StepResult:
        together = self.options.single_level and self.learns_architecture
        return self.single_level_step(train) if together else super().step(train, valid)

    def single_level_step(self, train: Batch) -> StepResult:
        """One pass over the training batch moves the weights and the architecture."""
        weights, arch = list(self.weights.values()), list(self.arch.values())
        loss, logits = self.loss(train)
        found = paddle.grad(loss, [*weights, *arch], allow_unused=True)
        self.update_weights(found[: len(weights)])
        self.update_arch(found[len(weights) :])
        return StepResult(float(loss), logits.detach(), float(loss))

    def probabilities(self) -> dict[str, np.ndarray]:
        return {kind: F.sigmoid(a.astype("float32")).numpy() for kind, a in self.alphas.items()}

    def derive_from(self, strengths: dict[str, np.ndarray]) -> AnyGenotype:
        return self.parse(strengths, self.options.parse_method)

    def parse(self, strengths: dict[str, np.ndarray], parse_method: str) -> AnyGenotype:
        """The genotype by one of ``PARSE_METHODS``."""
        s, o = self.spec, self.options
        if s.every_edge:
            return threshold_cell(strengths, s.primitives, parse_method, o.op_threshold, o.fallback)
        return threshold_genotype(
            strengths, s.primitives, s.steps, s.multiplier, parse_method, o.op_threshold, o.fallback
        )

    def variants(self) -> dict[str, AnyGenotype | None]:
        return {parse_method: self._parse_or_none(parse_method) for parse_method in PARSE_METHODS}

    def _parse_or_none(self, parse_method: str) -> AnyGenotype | None:
        try:
            return self.parse(self.strengths(), parse_method)
        except GenotypeError:  # nothing reaches the threshold yet; the main derivation says so
            return None
