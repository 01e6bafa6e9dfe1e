"""Parameters and multiply-adds of a network, in both conventions of the papers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import paddle
from paddle import nn

from paddle_darts.kernels.library import kernels_disabled
from paddle_darts.nn.layers import trainable

COUNTED = (nn.Conv2D, nn.Linear, nn.BatchNorm2D, nn.ReLU, nn.MaxPool2D, nn.AvgPool2D, nn.AdaptiveAvgPool2D)


@dataclass(frozen=True)
class Complexity:
    """Counts for one image.

    ``params`` leaves the auxiliary head out, ``params_with_aux`` does not. ``macs`` are multiply-adds of
    convolutions and linear layers; ``macs_paper`` adds 2 per batch-norm output and 1 per ReLU and pooling output,
    the convention behind the numbers of the P-DARTS and PC-DARTS papers. Both leave the auxiliary head out.
    """

    params: int
    params_with_aux: int
    macs: int
    macs_paper: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def count_parameters(network: nn.Layer, auxiliary: bool = False) -> int:
    """Number of trained values; those of the auxiliary head only on request (as the official tools report)."""
    return sum(math.prod(p.shape) for n, p in trainable(network).items() if auxiliary or "auxiliary" not in n)


def complexity(network: nn.Layer, input_shape: Sequence[int], *inputs: object) -> Complexity:
    """Counts ``network`` by running one zero image of ``input_shape`` [C, H, W] through it in eval mode.

    Further ``inputs`` are passed on to the network (a supernet wants its mix). Our own hooks, because
    ``paddle.flops`` fails with recent NumPy and follows neither convention.
    """
    macs = extra = 0

    def hook(layer: nn.Layer, _: object, y: Any) -> None:
        nonlocal macs, extra
        if not isinstance(layer, COUNTED):
            return
        outputs = math.prod(y.shape)
        if isinstance(layer, nn.Conv2D):
            macs += outputs * math.prod(layer.weight.shape[1:])
        elif isinstance(layer, nn.Linear):
            macs += outputs * layer.weight.shape[0]
        elif isinstance(layer, nn.BatchNorm2D):
            extra += 2 * outputs
        else:
            extra += outputs

    hooks = [layer.register_forward_post_hook(hook) for layer in network.sublayers(include_self=True)]
    training = network.training
    network.eval()
    try:
        # the kernels compute a cell in one call, in which no layer is called
        with kernels_disabled(), paddle.no_grad():
            network(paddle.zeros([1, *input_shape], dtype=paddle.get_default_dtype()), *inputs)
    finally:
        for handle in hooks:
            handle.remove()
        if training:
            network.train()
    return Complexity(count_parameters(network), count_parameters(network, True), macs, macs + extra)
