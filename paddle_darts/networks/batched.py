"""A search cell in few, large operator calls; the numbers are those of one call per operation and edge.

What edges share is computed once per state, equal operations of all edges that leave a state are computed side by
side on the channel axis, and one matrix product per state mixes the results. What is put together stands in
:mod:`paddle_darts.networks.batched_plan`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import paddle
from paddle.nn import functional as F

from paddle_darts.networks.batched_plan import Batch, Block, Fan, Kernel, plan_of
from paddle_darts.networks.draws import Draws
from paddle_darts.networks.mix import CellMix
from paddle_darts.networks.partial import bypass, joined
from paddle_darts.nn.blocks import Zero
from paddle_darts.nn.layers import batch_norm
from paddle_darts.nn.stages import shifted
from paddle_darts.spaces.darts import edge_stride

if TYPE_CHECKING:
    from paddle_darts.networks.search_cell import SearchCell

Tensors = list[paddle.Tensor]
Kernels = dict[Kernel, paddle.Tensor]


def mixed_cell(cell: SearchCell, inputs: Sequence[paddle.Tensor], mix: CellMix, draws: Draws) -> paddle.Tensor:
    """The output [B, multiplier*C, h, w] of a search cell for its ``inputs``."""
    plan = plan_of(cell, mix.active, bool(draws.masks))
    kernels, weights = plan.kernels(), plan.weights(mix.ops, mix.edges)
    states, width = cell.input_states(inputs), cell.channels // cell.parts
    zeros = Zero(2 if cell.reduction else 1)(states[0])
    whole = cell.parts == 1
    mixed = _Nodes(zeros if whole else zeros[:, :width])
    passed = None if whole else _Nodes(zeros[:, width:])
    for number, fan in enumerate(plan.fans):
        x = states[number] if fan.matters else states[number].detach()
        offset = None if mix.offset is None else paddle.gather(mix.offset, fan.rows)
        part = x if whole else x[:, :width]
        given = None if weights[number] is None else _spread(fan, part, weights[number], kernels, draws)
        mixed.receive(given, offset)
        if not whole:
            passed.receive(_pass_by(cell, number, fan, x, mix.edges), offset)
        if number + 1 >= cell.inputs:  # the last state that the next node reads
            node = mixed.first()
            states.append(node if whole else joined(node, passed.first(), cell.parts, cell.sampling))
    return paddle.concat(states[-cell.multiplier :], axis=1)


class _Nodes:
    """What the nodes still to come have received so far, each in the form of ``zeros`` [B, c, h, w]."""

    def __init__(self, zeros: paddle.Tensor) -> None:
        self._zeros = zeros
        self._ahead: paddle.Tensor | None = None  # [B, nodes, c*h*w]

    def receive(self, given: paddle.Tensor | None, offset: paddle.Tensor | None) -> None:
        """Adds what a fan gives to them [B, nodes, c*h*w], and the scalars ``offset`` [nodes]."""
        if offset is not None:
            # also where only `none` was chosen: the gradient of what was not chosen passes through here
            given = self._zeros.flatten(1).unsqueeze(1) if given is None else given
            given = given + offset.unsqueeze(1)
        if given is not None:
            self._ahead = given if self._ahead is None else self._ahead + given

    def first(self) -> paddle.Tensor:
        """What the first of them has received; the others are still to come."""
        node, ahead = self._ahead, None
        if node is not None and node.shape[1] > 1:
            node, ahead = paddle.split(node, [1, node.shape[1] - 1], axis=1)
        self._ahead = ahead
        return self._zeros if node is None else node.reshape(self._zeros.shape)


def _pass_by(
    cell: SearchCell, number: int, fan: Fan, x: paddle.Tensor, edges: paddle.Tensor | None
) -> paddle.Tensor | None:
    """What passes by the edges of the fan of state ``number`` [B, nodes, c*h*w]; None if they all are off."""
    if not fan.live.any():
        return None
    rest = bypass(x, cell.channels // cell.parts, edge_stride(cell.reduction, number))
    weights = paddle.to_tensor(fan.live, dtype=x.dtype, place=x.place)
    if edges is not None:
        weights = paddle.where(weights > 0, paddle.gather(edges, fan.rows), paddle.zeros_like(weights))
    return weights.reshape([1, -1, 1]) * rest.reshape([rest.shape[0], 1, -1])


def _spread(fan: Fan, x: paddle.Tensor, weights: paddle.Tensor, kernels: Kernels, draws: Draws) -> paddle.Tensor:
    """What the state ``x`` gives to the nodes after it [B, nodes, C*h*w], mixed by ``weights`` [nodes, maps]."""
    maps: Tensors = []
    shared = _Shared(x)
    for batch in fan.batches:
        with _graph(batch.matters):
            maps += _chain(batch, shared, kernels)
    for pool in fan.pools:
        pooled = pool.layer(x)
        maps += [batch_norm(pooled, norms) for norms in pool.norms] or [pooled]
    for layer, matters in fan.others:
        with _graph(matters):
            maps.append(layer(x))
    if fan.identity:
        maps.append(x)
    maps += [x * draws.masks[place] for place in fan.masked]
    return paddle.matmul(weights, _join(maps).reshape([x.shape[0], weights.shape[1], -1]))


def _graph(matters: bool) -> contextlib.AbstractContextManager[None]:
    """Weights that the loss does not depend on have no gradient, rather than one of zero with which they decay."""
    return contextlib.nullcontext() if matters else paddle.no_grad()


class _Shared:
    """A state, and what its edges share, computed when it is first asked for."""

    def __init__(self, x: paddle.Tensor) -> None:
        self._known = {(False, 1): x}

    def copies(self, relu: bool, count: int) -> paddle.Tensor:
        """``count`` copies of the state, rectified or not, side by side."""
        if (relu, count) not in self._known:
            once = F.relu(self.copies(False, 1)) if count == 1 else self.copies(relu, 1)
            self._known[relu, count] = once if count == 1 else paddle.tile(once, [1, count, 1, 1])
        return self._known[relu, count]


def _chain(batch: Batch, inputs: _Shared | Tensors, kernels: Kernels) -> Tensors:
    """The complete maps of a batch, then those of what follows it. Its runs share a state or have an input each."""
    own = None if isinstance(inputs, _Shared) else iter(inputs)
    results = []
    for block in batch.blocks:
        parts = []
        for run in block.runs:
            if own is None:
                x = inputs.copies(run.relu, run.count if run.depthwise else 1)
            else:
                x = F.relu(next(own)) if run.relu else next(own)
            parts.append(_conv(x, run.depthwise, kernels, groups=x.shape[1]) if run.depthwise else x)
        results.append((_pointwise if block.pointwise else _dense)(block, _join(parts), kernels))
    y = _join(results)
    if batch.norms:
        y = batch_norm(y, batch.norms)
    width = y.shape[1] // sum(batch.pieces)
    pieces = [y] if len(batch.pieces) == 1 else paddle.split(y, [maps * width for maps in batch.pieces], axis=1)
    done = [pieces[i] for i in batch.complete]
    for following, taken in batch.following:
        done += _chain(following, [pieces[i] for i in taken], kernels)
    return done


def _pointwise(block: Block, x: paddle.Tensor, kernels: Kernels) -> paddle.Tensor:
    """1x1 convolutions, each of its own part of the channels."""
    batch, _, *size = x.shape
    (kernel,) = block.dense
    count = len(kernel.layers)
    weight = kernels[kernel].reshape([1, count, *kernel.layers[0].weight.shape[:2]])
    # expanded by hand: a product that broadcasts is one GEMM per image and edge on a GPU
    weight = weight.expand([batch, *weight.shape[1:]])
    return paddle.matmul(weight, x.reshape([batch, count, -1, size[0] * size[1]])).reshape([batch, -1, *size])


def _dense(block: Block, x: paddle.Tensor, kernels: Kernels) -> paddle.Tensor:
    """Dense convolutions of an input that all stages share, or each of its own part of the channels."""
    groups = x.shape[1] // block.dense[0].layers[0].weight.shape[1]
    y = _conv(x, block.dense[0], kernels, groups)
    if len(block.dense) == 1:
        return y
    batch, _, *size = y.shape
    halves = [y, _conv(shifted(x), block.dense[1], kernels, groups)]
    halves = [half.reshape([batch, block.runs[0].count, -1, *size]) for half in halves]
    return paddle.concat(halves, axis=2).reshape([batch, -1, *size])


def _conv(x: paddle.Tensor, kernel: Kernel, kernels: Kernels, groups: int) -> paddle.Tensor:
    like = kernel.layers[0]
    return F.conv2d(x, kernels[kernel], None, like._stride, like._updated_padding, like._dilation, groups)


def _join(parts: Sequence[paddle.Tensor]) -> paddle.Tensor:
    return parts[0] if len(parts) == 1 else paddle.concat(list(parts), axis=1)
