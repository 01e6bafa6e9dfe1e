"""Plans computed by Paddle's own operators, straight from the calls that wrote them: what the kernels must equal."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from hypothesis import HealthCheck, settings
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.kernels.cell import run_plan
from paddle_darts.kernels.plan import NONE, Plan, PlanBuilder, Stage
from paddle_darts.nn import stages
from paddle_darts.nn.layers import BatchNorm

#: How many times the usual number of examples to try: below 1 for slow builds (sanitizers), above 1 for a soak.
EFFORT = float(os.environ.get("PADDLE_DARTS_TEST_EFFORT", "1"))
MOMENTUM = 0.8
SMALL = 1e-2


def examples(count: int) -> settings:
    """The same ``count`` examples in every run (as many as EFFORT says)."""
    unwanted = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    number = max(1, round(count * EFFORT))
    return settings(max_examples=number, derandomize=True, deadline=None, database=None, suppress_health_check=unwanted)


# ------------------------------------------------------------------------------------------ plans in plain Paddle
class Recorder:
    """Hands everything on to a PlanBuilder, and keeps the calls."""

    def __init__(self, input_channels: Sequence[int]) -> None:
        self._builder = PlanBuilder(input_channels)
        self.calls: list[tuple[str, tuple, dict[str, Any]]] = []
        self.outputs: tuple[int, ...] = ()

    def __getattr__(self, name: str) -> Callable:
        method = getattr(self._builder, name)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            return method(*args, **kwargs)

        return recorded

    def channels(self, index: int) -> int:
        return self._builder.channels(index)

    def finish(self, outputs: Sequence[int]) -> Plan:
        self.outputs = tuple(outputs)
        return self._builder.finish(outputs)


class PlainRun:
    """The interface of a PlanBuilder, but every call is computed at once; ``running`` is where statistics end up."""

    def __init__(
        self,
        inputs: Sequence[paddle.Tensor],
        coefficients: paddle.Tensor | None,
        scales: paddle.Tensor | None,
        training: bool,
    ) -> None:
        self.maps: list[paddle.Tensor | None] = list(inputs)
        self.running: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._channels = [x.shape[1] for x in inputs]
        self._coefficients, self._scales, self._training = coefficients, scales, training

    def map(self, channels: int) -> int:
        self.maps.append(None)
        self._channels.append(channels)
        return len(self.maps) - 1

    def add(
        self,
        source: int,
        target: int,
        coefficient: int = NONE,
        scale: int = NONE,
        take: tuple[int, int] = (0, 1),
        put: tuple[int, int] = (0, 1),
        count: int | None = None,
    ) -> None:
        x = self.maps[source]
        number = x.shape[1] if count is None else count
        chosen = np.full(self._channels[target], x.shape[1])  # the channel of zeros behind the last
        chosen[put[0] + put[1] * np.arange(number)] = take[0] + take[1] * np.arange(number)
        zeros = paddle.zeros([x.shape[0], 1, *x.shape[2:]], x.dtype)
        y = paddle.index_select(paddle.concat([x, zeros], axis=1), paddle.to_tensor(chosen), axis=1)
        self._add(target, y, coefficient, scale)

    def masked(self, source: int, target: int, mask: int, coefficient: int = NONE, scale: int = NONE) -> None:
        self._add(target, self.maps[source] * self.maps[mask].detach(), coefficient, scale)

    def constant(self, source: int, target: int, stride: int, coefficient: int = NONE) -> None:
        x = self.maps[source]
        size = [x.shape[0], self._channels[target], *(-(-n // stride) for n in x.shape[2:])]
        value = 0.0 if coefficient == NONE else self._coefficients[coefficient]
        self._add(target, paddle.zeros(size, x.dtype) + value, NONE, NONE)

    def pool(
        self, source: int, kind: str, stride: int, norms: Sequence[nn.BatchNorm2D] = (), size: int = 3, padding: int = 1
    ) -> int:
        x = self.maps[source]
        if kind == "max":
            y = F.max_pool2d(x, size, stride, padding, ceil_mode=not padding)
        else:
            ones = paddle.ones([1, 1, *x.shape[2:]], x.dtype)
            y = _window_sum(x, size, stride, padding) / _window_sum(ones, size, stride, padding)
        target = self.map(x.shape[1])
        self.maps[target] = self._normalised(y, norms)
        return target

    def conv(
        self, source: int, target: int, stages: Sequence[Stage], coefficient: int = NONE, scale: int = NONE
    ) -> None:
        x = self.maps[source]
        for stage in stages:
            x = F.relu(x) if stage.relu else x
            x = stage.depthwise(x) if stage.depthwise else x
            if len(stage.dense) == 1:
                x = stage.dense[0](x)
            else:
                moved = F.pad(x[:, :, 1:, 1:], [0, x.shape[3] % 2, 0, x.shape[2] % 2])
                x = paddle.concat([stage.dense[0](x), stage.dense[1](moved)], axis=1)
            x = self._normalised(x, [stage.norm] if stage.norm else [])
        self._add(target, x, coefficient, scale)

    def _add(self, target: int, y: paddle.Tensor, coefficient: int, scale: int) -> None:
        if coefficient != NONE:
            y = y * self._coefficients[coefficient]
        if scale != NONE:
            y = y * self._scales[scale].reshape([-1, 1, 1, 1])
        before = self.maps[target]
        self.maps[target] = y if before is None else before + y

    def _normalised(self, x: paddle.Tensor, layers: Sequence[nn.BatchNorm2D]) -> paddle.Tensor:
        """By formula: Paddle's batch norm cannot have a shift without gradient beside a scale with one."""
        if not layers:
            return x
        if self._training:
            mean = x.mean([0, 2, 3], keepdim=True)
            variance = ((x - mean) * (x - mean)).mean([0, 2, 3], keepdim=True)
            n = x.size // x.shape[1]
            for layer in layers:
                self._track(layer, mean.numpy().flatten(), variance.numpy().flatten() * n / (n - 1))
        else:
            (layer,) = layers
            mean, variance = (t.reshape([1, -1, 1, 1]) for t in (layer._mean, layer._variance))
        y = (x - mean) / paddle.sqrt(variance + layers[0]._epsilon)
        if layers[0].weight is not None:
            y = y * layers[0].weight.reshape([1, -1, 1, 1])
        return y if layers[0].bias is None else y + layers[0].bias.reshape([1, -1, 1, 1])

    def _track(self, layer: nn.BatchNorm2D, *batch: np.ndarray) -> None:
        before = self.running.get(id(layer), (layer._mean.numpy(), layer._variance.numpy()))
        keep = layer._momentum
        self.running[id(layer)] = tuple(keep * old + (1 - keep) * new for old, new in zip(before, batch, strict=True))


