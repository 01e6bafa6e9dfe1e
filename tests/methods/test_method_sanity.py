"""Every method must find the only operation that is of use, and must not prefer it when there is nothing to learn.

One cell, so that no information can flow around its edges. One operation hands on the features of the image itself,
the others those of other images of the batch: no class can be told from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from paddle_darts.methods import METHODS, Batch, SearchMethod
from paddle_darts.methods.ddsas import Ddsas
from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.blocks import Zero
from paddle_darts.nn.drop import RandomSource
from paddle_darts.spaces import DARTS, SPACES

GOOD, CLASSES, BATCH, STEPS = "dil_conv_3x3", 3, 24, 20
CHANCE = float(np.log(CLASSES))
KINDS = {"normal": (), "reduce": (0,)}  # the reductions of a network of one cell of that kind


class Pass(nn.Layer):
    """Hands every image the features of the one ``shift`` places before it in the batch; 0: its own."""

    def __init__(self, stride: int, shift: int) -> None:
        super().__init__()
        self.stride, self.shift = stride, shift

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.roll(x, self.shift, axis=0)[:, :, :: self.stride, :: self.stride]


TOY = replace(
    DARTS,
    name="toy",
    primitives=("none", "skip_connect", "sep_conv_3x3", GOOD),
    ops={
        "none": lambda c, stride, affine: Zero(stride),
        "skip_connect": lambda c, stride, affine: Pass(stride, 1),
        "sep_conv_3x3": lambda c, stride, affine: Pass(stride, 5),
        GOOD: lambda c, stride, affine: Pass(stride, 0),
    },
)


@pytest.fixture(autouse=True)
def toy_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPACES, "toy", TOY)


def batch(rng: np.random.Generator, size: int, signal: bool) -> Batch:
    """Three classes that differ in colour, in noise; without ``signal`` the labels are those of other images."""
    labels = rng.permutation(np.arange(size) % CLASSES)
    images = rng.normal(size=(size, 3, 4, 4)) + 1.0 * np.eye(3)[labels][:, :, None, None]
    labels = labels if signal else rng.permutation(labels)
    return Batch(paddle.to_tensor(images.astype("float32")), paddle.to_tensor(labels))


@dataclass
class Search:
    """A finished toy search: the method, the row of every epoch, the masks of DDSAS after every step."""

    method: SearchMethod
    rows: list[dict[str, Any]] = field(default_factory=list)
    masks: list[dict[str, np.ndarray]] = field(default_factory=list)

    def column(self, key: str) -> list[Any]:
        return [row[key] for row in self.rows]

    def shares(self, kind: str) -> np.ndarray:
        """The share of the good operation in the strength of all real operations, per edge."""
        table, ops = self.method.strengths()[kind], self.method.supernet.spec.primitives
        real = [column for column, op in enumerate(ops) if op != "none"]
        return table[:, ops.index(GOOD)] / table[:, real].sum(axis=1)

    def best(self, kind: str) -> list[str]:
        """The strongest real operation of every edge; `none` never counts."""
        table, ops = self.method.strengths()[kind], self.method.supernet.spec.primitives
        real = [column for column, op in enumerate(ops) if op != "none"]
        return [ops[real[place]] for place in table[:, real].argmax(axis=1)]


def search(
    name: str, options: dict[str, Any], epochs: int, spec: dict[str, Any], signal: bool, seed: int = 1
) -> Search:
    """A whole search in the order of the engine."""
    paddle.seed(seed)
    cls = METHODS[name]
    settings = cls.options_class(**{"learning_rate": 0.05, "arch_learning_rate": 0.05, **options})
    toy = SupernetSpec(space="toy", init_channels=4, steps=2, multiplier=2, num_classes=CLASSES, **spec)
    found = Search(cls(toy, settings, cls.total_epochs(settings, epochs), RandomSource(seed)))
    rng = np.random.default_rng(seed)
    for epoch in range(cls.total_epochs(settings, epochs)):
        found.rows.append(_epoch(found, epoch, rng, signal))
    return found


def _epoch(found: Search, epoch: int, rng: np.random.Generator, signal: bool) -> dict[str, Any]:
    method, losses = found.method, []
    method.begin_epoch(epoch)
    method.supernet.train()
    size = method.batch_size(BATCH)
    for _ in range(STEPS):
        losses.append(method.step(batch(rng, size, signal), batch(rng, size, signal)).loss)
        if isinstance(method, Ddsas):
            found.masks.append(method.space.active)
    stage = method.stage
    method.end_epoch(epoch)
    return {"stage": stage, "batch_size": size, "loss": float(np.mean(losses)), **method.facts()}


# ------------------------------------------------- what must have happened on the way, besides finding the operation
def stages_dropped_operations(found: Search, kind: str) -> None:
    """P-DARTS: three supernets, each over one operation less."""
    assert found.column("stage") == [0, 0, 1, 1, 2, 2]
    assert found.column("candidates_per_edge") == [4, 4, 3, 3, 2, 2]


def edges_were_settled(found: Search, kind: str) -> None:
    """SGAS: a decision after each of the last four epochs, each for the good operation, on larger batches."""
    decided = found.column(f"decided_{kind}")
    assert decided[0] is None and len({*decided[1:]}) == 4
    assert all(text.startswith(f"{GOOD} from ") for text in decided[1:])
    assert found.column(f"undecided_{kind}")[0] == 5 and found.column(f"undecided_{kind}")[-1] == 0
    assert found.column("batch_size") == [BATCH, BATCH, BATCH + 4, BATCH + 8, BATCH + 12]
    active = found.method.decisions[kind].active()
    assert active.sum() == 4 and active[:, TOY.primitives.index(GOOD)].sum() == 4


def candidates_were_pruned(found: Search, kind: str) -> None:
    """DrNAS: every edge loses a candidate when the second stage begins, and never the good one."""
    assert found.column("stage") == [0, 0, 0, 1, 1, 1]
    assert found.column("candidates_per_edge") == [3, 3, 3, 2, 2, 2]
    mask = found.method.masks[kind]
    assert (mask.sum(axis=1) == 2).all() and mask[:, -1].all()


def subspace_moved(found: Search, kind: str) -> None:
    """DDSAS: nine operations besides none at a time, chosen anew every second step; each has its saliency."""
    space, masks = found.method.space, [mask[kind] for mask in found.masks]
    windows = len(masks) // 2
    assert {int(mask[:, 1:].sum()) for mask in masks} == {9}
    assert all(np.array_equal(*pair) for pair in zip(masks[::2], masks[1::2], strict=True))
    moves = sum(not np.array_equal(*pair) for pair in zip(masks[:-2:2], masks[2::2], strict=True))
    assert moves > windows / 4
    seen = space.windows[kind][:, 1:]
    assert (seen > 3).all() and (seen < windows).any() and (space.saliency[kind][:, 1:] > 0).all()


def threshold_was_reached(found: Search, kind: str) -> None:
    """FairDARTS: the good operation on every edge, and no other; the cell that is not used falls back."""
    kept = found.method.probabilities()[kind] >= found.method.options.op_threshold
    assert kept[:, -1].all() and not kept[:, :-1].any()


def edges_were_weighed(found: Search, kind: str) -> None:
    """PC-DARTS: the weights of the edges have moved and make up one per node."""
    weights = found.method.edge_weights(kind).numpy()
    np.testing.assert_allclose([weights[:2].sum(), weights[2:].sum()], 1, rtol=1e-6)
    assert abs(weights[0] - 1 / 2) > 0.01 and np.abs(weights[2:] - 1 / 3).max() > 0.01


def temperature_fell(found: Search, kind: str) -> None:
    """GDAS: linearly over the epochs."""
    np.testing.assert_allclose(found.column("temperature"), np.linspace(5.0, 1.0, len(found.rows)))


def nothing_was_switched_off(found: Search, kind: str) -> None:
    """DARTS: every operation has kept a weight."""
    assert (found.method.probabilities()[kind] > 0).all() and not any(found.column("stage"))


@dataclass(frozen=True)
class Toy:
    """The settings with which a method searches, further ones to search with, and what must happen on the way."""

    epochs: int
    options: dict[str, Any]
    happened: Callable[[Search, str], None]
    variants: tuple[dict[str, Any], ...] = ()


#: One entry for every method; partial channels would flow around the operations: K = 1.
TOYS: dict[str, Toy] = {
    "darts": Toy(4, {}, nothing_was_switched_off, ({"unrolled": True},)),
    "pc_darts": Toy(4, {"arch_start_epoch": 1, "partial_channels": 1}, edges_were_weighed),
    "p_darts": Toy(
        2,
        {"arch_start_epoch": 0, "add_layers": [0, 0], "num_to_drop": [1, 1], "dropout_rate": [0.1, 0.2, 0.3]},
        stages_dropped_operations,
    ),
    "fair_darts": Toy(
        5,
        {"op_threshold": 0.6, "aux_loss_weight": 1.0, "fallback": "darts"},
        threshold_was_reached,
        ({"single_level": True, "sep_loss": "l1", "parse_method": "threshold_edge"},),
    ),
    "sgas": Toy(
        5,
        {"warmup_dec_epoch": 1, "decision_freq": 1, "batch_increase": 4},
        edges_were_settled,
        ({"use_history": True},),
    ),
    "dr_nas": Toy(
        6, {"arch_start_epoch": 0, "ks": [1, 1], "keeps": [3, 2]}, candidates_were_pruned, ({"reg_type": "kl"},)
    ),
    "ddsas": Toy(4, {"dss_max_ops": 9, "dss_freq": 2}, subspace_moved, ({"gumbel": True, "rdss_prob": 0.2},)),
    "gdas": Toy(6, {"tau_max": 5.0, "tau_min": 1.0}, temperature_fell),
}
#: All methods on both kinds of cell, their variants on one.
CASES = [(name, kind, {}) for name in METHODS for kind in KINDS]
CASES += [(name, "normal", variant) for name in METHODS if name in TOYS for variant in TOYS[name].variants]


def case_name(value: Any) -> str:
    return value if isinstance(value, str) else ",".join(value) or "default"


def test_every_method_has_a_toy() -> None:
    assert TOYS.keys() == METHODS.keys()


@pytest.mark.parametrize("name, kind, variant", CASES, ids=case_name)
def test_the_only_useful_operation_is_found(name: str, kind: str, variant: dict[str, Any]) -> None:
    toy = TOYS[name]
    found = search(name, {**toy.options, **variant}, toy.epochs, {"layers": 1, "reductions": KINDS[kind]}, signal=True)
    assert found.best(kind) == [GOOD] * 5, found.method.strengths()[kind]
    assert found.shares(kind).mean() > 0.55
    assert {edge.op for edge in getattr(found.method.derive(), kind)} == {GOOD}
    assert found.rows[-1]["loss"] < 0.4 * CHANCE
    toy.happened(found, kind)


@pytest.mark.parametrize("name", METHODS)
def test_without_anything_to_learn_it_is_not_preferred(name: str) -> None:
    """Over all edges of both kinds of cell: one in three by chance; 8 of 10 would come once in 300 searches."""
    toy = TOYS[name]
    found = search(name, toy.options, toy.epochs, {"layers": 2, "reductions": (1,)}, signal=False)
    best = [op for kind in KINDS for op in found.best(kind)]
    assert best.count(GOOD) < 0.75 * len(best), found.method.strengths()
    assert found.rows[-1]["loss"] > 0.8 * CHANCE
