"""The two spaces of NATS-Bench as lists of architectures: topology (15,625 cells) and size (32,768 widths)."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from paddle_darts.errors import ConfigError, GenotypeError, nearest, unknown
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.spaces import nas_bench_201

TOPOLOGY, SIZE = "topology", "size"


@dataclass(frozen=True)
class Universe:
    """All architectures of one space in benchmark order, by text and by index."""

    name: str
    tag: str
    full_epochs: int
    architectures: Callable[[], tuple[str, ...]]
    network: Callable[[Mapping[str, Any]], dict[str, Any]]

    def __len__(self) -> int:
        return len(self.architectures())

    def architecture(self, index: int) -> str:
        """The text at ``index``; GenotypeError outside 0 ... len-1."""
        return self.architectures()[self.checked(index)]

    def checked(self, index: Any) -> int:
        number = None if isinstance(index, bool) or not hasattr(index, "__index__") else operator.index(index)
        if number is None or not 0 <= number < len(self):
            raise GenotypeError(f"architecture index {index!r}: the {self.name} space has 0 to {len(self) - 1}")
        return number

    def index(self, arch: Any) -> int:
        """The index of a text, a genotype or an index; -1 for a text that is not in the space."""
        if isinstance(arch, NasBench201Genotype):
            arch = str(arch)
        return positions(self.tag).get(arch, -1) if isinstance(arch, str) else self.checked(arch)

    def find(self, arch: Any) -> int:
        """:meth:`index`, but GenotypeError with the reason for a text that is not in the space."""
        index = self.index(arch)
        if index < 0:
            raise GenotypeError(self.not_found(arch))
        return index

    def not_found(self, arch: str) -> str:
        if self.tag == "tss":
            try:
                return f"{arch!r} is not written as the benchmark does: {NasBench201Genotype.parse(arch)}"
            except GenotypeError as error:
                return str(error)
        close = nearest(arch, self.architectures(), 1)
        return f"{arch!r} is no architecture of the size space{f'; did you mean {close[0]}?' if close else ''}"

    def unique(self, index: int) -> str:
        if self.tag != "tss":
            raise ConfigError("only cells of the topology space have isomorphic ones")
        return NasBench201Genotype.parse(self.architecture(index)).unique


def _topology_network(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "infer.tiny",
        "C": config["channel"],
        "N": config["num_cells"],
        "arch_str": config["arch_str"],
        "num_classes": config["class_num"],
    }


def _size_network(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "infer.shape.tiny",
        "channels": config["channels"],
        "genotype": config["genotype"],
        "num_classes": config["class_num"],
    }


@functools.cache
def _sizes() -> tuple[str, ...]:
    return tuple(map(nas_bench_201.size_architecture, range(len(nas_bench_201.SIZE_CHANNELS) ** 5)))


UNIVERSES = {
    "tss": Universe(TOPOLOGY, "tss", 200, nas_bench_201.architectures, _topology_network),
    "sss": Universe(SIZE, "sss", 90, _sizes, _size_network),
}


def universe(name: str) -> Universe:
    """The space "tss" ("topology") or "sss" ("size"); ConfigError with the nearest name otherwise."""
    for one in UNIVERSES.values():
        if name in (one.tag, one.name):
            return one
    raise ConfigError(unknown("NATS-Bench space", str(name), [n for u in UNIVERSES.values() for n in (u.tag, u.name)]))


@functools.cache
def positions(tag: str) -> dict[str, int]:
    """Index by text."""
    return {arch: index for index, arch in enumerate(UNIVERSES[tag].architectures())}
