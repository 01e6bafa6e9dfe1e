"""Hyper-gradients: the gradient of the validation loss with respect to the architecture.

Pure functions of two losses; they update nothing. A *loss* here is a function ``loss(grads=..., track_stats=True)``
that runs one forward pass on its batch and returns a 0-D tensor; ``grads`` names the gradients that will be
asked of it ("both", "weights" or "arch").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paddle

from paddle_darts.nn.optimizers import global_norm

Loss = Callable[..., paddle.Tensor]
Tensors = list[paddle.Tensor]


@dataclass(frozen=True)
class HyperGradient:
    """``total`` is handed to the optimizer of the alphas; the rest tells how it came about.

    ``direct`` = d L_val(w')/d alpha and ``implicit`` = the finite-difference product are None at first order, as are
    ``radius`` R and ``norm`` of the vector that the weights were moved along.
    """

    loss: paddle.Tensor
    total: Tensors
    direct: Tensors | None = None
    implicit: Tensors | None = None
    unrolled: Tensors | None = None
    radius: paddle.Tensor | None = None
    norm: paddle.Tensor | None = None


def gradients(loss: paddle.Tensor, parameters: Sequence[paddle.Tensor]) -> Tensors:
    """d loss / d parameter for each; zeros where the loss does not depend on it."""
    found = gradients_or_none(loss, parameters)
    return [paddle.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def gradients_or_none(loss: paddle.Tensor, parameters: Sequence[paddle.Tensor]) -> list[paddle.Tensor | None]:
    """d loss / d parameter for each; None where the loss does not depend on it (such weights do not decay)."""
    return paddle.grad(loss, list(parameters), allow_unused=True)


def first_order(valid_loss: Loss, arch: Tensors) -> HyperGradient:
    """The gradient at the current weights, as if they did not depend on the architecture (DARTS, xi = 0)."""
    loss = valid_loss(grads="arch")
    return HyperGradient(loss.detach(), gradients(loss, arch))


def second_order(
    train_loss: Loss,
    valid_loss: Loss,
    weights: Tensors,
    arch: Tensors,
    *,
    eta: float,
    momentum: float,
    weight_decay: float,
    velocity: Tensors | None,
    radius: float = 0.01,
) -> HyperGradient:
    """The gradient through one unrolled SGD step of the weights (arXiv 1806.09055, equations 7 and 8).

    ``velocity`` are the momentum buffers of the weight optimizer (None: no momentum). The weights are moved
    in place to w' and w+-R*vec and put back bit by bit; no second network is built. Deviations from quark0/darts,
    cnn/architect.py: the weights are restored from a copy (there by adding R*vec), and a zero vector gives a zero
    implicit term instead of NaN. Running statistics see the three passes on the training batch, as there, and not
    the pass at w', which there belongs to a copy of the network.
    """
    inner = gradients(train_loss(grads="weights"), weights)
    original = [w.detach().clone() for w in weights]
    try:
        with paddle.no_grad():
            for i, (w, g) in enumerate(zip(weights, inner, strict=True)):
                update = g + weight_decay * w
                if velocity is not None:
                    update = update + momentum * velocity[i]
                w.set_value(w - eta * update)
            unrolled = [w.detach().clone() for w in weights]
        loss = valid_loss(grads="both", track_stats=False)
        both = gradients(loss, [*arch, *weights])
        loss = loss.detach()  # lets go of the graph and all that it keeps for a backward pass
        direct, vector = both[: len(arch)], both[len(arch) :]
        norm = global_norm(vector)
        if float(norm) == 0.0:
            zero = [paddle.zeros_like(a) for a in arch]
            return HyperGradient(loss, direct, direct, zero, unrolled, None, norm)
        step = radius / norm
        plus = _arch_gradient_at(train_loss, weights, arch, original, vector, step)
        minus = _arch_gradient_at(train_loss, weights, arch, original, vector, -step)
    finally:
        _assign(weights, original)
    implicit = [(p - m) / (2 * step) for p, m in zip(plus, minus, strict=True)]
    total = [d - eta * h for d, h in zip(direct, implicit, strict=True)]
    return HyperGradient(loss, total, direct, implicit, unrolled, step, norm)


def _arch_gradient_at(
    loss: Loss, weights: Tensors, arch: Tensors, origin: Tensors, vector: Tensors, step: paddle.Tensor
) -> Tensors:
    """d loss / d alpha with the weights moved to ``origin + step * vector``."""
    with paddle.no_grad():
        _assign(weights, [w + step * v for w, v in zip(origin, vector, strict=True)])
    return gradients(loss(grads="arch"), arch)


def _assign(weights: Tensors, values: Tensors) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.set_value(value)
