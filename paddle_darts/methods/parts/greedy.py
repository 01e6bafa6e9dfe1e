"""The greedy decisions of SGAS: which edge is settled next, with which operation, and what is pruned then.

Source: Li et al., SGAS: Sequential Greedy Architecture Search, CVPR 2020 (arXiv 1912.00195); lightaime/sgas:
cnn/train_search.py, cnn/model_search.py. Everything works on the probabilities [edges, ops] of one cell kind as NumPy
arrays. Deviations: any position of `none` (there column 0) or none at all, and a defined answer where the authors
divide by zero or decide without a history, see :func:`edge_scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import AnyGenotype, Edge, Genotype, NasBench201Genotype
from paddle_darts.methods.parts.derivation import node_rows, output_states

UNDECIDED, PRUNED = -1, -2
CRITERIA = (1, 2)


@dataclass(frozen=True)
class DecisionSchedule:
    """When decisions are taken: after the epochs ``warmup``, ``warmup + frequency``, ... and until all edges are
    settled; ``final`` epochs follow the last one. Raises ConfigError for impossible numbers."""

    warmup: int = 9
    frequency: int = 5
    final: int = 5

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.frequency < 1 or self.final < 0:
            raise ConfigError(
                f"decisions need warmup >= 0, frequency >= 1 and final >= 0, "
                f"got warmup {self.warmup}, frequency {self.frequency}, final {self.final}"
            )

    def due(self, epoch: int) -> bool:
        """Whether a decision follows ``epoch`` (from 0), as long as an edge is undecided."""
        return epoch >= self.warmup and (epoch - self.warmup) % self.frequency == 0

    def epochs(self, decisions: int = 8) -> int:
        """Epochs of a search that takes so many decisions (two per node in the DARTS space); 50 by default."""
        return self.warmup + self.frequency * (decisions - 1) + 1 + self.final


@dataclass(frozen=True, eq=False)
class EdgeScores:
    """What speaks for each edge, float64 [edges]; ``conditional`` [edges, ops] is the distribution over the real
    operations, zero in the column of `none`."""

    importance: np.ndarray
    certainty: np.ndarray
    stability: np.ndarray
    score: np.ndarray
    conditional: np.ndarray


def edge_scores(
    probabilities: np.ndarray,
    none: int | None,
    criterion: int = 1,
    history: Sequence[np.ndarray] = (),
    official_start: bool = False,
) -> EdgeScores:
    """Scores of the edges whose ``probabilities`` are [edges, ops]; ``none`` is the column of `none`.

    Importance: the probability of all real operations. Certainty: 1 - entropy / log(number of real operations) of
    the conditional distribution. Stability: mean overlap of it with the distributions in ``history``, zeros without
    any. The score is the product of importance, certainty and, under criterion 2, stability, each stretched to
    [0, 1] over all edges. Deviations: stability is left out while the history is empty (``official_start``: all
    scores are zero then), importance is left out in a space without `none`, where it is 1 everywhere; an edge that
    is entirely `none` has a uniform conditional distribution, and a single real operation is certain.
    """
    real = np.array([column != none for column in range(probabilities.shape[1])])
    table = np.where(real, probabilities.astype(np.float64), 0.0)
    importance = table.sum(axis=1) if none is not None else np.ones(len(table))
    mass = table.sum(axis=1, keepdims=True)
    conditional = np.where(mass > 0, table / np.where(mass > 0, mass, 1.0), real / real.sum())
    certainty = _certainty(conditional, int(real.sum()))
    stability = _stability(conditional, history)
    factors = [certainty] if none is None else [importance, certainty]
    if criterion == 2 and (len(history) or official_start):
        factors.append(stability)
    score = np.prod([_stretch(values) for values in factors], axis=0)
    return EdgeScores(importance, certainty, stability, score, conditional)


def _certainty(conditional: np.ndarray, choices: int) -> np.ndarray:
    if choices == 1:
        return np.ones(len(conditional))
    logarithm = np.log(np.where(conditional > 0, conditional, 1.0))
    return 1.0 + (conditional * logarithm).sum(axis=1) / np.log(choices)


def _stability(conditional: np.ndarray, history: Sequence[np.ndarray]) -> np.ndarray:
    if not len(history):
        return np.zeros(len(conditional))
    return np.mean([np.minimum(past, conditional).sum(axis=1) for past in history], axis=0)


def _stretch(values: np.ndarray) -> np.ndarray:
    """To [0, 1] over all edges; zeros when all are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


