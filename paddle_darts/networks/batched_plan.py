"""Which candidates of a cell are computed together, and which weight belongs to which of the results.

All that leaves one state is a *fan*. Its convolutions form *batches*: stages whose results have one size are
convolved and normalised side by side on the channel axis, in *runs* of stages that differ in nothing but their
weights. Pools and the identity are computed once for all edges. The results are *maps*, and one matrix [nodes, maps]
of weights turns them into what the fan adds to the nodes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import paddle
from paddle import nn

from paddle_darts.networks.layer_cache import LayerCache, described_candidates
from paddle_darts.nn.layers import BatchNorm
from paddle_darts.nn.stages import Description, Identity, Nothing, Pooling, Stage

if TYPE_CHECKING:
    from paddle_darts.networks.search_cell import SearchCell


@dataclass(frozen=True, eq=False)
class Kernel:
    """The weights of convolutions that are computed as one; ``layers`` differ in nothing else."""

    layers: tuple[nn.Conv2D, ...]


@dataclass(frozen=True, eq=False)
class Run:
    """The input side of ``count`` equal stages."""

    count: int
    relu: bool
    depthwise: Kernel | None


@dataclass(frozen=True, eq=False)
class Block:
    """One run and its dense convolutions, or several runs whose 1x1 convolutions are one matrix product.

    ``dense`` is one kernel, or the two of factorised reductions.
    """

    runs: tuple[Run, ...]
    pointwise: bool
    dense: tuple[Kernel, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Blocks whose results are normalised together.

    The results fall into ``pieces`` (numbers of maps) of equal destination: a piece is ``complete``, or an input of a
    batch of ``following``, which come as (batch, the pieces that its runs read). A batch ``matters`` if the output of
    the cell depends on it.
    """

    blocks: tuple[Block, ...]
    norms: tuple[BatchNorm, ...]
    pieces: tuple[int, ...]
    complete: tuple[int, ...]
    following: tuple[tuple[Batch, tuple[int, ...]], ...]
    matters: bool


@dataclass(frozen=True, eq=False)
class Pool:
    """A pooling. Each entry of ``norms`` makes one map of it, which all norms of the entry follow; without any the
    pooled map is taken as it is."""

    layer: nn.Layer
    norms: tuple[tuple[BatchNorm, ...], ...]


@dataclass(frozen=True, eq=False)
class Fan:
    """What leaves one state.

    ``others`` are operations of unknown form, computed one by one, each with whether it matters (see :class:`Batch`).
    The identity is one map for all edges, or has a mask of its own for each (edge, column) of ``masked``. ``rows`` are
    the numbers of the edges to the nodes, which are the last of the cell; ``live`` says which of them have anything
    active. The fan ``matters`` if the output of the cell depends on its state through it.
    """

    batches: tuple[Batch, ...]
    pools: tuple[Pool, ...]
    others: tuple[tuple[nn.Layer, bool], ...]
    identity: bool
    masked: tuple[tuple[int, int], ...]
    rows: paddle.Tensor
    live: np.ndarray
    matters: bool


@dataclass(frozen=True, eq=False)
class _Candidate:
    """One active operation of the edge ``row``. ``weight`` is its position in the flat weights; it ``matters`` if the
    output of the cell depends on its node."""

    node: int
    row: int
    column: int
    weight: int
    what: Description | nn.Layer
    matters: bool

    def stage(self, depth: int) -> Stage | None:
        return self.what[depth] if depth < len(self.what) else None


#: The candidates that each map of a fan stands for.
Columns = list[list[_Candidate]]


