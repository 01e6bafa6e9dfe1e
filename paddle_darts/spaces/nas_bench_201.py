"""The NAS-Bench-201 topology space and the NATS-Bench size space, with the benchmark's numbering of both.

Sources: NAS-Bench-201 (arXiv 2001.00326), NATS-Bench (arXiv 2009.00437), D-X-Y/AutoDL-Projects.
"""

from __future__ import annotations

import functools
import itertools
import random
from functools import partial

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes.nas_bench_201 import EDGES, KIND, OPS, NasBench201Genotype
from paddle_darts.nn.nas_bench_201 import build
from paddle_darts.spaces.base import CellSpace, OpBuilder

#: A network is three groups of cells with a residual block of stride 2 between them.
GROUPS = 3


def cells_per_group(layers: int) -> int:
    """The number N of cells in each group of a network of ``layers`` = 3N + 2 cells and residual blocks.

    ConfigError with the nearest possible numbers for others.
    """
    count, rest = divmod(layers - GROUPS + 1, GROUPS)
    if count < 1 or rest:
        near = sorted({max(5, layers - 2 - (layers - 2) % 3 + 2), max(5, layers - 2 - (layers - 2) % 3 + 5)})
        raise ConfigError(
            "a NAS-Bench-201 network has 3 groups of N cells with 2 residual blocks between them: layers must be "
            f"3N + 2, such as {' or '.join(map(str, near))} (17 in the benchmark), got {layers}"
        )
    return count


def cell_kinds(layers: int, reductions: tuple[int, ...] | None = None) -> tuple[str, ...]:
    """The kinds of the searched cells; there is only one kind, and the residual blocks are not searched."""
    if reductions is not None:
        raise ConfigError(f"NAS-Bench-201 networks have no reduction cells to place, got reductions={reductions}")
    return (KIND,) * (GROUPS * cells_per_group(layers))


def _operation(op: str, channels: int, stride: int, affine: bool) -> object:
    return build(op, channels, channels, stride, affine)


_OPERATIONS: dict[str, OpBuilder] = {op: partial(_operation, op) for op in OPS}

NAS_BENCH_201 = CellSpace(
    name="nas_bench_201",
    primitives=OPS,
    ops=_OPERATIONS,
    skeleton="nas_bench_201",
    kinds=(KIND,),
    layout=cell_kinds,
    inputs=1,
    steps=3,
    multiplier=1,
    stem_multiplier=1,
    layers=17,
    every_edge=True,
    pool_bn=False,
    track_running_stats=False,
)

# ---- the topology space: 15,625 cells in the order of the benchmark
_SHUFFLE_SEED = 88


@functools.cache
def architectures() -> tuple[str, ...]:
    """The texts of all 15,625 cells; the position of one is its index in the benchmark.

    The benchmark shuffles the lexicographic list of operations by Python's generator.
    """
    cells = [str(NasBench201Genotype(ops)) for ops in itertools.product(OPS, repeat=len(EDGES))]
    random.Random(_SHUFFLE_SEED).shuffle(cells)
    return tuple(cells)


@functools.cache
def _positions() -> dict[str, int]:
    return {cell: index for index, cell in enumerate(architectures())}


def architecture_index(cell: NasBench201Genotype | str) -> int:
    """The index in the benchmark of a cell or of its text."""
    return _positions()[str(NasBench201Genotype.parse(cell) if isinstance(cell, str) else cell)]


# ---- the size space: five widths for a fixed cell
SIZE_CHANNELS = (8, 16, 24, 32, 40, 48, 56, 64)
SIZE_LAYERS = 5
#: The cell of the size space, the best one of the topology space on CIFAR-100's validation images.
SIZE_CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def size_channels(text: str) -> tuple[int, ...]:
    """The five widths of a text such as "8:16:8:24:16"; GenotypeError for others than the space has."""
    parts = text.strip().split(":")
    if len(parts) != SIZE_LAYERS or any(not part.isascii() or not part.isdigit() for part in parts):
        raise GenotypeError(f"a NATS-Bench size is {SIZE_LAYERS} widths joined by ':', got {text[:60]!r}")
    widths = tuple(int(part) for part in parts)
    for width in widths:
        if width not in SIZE_CHANNELS:
            raise GenotypeError(f"the widths of the size space are {', '.join(map(str, SIZE_CHANNELS))}; got {width}")
    return widths


def size_index(text: str) -> int:
    """The index in the benchmark of a network of the size space, from 0 ("8:8:8:8:8") to 32767."""
    index = 0
    for width in size_channels(text):
        index = index * len(SIZE_CHANNELS) + SIZE_CHANNELS.index(width)
    return index


def size_architecture(index: int) -> str:
    """The inverse of :func:`size_index`."""
    total = len(SIZE_CHANNELS) ** SIZE_LAYERS
    if not 0 <= index < total:
        raise GenotypeError(f"the size space has the indices 0 to {total - 1}, got {index}")
    widths = []
    for _ in range(SIZE_LAYERS):
        index, position = divmod(index, len(SIZE_CHANNELS))
        widths.append(SIZE_CHANNELS[position])
    return ":".join(map(str, reversed(widths)))
