"""Stems and heads shared by supernets and evaluation networks."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError
from paddle_darts.nn.layers import BatchNorm, conv2d, linear


def cifar_stem(in_channels: int, channels: int) -> nn.Sequential:
    """3x3 convolution and batch norm at full resolution; no ReLU."""
    return nn.Sequential(conv2d(in_channels, channels, 3, padding=1), BatchNorm(channels))


def imagenet_stems(in_channels: int, channels: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The two stems for large images: resolution / 4 (no trailing ReLU) and / 8; both have ``channels`` channels."""
    stem0 = nn.Sequential(
        conv2d(in_channels, channels // 2, 3, 2, 1),
        BatchNorm(channels // 2),
        nn.ReLU(),
        conv2d(channels // 2, channels, 3, 2, 1),
        BatchNorm(channels),
    )
    stem1 = nn.Sequential(nn.ReLU(), conv2d(channels, channels, 3, 2, 1), BatchNorm(channels))
    return stem0, stem1


def global_pool() -> nn.AdaptiveAvgPool2D:
    """[B, C, H, W] -> [B, C, 1, 1] by averaging.

    Deviation: the official ImageNet network averages 7x7 only, which is the same at 224 pixels and crops larger maps.
    """
    return nn.AdaptiveAvgPool2D(1)


class AuxiliaryHead(nn.Layer):
    """Small classifier on an inner feature map [B, C, H, W], used in training only.

    ``pool_stride`` is 3 for CIFAR (8x8 maps) and 2 for ImageNet (7x7): both give 2x2. Other map sizes are pooled
    adaptively to 2x2 (the official heads fail there). ``last_bn=False`` leaves out the batch norm after the 768
    channel convolution, as DARTS and PC-DARTS do on ImageNet.
    """

    def __init__(self, channels: int, num_classes: int, pool_stride: int, last_bn: bool = True) -> None:
        super().__init__()
        self._official_size = 8 if pool_stride == 3 else 7
        layers: list[nn.Layer] = [
            nn.ReLU(),
            nn.AvgPool2D(5, stride=pool_stride, padding=0, exclusive=True),
            conv2d(channels, 128, 1),
            BatchNorm(128),
            nn.ReLU(),
            conv2d(128, 768, 2),
        ]
        layers += [BatchNorm(768)] if last_bn else []
        self.features = nn.Sequential(*layers, nn.ReLU())
        self.classifier = linear(768, num_classes)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        height, width = x.shape[2:]
        if min(height, width) < 2:
            raise ConfigError(
                f"the auxiliary head needs a feature map of at least 2x2, got {height}x{width}; "
                "use larger images or leave the head out (--no_auxiliary)"
            )
        for index, layer in enumerate(self.features):
            official = height == width == self._official_size
            x = F.adaptive_avg_pool2d(x, 2) if index == 1 and not official else layer(x)
        return self.classifier(x.flatten(1))
