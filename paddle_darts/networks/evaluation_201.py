"""The networks of NAS-Bench-201 and NATS-Bench that are trained from a genotype.

Layer and parameter names follow the official programs. Source: D-X-Y/AutoDL-Projects,
xautodl/models/cell_infers/{tiny_network,cells}.py and shape_infers/InferTinyCellNet.py. Deviation: sizes that two
halvings do not divide are rounded up everywhere (the official residual block fails on them).
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence

import paddle
from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.kernels.plan import Plan
from paddle_darts.networks import plans_201
from paddle_darts.networks.fused import plan_of, run, stem, usable
from paddle_darts.networks.stems import cifar_stem, global_pool
from paddle_darts.nn.blocks import Zero
from paddle_darts.nn.layers import BatchNorm, linear, running_statistics, tracking_statistics
from paddle_darts.nn.nas_bench_201 import ResidualBlock, ZeroOfWidth, build
from paddle_darts.spaces.nas_bench_201 import SIZE_CELL, cells_per_group, size_channels


class InferenceCell(nn.Layer):
    """A cell with one operation on each of its six edges: [B, c_in, H, W] -> [B, c_out, H, W].

    Node 3 is the output. Edges that leave the input change the width, the others keep it. ``layers[e]`` is the
    operation of edge e in the order of the genotype's text.
    """

    def __init__(self, genotype: NasBench201Genotype, c_in: int, c_out: int) -> None:
        super().__init__()
        links = genotype.links()
        self.layers = nn.LayerList(
            [build(link.op, c_in if link.source == 0 else c_out, c_out, 1, affine=True) for link in links]
        )
        self._wires = [(link.source, link.target) for link in links]
        self._zero = ZeroOfWidth(c_out, 1)
        self.out_channels = c_out

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        fused = _fused(self, x, 1, self._plan)
        return self._by_operator(x) if fused is None else fused

    def _plan(self, channels: int) -> Plan:
        return plans_201.cell_plan(channels, self.out_channels, list(zip(self.layers, self._wires, strict=True)))

    def _by_operator(self, x: paddle.Tensor) -> paddle.Tensor:
        """The cell op by op; the zeros of `none` are only added where a node gets nothing else."""
        states = [x]
        for node in (1, 2, 3):
            parts = [layer(states[source]) for layer, source in self._into(node)]
            states.append(sum(parts[1:], parts[0]) if parts else self._zero(x))
        return states[-1]

    def _into(self, node: int) -> list[tuple[nn.Layer, int]]:
        """The operations that a node adds up, with their sources."""
        edges = zip(self.layers, self._wires, strict=True)
        return [(op, source) for op, (source, target) in edges if target == node and not _is_nothing(op)]


class Reduction(ResidualBlock):
    """The residual block between two groups of cells, [B, C, H, W] -> [B, c_out, H/2, W/2]; by the kernels if they can.

    It is not searched.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, stride=2)
        self.out_channels = c_out

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        fused = _fused(self, x, 2, lambda channels: plans_201.block_plan(channels, self.out_channels, self))
        return super().forward(x) if fused is None else fused


class _Network(nn.Layer, ABC):
    """What both networks are: stem, three groups of cells with reductions between them, the last activation, a head.

    ``widths`` are the output channels of the 3N + 2 cells and reductions. ``forward(x)`` maps images
    [B, in_channels, H, W] to ``(logits [B, classes], None)``: there is no auxiliary head.
    """

    def __init__(
        self, genotype: NasBench201Genotype, widths: Sequence[int], num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        group = cells_per_group(len(widths))
        self.stem = cifar_stem(in_channels, widths[0])
        self.cells = nn.LayerList()
        c_in = widths[0]
        for index, c_out in enumerate(widths):
            reduces = index in (group, 2 * group + 1)
            self.cells.append(Reduction(c_in, c_out) if reduces else InferenceCell(genotype, c_in, c_out))
            c_in = c_out
        self.lastact = nn.Sequential(BatchNorm(c_in), nn.ReLU())
        self.global_pooling = global_pool()
        self.classifier = linear(c_in, num_classes)

    def features(self, x: paddle.Tensor) -> paddle.Tensor:
        """What the classifier reads: the pooled maps [B, channels of the last cell].

        The official networks return them beside the logits.
        """
        with running_statistics(tracking_statistics()):
            x = stem(self.stem, x)
            for cell in self.cells:
                x = cell(x)
            return self.global_pooling(self.lastact(x)).flatten(1)

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, None]:
        return self.classifier(self.features(x)), None


class NasBench201Network(_Network):
    """The network of the topology space, "infer.tiny" in the benchmark.

    ``layers`` = 3N + 2 counts the cells and the two reductions, which double the width: ``init_channels`` in the first
    group, four times as many in the last. ConfigError for other depths and for widths below 1.
    """

    def __init__(
        self,
        genotype: NasBench201Genotype,
        num_classes: int = 10,
        init_channels: int = 16,
        layers: int = 17,
        in_channels: int = 3,
    ) -> None:
        group = cells_per_group(layers)
        if init_channels < 1:
            raise ConfigError(f"init_channels must be at least 1, got {init_channels}")
        factors = [1] * group + [2] * (group + 1) + [4] * (group + 1)
        super().__init__(genotype, [init_channels * factor for factor in factors], num_classes, in_channels)


class SizeNetwork(_Network):
    """The network of the size space, "infer.shape.tiny" in the benchmark: a width of its own for every layer.

    ``channels`` is the text of the benchmark, "8:16:8:24:16", whose widths are those of the space, or any 3N + 2
    numbers above 0. The stem has the width of the first cell. Without a ``genotype`` it has the benchmark's cell.
    """

    def __init__(
        self,
        channels: str | Sequence[int],
        genotype: NasBench201Genotype | None = None,
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        widths = size_channels(channels) if isinstance(channels, str) else tuple(channels)
        if any(width < 1 for width in widths):
            raise ConfigError(f"the widths of a size network must be at least 1, got {list(widths)}")
        cell = NasBench201Genotype.parse(SIZE_CELL) if genotype is None else genotype
        super().__init__(cell, widths, num_classes, in_channels)


def _is_nothing(op: nn.Layer) -> bool:
    return isinstance(op, Zero | ZeroOfWidth)


def _fused(layer: nn.Layer, x: paddle.Tensor, stride: int, write: Callable[[int], Plan]) -> paddle.Tensor | None:
    """``layer`` (x) as one call of the CPU kernels, by the plan that ``write`` makes for the channels of ``x``."""
    if not usable(x, stride):
        return None
    plan = plan_of(layer, "whole", lambda: write(x.shape[1]))
    return None if plan is None else run(plan, [x], layer.training)
