"""Every method must find a way for the features of an image through the cell of NAS-Bench-201, and close all others.

One operation hands on the features of the image itself, the others a faint echo of those of other images of the batch,
from which no class can be told. On one edge the good operation is the worst, and `none` the best, which is a choice
like any other in this space. Features that have come directly from the input need no other way, so several cells are
right: those in which everything on a way from input to output is the good operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from paddle import nn
from toy_searches import BATCH, CHANCE, CLASSES, NAMES, Pass, Search, Toy, case_name, search

from paddle_darts.genotypes import Link, NasBench201Genotype
from paddle_darts.networks import SupernetSpec
from paddle_darts.networks.supernet_201 import NasBench201Cell
from paddle_darts.nn.blocks import Zero
from paddle_darts.spaces import NAS_BENCH_201, SPACES

GOOD = "nor_conv_3x3"
ECHO = 0.3
TOY = replace(
    NAS_BENCH_201,
    name="toy_201",
    primitives=("none", "skip_connect", "nor_conv_1x1", GOOD),
    ops={
        "none": lambda c, stride, affine: Zero(stride),
        "skip_connect": lambda c, stride, affine: Pass(stride, 1, ECHO),
        "nor_conv_1x1": lambda c, stride, affine: Pass(stride, 5, ECHO),
        GOOD: lambda c, stride, affine: Pass(stride, 0),
    },
)
#: The rows of the edge from input to output, and of the one from node 1 to the output, on which nothing is of use.
DIRECT, HARMFUL = 3, 4


def is_right(found: NasBench201Genotype) -> bool:
    """Whether only the features of the image itself reach the output, directly at least."""
    return found.ops[DIRECT] == GOOD and found.ops[HARMFUL] == "none" and {link.op for link in live(found)} == {GOOD}


def live(found: NasBench201Genotype) -> list[Link]:
    """The edges on ways from the input to the output."""
    links = [link for link in found.links() if link.op != "none"]
    fed, heard = {0}, {3}
    for node in (1, 2, 3):
        fed |= {node for link in links if link.target == node and link.source in fed}
    for node in (2, 1, 0):
        heard |= {node for link in links if link.source == node and link.target in heard}
    return [link for link in links if link.source in fed and link.target in heard]


def with_a_harmful_edge(built: Callable[..., list[nn.LayerList]]) -> Callable[..., list[nn.LayerList]]:
    """The candidates of a cell; on one edge the good one hands on another image, too, and louder than the others."""

    def built_candidates(*args: Any) -> list[nn.LayerList]:
        candidates = built(*args)
        for op in candidates[HARMFUL]:
            if isinstance(op, Pass):
                op.shift = op.shift or 3
        return candidates

    return built_candidates


@pytest.fixture(autouse=True)
def toy_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPACES, "toy_201", TOY)
    monkeypatch.setattr(NasBench201Cell, "_built_candidates", with_a_harmful_edge(NasBench201Cell._built_candidates))


# ------------------------------------------------- what must have happened on the way, besides finding the operation
def stages_dropped_operations(found: Search, kind: str) -> None:
    """P-DARTS: three supernets, each over one operation less; the best ones are among the last two."""
    assert found.column("candidates_per_edge") == [4, 4, 3, 3, 2, 2]
    switches = found.method.switches[kind]
    assert switches[DIRECT, -1] and switches[HARMFUL, 0]


def edges_were_settled(found: Search, kind: str) -> None:
    """SGAS: a decision after each of the last six epochs, on larger batches."""
    decided = found.column(f"decided_{kind}")
    assert decided[0] is None and len({*decided[1:]}) == 6
    assert decided[1] == f"{GOOD} from 0 into node 2", "the surest edge is the one from input to output"
    assert found.column(f"undecided_{kind}") == [6, 5, 4, 3, 2, 1, 0]
    assert found.column("batch_size") == [BATCH, BATCH, *range(BATCH + 4, BATCH + 24, 4)]


def candidates_were_pruned(found: Search, kind: str) -> None:
    """DrNAS: every edge loses two candidates when the second stage begins, but not the best one."""
    assert found.column("candidates_per_edge") == [4, 4, 4, 2, 2, 2]
    mask = found.method.masks[kind]
    assert (mask.sum(axis=1) == 2).all() and mask[DIRECT, -1] and mask[HARMFUL, 0]


def subspace_moved(found: Search, kind: str) -> None:
    """DDSAS: nine operations besides none at a time, chosen anew every second step."""
    masks = [mask[kind] for mask in found.masks]
    assert {int(mask[:, 1:].sum()) for mask in masks} == {9}
    moves = sum(not np.array_equal(*pair) for pair in zip(masks[:-2:2], masks[2::2], strict=True))
    assert moves > len(masks) / 8
    assert (found.method.space.windows[kind][:, 1:] > 3).all()


def threshold_was_reached(found: Search, kind: str) -> None:
    """FairDARTS: by the good operation from input to output, by none on the harmful edge."""
    kept = found.method.probabilities()[kind] >= found.method.options.op_threshold
    assert kept[DIRECT].tolist() == [False, False, True] and not kept[HARMFUL].any()


def edges_were_weighed(found: Search, kind: str) -> None:
    """PC-DARTS: the weights make up one per node; most of the output comes directly."""
    weights = found.method.edge_weights(kind).numpy()
    np.testing.assert_allclose([weights[0], weights[1:3].sum(), weights[3:].sum()], 1, rtol=1e-6)
    assert weights[DIRECT] > 0.5 > 0.3 > weights[HARMFUL]


def temperature_fell(found: Search, kind: str) -> None:
    """GDAS: linearly over the epochs."""
    np.testing.assert_allclose(found.column("temperature"), np.linspace(5.0, 1.0, len(found.rows)))


def nothing_was_switched_off(found: Search, kind: str) -> None:
    """DARTS: every operation has kept a weight."""
    assert (found.method.probabilities()[kind] > 0).all()


#: One entry for every method; partial channels would flow around the operations: K = 1.
TOYS: dict[str, Toy] = {
    "darts": Toy(4, {}, nothing_was_switched_off, ({"unrolled": True},)),
    "pc_darts": Toy(4, {"arch_start_epoch": 1, "partial_channels": 1}, edges_were_weighed),
    "p_darts": Toy(
        2,
        {"arch_start_epoch": 0, "add_layers": [0, 0], "num_to_drop": [1, 1], "dropout_rate": [0.1, 0.2, 0.3]},
        stages_dropped_operations,
    ),
    "fair_darts": Toy(5, {"op_threshold": 0.6, "aux_loss_weight": 1.0, "fallback": "darts"}, threshold_was_reached),
    "sgas": Toy(7, {"warmup_dec_epoch": 1, "decision_freq": 1, "batch_increase": 4}, edges_were_settled),
    "dr_nas": Toy(6, {"arch_start_epoch": 0, "ks": [1, 1], "keeps": [4, 2]}, candidates_were_pruned),
    "ddsas": Toy(4, {"dss_max_ops": 9, "dss_freq": 2}, subspace_moved),
    "gdas": Toy(6, {"tau_max": 5.0, "tau_min": 1.0}, temperature_fell),
}
CASES = [(name, {}) for name in NAMES]
CASES += [(name, variant) for name in NAMES if name in TOYS for variant in TOYS[name].variants]


def run(name: str, variant: dict[str, Any], signal: bool) -> Search:
    toy = TOYS[name]
    spec = SupernetSpec(space="toy_201", init_channels=4, layers=5, num_classes=CLASSES)
    return search(name, {**toy.options, **variant}, toy.epochs, spec, GOOD, signal)


def test_every_method_has_a_toy() -> None:
    assert list(TOYS) == NAMES


@pytest.mark.parametrize("name, variant", CASES, ids=case_name)
def test_a_cell_that_passes_on_the_image_is_found(name: str, variant: dict[str, Any]) -> None:
    found = run(name, variant, signal=True)
    assert is_right(found.method.derive()), (found.method.derive().ops, found.method.strengths())
    assert found.best("cell")[DIRECT] == GOOD and found.shares("cell")[DIRECT] > 0.55
    assert found.rows[-1]["loss"] < 0.4 * CHANCE
    TOYS[name].happened(found, "cell")


@pytest.mark.parametrize("name", NAMES)
def test_without_anything_to_learn_it_is_not(name: str) -> None:
    found = run(name, {}, signal=False)
    assert not is_right(found.method.derive()), (found.method.derive().ops, found.method.strengths())
    assert found.rows[-1]["loss"] > 0.8 * CHANCE


@pytest.mark.parametrize(
    "cell, right",
    [
        ("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|", True),
        ("|none~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|skip_connect~2|", True),
        ("|skip_connect~0|+|nor_conv_3x3~0|none~1|+|nor_conv_3x3~0|none~1|nor_conv_3x3~2|", True),
        ("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|nor_conv_3x3~2|", False),
        ("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|skip_connect~1|none~2|", False),
        ("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|nor_conv_3x3~2|", False),
    ],
)
def test_which_cells_are_right(cell: str, right: bool) -> None:
    assert is_right(NasBench201Genotype.parse(cell)) == right
