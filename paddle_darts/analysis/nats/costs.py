"""Parameters and multiply-adds of the benchmark's networks, by counting instead of building."""

from __future__ import annotations

from typing import NamedTuple

from paddle_darts.genotypes import NasBench201Genotype

#: Classes and pixels of the images of each data set.
IMAGES = {"cifar10": (10, 32), "cifar100": (100, 32), "imagenet16-120": (120, 16)}
KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}


class Costs(NamedTuple):
    """Of one image: ``macs`` of convolutions and linear layers; ``flops`` also counts the bias of the classifier,
    which is what the benchmark calls FLOPs (and gives in millions)."""

    params: int
    macs: int
    flops: int


def costs(cell: NasBench201Genotype, dataset: str, channels: int = 16, cells: int = 5) -> Costs:
    """Costs of the network with ``channels`` after the stem and ``cells`` (N) in each of its three groups.

    A convolution is followed by a batch norm with scale and shift, except in the shortcut of a residual block.
    Source: TinyNetwork of NAS-Bench-201 (arXiv 2001.00326; D-X-Y/AutoDL-Projects).
    """
    classes, pixels = IMAGES[dataset]
    params = macs = 0

    def convolution(kernel: int, inputs: int, outputs: int, norm: bool = True) -> None:
        nonlocal params, macs
        weights = kernel * kernel * inputs * outputs
        params += weights + (2 * outputs if norm else 0)
        macs += weights * pixels * pixels

    convolution(3, 3, channels)
    for group in range(3):
        if group:
            pixels, channels = pixels // 2, channels * 2
            convolution(3, channels // 2, channels)
            convolution(3, channels, channels)
            convolution(1, channels // 2, channels, norm=False)
        for kernel in [KERNELS[op] for op in cell.ops if op in KERNELS] * cells:
            convolution(kernel, channels, channels)
    params += 2 * channels + channels * classes + classes
    macs += channels * classes
    return Costs(params, macs, macs + classes)
