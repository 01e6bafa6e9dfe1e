"""DARTS, first and second order (arXiv 1806.09055; quark0/darts: cnn/train_search.py, architect.py).

Deviations: the network of the unrolled step is the search network itself, moved and put back, so that non-default
``steps`` and ``multiplier`` hold there too; see :func:`paddle_darts.methods.bilevel.second_order`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.genotypes import Genotype
from paddle_darts.methods.base import Batch, MethodOptions, SearchMethod, StepResult
from paddle_darts.methods.bilevel import HyperGradient, first_order, gradients_or_none, second_order
from paddle_darts.methods.derivation import darts_genotype
from paddle_darts.networks.supernet import CellMix, Supernet, SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import copy_into
from paddle_darts.nn.losses import cross_entropy
from paddle_darts.nn.optimizers import adam, sgd
from paddle_darts.nn.schedules import cosine

KINDS = ("normal", "reduce")


@dataclass
class DartsOptions(MethodOptions):
    """Settings of DARTS.

    Args:
        unrolled: second order: differentiate through one SGD step of the weights.
    """

    unrolled: bool = False


class Darts(SearchMethod):
    """Softmax over the candidates of every edge; alphas learn from the validation half before each weight step."""

    name = "darts"
    options_class = DartsOptions

    def __init__(self, spec: SupernetSpec, options: DartsOptions, epochs: int, source: RandomSource) -> None:
        self.spec, self.options, self.epochs, self.source = spec, options, epochs, source
        self.supernet = Supernet(spec)
        self.alphas = {kind: self._initial_alphas() for kind in KINDS}
        self.weights = self.supernet.weights()
        self.weight_optimizer = sgd(self.weights, options.learning_rate, options.momentum, options.weight_decay)
        self.arch_optimizer = adam(self.alphas, options.arch_learning_rate, options.arch_weight_decay)

    def _initial_alphas(self) -> paddle.Tensor:
        """1e-3 * N(0, 1) of shape [edges, ops] (the code of the authors; their paper says zeros)."""
        values = 1e-3 * self.source.normal((self.spec.num_edges, len(self.spec.primitives)))
        return paddle.create_parameter(
            list(values.shape),
            paddle.get_default_dtype(),
            default_initializer=paddle.nn.initializer.Assign(values.astype(paddle.get_default_dtype())),
        )

    @property
    def lr(self) -> float:
        return self.weight_optimizer.lr

    def begin_epoch(self, epoch: int) -> None:
        o = self.options
        self.weight_optimizer.lr = cosine(epoch, self.epochs, o.learning_rate, o.learning_rate_min)

    def mixture(self) -> list[CellMix]:
        shared = {kind: CellMix(F.softmax(alpha, axis=-1)) for kind, alpha in self.alphas.items()}
        return [shared[kind] for kind in self.spec.kinds]

    def loss(self, batch: Batch, grads: str = "both", track_stats: bool = True) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Cross entropy (0-D) and logits of a batch under the current weights and alphas."""
        logits, _ = self.supernet(batch.images, self.mixture(), grads=grads, track_stats=track_stats)
        return cross_entropy(logits, batch.labels), logits

    def step(self, train: Batch, valid: Batch) -> StepResult:
        hyper = self.arch_gradient(train, valid)
        self.arch_optimizer.step(hyper.total)
        loss, logits = self.loss(train, grads="weights")
        self.weight_optimizer.step(gradients_or_none(loss, self.weight_optimizer.parameters), self.options.grad_clip)
        return StepResult(float(loss), logits.detach(), float(hyper.loss))

    def arch_gradient(self, train: Batch, valid: Batch) -> HyperGradient:
        """The gradient of the alphas at the current weights; changes neither."""
        arch = list(self.alphas.values())

        def valid_loss(**passing: Any) -> paddle.Tensor:
            return self.loss(valid, **passing)[0]

        def train_loss(**passing: Any) -> paddle.Tensor:
            return self.loss(train, **passing)[0]

        if not self.options.unrolled:
            return first_order(valid_loss, arch)
        return second_order(
            train_loss,
            valid_loss,
            list(self.weights.values()),
            arch,
            eta=self.lr,
            momentum=self.options.momentum,
            weight_decay=self.options.weight_decay,
            velocity=self.weight_optimizer.slots("velocity"),
        )

    def probabilities(self) -> dict[str, np.ndarray]:
        return {kind: F.softmax(a.astype("float32"), axis=-1).numpy() for kind, a in self.alphas.items()}

    def derive(self) -> Genotype:
        return darts_genotype(self.probabilities(), self.spec.primitives, self.spec.steps, self.spec.multiplier)

    def tensors(self) -> dict[str, dict[str, paddle.Tensor]]:
        return {
            "weights": self.supernet.state_dict(),
            "arch": dict(self.alphas),
            "optimizer_weights": self.weight_optimizer.state_dict(),
            "optimizer_arch": self.arch_optimizer.state_dict(),
        }

    def load_tensors(self, groups: dict[str, dict[str, paddle.Tensor]]) -> None:
        copy_into(self.supernet.state_dict(), groups["weights"])
        copy_into(self.alphas, groups["arch"])
        self.weight_optimizer.load_state_dict(groups["optimizer_weights"])
        self.arch_optimizer.load_state_dict(groups["optimizer_arch"])
