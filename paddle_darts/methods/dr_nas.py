"""DrNAS: mixing weights drawn from learned Dirichlet distributions (arXiv 2006.10355; xiangning-chen/DrNAS).

Deviations: the learning rate goes on falling when a stage begins (``stage_lr="official"``: it starts anew, by an
oversight of the authors), running statistics of widened skips stay with their channels, pruned candidates are removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import paddle

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import AnyGenotype, NetworkOptions
from paddle_darts.methods.gradient import GradientMethod, GradientOptions
from paddle_darts.methods.parts.dirichlet import concentration, dirichlet_weights, kl_to_uniform
from paddle_darts.methods.parts.pruning import masked_softmax, prune
from paddle_darts.methods.parts.widening import widen, widening_plan
from paddle_darts.networks.supernet import CellMix, SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import copy_into
from paddle_darts.nn.optimizers import NamedOptimizer, adam
from paddle_darts.nn.schedules import cosine


@dataclass
class DrNasOptions(GradientOptions):
    """Settings of DrNAS. What ``arch_weight_decay`` is to other methods, ``reg_scale`` is here.

    Args:
        ks: of how many channels one goes through the candidates, per stage.
        keeps: candidates that every edge has in each stage; the first stage always has all.
        stage_epochs: epochs of the stages (default: equal parts of --epochs).
        reg_type: l2 (weight decay of the alphas) or kl (distance of the distributions to the uniform one).
        reg_scale: strength of that.
        stage_lr: clean (one cosine over the search) or official (every stage starts at --learning_rate again, which
            for two equal stages doubles the rate of the second).
        clip_with_arch: count the architecture's gradient into the norm by which the weights' gradient is clipped (the
            authors' program for NAS-Bench-201 does).
        aligned_statistics: widened strided skips keep the running statistics of their channels (official: of others).
    """

    learning_rate: float = 0.1
    learning_rate_min: float = 0.0
    arch_learning_rate: float = 6e-4
    arch_weight_decay: float = 0.0
    arch_start_epoch: int = 10
    ks: list[int] = field(default_factory=lambda: [6, 4])
    keeps: list[int] = field(default_factory=lambda: [7, 4])
    stage_epochs: list[int] = field(default_factory=list)
    reg_type: Literal["l2", "kl"] = "l2"
    reg_scale: float = 1e-3
    stage_lr: Literal["clean", "official"] = "clean"
    clip_with_arch: bool = False
    aligned_statistics: bool = True


class DrNas(GradientMethod):
    """Samples from Dirichlet distributions mix the candidates; stages drop candidates and widen the rest."""

    name = "dr_nas"
    options_class = DrNasOptions
    official: ClassVar = {"valid_batches": "fresh", "stage_lr": "official", "aligned_statistics": False}

    def __init__(self, spec: SupernetSpec, options: DrNasOptions, epochs: int, source: RandomSource) -> None:
        if options.arch_weight_decay:
            raise ConfigError("arch_weight_decay of dr_nas is called reg_scale, with reg_type l2")
        self.begins = _stage_begins(options, epochs)
        ops = tuple(op for op in spec.primitives if op != "none" or spec.every_edge)
        self.base = replace(spec, ops=ops, switches=None)
        _check_fit(self.base, options)
        self._stage = 0
        self.masks: dict[str, np.ndarray | None] = dict.fromkeys(spec.kind_names)
        super().__init__(spec, options, epochs, source)

    def first_spec(self, spec: SupernetSpec) -> SupernetSpec:
        return self.stage_spec()

    def stage_spec(self) -> SupernetSpec:
        """The supernet of the present stage: its channels, and the candidates that are left."""
        masks = list(self.masks.values())
        switches = None if masks[0] is None else masks
        return replace(self.base, partial_channels=self.options.ks[self._stage], switches=switches)

    def new_arch_optimizer(self) -> NamedOptimizer:
        o = self.options
        decay = o.reg_scale if o.reg_type == "l2" else 0.0
        return adam(self.arch, o.arch_learning_rate, decay, self.arch_betas)

    def cell_mix(self, kind: str) -> CellMix:
        """A new sample; all cells of a kind share it."""
        mask = self.masks[kind]
        return CellMix(dirichlet_weights(self.alphas[kind], self.source, mask), active=mask)

    def penalty(self) -> paddle.Tensor | None:
        if self.options.reg_type != "kl":
            return None
        terms = [kl_to_uniform(concentration(alpha)).sum() for alpha in self.alphas.values()]
        return self.options.reg_scale * paddle.add_n(terms)

    # ---- stages
    @property
    def stage(self) -> int:
        return self._stage

    @property
    def shortest_stage(self) -> int:
        return min(np.diff([*self.begins, self.epochs]))

    @property
    def learns_architecture(self) -> bool:
        return self.epoch - self.begins[self._stage] >= self.options.arch_start_epoch

    def begin_epoch(self, epoch: int) -> None:
        while self._stage + 1 < len(self.begins) and epoch >= self.begins[self._stage + 1]:
            self.enter_next_stage()
        super().begin_epoch(epoch)

    def learning_rate(self, epoch: int) -> float:
        """The authors' new optimizer has the rate of the first epoch, and their scheduler scales what it finds."""
        rate, o = super().learning_rate(epoch), self.options
        if o.stage_lr == "clean" or self._stage == 0:
            return rate
        left = cosine(self.begins[self._stage], self.epochs, 1.0)
        return o.learning_rate_min + (rate - o.learning_rate_min) / left

    def enter_next_stage(self) -> None:
        """Keeps the strongest candidates of every edge and widens them; momentum goes along."""
        self._stage += 1
        keep, (k0, k1) = self.options.keeps[self._stage], self.options.ks[self._stage - 1 :][:2]
        for kind, alpha in self.alphas.items():
            kept, self.masks[kind] = prune(alpha.numpy(), keep, self.masks[kind])
            alpha.set_value(paddle.to_tensor(kept))
        weights, momentum = self.supernet.state_dict(), self.weight_optimizer.state_dict()
        if k1 < k0:
            plan = widening_plan(self.supernet, k0, k1, self.source, aligned=self.options.aligned_statistics)
            weights, momentum = widen(weights, plan), widen(momentum, plan)
        self.build_supernet(self.stage_spec())
        copy_into(own := self.supernet.state_dict(), {name: weights[name] for name in own})
        kept_momentum = {key: value for key, value in momentum.items() if key.split("/")[0] in self.weights}
        self.weight_optimizer.load_state_dict(kept_momentum)

    # ---- what has been found
    def probabilities(self) -> dict[str, np.ndarray]:
        return {
            kind: masked_softmax(alpha.astype("float32"), self.masks[kind]).numpy()
            for kind, alpha in self.alphas.items()
        }

    def derive_from(self, strengths: dict[str, np.ndarray]) -> AnyGenotype:
        """Its evaluation networks normalise what they pool, as its supernets do."""
        return replace(super().derive_from(strengths), network=NetworkOptions(pool_bn=self.spec.pool_bn))

    def facts(self) -> dict[str, Any]:
        masks = list(self.masks.values())
        left = len(self.spec.primitives) if masks[0] is None else int(masks[0][0].sum())
        return {"candidates_per_edge": left, "partial_channels": self.options.ks[self._stage]}

    # ---- checkpoints
    def state(self) -> dict[str, Any]:
        masks = {kind: None if mask is None else mask.tolist() for kind, mask in self.masks.items()}
        return {**super().state(), "stage": self._stage, "masks": masks}

    def load_state(self, state: dict[str, Any]) -> None:
        self._stage = state["stage"]
        self.masks = {k: None if m is None else np.array(m, dtype=bool) for k, m in state["masks"].items()}
        if self.stage_spec() != self.spec:
            self.build_supernet(self.stage_spec())
        super().load_state(state)


def _stage_begins(options: DrNasOptions, epochs: int) -> list[int]:
    """The first epoch of every stage; ConfigError for stages that do not fit together."""
    count, lengths = len(options.ks), options.stage_epochs
    if not count or len(options.keeps) != count or (lengths and len(lengths) != count):
        raise ConfigError(
            f"ks, keeps and stage_epochs need a number for every stage, got {options.ks}, {options.keeps}, {lengths}"
        )
    if lengths and (min(lengths) < 1 or sum(lengths) != epochs):
        raise ConfigError(f"the stages of {lengths} epochs do not make up the {epochs} epochs of the search")
    if any(later > earlier for values in (options.ks, options.keeps) for earlier, later in pairwise(values)):
        raise ConfigError(f"ks and keeps must not grow from stage to stage, got {options.ks} and {options.keeps}")
    return [sum(lengths[:i]) if lengths else epochs * i // count for i in range(count)]


def _check_fit(spec: SupernetSpec, options: DrNasOptions) -> None:
    """ConfigError now for what would stop the search when a later stage begins."""
    most = len(spec.primitives)
    if any(not 1 <= keep <= most for keep in options.keeps[1:]):
        raise ConfigError(f"keeps must be from 1 to the {most} candidates of an edge, got {options.keeps}")
    for k in options.ks:
        replace(spec, partial_channels=k)