class CellPlan:
    """The fans of a cell's states 0, 1, ... in order.

    The first ``inputs`` states come from outside. ``described`` are the operations of the ``edges`` (node, source), as
    layers where their form is unknown; ``active`` says which of them are on. The output joins the last ``multiplier``
    nodes. ``partial``: some channels pass by every edge with anything active. ``masked``: each identity has a mask of
    its own.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        inputs: int,
        described: Sequence[Sequence[Description | nn.Layer]],
        active: np.ndarray | None,
        multiplier: int,
        training: bool,
        partial: bool = False,
        masked: bool = False,
    ) -> None:
        used = np.array([[not isinstance(what, Nothing) for what in row] for row in described])
        live = np.ones(len(edges), dtype=bool) if active is None else active.any(axis=1)
        if active is not None:
            used &= active
        steps, width = 1 + max(node for node, _ in edges), used.shape[1]
        leads = live if partial else used.any(axis=1)
        reached = _reached(edges, inputs, leads, steps, multiplier)
        self._kernels: dict[Hashable, list[Kernel]] = {}
        fans, index = [], []
        for state in range(inputs + steps - 1):
            rows = [row for row, (_, source) in enumerate(edges) if source == state]
            nodes = [edges[row][0] for row in rows]
            if nodes != list(range(max(0, state + 1 - inputs), steps)):
                raise ValueError(f"state {state} needs one edge to every later node, it has edges to the nodes {nodes}")
            chosen = [
                _Candidate(
                    edges[row][0], row, column, row * width + column, described[row][column], edges[row][0] in reached
                )
                for column in range(width)
                for row in rows
                if used[row, column]
            ]
            # first what matters: what is shared and computed for the others has no graph
            chosen.sort(key=lambda candidate: not candidate.matters)
            columns: Columns = []
            matters = any(leads[row] and edges[row][0] in reached for row in rows)
            fans.append(self._fan(chosen, rows, live[rows], matters, training, masked, columns))
            index.append(np.full((len(nodes), len(columns)), used.size))
            for position, column in enumerate(columns):
                for candidate in column:
                    index[-1][candidate.node - nodes[0], position] = candidate.weight
        self.fans = tuple(fans)
        self._shapes = [positions.shape for positions in index]
        self._index = paddle.to_tensor(np.concatenate([positions.ravel() for positions in index]))
        self._used = paddle.to_tensor(used)

    def weights(self, ops: paddle.Tensor, edges: paddle.Tensor | None) -> list[paddle.Tensor | None]:
        """For every fan the weights [nodes, maps] of its maps; None for a fan without maps."""
        if ops.shape != self._used.shape:
            raise ValueError(f"the weights of a mix must be {self._used.shape} [edges, ops], got {ops.shape}")
        if self._index.shape[0] == 0:
            return [None] * len(self.fans)
        if edges is not None:
            # what is off must not get into the gradient of the edge, whatever its weight
            ops = paddle.where(self._used, ops, paddle.zeros_like(ops)) * edges.unsqueeze(1)
        # the zero at the end is the weight of a map for a node that it does not belong to
        flat = paddle.concat([ops.flatten(), paddle.zeros([1], ops.dtype)])
        sizes = [rows * maps for rows, maps in self._shapes if maps]
        parts = iter(paddle.split(paddle.gather(flat, self._index), sizes))
        return [next(parts).reshape(shape) if shape[1] else None for shape in self._shapes]

    def kernels(self) -> dict[Kernel, paddle.Tensor]:
        """The joined weights of all kernels, by a call or two for each shape of weights."""
        joined = {}
        for kernels in self._kernels.values():
            weights = paddle.concat([layer.weight for kernel in kernels for layer in kernel.layers])
            sizes = [len(kernel.layers) * kernel.layers[0].weight.shape[0] for kernel in kernels]
            joined.update(zip(kernels, paddle.split(weights, sizes), strict=True))
        return joined

    def _fan(
        self,
        chosen: list[_Candidate],
        rows: list[int],
        live: np.ndarray,
        matters: bool,
        training: bool,
        masked: bool,
        columns: Columns,
    ) -> Fan:
        """The fan of the ``chosen`` candidates; appends what its maps stand for to ``columns``, here and below."""
        runs: dict[Hashable, list[_Candidate]] = {}
        for candidate in chosen:
            if isinstance(candidate.what, tuple):
                runs.setdefault((candidate.matters, candidate.stage(0).form), []).append(candidate)
        batches = [batch for batch, _ in self._batches(list(runs.values()), 0, columns)]
        pools = list(_pools((c for c in chosen if isinstance(c.what, Pooling)), training, columns))
        others = [candidate for candidate in chosen if isinstance(candidate.what, nn.Layer)]
        columns += [[candidate] for candidate in others]
        identity = [candidate for candidate in chosen if isinstance(candidate.what, Identity)]
        columns += [[candidate] for candidate in identity] if masked else [identity] if identity else []
        return Fan(
            tuple(batches),
            tuple(pools),
            tuple((candidate.what, candidate.matters) for candidate in others),
            bool(identity) and not masked,
            tuple((candidate.row, candidate.column) for candidate in identity) if masked else (),
            paddle.to_tensor(rows),
            live,
            matters,
        )

    def _batches(
        self, runs: list[list[_Candidate]], depth: int, columns: Columns
    ) -> Iterator[tuple[Batch, tuple[int, ...]]]:
        """The batches for the stages number ``depth`` of ``runs``, each with the numbers of the runs in it."""
        alike: dict[Hashable, list[int]] = {}
        for number, run in enumerate(runs):
            alike.setdefault((run[0].matters, run[0].stage(depth).result), []).append(number)
        for numbers in alike.values():
            members = [candidate for number in numbers for candidate in runs[number]]
            stages = [[candidate.stage(depth) for candidate in runs[number]] for number in numbers]
            pieces = [list(some) for _, some in groupby(members, key=lambda candidate: _form(candidate, depth + 1))]
            complete = [i for i, piece in enumerate(pieces) if piece[0].stage(depth + 1) is None]
            others = [i for i in range(len(pieces)) if i not in complete]
            columns += [[candidate] for i in complete for candidate in pieces[i]]
            following = list(self._batches([pieces[i] for i in others], depth + 1, columns))
            batch = Batch(
                blocks=tuple(self._blocks(stages, members[0].matters)),
                norms=tuple(stage.norm for run in stages for stage in run if stage.norm is not None),
                pieces=tuple(len(piece) for piece in pieces),
                complete=tuple(complete),
                following=tuple((batch, tuple(others[i] for i in taken)) for batch, taken in following),
                matters=members[0].matters,
            )
            yield batch, tuple(numbers)

    def _blocks(self, runs: list[list[Stage]], matters: bool) -> Iterator[Block]:
        def kernel(layers: Iterable[nn.Conv2D]) -> Kernel:
            made = Kernel(tuple(layers))
            self._kernels.setdefault((matters, tuple(made.layers[0].weight.shape[1:])), []).append(made)
            return made

        for pointwise, some in groupby(runs, key=lambda run: run[0].pointwise):
            together = list(some)
            for block in [together] if pointwise else [[run] for run in together]:
                heads = [
                    Run(len(run), run[0].relu, kernel(s.depthwise for s in run) if run[0].depthwise else None)
                    for run in block
                ]
                dense = zip(*(stage.dense for run in block for stage in run), strict=True)
                yield Block(tuple(heads), pointwise, tuple(kernel(layers) for layers in dense))


def _reached(edges: Sequence[tuple[int, int]], inputs: int, leads: np.ndarray, steps: int, multiplier: int) -> set[int]:
    """The nodes that the output of the cell depends on, where the edges of ``leads`` carry something."""
    reached = set(range(steps - multiplier, steps))
    for row in sorted(range(len(edges)), key=lambda row: -edges[row][0]):
        node, source = edges[row]
        if node in reached and source >= inputs and leads[row]:
            reached.add(source - inputs)
    return reached


def _pools(chosen: Iterable[_Candidate], training: bool, columns: Columns) -> Iterator[Pool]:
    kinds: dict[Hashable, list[_Candidate]] = {}
    for candidate in chosen:
        what = candidate.what
        kinds.setdefault((what.kind, what.stride, what.norm is None), []).append(candidate)
    for alike in kinds.values():
        norms = tuple(candidate.what.norm for candidate in alike if candidate.what.norm is not None)
        # the statistics of the batch are the same for every edge; running statistics and scales are an edge's own
        if not norms or (training and norms[0].weight is None):
            columns.append(alike)
            yield Pool(alike[0].what.layer, (norms,) if norms else ())
        else:
            columns += [[candidate] for candidate in alike]
            yield Pool(alike[0].what.layer, tuple((norm,) for norm in norms))


def _form(candidate: _Candidate, depth: int) -> Hashable | None:
    stage = candidate.stage(depth)
    return None if stage is None else stage.form


_plans: LayerCache[CellPlan] = LayerCache()


def plan_of(cell: SearchCell, active: np.ndarray | None, masked: bool = False) -> CellPlan:
    """The plan of a cell; the last few are kept, since most methods change their masks rarely or never.

    ``masked``: skip connections of stride 1 have dropout.
    """
    key = (None if active is None else active.tobytes(), masked, cell.batch_statistics, paddle.get_device())
    return _plans.get(
        cell,
        key,
        lambda: CellPlan(
            cell.wiring,
            cell.inputs,
            described_candidates(cell),
            active,
            cell.multiplier,
            cell.batch_statistics,
            partial=cell.parts > 1,
            masked=masked,
        ),
    )