def _window_sum(x: paddle.Tensor, size: int, stride: int, padding: int) -> paddle.Tensor:
    """Sums over windows, as many as ceil(length / stride) along each axis; nothing counts beyond the border."""
    counts = [-(-n // stride) for n in x.shape[2:]]
    height, width = ((n - 1) * stride + 1 for n in counts)
    padded = F.pad(x, [padding, size + stride, padding, size + stride])
    shifts = [padded[:, :, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return paddle.add_n([y[:, :, ::stride, ::stride] for y in shifts])


# ------------------------------------------------------------------------------------------ both ways of computing
@dataclass(eq=False)
class Case:
    """A plan with everything that it is computed on."""

    recorder: Recorder
    plan: Plan
    inputs: list[paddle.Tensor]
    coefficients: paddle.Tensor | None = None
    scales: paddle.Tensor | None = None
    training: bool = True
    weight: Callable[[Sequence[int]], paddle.Tensor] | None = None  # the gradient of an output of a shape

    @property
    def sources(self) -> dict[str, paddle.Tensor]:
        """What gradients may be asked for, by name."""
        named = {f"input {i}": x for i, x in enumerate(self.inputs)}
        if self.coefficients is not None:
            named["coefficients"] = self.coefficients
        return named | {f"param {i} {p.shape}": p for i, p in _distinct(self.plan.params)}

    def plain(self) -> dict[str, np.ndarray | None]:
        """Output, gradients and running statistics by Paddle's operators; the layers' own statistics stay."""
        run = PlainRun(self.inputs, self.coefficients, self.scales, self.training)
        for name, args, kwargs in self.recorder.calls:
            getattr(run, name)(*args, **kwargs)
        out = paddle.concat([run.maps[i] for i in self.recorder.outputs], axis=1)
        return self._differentiated(out) | self._statistics(run.running)

    def fused(self, track: bool = True) -> dict[str, np.ndarray | None]:
        """The same by the kernels, which move the layers' running statistics."""
        return self._differentiated(self.forward(track)) | self._statistics({})

    def check(self, tolerance: float = 1e-10) -> None:
        """Compares the two ways."""
        expected = self.plain()
        litter()
        compare(self.fused(), expected, tolerance)

    def forward(self, track: bool = True) -> paddle.Tensor:
        return run_plan(self.plan, self.inputs, self.coefficients, self.scales, training=self.training, track=track)

    def _differentiated(self, out: paddle.Tensor) -> dict[str, np.ndarray | None]:
        named = self.sources
        wanted = {name: t for name, t in named.items() if not t.stop_gradient}
        found = dict.fromkeys(named)
        assert wanted or out.stop_gradient
        if not out.stop_gradient:
            weight = drawn(out.shape, out.dtype) if self.weight is None else self.weight(out.shape)
            found |= zip(wanted, paddle.grad(out, list(wanted.values()), weight, allow_unused=True), strict=True)
        return {"output": out.numpy()} | {k: None if g is None else g.numpy() for k, g in found.items()}

    def _statistics(self, running: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
        found = {}
        for number, layer in _distinct([layer for _, layer in self.plan.tracked]):
            mean, variance = running.get(id(layer), (layer._mean.numpy(), layer._variance.numpy()))
            found |= {f"running mean {number}": mean, f"running variance {number}": variance}
        return found


def _distinct(things: Sequence[Any]) -> list[tuple[int, Any]]:
    """Each thing once, with the number of its first appearance."""
    return [(i, thing) for i, thing in enumerate(things) if not any(thing is other for other in things[:i])]


def drawn(shape: Sequence[int], dtype: Any) -> paddle.Tensor:
    """The same normal numbers each time, the same in single and double precision."""
    return paddle.to_tensor(np.random.default_rng(7).normal(size=shape).astype("float32"), dtype)


def litter() -> None:
    """Fills the memory that passes work in, and what Paddle will hand out next, with NaN: nobody may read it."""
    plan = PlanBuilder([48])
    target = plan.map(48)
    make = Maker(0, epsilon=np.nan)
    plan.conv(0, target, [make.stage(48, 48, 3, depthwise=True, padding=3)] * 2)
    x = paddle.full([5, 48, 20, 20], np.nan, "float64")
    x.stop_gradient = False
    run_plan(plan.finish([target]), [x], training=True).sum().backward()
    for count in (10, 1_000, 100_000):
        paddle.full([count], np.nan, "float64")


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value.

    All that goes in is of order one, so what comes out below SMALL is the rest of a cancellation.
    """
    largest = max(np.abs(expected).max(initial=0.0), SMALL)
    return float(np.abs(found - expected).max(initial=0.0) / largest)


def compare(
    found: Mapping[str, np.ndarray | None], expected: Mapping[str, np.ndarray | None], tolerance: float = 1e-10
) -> None:
    """Everything agrees within ``tolerance``, relative to the largest value.

    A parameter without a gradient has none either way. Inputs and coefficients that no output depends on may have
    zeros instead.
    """
    assert list(found) == list(expected)
    for name, want in expected.items():
        got = found[name]
        if want is None and got is not None and not name.startswith("param"):
            want = np.zeros_like(got)
        assert (got is None) == (want is None), f"{name}: {'no' if got is None else 'a'} gradient"
        if want is not None:
            assert got.shape == want.shape, name
            assert error(got, want) <= tolerance, f"{name}: relative error {error(got, want):.2g}"


# ------------------------------------------------------------------------------------------ layers with known numbers
class Maker:
    """Layers and tensors whose values come from one generator.

    ``epsilon`` of the norms is large, lest gradients through them cancel to rounding noise (as they do when a norm
    sees two values, or follows a convolution of a single weight). ``rounded`` double precision has the same numbers as
    single precision.
    """

    def __init__(self, seed: int, dtype: str = "float64", epsilon: float = 0.1, rounded: bool = False) -> None:
        self.rng, self.dtype, self.epsilon = np.random.default_rng(seed), dtype, epsilon
        self._values = "float32" if rounded else dtype

    def tensor(self, values: np.ndarray, stop_gradient: bool = True) -> paddle.Tensor:
        return paddle.to_tensor(values.astype(self._values), self.dtype, stop_gradient=stop_gradient)

    def values(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape)

    def weights(self, shape: Sequence[int]) -> np.ndarray:
        return self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))

    def normal(self, *shape: int) -> paddle.Tensor:
        return self.tensor(self.values(*shape), stop_gradient=False)

    def image(self, *shape: int) -> paddle.Tensor:
        """Normal values, every fifth a zero, where ReLU has its kink."""
        return self.tensor(self.values(*shape) * (self.rng.random(shape) > 0.2), stop_gradient=False)

    def conv(self, c_in: int, c_out: int, kernel: Any = 1, groups: int = 1, **window: Any) -> nn.Conv2D:
        layer = nn.Conv2D(c_in, c_out, kernel, groups=groups, bias_attr=False, **window)
        layer.weight = self.parameter(self.weights(layer.weight.shape))
        return layer

    def norm(self, channels: int, affine: bool = True) -> BatchNorm:
        layer = BatchNorm(channels, affine)
        layer._momentum, layer._epsilon = MOMENTUM, self.epsilon
        if affine:
            layer.weight = self.parameter(self.rng.normal(size=channels))
            layer.bias = self.parameter(self.rng.normal(size=channels))
        layer._mean = self.parameter(self.rng.normal(size=channels), trainable=False)
        layer._variance = self.parameter(self.rng.uniform(0.5, 2.0, channels), trainable=False)
        return layer

    def parameter(self, values: np.ndarray, trainable: bool = True) -> paddle.Tensor:
        made = paddle.create_parameter(values.shape, self.dtype)
        made.set_value(self.tensor(values))
        made.stop_gradient = not trainable
        return made

    def stage(
        self,
        c_in: int,
        c_out: int,
        kernel: Any = 1,
        *,
        relu: bool = True,
        depthwise: bool = False,
        norm: bool = True,
        affine: bool = True,
        **window: Any,
    ) -> stages.Stage:
        """A stage whose ``kernel`` and ``window`` are the depthwise convolution's if there is one."""
        first = self.conv(c_in, c_in, kernel, groups=c_in, **window) if depthwise else None
        dense = self.conv(c_in, c_out) if depthwise else self.conv(c_in, c_out, kernel, **window)
        return stages.Stage(relu, first, (dense,), self.norm(c_out, affine) if norm else None)

    def halving(self, c_in: int, c_out: int, relu: bool = True, norm: bool = True, affine: bool = True) -> stages.Stage:
        """A factorised reduction."""
        dense = tuple(self.conv(c_in, c_out // 2, stride=2) for _ in range(2))
        return stages.Stage(relu, None, dense, self.norm(c_out, affine) if norm else None)


class WholeMaker(Maker):
    """Whole numbers, few of the weights other than zero: single precision has nothing to round."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, "float32")

    def values(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-2, 3, shape).astype("float64")

    def weights(self, shape: Sequence[int]) -> np.ndarray:
        return self.values(*shape) * (self.rng.random(shape) < 4 / np.prod(shape[1:]))
