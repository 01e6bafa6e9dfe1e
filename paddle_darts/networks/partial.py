"""Partial channel connections: only the first channels of a state go through the candidates of an edge.

The others pass by. Source: PC-DARTS (arXiv 1907.05737), model_search.py.
"""

from __future__ import annotations

import paddle
from paddle.nn import functional as F


def bypass(x: paddle.Tensor, width: int, stride: int) -> paddle.Tensor:
    """What passes by an edge: the channels of ``x`` [B, C, H, W] from ``width`` on, pooled where the edge halves.

    Deviation: the official 2x2 max pooling leaves out the last row and column of odd sizes, and then does not fit the
    candidates' outputs; here windows may reach over the border. Even sizes are not affected.
    """
    rest = x[:, width:]
    return rest if stride == 1 else F.max_pool2d(rest, 2, 2, ceil_mode=True)


def channel_shuffle(x: paddle.Tensor, groups: int) -> paddle.Tensor:
    """Interleaves ``groups`` of the channels of ``x`` [B, C, H, W]: channel j*groups + g is the j-th of group g."""
    batch, channels, height, width = x.shape
    y = x.reshape([batch, groups, channels // groups, height, width])
    return y.transpose([0, 2, 1, 3, 4]).reshape([batch, channels, height, width])


def joined(mixed: paddle.Tensor, passed: paddle.Tensor, parts: int, sampling: str) -> paddle.Tensor:
    """The two parts of an edge's output, in the order of channels that ``sampling`` (see SupernetSpec) asks for."""
    if sampling == "shift":
        return paddle.concat([passed, mixed], axis=1)
    y = paddle.concat([mixed, passed], axis=1)
    return channel_shuffle(y, parts) if sampling == "shuffle" else y
