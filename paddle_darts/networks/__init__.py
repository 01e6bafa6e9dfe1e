"""Supernets and evaluation networks, built from a space and a genotype."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from paddle import nn

from paddle_darts.errors import ConfigError, unknown
from paddle_darts.genotypes import Genotype, genotype
from paddle_darts.networks.evaluation import STEMS, NetworkCIFAR, NetworkImageNet, check_size
from paddle_darts.networks.supernet import CellMix, Supernet, SupernetSpec

log = logging.getLogger(__name__)


def build_network(
    arch: Genotype | str | Path,
    num_classes: int = 10,
    init_channels: int = 36,
    layers: int = 20,
    auxiliary: bool = False,
    *,
    stem: str = "cifar",
    **options: Any,
) -> nn.Layer:
    """The evaluation network of a genotype (an object, a registry name, a file, a run directory or printed text).

    ``stem`` is "cifar" (small images) or "imagenet" (large ones). ``options``: ``drop_path_prob``, ``in_channels``
    and, for the CIFAR stem, ``stem_multiplier``. The network maps [B, in_channels, H, W] to
    ``(logits [B, num_classes], auxiliary logits or None)``. A genotype with the op ``none`` is built, with a warning.
    """
    if stem not in STEMS:
        raise ConfigError(unknown("stem", stem, STEMS))
    check_size(layers, init_channels)
    found = genotype(arch)
    for kind in ("normal", "reduce"):
        if count := found.count("none", kind):
            edges = len(found.links(kind))
            log.warning("%d of the %d edges of the %s cell are `none` and contribute nothing", count, edges, kind)
    return STEMS[stem](found, num_classes, init_channels, layers, auxiliary, **options)


__all__ = ["CellMix", "NetworkCIFAR", "NetworkImageNet", "Supernet", "SupernetSpec", "build_network"]
