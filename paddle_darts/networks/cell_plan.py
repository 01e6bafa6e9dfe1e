"""Cells as plans for the CPU kernels.

What edges share is computed once: the rectified input of all convolutions of a state (by the kernels themselves) and,
while training, each pooling of a state with its batch norm. In evaluation mode every edge has running statistics of
its own, so there each edge normalises for itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from paddle import nn

from paddle_darts.kernels.plan import NONE, Plan, PlanBuilder
from paddle_darts.nn.layers import BatchNorm
from paddle_darts.nn.stages import Description, Identity, Nothing, Pooling, describe


@dataclass(frozen=True)
class Link:
    """One operation of a cell: state ``target`` += coefficient * scale * ``layer`` (state ``source``).

    The output of an identity may be multiplied by the input number ``mask``.
    """

    layer: nn.Layer | Description
    source: int
    target: int
    coefficient: int = NONE
    scale: int = NONE
    mask: int = NONE


@dataclass(frozen=True)
class Bypass:
    """An edge by which channels pass: state ``target`` += coefficient * those channels of state ``source``."""

    source: int
    target: int
    coefficient: int = NONE


def cell_plan(
    input_channels: Sequence[int],
    preprocess: Sequence[nn.Layer | None],
    strides: Sequence[int],
    links: Sequence[Link],
    outputs: Sequence[int],
    training: bool,
    offsets: Sequence[tuple[int, int]] = (),
) -> Plan:
    """The plan of a cell with an input state for each layer of ``preprocess`` and a node for each of ``strides``.

    An input without a layer is a state as it is. ``strides`` tell by how much a node is smaller than state 0. ``links``
    are ordered by target; ``offsets`` are pairs (target, coefficient) of scalars that are added. The result is the
    states ``outputs`` side by side.
    """
    plan = PlanBuilder(input_channels)
    states = _preprocessed(plan, preprocess)
    states += [plan.map(plan.channels(states[0])) for _ in strides]
    first = len(preprocess)
    _place_nodes(plan, states[0], states[first:], strides, [(target - first, number) for target, number in offsets])
    writer = _LinkWriter(plan, links, training)
    for link in links:
        writer.write(link, states[link.source], states[link.target])
    return plan.finish([states[i] for i in outputs])


def partial_cell_plan(
    input_channels: Sequence[int],
    preprocess: Sequence[nn.Layer | None],
    strides: Sequence[int],
    links: Sequence[Link],
    outputs: Sequence[int],
    training: bool,
    offsets: Sequence[tuple[int, int]],
    bypasses: Sequence[Bypass],
    parts: int,
    shuffled: bool,
) -> Plan:
    """The plan of a cell in which 1/``parts`` of the channels go through links, the others through ``bypasses``.

    See :func:`cell_plan`. A node's channels are ``shuffled``, or its linked channels come last. Both parts of a node
    are summed up apart and joined once.
    """
    plan = PlanBuilder(input_channels)
    states = _preprocessed(plan, preprocess)
    channels = plan.channels(states[0])
    width = channels // parts
    split = _Split(plan, states, width)
    writer = _LinkWriter(plan, links, training)
    first = len(preprocess)
    for node, stride in enumerate(strides, start=first):
        mixed, passed, state = (plan.map(size) for size in (width, channels - width, channels))
        _place_nodes(plan, states[0], [mixed, passed, state], [stride] * 3, [])
        for coefficient in (c for target, c in offsets if target == node):
            plan.constant(states[0], state, stride, coefficient)
        for link in (link for link in links if link.target == node):
            writer.write(link, split.linked(link.source), mixed)
        for way in (way for way in bypasses if way.target == node):
            plan.add(split.passing(way.source, stride if way.source < first else 1), passed, way.coefficient)
        plan.add(mixed, state, put=(0, parts) if shuffled else (channels - width, 1))
        if shuffled:
            for group in range(parts - 1):
                plan.add(passed, state, take=(group * width, 1), put=(group + 1, parts), count=width)
        else:
            plan.add(passed, state)
        states.append(state)
    return plan.finish([states[i] for i in outputs])


def _preprocessed(plan: PlanBuilder, preprocess: Sequence[nn.Layer | None]) -> list[int]:
    """The maps of the first states."""
    states = []
    for source, layer in enumerate(preprocess):
        if layer is None:
            states.append(source)
            continue
        stages = describe(layer)
        states.append(plan.map(sum(conv.weight.shape[0] for conv in stages[-1].dense)))
        plan.conv(source, states[-1], stages)
    return states


def _place_nodes(
    plan: PlanBuilder, like: int, maps: Sequence[int], strides: Sequence[int], offsets: Sequence[tuple[int, int]]
) -> None:
    """Gives sizes to the maps of nodes, and adds the scalars ``offsets`` (node, coefficient) to some."""
    for target, stride in zip(maps, strides, strict=True):
        # adds nothing, but gives a size also to a node that no link leads to
        plan.constant(like, target, stride)
    for node, coefficient in offsets:
        plan.constant(like, maps[node], strides[node], coefficient)


class _Split:
    """The two parts of the channels of each state, cut and pooled when they are first asked for."""

    def __init__(self, plan: PlanBuilder, states: list[int], width: int) -> None:
        self._plan, self._states, self._width = plan, states, width
        self._linked: dict[int, int] = {}
        self._passing: dict[tuple[int, int], int] = {}

    def linked(self, state: int) -> int:
        """The map of the first channels."""
        if state not in self._linked:
            self._linked[state] = self._plan.map(self._width)
            self._plan.add(self._states[state], self._linked[state], count=self._width)
        return self._linked[state]

    def passing(self, state: int, stride: int) -> int:
        """The map of the other channels, halved by 2x2 max pooling for a ``stride`` of 2."""
        plan, key = self._plan, (state, stride)
        if key not in self._passing:
            if stride == 1:
                count = plan.channels(self._states[state]) - self._width
                self._passing[key] = plan.map(count)
                plan.add(self._states[state], self._passing[key], take=(self._width, 1), count=count)
            else:
                self._passing[key] = plan.pool(self.passing(state, 1), "max", stride, size=2, padding=0)
        return self._passing[key]


class _LinkWriter:
    """Writes links one by one; a pooling that several of ``links`` take is written with the first of them."""

    def __init__(self, plan: PlanBuilder, links: Sequence[Link], training: bool) -> None:
        self._plan, self._training = plan, training
        self._norms: dict[Hashable, list[BatchNorm]] = {}
        self._pools: dict[Hashable, int] = {}
        for link in links:
            what = _described(link)
            if isinstance(what, Pooling):
                self._norms.setdefault(_pool_key(link, what), []).extend([what.norm] if what.norm else [])

    def write(self, link: Link, source: int, target: int) -> None:
        """The steps of ``link`` from the map ``source`` to the map ``target``."""
        plan, what, factors = self._plan, _described(link), (link.coefficient, link.scale)
        if isinstance(what, Identity):
            if link.mask == NONE:
                plan.add(source, target, *factors)
            else:
                plan.masked(source, target, link.mask, *factors)
        elif isinstance(what, Pooling):
            plan.add(self._pooled(link, what, source), target, *factors)
        elif not isinstance(what, Nothing):
            plan.conv(source, target, what, *factors)

    def _pooled(self, link: Link, what: Pooling, source: int) -> int:
        own = [what.norm] if what.norm else []
        if not self._training and own:
            return self._plan.pool(source, what.kind, what.stride, own)
        key = _pool_key(link, what)
        if key not in self._pools:
            self._pools[key] = self._plan.pool(source, what.kind, what.stride, self._norms[key])
        return self._pools[key]


def _described(link: Link) -> Description:
    return describe(link.layer) if isinstance(link.layer, nn.Layer) else link.layer


def _pool_key(link: Link, what: Pooling) -> Hashable:
    return link.source, what.kind, what.stride, what.norm is not None
