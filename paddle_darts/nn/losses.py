"""Losses of search and retraining."""

from __future__ import annotations

import paddle


def cross_entropy(logits: paddle.Tensor, target: paddle.Tensor, label_smooth: float = 0.0) -> paddle.Tensor:
    """Mean cross entropy of ``logits`` [B, K] and integer classes ``target`` [B], as a 0-D tensor.

    With ``label_smooth`` e the target distribution is (1-e)*onehot + e/K over all K classes
    (quark0/darts: CrossEntropyLabelSmooth). Written out, because Paddle's CPU kernels of ``cross_entropy`` and
    ``log_softmax`` cut log probabilities off at -64, value and gradient.
    """
    chosen = paddle.take_along_axis(logits, target.unsqueeze(1), axis=1).squeeze(1)
    if label_smooth:
        chosen = (1.0 - label_smooth) * chosen + label_smooth * logits.mean(axis=1)
    return (paddle.logsumexp(logits, axis=1) - chosen).mean()


def correct_in_top_k(logits: paddle.Tensor, target: paddle.Tensor, k: int) -> int:
    """How many of the B samples have their class among the ``k`` largest logits (k is cut to the class count)."""
    k = min(k, logits.shape[1])
    top = paddle.topk(logits, k, axis=1)[1]
    return int((top == target.unsqueeze(1)).any(axis=1).sum())
