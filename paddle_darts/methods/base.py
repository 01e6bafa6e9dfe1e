"""What every search method is, to the engine and to its author."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import paddle

from paddle_darts.genotypes import AnyGenotype
from paddle_darts.methods.parts.derivation import limit_skips
from paddle_darts.networks.supernet import CellMix, SearchNetwork, SupernetSpec
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
        warmup_epochs: epochs in which the rate rises linearly to learning_rate.
        lr_offset: epochs by which the cosine runs ahead; official programs of some methods start at 1.
        momentum: of the weights' SGD.
        nesterov: Nesterov's form of the momentum.
        weight_decay: L2 added to the gradient of every weight.
        grad_clip: limit of the global norm of the weights' gradient (0: no clipping).
    """

    learning_rate: float = 0.025
    learning_rate_min: float = 0.001
    warmup_epochs: int = 0
    lr_offset: int = 0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    grad_clip: float = 5.0


class SearchMethod(ABC):
    """One way to search an architecture in a supernet.

    The engine calls ``begin_epoch(e)``, then ``step(train, valid)`` for every training batch, evaluates the supernet
    with ``mixture()`` in eval mode, calls ``observe(e, ...)`` with the result and ``end_epoch(e)``, and reads
    ``derive()``, ``variants()``, ``probabilities()`` and ``facts()``. A method owns its supernet, its architecture
    parameters, its optimizers and the order of its updates; it may replace all of them between two epochs. It knows
    nothing of files, data sets or devices. Everything that a later step depends on is in ``state()`` and ``tensors()``:
    loading first the one, then the other into a fresh object continues bit by bit, also if ``begin_epoch`` is called
    once more for the epoch that has begun. All random numbers come from ``source``, except initial weights (Paddle's
    generator).
    """

    name: ClassVar[str]
    options_class: ClassVar[type[MethodOptions]] = MethodOptions
    #: Settings, of the method or of the search, that ``fidelity: official`` gives where neither recipe nor user does.
    official: ClassVar[Mapping[str, Any]] = {}

    #: How many halves of the data an epoch goes over: the training half, and the validation half to learn from it.
    passes_per_epoch: ClassVar[int] = 2

    spec: SupernetSpec
    supernet: SearchNetwork
    source: RandomSource

    @abstractmethod
    def __init__(self, spec: SupernetSpec, options: Any, epochs: int, source: RandomSource) -> None:
        """Builds the supernet of ``spec`` and everything that is optimised; ``options`` is an ``options_class``,
        ``epochs`` the number of :meth:`total_epochs`."""

    @classmethod
    def total_epochs(cls, options: Any, epochs: int) -> int:
        """The epochs of a search whose setting ``epochs`` is given; ConfigError for a number that cannot be."""
        return epochs

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Set what holds for a whole epoch, such as the learning rate; enter the stage that the epoch belongs to."""

    def observe(self, epoch: int, loss: float, top1: float) -> None:  # noqa: B027 (a hook that need not do anything)
        """Told before :meth:`end_epoch`: mean loss and accuracy in percent of the supernet on the validation half."""

    def end_epoch(self, epoch: int) -> None:  # noqa: B027 (a hook that need not do anything)
        """Decide what is decided once per epoch, after training and evaluation."""

    @property
    def stage(self) -> int:
        """The number of the present stage, from 0; methods without stages have one."""
        return 0

    def batch_size(self, given: int) -> int:
        """Images per step in the present epoch, for the ``given`` setting."""
        return given

    @abstractmethod
    def step(self, train: Batch, valid: Batch) -> StepResult:
        """One iteration of the bilevel optimisation; the supernet is in training mode."""

    @abstractmethod
    def mixture(self) -> list[CellMix]:
        """The current architecture weights, one entry per cell; methods that sample draw anew."""

    @abstractmethod
    def probabilities(self) -> dict[str, np.ndarray]:
        """Weights [edges, ops] by cell kind, float32, for plots; what is switched off is 0."""

    def strengths(self) -> dict[str, np.ndarray]:
        """The tables [edges, ops] by cell kind that the derivation reads."""
        return self.probabilities()

    @abstractmethod
    def derive_from(self, strengths: dict[str, np.ndarray]) -> AnyGenotype:
        """The architecture that such tables stand for; GenotypeError when it would be empty."""

    def derive(self, max_skips: int | None = None) -> AnyGenotype:
        """The architecture found so far; with ``max_skips`` its normal (or only) cell has at most so many skip
        connections."""
        if max_skips is None:
            return self.derive_from(self.strengths())
        return limit_skips(self.derive_from, self.strengths(), max_skips, self.supernet.spec.primitives)

    def variants(self) -> dict[str, AnyGenotype | None]:
        """Further architectures that other rules of the method would derive, by a name for their file; None where a
        rule finds nothing."""
        return {}

    def facts(self) -> dict[str, Any]:
        """What the history should tell about the epoch besides losses, as JSON."""
        return {}

    @abstractmethod
    def tensors(self) -> dict[str, dict[str, paddle.Tensor]]:
        """Every tensor of the search state: group -> name -> tensor. Each group is one file of a checkpoint;
        "arch" holds the architecture parameters."""

    @abstractmethod
    def load_tensors(self, groups: dict[str, dict[str, paddle.Tensor]]) -> None:
        """The inverse of :meth:`tensors`, after :meth:`load_state`."""

    def state(self) -> dict[str, Any]:
        """The part of the search state that is not tensors, as plain JSON."""
        return {"source": self.source.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`; builds what the tensors of that state belong to."""
        self.source.load_state_dict(state["source"])

    @property
    @abstractmethod
    def lr(self) -> float:
        """The weights' current learning rate, for the history."""
