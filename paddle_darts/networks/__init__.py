"""Supernets and evaluation networks, built from a space and a genotype."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from paddle import nn

from paddle_darts.errors import ConfigError, unknown
from paddle_darts.genotypes import AnyGenotype, NasBench201Genotype, genotype
from paddle_darts.networks.evaluation import STEMS, NetworkCIFAR, NetworkImageNet, check_size
from paddle_darts.networks.evaluation_201 import NasBench201Network, SizeNetwork
from paddle_darts.networks.supernet import CellMix, Supernet, SupernetSpec
from paddle_darts.spaces.nas_bench_201 import size_channels

log = logging.getLogger(__name__)


class Size(NamedTuple):
    """Width of the first cells, and number of cells."""

    init_channels: int
    layers: int


#: The networks of the papers for small images, by search space.
DEFAULT_SIZES = {"darts": Size(36, 20), "nas_bench_201": Size(16, 17)}


def build_network(
    arch: AnyGenotype | str | Path,
    num_classes: int = 10,
    init_channels: int | None = None,
    layers: int | None = None,
    auxiliary: bool = False,
    *,
    stem: str = "cifar",
    channels: str | Sequence[int] | None = None,
    **options: Any,
) -> nn.Layer:
    """The evaluation network of a genotype (an object, a registry name, a file, a run directory or printed text).

    Without ``init_channels`` and ``layers`` it has the size of `DEFAULT_SIZES`. ``stem`` is "cifar" (small images) or
    "imagenet" (large ones). ``options``: ``drop_path_prob``, ``in_channels`` and, for the CIFAR stem,
    ``stem_multiplier``. The network maps [B, in_channels, H, W] to ``(logits [B, num_classes], auxiliary logits or
    None)``. A DARTS cell with the op ``none`` is built, with a warning.

    Networks of NAS-Bench-201 have ``layers`` = 3N + 2, one stem, no auxiliary head and no drop path: asking for these
    is a ConfigError. ``channels`` builds the network of the NATS-Bench size space with these widths, say
    "8:16:8:24:16". A cell of which no output depends on its input is built, with a warning.
    """
    if stem not in STEMS:
        raise ConfigError(unknown("stem", stem, STEMS))
    found = genotype(arch)
    size = network_size(found.space, init_channels, layers, channels)
    if isinstance(found, NasBench201Genotype):
        return _network_201(found, num_classes, size, channels, {**options, "auxiliary": auxiliary, "stem": stem})
    check_size(size.layers, size.init_channels)
    for kind in ("normal", "reduce"):
        if count := found.count("none", kind):
            edges = len(found.links(kind))
            log.warning("%d of the %d edges of the %s cell are `none` and contribute nothing", count, edges, kind)
    return STEMS[stem](found, num_classes, size.init_channels, size.layers, auxiliary, **options)


def network_size(
    space: str,
    init_channels: int | None = None,
    layers: int | None = None,
    channels: str | Sequence[int] | None = None,
) -> Size:
    """The size of a network of ``space``; what is None is as in `DEFAULT_SIZES`, or as ``channels`` say.

    ConfigError for ``channels`` in another space than NAS-Bench-201, and where they do not fit the rest.
    """
    if channels is None:
        default = DEFAULT_SIZES[space]
        return Size(*(d if g is None else g for g, d in zip((init_channels, layers), default, strict=True)))
    if space != NasBench201Genotype.space:
        raise ConfigError(f"channels={channels!r} are for cells of nas_bench_201 only; this one is of {space}")
    widths = size_channels(channels) if isinstance(channels, str) else tuple(channels)
    size = Size(widths[0] if widths else 0, len(widths))
    for name, given, fits in zip(Size._fields, (init_channels, layers), size, strict=True):
        if given not in (None, fits):
            raise ConfigError(f"channels={channels!r} say that {name} is {fits}, got {given}; leave it out")
    return size


def _network_201(
    arch: NasBench201Genotype,
    num_classes: int,
    size: Size,
    channels: str | Sequence[int] | None,
    options: dict[str, Any],
) -> nn.Layer:
    """A network of NAS-Bench-201; ``options`` of other networks are allowed as long as they ask for nothing."""
    in_channels = options.pop("in_channels", 3)
    missing = {"auxiliary": False, "drop_path_prob": 0.0, "stem": "cifar"}
    for name, value in options.items():
        if name not in missing:
            raise ConfigError(unknown("option of a NAS-Bench-201 network", name, ("channels", "in_channels")))
        if value != missing[name]:
            raise ConfigError(
                f"networks of nas_bench_201 have no {name}: it must be {missing[name]!r} or left out, got {value!r}"
            )
    if not arch.valid:
        log.warning("nothing of the input reaches the output of the cell %s: all images get the same logits", arch)
    if channels is not None:
        return SizeNetwork(channels, arch, num_classes, in_channels)
    return NasBench201Network(arch, num_classes, *size, in_channels)


__all__ = [
    "DEFAULT_SIZES",
    "CellMix",
    "NasBench201Network",
    "NetworkCIFAR",
    "NetworkImageNet",
    "Size",
    "SizeNetwork",
    "Supernet",
    "SupernetSpec",
    "build_network",
    "network_size",
]
