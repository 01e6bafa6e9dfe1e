"""Plans: what the kernels are to compute, as a table of steps over maps.

A *map* is a tensor [B, C, H, W]; the first ones are the inputs. A *step* reads one map and adds
``coefficient * scale[sample] * f(map)`` to another; f is a chain of convolution stages, a plain sum, a product with a
mask, or a constant. Pooling gives a map of its own, so that all who read it share it. The plan knows channels and
layers but no sizes: those come with the inputs. `csrc/plan.h` reads what is written here.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import paddle
from paddle import nn

#: Changes with the meaning of any number in a program.
VERSION = 2
_SUM, _CONSTANT, _POOL, _CONV, _MASKED = range(5)
NONE = -1


class UnknownFormError(ValueError):
    """A layer does something that the kernels cannot; Paddle's operators can."""


class Stage(Protocol):
    """One stage of a convolution chain; see :class:`paddle_darts.nn.stages.Stage`."""

    relu: bool
    depthwise: nn.Conv2D | None
    dense: tuple[nn.Conv2D, ...]
    norm: nn.BatchNorm2D | None


@dataclass(frozen=True, eq=False)
class Plan:
    """A finished table.

    ``params`` are the trained tensors in the order of their numbers, ``learning`` the numbers of those that the outputs
    depend on (the others are computed with, for the running statistics behind them, but have no gradient).
    ``tracked`` pairs a norm's number with a layer whose running statistics belong to it. ``inputs`` are the channels of
    the inputs, ``leading`` the numbers of those that the outputs depend on and that are no masks; ``coefficients`` and
    ``scales`` say how many of them the steps count on.
    """

    program: np.ndarray
    inputs: tuple[int, ...]
    leading: tuple[int, ...]
    coefficients: int
    scales: int
    params: tuple[paddle.Tensor, ...]
    learning: tuple[int, ...]
    tracked: tuple[tuple[int, nn.BatchNorm2D], ...]


