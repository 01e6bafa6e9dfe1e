"""Mixing weights from Gumbel noise: soft for SNAS, one candidate per edge for GDAS.

With g ~ Gumbel(0, 1) the arg-max of logits + g is a draw from their softmax; a temperature makes it soft and
differentiable (arXiv 1611.01144). Noise is minus the logarithm of Exp(1) numbers of the source. Sources: SNAS (arXiv
1812.09926) as in xiangning-chen/DrNAS, utils.py: process_step_vector; GDAS (arXiv 1910.04465) as in
D-X-Y/AutoDL-Projects, search_model_gdas.py.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError, NonFiniteLossError
from paddle_darts.methods.parts.pruning import masked_softmax
from paddle_darts.networks.mix import CellMix
from paddle_darts.nn.drop import RandomSource


def gumbel_noise(shape: tuple[int, ...], source: RandomSource) -> np.ndarray:
    """Gumbel(0, 1) numbers, float64; drawn again, all of them, while one is infinite or NaN."""
    while True:
        with np.errstate(divide="ignore"):
            noise = -np.log(source.exponential(shape))
        if np.isfinite(noise).all():
            return noise


def gumbel_softmax(
    logits: paddle.Tensor, temperature: float, source: RandomSource, mask: np.ndarray | None = None
) -> paddle.Tensor:
    """softmax((logits + g) / temperature) of every row of ``logits`` [edges, ops].

    With a bool ``mask`` [edges, ops] the softmax goes over its entries, the others are 0: as if they were zeroed
    afterwards and the rest divided by its sum. Noise is drawn for all entries. ConfigError for a temperature that
    is not positive, NonFiniteLossError for logits that are not finite.
    """
    if not temperature > 0:
        raise ConfigError(f"the temperature must be positive, got {temperature}")
    if not bool(paddle.isfinite(logits).all()):
        raise NonFiniteLossError("the architecture parameters became NaN or infinite")
    noise = paddle.to_tensor(gumbel_noise(tuple(logits.shape), source), dtype=logits.dtype, place=logits.place)
    return masked_softmax((logits + noise) / temperature, mask)


def straight_through(probabilities: paddle.Tensor) -> tuple[paddle.Tensor, np.ndarray]:
    """The arg-max of every row as one-hot weights with the gradient of ``probabilities`` [edges, ops], and as bool
    [edges, ops]. Ties go to the smaller column."""
    columns = probabilities.numpy().argmax(axis=-1)
    chosen = np.eye(probabilities.shape[-1], dtype=bool)[columns]
    one_hot = paddle.to_tensor(chosen.astype("float64"), dtype=probabilities.dtype, place=probabilities.place)
    return (one_hot - probabilities.detach()) + probabilities, chosen


def gdas_mix(alphas: paddle.Tensor, temperature: float, source: RandomSource) -> CellMix:
    """One candidate per edge, drawn from softmax(``alphas`` [edges, ops]); only it is computed.

    The weights are one-hot in value and softmax((log_softmax(alpha) + g) / temperature) in gradient. The weights
    that are not chosen have no operation to act on: they enter as ``offset``, scalars of value 0 that are added to
    the edge's output and carry their gradient.
    """
    hard, chosen = straight_through(gumbel_softmax(F.log_softmax(alphas, axis=-1), temperature, source))
    unchosen = paddle.to_tensor((~chosen).astype("float64"), dtype=hard.dtype, place=hard.place)
    return CellMix(hard, active=chosen, offset=(hard * unchosen).sum(axis=-1))
