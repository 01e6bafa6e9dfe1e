"""The moving sub-space of DDSAS: which operations are active, which may become so, and how salient each has been.

Source: Yang et al., Dynamic and Differentiable Space-Architecture Search, ACML 2021 (PMLR 157:284-299);
xingxing-123/DDSAS: model_search.py, train_search.py. Everything discrete happens here on small NumPy arrays
[edges, ops]; only :func:`mixing_weights` is differentiable. Deviations: a row without an active operation mixes to
zeros (there NaN), sorts are stable, and shrinking keeps an operation on every edge (``safe=False`` gives the authors'
rule).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle.nn import functional as F

from paddle_darts.errors import ConfigError, unknown
from paddle_darts.genotypes import KINDS, PRIMITIVES, Genotype
from paddle_darts.methods.parts.derivation import darts_genotype
from paddle_darts.nn.drop import RandomSource

SPACE_TYPES = ("static", "shrink", "expand")
SALIENCY_TYPES = ("simple", "all")
_OFF = (
    1e30  # taken from an inactive logit; Paddle's softmax leaves it exp(-64), too little to count, which `* on` removes
)


@dataclass(frozen=True)
class SpaceConfig:
    """The operations of a search and how the set of available ones changes with the epochs.

    ``primitives`` in the order of the columns, with or without `none`. ``stages`` are (epoch, number) pairs with
    ascending epochs: the number of operations removed per cell kind ("shrink"), or the number of leading columns open
    from then on ("expand", from epoch 0). ``priority`` scales the exploration bonus per column (None: all 1).
    Raises ConfigError for stages that cannot be followed.
    """

    name: str
    type: str
    primitives: tuple[str, ...]
    stages: tuple[tuple[int, int], ...] = ()
    priority: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.type not in SPACE_TYPES:
            raise ConfigError(unknown("space type", self.type, SPACE_TYPES))
        if not set(self.primitives) - {"none"} or len(set(self.primitives)) < len(self.primitives):
            raise ConfigError(f"{self.name}: needs different operations besides 'none', got {self.primitives}")
        if self.priority is not None and len(self.priority) != len(self.primitives):
            raise ConfigError(f"{self.name}: {len(self.priority)} priorities for {len(self.primitives)} operations")
        self._check_stages()

    def _check_stages(self) -> None:
        epochs, numbers = [s[0] for s in self.stages], [s[1] for s in self.stages]
        if (self.type == "static") != (not self.stages):
            raise ConfigError(f"{self.name}: a {self.type} space with the stages {self.stages}")
        if epochs != sorted(set(epochs)) or any(number < 1 for number in numbers):
            raise ConfigError(f"{self.name}: stages need ascending epochs and positive numbers, got {self.stages}")
        if self.type != "expand":
            return
        if epochs[0] != 0 or numbers != sorted(set(numbers)) or numbers[-1] > len(self.primitives):
            raise ConfigError(
                f"{self.name}: an expanding space starts in epoch 0 and opens more and more of its "
                f"{len(self.primitives)} columns, got the stages {self.stages}"
            )

    @property
    def none(self) -> int | None:
        """The column of `none`, which costs nothing; None without one."""
        return self.primitives.index("none") if "none" in self.primitives else None


_EXPAND = (
    "none",
    "skip_connect",
    "sep_conv_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
    "avg_pool_3x3",
    "sep_conv_5x5",
    "dil_conv_5x5",
)
_IMAGENET = (
    "sep_conv_3x3",
    "dil_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_5x5",
    "none",
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
)
#: The published configurations, by the names of the authors' --space_config flag.
SPACE_CONFIGS: dict[str, SpaceConfig] = {
    config.name: config
    for config in (
        SpaceConfig("space_config_static", "static", PRIMITIVES),
        SpaceConfig("space_config_shrink", "shrink", PRIMITIVES, tuple((epoch, 14) for epoch in (10, 20, 30, 40, 50))),
        SpaceConfig("space_config_expand", "expand", _EXPAND, ((0, 3), (10, 4), (20, 5), (30, 6), (40, 7), (50, 8))),
        SpaceConfig("space_config_imagenet", "expand", _IMAGENET, ((0, 4), (40, 8))),
    )
}


def get_space_config(name: str) -> SpaceConfig:
    """The published configuration ``name``; ConfigError with the nearest match when there is none."""
    if name not in SPACE_CONFIGS:
        raise ConfigError(unknown("space configuration", name, SPACE_CONFIGS))
    return SPACE_CONFIGS[name]


def mixing_weights(
    alpha: paddle.Tensor,
    beta: paddle.Tensor,
    active: np.ndarray,
    saliency_type: str = "simple",
    norm: bool = True,
    gumbel: np.ndarray | None = None,
    tau: float = 1.0,
) -> paddle.Tensor:
    """Weights [edges, ops] of the active operations, differentiable in ``alpha`` and ``beta`` [edges, ops].

    p = softmax of alpha over the active entries of a row, q = sigmoid(beta). "simple": p * q. "all": p times the
    probability of the row's whole mask, the product of q where active and 1 - q elsewhere; with ``norm`` that product
    cancels and beta learns nothing. ``norm`` divides each row by its sum. ``gumbel``: standard Gumbel noise
    [edges, ops] added to alpha before the division by the temperature ``tau`` (the authors add it to log
    softmax(alpha), which differs by a constant per row). Inactive entries, and rows without an active one, are
    exactly zero.
    """
    if saliency_type not in SALIENCY_TYPES:
        raise ConfigError(unknown("saliency type", saliency_type, SALIENCY_TYPES))
    on = paddle.to_tensor(active, dtype=alpha.dtype, place=alpha.place)
    logits = alpha
    if gumbel is not None:
        noise = paddle.to_tensor(gumbel, dtype=alpha.dtype, place=alpha.place)
        logits = (alpha + noise) / tau
    weights = F.softmax(logits * on + (on - 1) * _OFF, axis=-1) * on
    if saliency_type == "simple":
        weights = weights * F.sigmoid(beta)
    else:
        # 1 - sigmoid(b) = sigmoid(-b); a sum of logarithms has a gradient even where a factor vanishes
        weights = weights * F.log_sigmoid((2 * on - 1) * beta).sum(axis=-1, keepdim=True).exp()
    return weights / (weights.abs().sum(axis=-1, keepdim=True) + 1e-14) if norm else weights


def select(score: np.ndarray, available: np.ndarray, budget: int, none: int | None) -> np.ndarray:
    """The mask [edges, ops] of the best available operations, ``budget`` of them besides the free `none`.

    First every row gets its best operation, then the best of all rows follow. A `none` (column ``none``) that is met
    on the way is switched on and not counted. Equal scores go to the smaller row and column. Raises ConfigError
    when the budget has less than one operation per row.
    """
    rows, columns = score.shape
    if budget < rows:
        raise ConfigError(_too_small(budget, rows))
    mask = np.zeros(score.shape, dtype=bool)
    for row, order in enumerate(np.argsort(-score, axis=1, kind="stable")):
        for column in order[available[row, order]]:
            mask[row, column] = True
            if column != none:
                break
    left = budget - rows
    for place in np.argsort(-score, axis=None, kind="stable"):
        if left == 0:
            break
        row, column = divmod(int(place), columns)
        if available[row, column]:
            left -= column != none and not mask[row, column]
            mask[row, column] = True
    return mask


def _too_small(budget: int, edges: int) -> str:
    return f"a budget of {budget} operations is too small: every edge needs one, at least {edges} in all"


def shrink(saliency: np.ndarray, available: np.ndarray, count: int, none: int | None, safe: bool = True) -> np.ndarray:
    """Availability [edges, ops] after the ``count`` least salient operations are taken away.

    ``safe``: a row keeps an operation, and one besides `none` if it had one, so that fewer may go than asked for.
    Otherwise, as in the authors' program, rows are counted before the first removal only, and one may lose everything.
    Of equal saliencies the one in the smaller row and column goes first.
    """
    kept = available.astype(bool)
    populations = kept.sum(axis=1)
    for place in np.argsort(saliency, axis=None, kind="stable"):
        if count <= 0:
            break
        row, column = divmod(int(place), saliency.shape[1])
        if not kept[row, column]:
            continue
        removable = _spare(kept[row], column, none) if safe else populations[row] > 1
        if removable:
            kept[row, column] = False
            count -= 1
    return kept


def _spare(row: np.ndarray, column: int, none: int | None) -> bool:
    """Whether a row can do without an operation that it has."""
    real = int(row.sum()) - (none is not None and bool(row[none]))
    return real > 0 if column == none else real > 1


class Candidate(NamedTuple):
    """One operation on one edge of one cell kind."""

    kind: str
    edge: int
    op: str


class SpaceChange(NamedTuple):
    """What a decision switched on and off."""

    added: tuple[Candidate, ...]
    removed: tuple[Candidate, ...]


class SubSpace:
    """The sub-space of all ``kinds`` of cells, which have so many ``inputs``, over a search.

    Per kind, arrays [edges, ops] that are replaced, never changed in place: ``available`` and ``active`` (bool),
    ``saliency`` (running mean of the unnormalised mixing weights of the windows in which an operation was active),
    ``windows`` (1 + the number of those; the authors' `_opt_steps`) and ``ucb`` (upper confidence bound). ``total`` is
    1 + the number of windows, shared by all kinds. A window begins with :meth:`update`, which books the window that
    ends, and then :meth:`select` or :meth:`select_random`; an epoch begins with :meth:`begin_epoch`. Raises
    ConfigError when ``budget`` is less than one operation per edge.
    """

    def __init__(
        self,
        config: SpaceConfig,
        steps: int = 4,
        budget: int = 28,
        confidence: float = 1.44,
        saliency_type: str = "simple",
        safe_shrink: bool = True,
        kinds: tuple[str, ...] = KINDS,
        inputs: int = 2,
    ) -> None:
        self.config, self.steps, self.budget, self.safe_shrink = config, steps, budget, safe_shrink
        self.saliency_type = saliency_type
        shape = (steps * inputs + steps * (steps - 1) // 2, len(config.primitives))
        if saliency_type not in SALIENCY_TYPES:
            raise ConfigError(unknown("saliency type", saliency_type, SALIENCY_TYPES))
        if budget < shape[0]:
            raise ConfigError(_too_small(budget, shape[0]))
        self.confidence = confidence * np.array(config.priority or [1.0] * shape[1])
        self.kinds = kinds
        self.available = {kind: np.ones(shape, dtype=bool) for kind in kinds}
        self.active = {kind: np.zeros(shape, dtype=bool) for kind in kinds}
        self.saliency = {kind: np.zeros(shape) for kind in self.kinds}
        self.windows = {kind: np.ones(shape, dtype=np.int64) for kind in self.kinds}
        self.ucb = {kind: np.zeros(shape) for kind in self.kinds}
        self.total = 1
        self.stage = 0

    def begin_epoch(self, epoch: int) -> SpaceChange | None:
        """Follow the stage of the configuration that starts in ``epoch``; None when there is none.

        The active operations stay as they are until the next selection.
        """
        stages = self.config.stages
        if self.stage == len(stages) or epoch != stages[self.stage][0]:
            return None
        number = stages[self.stage][1]
        self.stage += 1
        if self.config.type == "shrink":
            return self.shrink(number)
        before = self.available
        if self.stage == 1:
            self.set_columns(range(len(self.config.primitives)), False)
        opened = 0 if self.stage == 1 else stages[self.stage - 2][1]
        self.set_columns(range(opened, number), True)
        return self._change(before, self.available)

    def set_columns(self, columns: Iterable[int], available: bool) -> SpaceChange:
        """Open or close operations on all edges of both kinds."""
        before, chosen = self.available, np.isin(np.arange(len(self.config.primitives)), list(columns))
        self.available = {kind: np.where(chosen, available, table) for kind, table in before.items()}
        return self._change(before, self.available)

    def shrink(self, count: int) -> SpaceChange:
        """Close the ``count`` least salient operations of each kind, see :func:`shrink`."""
        before = self.available
        self.available = {
            kind: shrink(self.saliency[kind], before[kind], count, self.config.none, self.safe_shrink)
            for kind in self.kinds
        }
        return self._change(before, self.available)

    def update(self, alphas: Mapping[str, np.ndarray], betas: Mapping[str, np.ndarray]) -> None:
        """Book the window that ends: saliencies, counts and bounds under the present ``alphas`` and ``betas``.

        The running mean starts with a zero of weight one, and the bounds use ``total`` before it grows.
        """
        for kind in self.kinds:
            on, n = self.active[kind], self.windows[kind]
            weights = self._weights(alphas[kind], betas[kind], on)
            self.saliency[kind] = np.where(on, (self.saliency[kind] * n + weights) / (n + 1), self.saliency[kind])
            self.windows[kind] = n + on
            bonus = self.confidence * np.sqrt(np.log(self.total) / self.windows[kind])
            self.ucb[kind] = _sigmoid(betas[kind]) + bonus
        self.total += 1

    def _weights(self, alpha: np.ndarray, beta: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Unnormalised and without noise, whatever the network uses."""
        with paddle.no_grad():
            tensors = paddle.to_tensor(alpha), paddle.to_tensor(beta)
            return mixing_weights(*tensors, active, self.saliency_type, norm=False).numpy()

    def select(self) -> SpaceChange:
        """Make the operations with the highest bounds active."""
        return self._activate(self.ucb)

    def select_random(self, source: RandomSource) -> SpaceChange:
        """Make random operations active; draws uniform scores [edges, ops] for one kind of cell after the other."""
        return self._activate({kind: source.uniform(self.ucb[kind].shape) for kind in self.kinds})

    def _activate(self, scores: Mapping[str, np.ndarray]) -> SpaceChange:
        before = self.active
        self.active = {
            kind: select(scores[kind], self.available[kind], self.budget, self.config.none) for kind in self.kinds
        }
        return self._change(before, self.active)

    def _change(self, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> SpaceChange:
        def entries(new: Mapping[str, np.ndarray], old: Mapping[str, np.ndarray]) -> tuple[Candidate, ...]:
            ops = self.config.primitives
            return tuple(
                Candidate(kind, int(e), ops[k]) for kind in self.kinds for e, k in np.argwhere(new[kind] & ~old[kind])
            )

        return SpaceChange(added=entries(after, before), removed=entries(before, after))

    def strengths(self) -> dict[str, np.ndarray]:
        """Saliencies [edges, ops] by kind, zero for what is not available."""
        return {kind: self.saliency[kind] * self.available[kind] for kind in self.kinds}

    def derive(self, multiplier: int = 4) -> Genotype:
        """The genotype by saliency, not by alpha: the rule of DARTS on :meth:`strengths`."""
        return darts_genotype(self.strengths(), self.config.primitives, self.steps, multiplier)

    def state_dict(self) -> dict[str, Any]:
        """Everything that later windows depend on, as plain JSON."""
        tables = {name: {kind: table.tolist() for kind, table in getattr(self, name).items()} for name in _TABLES}
        return {"total": self.total, "stage": self.stage, **tables}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; ConfigError when the sizes are not those of this space."""
        loaded = {}
        for name in _TABLES:
            own = getattr(self, name)
            loaded[name] = {kind: np.array(state[name][kind], dtype=own[kind].dtype) for kind in self.kinds}
            for kind, table in loaded[name].items():
                if table.shape != own[kind].shape:
                    raise ConfigError(f"{name} of the {kind} cell is {table.shape}, this space is {own[kind].shape}")
        for name, tables in loaded.items():
            setattr(self, name, tables)
        self.total, self.stage = int(state["total"]), int(state["stage"])


_TABLES = ("available", "active", "saliency", "windows", "ucb")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """In float64, without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(x, dtype=np.float64)))
