"""A search method around a model of one's own: the model brings network, alphas and loss, the method the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddle_darts.methods import Batch, StepResult
from paddle_darts.methods.gradient import GradientMethod, UnrolledOptions
from paddle_darts.methods.parts.bilevel import HyperGradient, gradients_or_none
from paddle_darts.nas.protocol import ProtocolSpec, arch_parameters, protocol_spec, protocol_strengths
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import frozen, trainable
from paddle_darts.nn.losses import cross_entropy


class ProtocolNetwork:
    """What method and loop ask of a supernet, answered by a model whose mixture is inside of it."""

    def __init__(self, model: nn.Layer, spec: ProtocolSpec) -> None:
        self.model, self.spec = model, spec
        self.arch = arch_parameters(model, spec)
        self._arch_ids = {id(tensor) for tensor in self.arch.values()}
        self._weights = {name: w for name, w in trainable(model).items() if id(w) not in self._arch_ids}

    def weights(self) -> dict[str, paddle.Tensor]:
        """The trained weights by name, without the architecture parameters."""
        return dict(self._weights)

    def named_parameters(self) -> list[tuple[str, paddle.Tensor]]:
        return list(self._weights.items())

    def state_dict(self) -> dict[str, paddle.Tensor]:
        """Weights and running statistics."""
        return {name: t for name, t in self.model.state_dict().items() if id(t) not in self._arch_ids}

    def train(self) -> None:
        self.model.train()

    def eval(self) -> None:
        self.model.eval()

    def __call__(self, images: paddle.Tensor, mix: object = None) -> tuple[paddle.Tensor, dict]:
        output = self.model(images)
        return (output[0] if isinstance(output, (list, tuple)) else output), {}

    @contextlib.contextmanager
    def statistics_kept(self) -> Iterator[None]:
        """Running statistics, whatever the layers they belong to, are afterwards what they were before."""
        known = {id(weight) for weight in self._weights.values()}
        others = [t for t in self.state_dict().values() if id(t) not in known]
        before = [t.detach().clone() for t in others]
        try:
            yield
        finally:
            with paddle.no_grad():
                for tensor, value in zip(others, before, strict=True):
                    tensor.set_value(value)


class ProtocolDarts(GradientMethod):
    """First- and second-order DARTS over a model with PaddleSlim's protocol.

    As there, weights learn by the cross entropy of ``model(images)``, the architecture by ``model._loss(images,
    labels)`` with labels [N, 1]. Deviations from PaddleSlim: gradients are asked for and never left behind, so none of
    the validation data reaches the weights; the unrolled step starts with the momentum of the weights' optimizer;
    running statistics move by the training pass alone; the rate of the weights decays by a cosine per epoch.
    """

    name = "darts"

    def __init__(self, model: nn.Layer, options: UnrolledOptions, epochs: int, source: RandomSource) -> None:
        self.model = model
        super().__init__(protocol_spec(model), options, epochs, source)

    def build_supernet(self, spec: Any) -> None:
        self.spec = spec
        self.supernet = ProtocolNetwork(self.model, spec)
        self.weights = self.supernet.weights()
        self.weight_optimizer = self.new_weight_optimizer()

    def initial_arch(self) -> dict[str, paddle.Tensor]:
        return dict(self.supernet.arch)

    def mixture(self) -> list:
        """Nothing to hand in: the model holds its alphas itself."""
        return []

    def loss(self, batch: Batch, grads: str = "both", track_stats: bool = True) -> tuple[paddle.Tensor, None]:
        """The model's own loss (0-D; of several values that it returns the first one), for the architecture."""
        with self._asked(grads):
            found = self.model._loss(batch.images, batch.labels.unsqueeze(1))
        return (found[0] if isinstance(found, (list, tuple)) else found).mean(), None

    def arch_gradient(self, train: Batch, valid: Batch) -> HyperGradient:
        with self.supernet.statistics_kept():
            return super().arch_gradient(train, valid)

    def weight_step(self, train: Batch) -> StepResult:
        with self._asked("weights"):
            logits, _ = self.supernet(train.images)
            loss = cross_entropy(logits, train.labels)
        self.update_weights(gradients_or_none(loss, list(self.weights.values())))
        return StepResult(float(loss), logits.detach())

    def _asked(self, grads: str) -> contextlib.AbstractContextManager:
        """No graph towards parameters whose gradient nobody will ask for."""
        if grads == "arch":
            return frozen(list(self.weights.values()))
        return frozen(list(self.arch.values())) if grads == "weights" else contextlib.nullcontext()

    def strengths(self) -> dict[str, np.ndarray]:
        return protocol_strengths(self.model, self.spec)