class Decision(NamedTuple):
    """One greedy decision and why it was taken: ``edge`` leads from state ``source`` into node ``node`` and got
    ``op``; ``pruned`` are the edges of that node that were cut with it."""

    edge: int
    node: int
    source: int
    op: str
    pruned: tuple[int, ...]
    importance: float
    certainty: float
    stability: float
    score: float


class GreedyDecisions:
    """The decisions of one cell kind over a search.

    ``choice`` int [edges]: UNDECIDED, PRUNED, or the column of the operation that was chosen. A cell has ``inputs``
    states from outside. Of the edges into a node two are kept; with ``every_edge`` all are, and `none` may be chosen
    like any other operation (ours: there is no official program for such a space). Raises ConfigError for an unknown
    criterion, a history of no length, or operations without a real one.
    """

    def __init__(
        self,
        primitives: Sequence[str],
        steps: int = 4,
        criterion: int = 1,
        history_size: int = 4,
        official_start: bool = False,
        inputs: int = 2,
        every_edge: bool = False,
    ) -> None:
        if criterion not in CRITERIA:
            raise ConfigError(f"criterion must be one of {CRITERIA}, got {criterion!r}")
        if history_size < 1:
            raise ConfigError(f"history_size must be at least 1, got {history_size}")
        if not set(primitives) - {"none"}:
            raise ConfigError(f"decisions need an operation besides 'none', got {tuple(primitives)}")
        self.primitives, self.steps = tuple(primitives), steps
        self.criterion, self.history_size, self.official_start = criterion, history_size, official_start
        self.none = self.primitives.index("none") if "none" in self.primitives else None
        self.inputs, self.every_edge = inputs, every_edge
        self.edges = [(node, source) for node in range(steps) for source in range(node + inputs)]
        self.choice = np.full(len(self.edges), UNDECIDED, dtype=np.int64)
        self.history: list[np.ndarray] = []

    @property
    def undecided(self) -> np.ndarray:
        """Bool [edges]: neither decided nor pruned."""
        return self.choice == UNDECIDED

    @property
    def complete(self) -> bool:
        """Whether every edge is decided or pruned."""
        return not self.undecided.any()

    def active(self) -> np.ndarray:
        """Bool [edges, ops]: all operations of undecided edges, the chosen one of decided ones, whose weight is 1."""
        return self.undecided[:, None] | (self.choice[:, None] == np.arange(len(self.primitives)))

    def end_epoch(self, probabilities: np.ndarray, due: bool) -> tuple[EdgeScores, Decision | None]:
        """Score the edges, decide if it is ``due`` and something is left, and remember the distributions.

        To be called once per epoch, decision or not, with softmax(alpha) [edges, ops]. The history is that of the
        epochs before; it is kept under criterion 2 only.
        """
        scores = self.scores(probabilities)
        decision = self._decide(scores, probabilities) if due and not self.complete else None
        if self.criterion == 2:
            self.history = [*self.history, scores.conditional][-self.history_size :]
        return scores, decision

    def scores(self, probabilities: np.ndarray) -> EdgeScores:
        """The scores of all edges under the present history; changes nothing."""
        return edge_scores(probabilities, self.none, self.criterion, self.history, self.official_start)

    @property
    def decisions(self) -> int:
        """How many decisions settle the cell."""
        return len(self.edges) if self.every_edge else 2 * self.steps

    def _decide(self, scores: EdgeScores, probabilities: np.ndarray) -> Decision:
        """Settle the undecided edge with the highest score (the first of equals) with its likeliest operation."""
        edge = int(np.where(self.undecided, scores.score, -np.inf).argmax())
        column = self._best_op(probabilities if self.every_edge else scores.conditional, edge)
        pruned = self.settle(edge, column)
        reasons = (float(v[edge]) for v in (scores.importance, scores.certainty, scores.stability, scores.score))
        return Decision(edge, *self.edges[edge], self.primitives[column], pruned, *reasons)

    def settle(self, edge: int, column: int) -> tuple[int, ...]:
        """Decide an edge for the operation in a column; returns the edges that are pruned with it.

        A node with two decided edges loses its undecided ones, unless every edge is kept.
        """
        self.choice[edge] = column
        if self.every_edge:
            return ()
        rows = node_rows(self.steps)[self.edges[edge][0]]
        if sum(self.choice[row] >= 0 for row in rows) < 2:
            return ()
        pruned = tuple(row for row in rows if self.choice[row] == UNDECIDED)
        self.choice[list(pruned)] = PRUNED
        return pruned

    def _best_op(self, table: np.ndarray, edge: int) -> int:
        """The first of the likeliest operations that may be chosen."""
        row = table[edge].astype(np.float64)
        if self.none is not None and not self.every_edge:
            row[self.none] = -np.inf
        return int(row.argmax())

    def final_edges(self) -> list[Edge]:
        """The decided edges of every node in the order of their sources; GenotypeError while edges are undecided."""
        if not self.complete:
            left = np.flatnonzero(self.undecided).tolist()
            raise GenotypeError(f"the edges {left} are undecided; derive a forced genotype, or go on searching")
        return [self._edge(row, int(column)) for row, column in enumerate(self.choice) if column >= 0]

    def forced_edges(self, probabilities: np.ndarray) -> list[Edge]:
        """As if the search ended now: missing edges of a node are its most important undecided ones.

        Importance only selects; edges stand in the order of their sources, operations are the likeliest. A decided
        operation of probability 0, which a limit of skip connections forbids, gives way to the likeliest, too.
        """
        found = []
        for row in self._kept_rows(self.scores(probabilities).importance):
            column = int(self.choice[row])
            keeps = column >= 0 and probabilities[row, column] > 0
            found.append(self._edge(row, column if keeps else self._best_op(probabilities, row)))
        return found

    def _kept_rows(self, importance: np.ndarray) -> list[int]:
        """The edges that stay if the search ends now, in the order of their rows."""
        if self.every_edge:
            return list(range(len(self.edges)))
        kept: list[int] = []
        for rows in node_rows(self.steps):
            taken = [row for row in rows if self.choice[row] >= 0]
            candidates = sorted((r for r in rows if self.choice[r] == UNDECIDED), key=lambda r: -importance[r])
            kept += sorted(taken + candidates[: 2 - len(taken)])
        return kept

    def _edge(self, row: int, column: int) -> Edge:
        return Edge(self.primitives[column], self.edges[row][1])

    def state_dict(self) -> dict[str, Any]:
        """Choices and history as plain JSON."""
        return {"choice": self.choice.tolist(), "history": [table.tolist() for table in self.history]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; ConfigError when the sizes are not those of this cell."""
        choice, shape = np.array(state["choice"], dtype=np.int64), (len(self.edges), len(self.primitives))
        history = [np.array(table, dtype=np.float64) for table in state["history"]]
        sizes = {choice.shape + shape[1:], *(table.shape for table in history)}
        if sizes != {shape}:
            raise ConfigError(f"decisions for {shape[0]} edges and {shape[1]} operations, got {sorted(sizes)}")
        self.choice, self.history = choice, history


def greedy_genotype(
    cells: Mapping[str, GreedyDecisions], multiplier: int = 4, probabilities: Mapping[str, np.ndarray] | None = None
) -> AnyGenotype:
    """The genotype of all cell kinds: the final one, or the forced one under ``probabilities`` [edges, ops].

    Without ``probabilities`` every edge must be settled, else GenotypeError. The last ``multiplier`` nodes form the
    output.
    """
    forced = probabilities is not None
    found = {kind: c.forced_edges(probabilities[kind]) if forced else c.final_edges() for kind, c in cells.items()}
    if (first := next(iter(cells.values()))).every_edge:
        (edges,) = found.values()
        return NasBench201Genotype(tuple(edge.op for edge in edges))
    steps = first.steps
    concat = output_states(steps, multiplier)
    return Genotype(
        normal=tuple(found["normal"]), normal_concat=concat, reduce=tuple(found["reduce"]), reduce_concat=concat
    )


def official_indices(choice: np.ndarray) -> np.ndarray:
    """``choice`` as the authors' `selected_idxs`: -1 undecided, 0 pruned, k the operation (`none` is column 0)."""
    return np.where(choice == PRUNED, 0, choice)


def from_official_indices(selected: np.ndarray) -> np.ndarray:
    """The inverse of :func:`official_indices`."""
    return np.where(selected == 0, PRUNED, selected).astype(np.int64)
