"""What the gradient-based methods share: two sets of parameters, two optimizers, updated in turns."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.genotypes import AnyGenotype
from paddle_darts.methods.base import Batch, MethodOptions, SearchMethod, StepResult
from paddle_darts.methods.parts.bilevel import HyperGradient, first_order, gradients_or_none, second_order
from paddle_darts.methods.parts.derivation import genotype_of
from paddle_darts.networks.supernet import CellMix, SupernetSpec
from paddle_darts.networks.supernets import build_supernet
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import copy_into
from paddle_darts.nn.losses import cross_entropy
from paddle_darts.nn.optimizers import NamedOptimizer, adam, clip_gradients, sgd
from paddle_darts.nn.schedules import cosine, warm_up

log = logging.getLogger(__name__)


@dataclass
class GradientOptions(MethodOptions):
    """Settings of methods whose architecture learns by gradient.

    Args:
        arch_learning_rate: constant rate of the Adam optimizer of the architecture.
        arch_weight_decay: L2 of the architecture parameters.
        arch_grad_clip: limit of the global norm of the architecture's gradient (0: no clipping).
        arch_start_epoch: epochs at the beginning in which only the weights learn.
        weights_first: in every step the weights move before the architecture (the programs of NAS-Bench-201 do).
        stale_gradients: keep decaying weights that were used before and are switched off (official programs do).
    """

    arch_learning_rate: float = 3e-4
    arch_weight_decay: float = 1e-3
    arch_grad_clip: float = 0.0
    arch_start_epoch: int = 0
    weights_first: bool = False
    stale_gradients: bool = False


@dataclass
class UnrolledOptions(GradientOptions):
    """Settings of methods that know the second-order step.

    Args:
        unrolled: second order: differentiate through one SGD step of the weights.
    """

    unrolled: bool = False


class GradientMethod(SearchMethod):
    """Weights learn from the training half, architecture parameters (before them, unless ``weights_first``) from the
    validation half.

    A subclass says what the architecture parameters are (:meth:`initial_arch`) and how they become weights of the
    candidates (:meth:`mixture`, :meth:`probabilities`); it may change the losses, the schedule, or what happens between
    epochs. As it stands: softmax over the candidates of every edge, first or second order, the common derivation of
    the space.
    """

    options_class: ClassVar[type[MethodOptions]] = UnrolledOptions

    def __init__(self, spec: SupernetSpec, options: Any, epochs: int, source: RandomSource) -> None:
        self.options, self.epochs, self.source = options, epochs, source
        self.epoch = 0
        self._used: set[str] = set()  # weights that have had a gradient; kept where `stale_gradients` asks for it
        self.build(self.first_spec(spec))
        if options.arch_start_epoch >= self.shortest_stage:
            log.warning(
                "arch_start_epoch=%d leaves none of %d epochs to the architecture: the genotype will be random",
                options.arch_start_epoch,
                self.shortest_stage,
            )

    @property
    def shortest_stage(self) -> int:
        """Epochs of the shortest stage: ``arch_start_epoch`` counts from the beginning of each."""
        return self.epochs

    # ---- what is searched
    def first_spec(self, spec: SupernetSpec) -> SupernetSpec:
        """The supernet to begin with: ``spec`` with what the method itself decides."""
        return spec

    def build(self, spec: SupernetSpec) -> None:
        """The supernet of ``spec`` with fresh weights, architecture parameters and optimizers."""
        self.build_supernet(spec)
        self.arch = self.initial_arch()
        self.arch_optimizer = self.new_arch_optimizer()

    def build_supernet(self, spec: SupernetSpec) -> None:
        """The supernet of ``spec`` with fresh weights and an optimizer for them; the architecture stays as it is."""
        self.spec = spec
        self.supernet = build_supernet(spec)
        self.supernet.random = self.source
        self.weights = self.supernet.weights()
        self.weight_optimizer = self.new_weight_optimizer()

    def new_weight_optimizer(self) -> NamedOptimizer:
        """An optimizer without any past for the present weights."""
        o = self.options
        return sgd(self.weights, o.learning_rate, o.momentum, o.weight_decay, o.nesterov)

    def new_arch_optimizer(self) -> NamedOptimizer:
        """An optimizer without any past for the architecture parameters."""
        o = self.options
        return adam(self.arch, o.arch_learning_rate, o.arch_weight_decay, self.arch_betas)

    @property
    def arch_betas(self) -> tuple[float, float]:
        """Decay rates of the architecture's Adam."""
        return 0.5, 0.999

    def initial_arch(self) -> dict[str, paddle.Tensor]:
        """1e-3 * N(0, 1) of shape [edges, ops] for every kind of cell (the code of DARTS; its paper says zeros)."""
        shape = (self.spec.num_edges, len(self.spec.primitives))
        return {f"alphas_{kind}": parameter(1e-3 * self.source.normal(shape)) for kind in self.spec.kind_names}

    @property
    def alphas(self) -> dict[str, paddle.Tensor]:
        """The parameters of the candidates by cell kind."""
        return {kind: self.arch[f"alphas_{kind}"] for kind in self.spec.kind_names}

    def mixture(self) -> list[CellMix]:
        shared = {kind: self.cell_mix(kind) for kind in self.spec.kind_names}
        return [shared[kind] for kind in self.spec.kinds]

    def cell_mix(self, kind: str) -> CellMix:
        """The weights of all cells of one kind, differentiable."""
        return CellMix(F.softmax(self.alphas[kind], axis=-1))

    # ---- one step
    @property
    def learns_architecture(self) -> bool:
        """Whether the architecture moves in this epoch."""
        return self.epoch >= self.options.arch_start_epoch

    def loss(self, batch: Batch, grads: str = "both", track_stats: bool = True) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Cross entropy (0-D) and logits of a batch under the current weights and architecture."""
        logits, _ = self.supernet(batch.images, self.mixture(), grads=grads, track_stats=track_stats)
        return cross_entropy(logits, batch.labels), logits

    def penalty(self) -> paddle.Tensor | None:
        """What is added to the loss of the architecture (0-D); None for nothing."""
        return None

    def step(self, train: Batch, valid: Batch) -> StepResult:
        def arch_loss() -> float | None:
            return self.arch_step(train, valid) if self.learns_architecture else None

        if self.options.weights_first:
            result = self.weight_step(train)
            return result._replace(arch_loss=arch_loss())
        before = arch_loss()
        return self.weight_step(train)._replace(arch_loss=before)

    def arch_step(self, train: Batch, valid: Batch) -> float:
        """Moves the architecture; returns its loss before that."""
        hyper = self.arch_gradient(train, valid)
        self.update_arch(hyper.total)
        return float(hyper.loss)

    def weight_step(self, train: Batch) -> StepResult:
        """Moves the weights; returns loss and logits before that."""
        together = getattr(self.options, "clip_with_arch", False) and self.options.grad_clip
        loss, logits = self.loss(train, grads="both" if together else "weights")
        arch = list(self.arch.values()) if together else []
        found = gradients_or_none(loss, [*self.weights.values(), *arch])
        if together:
            clip_gradients([g for g in found if g is not None], self.options.grad_clip)
        self.update_weights(found[: len(self.weights)])
        return StepResult(float(loss), logits.detach())

    def arch_gradient(self, train: Batch, valid: Batch) -> HyperGradient:
        """The gradient of the architecture parameters at the current weights; changes neither."""
        arch = list(self.arch.values())

        def valid_loss(**passing: Any) -> paddle.Tensor:
            loss, penalty = self.loss(valid, **passing)[0], self.penalty()
            return loss if penalty is None else loss + penalty

        def train_loss(**passing: Any) -> paddle.Tensor:
            return self.loss(train, **passing)[0]

        if not getattr(self.options, "unrolled", False):
            return first_order(valid_loss, arch)
        return second_order(
            train_loss,
            valid_loss,
            list(self.weights.values()),
            arch,
            eta=self.lr,
            momentum=self.options.momentum,
            weight_decay=self.options.weight_decay,
            velocity=self.momentum_buffers(),
        )

    def momentum_buffers(self) -> list[paddle.Tensor] | None:
        """The momentum that the unrolled step of the weights starts with.

        With ``stale_gradients`` there is none until every weight has been used: the official programs have no buffer
        for the others, and do without all of them then.
        """
        if self.options.stale_gradients and len(self._used) < len(self.weights):
            return None
        return self.weight_optimizer.slots("velocity")

    def update_arch(self, gradients: list[paddle.Tensor | None]) -> None:
        """One step of the architecture's optimizer."""
        self.arch_optimizer.step(gradients, self.options.arch_grad_clip)

    def update_weights(self, gradients: list[paddle.Tensor | None]) -> None:
        """One step of the weights' optimizer.

        A candidate that is switched off has no gradient and rests. With ``stale_gradients`` it has one of zero once it
        has been used, as where a framework clears gradients by writing zeros: decay and momentum go on moving it.
        """
        if self.options.stale_gradients:
            self._used |= {name for name, g in zip(self.weights, gradients, strict=True) if g is not None}
            gradients = [
                paddle.zeros_like(weight) if g is None and name in self._used else g
                for (name, weight), g in zip(self.weights.items(), gradients, strict=True)
            ]
        self.weight_optimizer.step(gradients, self.options.grad_clip)

    # ---- epochs
    @property
    def lr(self) -> float:
        return self.weight_optimizer.lr

    def begin_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.weight_optimizer.lr = self.learning_rate(epoch)

    def learning_rate(self, epoch: int) -> float:
        """The weights' rate of an epoch: a cosine over the search after the linear rise of the warm-up."""
        o = self.options
        rate = cosine(epoch + o.lr_offset, self.epochs, o.learning_rate, o.learning_rate_min)
        return warm_up(epoch, rate, o.learning_rate, epochs=o.warmup_epochs)

    # ---- what has been found
    def probabilities(self) -> dict[str, np.ndarray]:
        return {kind: F.softmax(a.astype("float32"), axis=-1).numpy() for kind, a in self.alphas.items()}

    def derive_from(self, strengths: dict[str, np.ndarray]) -> AnyGenotype:
        return genotype_of(strengths, self.spec)

    # ---- checkpoints
    def tensors(self) -> dict[str, dict[str, paddle.Tensor]]:
        return {
            "weights": self.supernet.state_dict(),
            "arch": dict(self.arch),
            "optimizer_weights": self.weight_optimizer.state_dict(),
            "optimizer_arch": self.arch_optimizer.state_dict(),
        }

    def load_tensors(self, groups: dict[str, dict[str, paddle.Tensor]]) -> None:
        copy_into(self.supernet.state_dict(), groups["weights"])
        copy_into(self.arch, groups["arch"])
        self.weight_optimizer.load_state_dict(groups["optimizer_weights"])
        self.arch_optimizer.load_state_dict(groups["optimizer_arch"])

    def state(self) -> dict[str, Any]:
        return {**super().state(), "used": sorted(self._used)}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._used = set(state["used"])


def parameter(values: np.ndarray) -> paddle.Tensor:
    """A trainable tensor of the default dtype that starts at ``values``."""
    dtype = paddle.get_default_dtype()
    initial = paddle.nn.initializer.Assign(values.astype(dtype))
    return paddle.create_parameter(list(values.shape), dtype, default_initializer=initial)
