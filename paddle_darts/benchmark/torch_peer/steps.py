"""The steps of the authors' program in PyTorch: search, architecture (both orders) and training."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from paddle_darts.benchmark.torch_peer.evaluation import NetworkCIFAR

#: The tensors that a supernet takes beside its images: one for each kind of cell.
Alphas = tuple[torch.Tensor, ...]
MOMENTUM, WEIGHT_DECAY, CLIP, AUXILIARY_WEIGHT = 0.9, 3e-4, 5.0, 0.4


def weight_sgd(model: nn.Module, lr: float = 0.025) -> torch.optim.Optimizer:
    """The optimizer of the weights. A first step without gradients gives it its momentum buffers."""
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


def alpha_adam(alphas: Alphas) -> torch.optim.Optimizer:
    return torch.optim.Adam(alphas, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)


def search_step(model: nn.Module, alphas: Alphas, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Forward and backward; the gradients of weights and alphas are left in ``.grad``."""
    for p in (*model.parameters(), *alphas):
        p.grad = None
    loss = F.cross_entropy(model(images, alphas), labels)
    loss.backward()
    return loss.item()


class Architect:
    """The updates of the alphas (equations 7 and 8; the authors' architect.py).

    That of first order asks for the gradients of the alphas alone, where the authors' program also computes those of
    the weights: an opponent that is the faster for it.
    """

    def __init__(self, model: nn.Module, alphas: Alphas, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.alphas, self.optimizer = model, alphas, optimizer
        self.adam = alpha_adam(alphas)

    def first_order(self, valid: Sequence[torch.Tensor]) -> None:
        """One update at the present weights."""
        self._update(torch.autograd.grad(self._loss(self.model, valid), self.alphas))

    def second_order(self, train: Sequence[torch.Tensor], valid: Sequence[torch.Tensor]) -> None:
        """One update through a step of the weights."""
        eta = self.optimizer.param_groups[0]["lr"]
        unrolled = self._unrolled(train, eta)
        loss = self._loss(unrolled, valid)
        both = torch.autograd.grad(loss, [*self.alphas, *unrolled.parameters()])
        direct, vector = both[: len(self.alphas)], both[len(self.alphas) :]
        self._update([d - eta * h for d, h in zip(direct, self._implicit(vector, train), strict=True)])

    def _update(self, gradients: Sequence[torch.Tensor]) -> None:
        for alpha, gradient in zip(self.alphas, gradients, strict=True):
            alpha.grad = gradient
        self.adam.step()

    def _loss(self, model: nn.Module, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        return F.cross_entropy(model(batch[0], self.alphas), batch[1])

    def _unrolled(self, train: Sequence[torch.Tensor], eta: float) -> nn.Module:
        """A copy of the network after one more step of SGD."""
        gradients = torch.autograd.grad(self._loss(self.model, train), list(self.model.parameters()))
        unrolled = copy.deepcopy(self.model)
        with torch.no_grad():
            for w, mine, g in zip(unrolled.parameters(), self.model.parameters(), gradients, strict=True):
                velocity = self.optimizer.state[mine]["momentum_buffer"]
                w.sub_(eta * (MOMENTUM * velocity + g + WEIGHT_DECAY * mine))
        return unrolled

    def _implicit(self, vector: Sequence[torch.Tensor], train: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Finite difference of the alphas' gradient along ``vector``, the weights moved there and back."""
        radius = 0.01 / torch.cat([v.reshape(-1) for v in vector]).norm()
        self._move(vector, radius)
        plus = torch.autograd.grad(self._loss(self.model, train), self.alphas)
        self._move(vector, -2 * radius)
        minus = torch.autograd.grad(self._loss(self.model, train), self.alphas)
        self._move(vector, radius)
        return [(p - m) / (2 * radius) for p, m in zip(plus, minus, strict=True)]

    def _move(self, vector: Sequence[torch.Tensor], distance: torch.Tensor) -> None:
        with torch.no_grad():
            for w, v in zip(self.model.parameters(), vector, strict=True):
                w.add_(distance * v)


def train_step(
    network: NetworkCIFAR, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> float:
    """One step of the retraining; returns the loss."""
    optimizer.zero_grad()
    logits, auxiliary = network(images)
    loss = F.cross_entropy(logits, labels)
    if auxiliary is not None:
        loss = loss + AUXILIARY_WEIGHT * F.cross_entropy(auxiliary, labels)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return loss.item()
