"""SGAS: edges are settled one after the other, greedily (arXiv 1912.00195; lightaime/sgas, cnn/).

Deviations: `none` need not be the first candidate; a history that is still empty does not make all scores zero. See
:mod:`paddle_darts.methods.parts.greedy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import AnyGenotype
from paddle_darts.methods.gradient import GradientMethod, UnrolledOptions, parameter
from paddle_darts.methods.parts.greedy import Decision, DecisionSchedule, GreedyDecisions, greedy_genotype
from paddle_darts.networks.supernet import CellMix, SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.spaces import get_space


@dataclass
class SgasOptions(UnrolledOptions):
    """Settings of SGAS.

    Args:
        warmup_dec_epoch: epoch after which the first edge is decided.
        decision_freq: epochs between two decisions.
        use_history: criterion 2: prefer edges whose distribution has been stable.
        history_size: epochs that the stability looks back.
        official_start: with use_history and no history yet, decide for the first edge (the authors' program does).
        batch_increase: images by which a batch grows with every decision.
    """

    warmup_dec_epoch: int = 9
    decision_freq: int = 5
    use_history: bool = False
    history_size: int = 4
    official_start: bool = False
    batch_increase: int = 8


class Sgas(GradientMethod):
    """DARTS whose surest edge is fixed every few epochs, until the cell is discrete; the batch grows as it shrinks."""

    name = "sgas"
    options_class = SgasOptions
    official: ClassVar = {"valid_batches": "fresh", "lr_offset": 1, "stale_gradients": True, "official_start": True}

    def __init__(self, spec: SupernetSpec, options: SgasOptions, epochs: int, source: RandomSource) -> None:
        self.schedule = DecisionSchedule(options.warmup_dec_epoch, options.decision_freq, 0)
        if options.batch_increase < 0:
            raise ConfigError(f"batch_increase must be at least 0, got {options.batch_increase}")
        rule = 1 + options.use_history, options.history_size, options.official_start
        shape = get_space(spec.space).inputs, spec.every_edge
        self.decisions = {k: GreedyDecisions(spec.primitives, spec.steps, *rule, *shape) for k in spec.kind_names}
        count = next(iter(self.decisions.values())).decisions
        if epochs < (needed := self.schedule.epochs(count)):
            raise ConfigError(
                f"warmup_dec_epoch {options.warmup_dec_epoch} and decision_freq {options.decision_freq} need at least "
                f"{needed} epochs for {count} decisions, got {epochs}"
            )
        self.rounds = 0  # epochs that ended with a decision
        self.latest: dict[str, Decision] = {}
        super().__init__(spec, options, epochs, source)

    def initial_arch(self) -> dict[str, paddle.Tensor]:
        """One vector per edge, so that settled edges can be left out of every update."""
        ops = len(self.spec.primitives)
        return {
            f"alphas_{kind}.{row}": parameter(1e-3 * self.source.normal((ops,)))
            for row in range(self.spec.num_edges)
            for kind in self.decisions
        }

    @property
    def alphas(self) -> dict[str, paddle.Tensor]:
        rows = range(self.spec.num_edges)
        return {kind: paddle.stack([self.arch[f"alphas_{kind}.{row}"] for row in rows]) for kind in self.decisions}

    def cell_mix(self, kind: str) -> CellMix:
        """Softmax on undecided edges; the operation of a decided one counts fully, pruned edges give nothing."""
        weights, decisions = F.softmax(self.alphas[kind], axis=-1), self.decisions[kind]
        active, open_rows = decisions.active(), decisions.undecided[:, None]
        settled = paddle.to_tensor(active & ~open_rows, dtype=weights.dtype, place=weights.place)
        mixed = paddle.where(paddle.to_tensor(open_rows, place=weights.place), weights, settled)
        return CellMix(mixed, active=active)

    def update_arch(self, gradients: list[paddle.Tensor | None]) -> None:
        """Settled edges are left alone, by decay and momentum too."""
        still = {f"alphas_{k}.{row}" for k, d in self.decisions.items() for row in np.flatnonzero(d.undecided)}
        super().update_arch([g if name in still else None for name, g in zip(self.arch, gradients, strict=True)])

    def end_epoch(self, epoch: int) -> None:
        tables, due = self.strengths(), self.schedule.due(epoch)
        found = {kind: decisions.end_epoch(tables[kind], due)[1] for kind, decisions in self.decisions.items()}
        self.latest = {kind: decision for kind, decision in found.items() if decision is not None}
        self.rounds += bool(self.latest)

    def probabilities(self) -> dict[str, np.ndarray]:
        """The weights of the mixture: 1 for the operation of a decided edge, 0 on pruned ones."""
        return {kind: self.cell_mix(kind).ops.numpy().astype("float32") for kind in self.decisions}

    def strengths(self) -> dict[str, np.ndarray]:
        """The softmax of all edges, settled or not."""
        return super().probabilities()

    def batch_size(self, given: int) -> int:
        return given + self.options.batch_increase * self.rounds

    def derive_from(self, strengths: dict[str, np.ndarray]) -> AnyGenotype:
        """Settled edges, and what would be settled if the search ended now."""
        return greedy_genotype(self.decisions, self.spec.multiplier, strengths)

    def facts(self) -> dict[str, Any]:
        left = {f"undecided_{kind}": int(decisions.undecided.sum()) for kind, decisions in self.decisions.items()}
        decided = {f"decided_{kind}": f"{d.op} from {d.source} into node {d.node}" for kind, d in self.latest.items()}
        return {**left, **{f"decided_{kind}": None for kind in self.decisions}, **decided}

    def state(self) -> dict[str, Any]:
        decisions = {kind: found.state_dict() for kind, found in self.decisions.items()}
        return {**super().state(), "decisions": decisions, "rounds": self.rounds}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.rounds = state["rounds"]
        for kind, decisions in self.decisions.items():
            decisions.load_state_dict(state["decisions"][kind])
