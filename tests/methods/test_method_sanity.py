"""Every method must find the only operation that is of use, and must not prefer it when there is nothing to learn.

One cell, so that no information can flow around its edges. One operation hands on the features of the image itself,
the others those of other images of the batch: no class can be told from them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toy_searches import BATCH, CHANCE, CLASSES, NAMES, Pass, Search, Toy, case_name, search

from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.blocks import Zero
from paddle_darts.spaces import DARTS, SPACES

GOOD = "dil_conv_3x3"
KINDS = {"normal": (), "reduce": (0,)}  # the reductions of a network of one cell of that kind


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


def spec(layers: int, reductions: tuple[int, ...]) -> SupernetSpec:
    shape = {"init_channels": 4, "steps": 2, "multiplier": 2, "num_classes": CLASSES}
    return SupernetSpec(space="toy", layers=layers, reductions=reductions, **shape)


@pytest.fixture(autouse=True)
def toy_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPACES, "toy", TOY)


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
CASES = [(name, kind, {}) for name in NAMES for kind in KINDS]
CASES += [(name, "normal", variant) for name in NAMES if name in TOYS for variant in TOYS[name].variants]


def test_every_method_has_a_toy() -> None:
    assert list(TOYS) == NAMES


@pytest.mark.parametrize("name, kind, variant", CASES, ids=case_name)
def test_the_only_useful_operation_is_found(name: str, kind: str, variant: dict[str, Any]) -> None:
    toy = TOYS[name]
    found = search(name, {**toy.options, **variant}, toy.epochs, spec(1, KINDS[kind]), GOOD, signal=True)
    assert found.best(kind) == [GOOD] * 5, found.method.strengths()[kind]
    assert found.shares(kind).mean() > 0.55
    assert {edge.op for edge in getattr(found.method.derive(), kind)} == {GOOD}
    assert found.rows[-1]["loss"] < 0.4 * CHANCE
    toy.happened(found, kind)


@pytest.mark.parametrize("name", NAMES)
def test_without_anything_to_learn_it_is_not_preferred(name: str) -> None:
    """Over all edges of both kinds of cell: one in three by chance; 8 of 10 would come once in 300 searches."""
    toy = TOYS[name]
    found = search(name, toy.options, toy.epochs, spec(2, (1,)), GOOD, signal=False)
    best = [op for kind in KINDS for op in found.best(kind)]
    assert best.count(GOOD) < 0.75 * len(best), found.method.strengths()
    assert found.rows[-1]["loss"] > 0.8 * CHANCE