class PlanBuilder:
    """Writes a plan step by step; every map must be complete before a step reads it."""

    def __init__(self, input_channels: Sequence[int]) -> None:
        self._channels = list(input_channels)
        self._inputs = len(self._channels)
        self._params: list[paddle.Tensor] = []
        self._norms: list[tuple[int, int]] = []
        self._tracked: list[tuple[int, nn.BatchNorm2D]] = []
        self._steps: list[list[int]] = []
        self._complete: set[int] = set(range(self._inputs))  # what nothing may be added to
        self._masks: set[int] = set()
        self._read: set[int] = set()
        self._owned: list[int] = []  # per step: the number of parameters after it

    def map(self, channels: int) -> int:
        """A new map of zeros, which steps add to; its size follows from the first of them."""
        self._channels.append(channels)
        return len(self._channels) - 1

    def channels(self, index: int) -> int:
        return self._channels[index]

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
        """target[put[0] + i*put[1]] += source[take[0] + i*take[1]] for ``count`` channels i (None: all)."""
        number = self._channels[source] if count is None else count
        for index, (first, apart) in ((source, take), (target, put)):
            if not 0 <= first <= first + (number - 1) * apart < self._channels[index]:
                raise ValueError(f"channels {first}, {first + apart}, ... ({number}) are not in map {index}")
        self._step(_SUM, source, target, coefficient, scale, *take, *put, number)

    def masked(self, source: int, target: int, mask: int, coefficient: int = NONE, scale: int = NONE) -> None:
        """target += source * mask, element by element; the mask is an input without gradient that only masks."""
        if not 0 <= mask < self._inputs or mask in self._read:
            raise ValueError(f"map {mask} cannot be a mask: it is no input, or is read otherwise")
        if not self._channels[source] == self._channels[target] == self._channels[mask]:
            got = [self._channels[i] for i in (source, target, mask)]
            raise ValueError(f"source, target and mask must have equally many channels, got {got}")
        self._masks.add(mask)
        self._step(_MASKED, source, target, coefficient, scale, mask)

    def constant(self, source: int, target: int, stride: int, coefficient: int = NONE) -> None:
        """target += coefficient (NONE: nothing), for a target of the source's size divided by ``stride``."""
        self._step(_CONSTANT, source, target, coefficient, NONE, stride)

    def pool(
        self, source: int, kind: str, stride: int, norms: Sequence[nn.BatchNorm2D] = (), size: int = 3, padding: int = 1
    ) -> int:
        """A new map: ``"max"`` or ``"avg"`` pooling, normalised if there are ``norms``.

        Their running statistics all follow the one normalisation. Norms with scale and shift are not allowed.
        """
        if any(norm.weight is not None or norm.bias is not None for norm in norms):
            raise UnknownFormError("the kernels know pools with norms without scale and shift only")
        target = self.map(self._channels[source])
        self._step(_POOL, source, target, NONE, NONE, int(kind == "avg"), size, stride, padding, self._norm(norms))
        self._complete.add(target)
        return target

    def conv(
        self, source: int, target: int, stages: Sequence[Stage], coefficient: int = NONE, scale: int = NONE
    ) -> None:
        """target += coefficient * the chain of ``stages``.

        ValueError where their channels do not fit, UnknownFormError for what the kernels cannot do.
        """
        fields: list[int] = []
        channels = self._channels[source]
        for stage in stages:
            form = _form(stage)
            if form.channels_in != channels:
                raise ValueError(f"a weight {form.first} does not fit {channels} channels")
            channels = form.channels_out
            fields += [
                form.relu,
                channels,
                self._norm(() if stage.norm is None else (stage.norm,)),
                NONE if stage.depthwise is None else self._param(stage.depthwise.weight),
                *form.depthwise,
                self._param(stage.dense[0].weight),
                self._param(stage.dense[1].weight) if len(stage.dense) > 1 else NONE,
                *form.dense,
            ]
        if channels != self._channels[target]:
            raise ValueError(f"a chain of {channels} output channels cannot add to a map of {self._channels[target]}")
        self._step(_CONV, source, target, coefficient, scale, len(stages), *fields)

    def finish(self, outputs: Sequence[int]) -> Plan:
        """The plan whose result is the maps ``outputs`` side by side."""
        if self._masks.intersection(outputs):
            raise ValueError(f"the masks {sorted(self._masks.intersection(outputs))} cannot be outputs")
        sizes = [self._inputs, len(self._channels), len(self._steps), len(outputs), len(self._params), len(self._norms)]
        tables = [self._channels, outputs, *self._norms, *self._steps]
        program = np.array([VERSION, *sizes, *(n for table in tables for n in table)], dtype=np.int64)
        learning, leading = self._dependencies(outputs)
        return Plan(
            program,
            inputs=tuple(self._channels[: self._inputs]),
            leading=leading,
            coefficients=1 + max((step[3] for step in self._steps), default=NONE),
            scales=1 + max((step[4] for step in self._steps), default=NONE),
            params=tuple(self._params),
            learning=learning,
            tracked=tuple(self._tracked),
        )

    def _dependencies(self, outputs: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The parameters of the steps whose targets lead to the outputs, and the inputs that do."""
        alive, numbers = set(outputs), []
        for step, (kind, source, target, *_) in reversed(list(enumerate(self._steps))):
            if target in alive and kind != _CONSTANT:
                alive.add(source)
                numbers += range(self._owned[step - 1] if step else 0, self._owned[step])
        return tuple(sorted(numbers)), tuple(i for i in range(self._inputs) if i in alive)

    def _step(self, kind: int, source: int, target: int, coefficient: int, scale: int, *fields: int) -> None:
        if target in self._complete or target == source:
            raise ValueError(f"nothing can be added to map {target} here: it is complete, or was read already")
        if source in self._masks:
            raise ValueError(f"map {source} is a mask: no step can read it otherwise")
        self._read.add(source)
        self._complete.add(source)
        self._steps.append([kind, source, target, coefficient, scale, *fields])
        self._owned.append(len(self._params))

    def _param(self, parameter: paddle.Tensor | None) -> int:
        if parameter is None:
            return NONE
        self._params.append(parameter)
        return len(self._params) - 1

    def _norm(self, layers: Sequence[nn.BatchNorm2D]) -> int:
        if not layers:
            return NONE
        for layer in layers:
            first = self._tracked[0][1] if self._tracked else layer
            if (layer._momentum, layer._epsilon) != (first._momentum, first._epsilon):
                raise UnknownFormError("the kernels know one momentum and one epsilon for all norms of a plan")
        number = len(self._norms)
        self._norms.append((self._param(layers[0].weight), self._param(layers[0].bias)))
        self._tracked += [(number, layer) for layer in layers]
        return number


@dataclass(frozen=True)
class _Form:
    """What a program says of a stage besides its parameters. ``first`` is the shape of the weight that reads its
    input."""

    relu: int
    channels_in: int
    channels_out: int
    depthwise: tuple[int, ...]
    dense: tuple[int, ...]
    first: str


# methods that draw their operations write new plans at every step, of stages that stay
_forms: weakref.WeakKeyDictionary[Stage, _Form] = weakref.WeakKeyDictionary()


def _form(stage: Stage) -> _Form:
    """The form of a stage, looked up once.

    UnknownFormError for convolutions that the kernels cannot compute, ValueError where their channels do not fit.
    """
    if stage not in _forms:
        _forms[stage] = _looked_up(stage)
    return _forms[stage]


def _looked_up(stage: Stage) -> _Form:
    depthwise, dense = stage.depthwise, stage.dense
    convs = dense if depthwise is None else (depthwise, *dense)
    if any(conv.bias is not None for conv in convs):
        raise UnknownFormError("the kernels know convolutions without bias only")
    if any(conv._groups > 1 for conv in dense):
        raise UnknownFormError("the kernels know depthwise and dense convolutions, but no groups between")
    if depthwise is not None and (len(dense) > 1 or _window(dense[0]) != [1, 1, 1, 1, 1, 0, 0]):
        raise UnknownFormError("the kernels know depthwise convolutions in front of 1x1 convolutions only")
    channels, per_group = convs[0].weight.shape[:2]
    if depthwise is None:
        channels = per_group
    elif per_group != 1:
        raise ValueError(f"a depthwise weight {depthwise.weight.shape} does not fit {channels} channels")
    for conv in dense:
        if conv.weight.shape[1] != channels or conv.weight.shape[0] != dense[0].weight.shape[0]:
            raise ValueError(f"a dense weight {conv.weight.shape} does not fit {channels} channels")
    return _Form(
        relu=int(stage.relu),
        channels_in=channels,
        channels_out=dense[0].weight.shape[0] * len(dense),
        depthwise=tuple(_window(depthwise)),
        dense=tuple(_window(dense[0])),
        first=str(convs[0].weight.shape),
    )


def _window(conv: nn.Conv2D | None) -> list[int]:
    """Kernel, stride, dilation and padding of a convolution as numbers."""
    if conv is None:
        return [0] * 7
    stride, padding, dilation = _pair(conv._stride), _pair(conv._padding), _pair(conv._dilation)
    if dilation[0] != dilation[1]:
        raise UnknownFormError(f"the kernels know one dilation for both axes, got {dilation}")
    return [*conv.weight.shape[2:], *stride, dilation[0], *padding]


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
