"""What every search method is, to the engine and to its author."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import paddle

from paddle_darts.genotypes import Genotype
from paddle_darts.networks.supernet import CellMix, Supernet, SupernetSpec
from paddle_darts.nn.drop import RandomSource


class Batch(NamedTuple):
    """Images [B, C, H, W] and classes [B] on the device."""

    images: paddle.Tensor
    labels: paddle.Tensor


class StepResult(NamedTuple):
    """What one search step reports: the training loss and logits before the weight update, and the validation loss
    of the architecture step (None when the architecture did not move)."""

    loss: float
    logits: paddle.Tensor
    arch_loss: float | None = None


@dataclass
class MethodOptions:
    """Settings that every method has; a method adds its own in a subclass. Defaults are those of DARTS on CIFAR-10.

    Args:
        learning_rate: rate of the weights in the first epoch.
        learning_rate_min: rate that the cosine ends at.
        momentum: of the weights' SGD.
        weight_decay: L2 added to the gradient of every weight.
        grad_clip: limit of the global norm of the weights' gradient (0: no clipping).
        arch_learning_rate: constant rate of the Adam optimizer of the architecture.
        arch_weight_decay: L2 of the architecture parameters.
    """

    learning_rate: float = 0.025
    learning_rate_min: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    grad_clip: float = 5.0
    arch_learning_rate: float = 3e-4
    arch_weight_decay: float = 1e-3


class SearchMethod(ABC):
    """One way to search an architecture in a supernet.

    The engine calls ``begin_epoch(e)``, then ``step(train, valid)`` for every training batch, then evaluates the
    supernet with ``mixture()`` in eval mode, and finally reads ``derive()`` and ``probabilities()``. A method owns
    its supernet, its architecture parameters, its optimizers and the order of its updates; it knows nothing of
    files, data sets or devices. Everything that a later step depends on is in ``tensors()`` and ``state()``:
    loading both into a fresh object continues bit by bit. All random numbers come from ``source``.
    """

    name: ClassVar[str]
    options_class: ClassVar[type[MethodOptions]] = MethodOptions

    supernet: Supernet
    source: RandomSource

    @abstractmethod
    def __init__(self, spec: SupernetSpec, options: Any, epochs: int, source: RandomSource) -> None:
        """Builds the supernet of ``spec`` and everything that is optimised; ``options`` is an ``options_class``."""

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Set what holds for a whole epoch, such as the learning rate."""

    @abstractmethod
    def step(self, train: Batch, valid: Batch) -> StepResult:
        """One iteration of the bilevel optimisation; the supernet is in training mode."""

    @abstractmethod
    def mixture(self) -> list[CellMix]:
        """The current architecture weights, one entry per cell."""

    @abstractmethod
    def probabilities(self) -> dict[str, np.ndarray]:
        """Weights [edges, ops] by cell kind, float32, for derivation and plots."""

    @abstractmethod
    def derive(self) -> Genotype:
        """The architecture that the current weights stand for."""

    @abstractmethod
    def tensors(self) -> dict[str, dict[str, paddle.Tensor]]:
        """Every tensor of the search state: group -> name -> tensor. Each group is one file of a checkpoint."""

    @abstractmethod
    def load_tensors(self, groups: dict[str, dict[str, paddle.Tensor]]) -> None:
        """The inverse of :meth:`tensors`."""

    def state(self) -> dict[str, Any]:
        """The part of the search state that is not tensors, as plain JSON."""
        return {"source": self.source.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.source.load_state_dict(state["source"])

    @property
    @abstractmethod
    def lr(self) -> float:
        """The weights' current learning rate, for the history."""
