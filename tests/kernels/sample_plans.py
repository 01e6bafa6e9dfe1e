"""Plans to try: a whole cell, and random ones that hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import paddle
from hypothesis import strategies as st
from plain_plans import Case, Maker, Recorder, WholeMaker

from paddle_darts.kernels.plan import NONE
from paddle_darts.nn.layers import BatchNorm
from paddle_darts.nn.stages import Stage

Size = tuple[int, int]


def one_conv(stages: Sequence[Stage], x: paddle.Tensor, **arguments: Any) -> Case:
    """The plan of one chain on one input, and nothing else."""
    plan = Recorder([x.shape[1]])
    target = plan.map(sum(conv.weight.shape[0] for conv in stages[-1].dense))
    plan.conv(0, target, stages)
    return Case(plan, plan.finish([target]), [x], **arguments)


def one_pool(
    x: paddle.Tensor,
    kind: str = "max",
    stride: int = 1,
    norms: Sequence[BatchNorm] = (),
    size: int = 3,
    padding: int = 1,
) -> Case:
    """The plan of one pooling."""
    plan = Recorder([x.shape[1]])
    return Case(plan, plan.finish([plan.pool(0, kind, stride, norms, size, padding)]), [x])


def cell(
    make: Maker,
    batch: int = 4,
    channels: int = 16,
    size: Size = (12, 12),
    reduction: bool = False,
    training: bool = True,
) -> Case:
    """A cell of three nodes with each kind of step, weighted by coefficients and scales.

    ``size`` is the second input's; the first is twice as large.
    """
    widths, stride = [channels + 3, 2 * channels], 2 if reduction else 1
    plan = Recorder(widths)
    a, b, first, second, third = (plan.map(channels) for _ in range(5))
    plan.conv(0, a, [make.halving(widths[0], channels)])
    plan.conv(1, b, [make.stage(widths[1], channels)])

    def separable(kernel: int, stride: int) -> list[Stage]:
        return [
            make.stage(channels, channels, kernel, depthwise=True, stride=s, padding=kernel // 2) for s in (stride, 1)
        ]

    def pooled(source: int, kind: str, count: int) -> int:
        return plan.pool(source, kind, stride, [make.norm(channels, affine=False) for _ in range(count)])

    plan.constant(a, first, stride, coefficient=0)
    plan.conv(a, first, separable(3, stride), coefficient=1, scale=0)
    plan.add(pooled(b, "avg", 1), first, coefficient=2)
    dilated = make.stage(channels, channels, 5, depthwise=True, stride=stride, dilation=2, padding=4, affine=False)
    plan.conv(b, second, [dilated], coefficient=3)
    plan.add(first, second, take=(0, 1), put=(channels // 2, 1), count=channels // 2)
    maxima = pooled(a, "max", 2 if training else 1)
    plan.add(maxima, second, coefficient=1, scale=1)
    plan.add(maxima, third)
    flat = make.stage(channels, channels, (1, 7), stride=(1, stride), padding=(0, 3), norm=False)
    upright = make.stage(channels, channels, (7, 1), stride=(stride, 1), padding=(3, 0), relu=False)
    plan.conv(b, third, [flat, upright], coefficient=2, scale=0)
    plan.conv(second, third, separable(5, 1))
    inputs = [make.image(batch, widths[0], *(2 * n for n in size)), make.image(batch, widths[1], *size)]
    scales = make.tensor(make.rng.choice([0.0, 1.25], (2, batch)))
    return Case(plan, plan.finish([first, second, third]), inputs, make.normal(4), scales, training)


CHANNELS = st.integers(1, 40)
LENGTHS = st.integers(1, 13)
STRIDES = st.integers(1, 3)
ODD_KERNELS = ((1, 1), (3, 3), (5, 5), (7, 7), (1, 7), (7, 1))
KERNELS = (*ODD_KERNELS, (2, 2), (3, 1))


def fitting(length: int, goal: int) -> list[int]:
    """The strides that bring ``length`` to ``goal``."""
    return [stride for stride in (1, 2, 3) if -(-length // stride) == goal]


class Graph:
    """A plan while it is being drawn. ``maps`` are the complete ones with their sizes.

    ``alike`` are those with values that are equal but for rounding, so that nobody can say which of them is largest.
    ``whole``: single precision, with whole numbers and only such steps as keep them whole.
    """

    def __init__(self, draw: Callable, inputs: int, whole: bool, masks: bool) -> None:
        self.draw, self.whole = draw, whole
        self.training, self.batch = draw(st.booleans()), draw(st.integers(1, 5))
        self.make = (WholeMaker if whole else Maker)(draw(st.integers(0, 2**20)))
        self.coefficients, self.scales = draw(st.integers(0, 4)), draw(st.integers(0, 2))
        channels = draw(st.lists(CHANNELS, min_size=1, max_size=inputs))
        sizes = [(draw(LENGTHS), draw(LENGTHS))]
        for _ in channels[1:]:  # some larger ones, as the inputs of a cell behind a reduction are
            height, width = sizes[0]
            sizes.append(draw(st.sampled_from([(height, width), (2 * height, 2 * width), (2 * height - 1, width)])))
        shapes = list(zip(channels, sizes, strict=True))
        self.inputs = [self.make.image(self.batch, c, *size) for c, size in shapes]
        self.maps: dict[int, Size] = dict(enumerate(sizes))
        self.masks: dict[int, tuple[int, Size]] = {}  # behind the other inputs, one for each of them
        if masks:
            self.masks = dict(enumerate(shapes, start=len(shapes)))
            self.inputs += [self.make.image(self.batch, c, *size) for c, size in shapes]
        self.plan = Recorder([c for c, _ in (*shapes, *self.masks.values())])
        self.alike: set[int] = set()

    # -------------------------------------------------------------------------------------- single layers
    def normed(self, size: Size) -> bool:
        return not self.whole and self.batch * size[0] * size[1] > 1 and self.draw(st.booleans())

    def window(self, size: Size, goal: Size | None) -> tuple[dict, Size]:
        """Kernel, stride, dilation and padding of a convolution, and the size that it gives: ``goal``, if any."""
        kernel = self.draw(st.sampled_from(KERNELS if goal is None else ODD_KERNELS))
        dilation = self.draw(st.integers(1, 3))
        reach = [dilation * (k - 1) + 1 for k in kernel]
        if goal is None:
            stride = [self.draw(STRIDES) for _ in size]
            padding = [
                self.draw(st.integers(max(0, -(-(r - n) // 2)), max(r - 1, -(-(r - n) // 2), 1)))
                for r, n in zip(reach, size, strict=True)
            ]
        else:
            stride = [self.draw(st.sampled_from(fitting(n, m))) for n, m in zip(size, goal, strict=True)]
            padding = [r // 2 for r in reach]
        axes = zip(size, padding, reach, stride, strict=True)
        height, width = ((n + 2 * p - r) // s + 1 for n, p, r, s in axes)
        return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}, (height, width)

    def stage(self, c_in: int, c_out: int, size: Size, goal: Size | None) -> tuple[Stage, Size]:
        forms = ["dense", "depthwise"]
        half = tuple(-(-n // 2) for n in size)
        if c_out % 2 == 0 and goal in (None, half):
            forms.append("halving")
        form, relu, affine = self.draw(st.sampled_from(forms)), self.draw(st.booleans()), self.draw(st.booleans())
        if form == "halving":
            return self.make.halving(c_in, c_out, relu=relu, norm=self.normed(half), affine=affine), half
        window, out = self.window(size, goal)
        norm = self.normed(out)
        made = self.make.stage(
            c_in, c_out, relu=relu, depthwise=form == "depthwise", norm=norm, affine=affine, **window
        )
        return made, out

    def chain(self, source: int, c_out: int, goal: Size | None = None) -> tuple[list[Stage], Size]:
        """One or two stages from a map to ``c_out`` channels."""
        stages, channels, size = [], self.plan.channels(source), self.maps[source]
        for last in self.draw(st.sampled_from([[True], [False, True]])):
            width = c_out if last else self.draw(CHANNELS)
            stage, size = self.stage(channels, width, size, goal)
            stages.append(stage)
            channels = width
        return stages, size

    # -------------------------------------------------------------------------------------- steps
    def factors(self) -> dict[str, int]:
        coefficient, scale = st.integers(NONE, self.coefficients - 1), st.integers(NONE, self.scales - 1)
        return {"coefficient": self.draw(coefficient), "scale": self.draw(scale)}

    def pool(self, source: int, stride: int) -> int:
        """A pooled map of a source whose size it divides by ``stride``, rounded up."""
        out = tuple(-(-n // stride) for n in self.maps[source])
        count = self.draw(st.integers(0, 3 if self.training else 1)) if self.normed(out) else 0
        norms = [self.make.norm(self.plan.channels(source), affine=False) for _ in range(count)]
        window = self.draw(st.sampled_from([(3, 1), (2, 0)] if stride == 2 else [(3, 1)]))
        kinds = ["max"] if self.whole else ["avg"] if source in self.alike else ["max", "avg"]
        index = self.plan.pool(source, self.draw(st.sampled_from(kinds)), stride, norms, *window)
        self.maps[index] = out
        self.alike.add(index)
        return index

    def add(self, source: int, target: int) -> None:
        """A sum, of all channels or of some that lie evenly apart."""
        have, want = self.plan.channels(source), self.plan.channels(target)
        if have == want and self.draw(st.booleans()):
            return self.plan.add(source, target, **self.factors())
        count = self.draw(st.integers(1, min(have, want)))

        def evenly(channels: int) -> tuple[int, int]:
            apart = self.draw(st.integers(1, max(1, (channels - 1) // max(count - 1, 1))))
            return self.draw(st.integers(0, channels - 1 - (count - 1) * apart)), apart

        self.plan.add(source, target, take=evenly(have), put=evenly(want), count=count, **self.factors())

    def fitting_masks(self, source: int) -> list[int]:
        shape = self.plan.channels(source), self.maps[source]
        return [mask for mask, other in self.masks.items() if other == shape]

    def masked(self, source: int, target: int) -> None:
        """A product with a mask, where there is one of that shape and the target has as many channels; else a sum."""
        masks = self.fitting_masks(source)
        if not masks or self.plan.channels(source) != self.plan.channels(target):
            return self.add(source, target)
        self.plan.masked(source, target, self.draw(st.sampled_from(masks)), **self.factors())

    def node(self, kinds: Sequence[str], most: int = 3) -> int:
        """A map that up to ``most`` steps add to."""
        source, kind = self.draw(st.sampled_from(sorted(self.maps))), self.draw(st.sampled_from(kinds))
        channels = self.draw(st.one_of(CHANNELS, st.just(self.plan.channels(source))))
        stride = self.draw(st.sampled_from([1, 2]))
        size = self.maps[source] if kind in ("add", "masked") else tuple(-(-n // stride) for n in self.maps[source])
        if kind == "conv":
            stages, size = self.chain(source, channels)
            target = self.plan.map(channels)
            self.plan.conv(source, target, stages, **self.factors())
        else:
            pooled = self.pool(source, stride) if kind == "pool" else source
            target = self.plan.map(channels)
            step = {"constant": lambda *maps: self.constant(*maps, stride), "masked": self.masked}.get(kind, self.add)
            step(pooled, target)
        for _ in range(self.draw(st.integers(0, most - 1))):
            self.another_step(kinds, target, size)
        self.maps[target] = size
        steps = [(name, args[0]) for name, args, _ in self.plan.calls if name != "pool" and args[1:2] == (target,)]
        if any(name == "constant" or source in self.alike for name, source in steps):
            self.alike.add(target)
        return target

    def another_step(self, kinds: Sequence[str], target: int, size: Size) -> None:
        """A step to a map of known ``size``."""
        sources = {
            source: [s for s in (1, 2, 3) if all(s in fitting(n, m) for n, m in zip(have, size, strict=True))]
            for source, have in self.maps.items()
            if all(fitting(n, m) for n, m in zip(have, size, strict=True))
        }
        if not sources:
            return
        source = self.draw(st.sampled_from(sorted(sources)))
        possible = [
            k for k in kinds if k == "conv" or (1 in sources[source] if k in ("add", "masked") else sources[source])
        ]
        kind = self.draw(st.sampled_from(possible or ["conv"]))
        if kind == "conv":
            stages, _ = self.chain(source, self.plan.channels(target), size)
            return self.plan.conv(source, target, stages, **self.factors())
        if kind in ("add", "masked"):
            return getattr(self, kind)(source, target)
        stride = self.draw(st.sampled_from(sources[source]))
        if kind == "constant":
            return self.constant(source, target, stride)
        self.add(self.pool(source, stride), target)

    def constant(self, source: int, target: int, stride: int) -> None:
        self.plan.constant(source, target, stride, self.factors()["coefficient"])

    # -------------------------------------------------------------------------------------- the whole
    def finish(self, last: int) -> Case:
        """A case whose output is the map ``last``, with any others of its size beside it."""
        alike = [m for m in self.maps if self.maps[m] == self.maps[last] and m != last]
        beside = self.draw(st.lists(st.sampled_from(alike), max_size=2)) if alike else []
        plan = self.plan.finish([*beside, last])
        rng, make = self.make.rng, self.make
        coefficients = make.normal(self.coefficients) if self.coefficients else None
        scales = make.image(self.scales, self.batch).detach() if self.scales else None
        case = Case(self.plan, plan, self.inputs, coefficients, scales, self.training)
        if self.whole:
            case.weight = lambda shape: WholeMaker(0).normal(*shape)
        if self.draw(st.booleans()):  # gradients of some things only
            share = self.draw(st.sampled_from([0.5, 0.1, 0.9, 1.0]))
            for tensor in case.sources.values():
                tensor.stop_gradient = bool(rng.random() < share)
        return case


@st.composite
def graphs(draw: Callable, *kinds: str, nodes: int = 1, inputs: int = 1, most: int = 1, whole: bool = False) -> Case:
    """Plans of up to ``nodes`` maps, with up to ``most`` steps of the ``kinds``.

    They are "conv", "add", "masked", "pool" and "constant".
    """
    graph = Graph(draw, inputs, whole, "masked" in kinds)
    last = [graph.node(kinds, most) for _ in range(draw(st.integers(1, nodes)))][-1]
    return graph.finish(last)
