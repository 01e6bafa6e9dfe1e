"""Keeping the best candidates of every edge: masks, pruning, weights over what is left.

Masks are NumPy bool [edges, ops], True where a candidate stays; None stands for all True. Source: DrNAS (arXiv
2006.10355; xiangning-chen/DrNAS, utils.py: prune, process_step_matrix).
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError

#: Stands in for minus infinity, which would make the softmax of a row without candidates NaN.
_NEVER = -1e30


def prune(alphas: np.ndarray, keep: int, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Keeps the ``keep`` largest alphas of every row among those that ``mask`` still has.

    Returns the new alphas, pruned entries 0 and the others untouched, and the new mask; the arguments stay as they
    are. Among equal alphas the smaller column stays. ConfigError when a row has fewer than ``keep`` candidates (the
    official program would then bring pruned ones back).
    """
    alive = np.ones(alphas.shape, dtype=bool) if mask is None else mask.astype(bool)
    fewest = int(alive.sum(axis=1).min())
    if not 1 <= keep <= fewest:
        raise ConfigError(f"cannot keep {keep} candidates per edge; allowed are 1 to {fewest}")
    ranked = np.argsort(np.where(alive, -alphas, np.inf), axis=1, kind="stable")
    kept = np.zeros(alphas.shape, dtype=bool)
    np.put_along_axis(kept, ranked[:, :keep], True, axis=1)
    return np.where(kept, alphas, np.zeros_like(alphas)), kept


def renormalised(weights: paddle.Tensor, mask: np.ndarray | None) -> paddle.Tensor:
    """``weights`` [edges, ops] with masked entries 0 and the rest of every row divided by its sum.

    A row without candidates is all zeros. Without a mask the weights come back as they are.
    """
    if mask is None:
        return weights
    kept = weights * _constant(mask, weights)
    total = kept.sum(axis=-1, keepdim=True)
    return kept / (total + _constant(~mask.astype(bool).any(axis=-1, keepdims=True), weights))


def masked_softmax(logits: paddle.Tensor, mask: np.ndarray | None = None) -> paddle.Tensor:
    """Softmax of every row of ``logits`` [edges, ops] over the entries of ``mask``; the others are exactly 0.

    Equal to :func:`renormalised` softmax, but it does not underflow where only candidates of low weight are left.
    A row without candidates is all zeros; masked entries get no gradient.
    """
    if mask is None:
        return F.softmax(logits, axis=-1)
    inside = _constant(mask, logits)
    return F.softmax(paddle.where(inside > 0, logits, paddle.full_like(logits, _NEVER)), axis=-1) * inside


def without_gradient(alphas: paddle.Tensor, mask: np.ndarray | None) -> paddle.Tensor:
    """``alphas`` [edges, ops] whose masked entries are constants: their gradient is exactly 0, free of rounding.

    Adam would turn rounding errors of one sign into real steps.
    """
    if mask is None:
        return alphas
    return paddle.where(_constant(mask, alphas) > 0, alphas, alphas.detach())


def _constant(mask: np.ndarray, like: paddle.Tensor) -> paddle.Tensor:
    """``mask`` as zeros and ones of the precision and on the device of ``like``."""
    return paddle.to_tensor(mask.astype("float64"), dtype=like.dtype, place=like.place)
