"""The greedy decisions of SGAS over recorded epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checking import Trace
from golden import Golden
from reading import KINDS, read_genotype
from registry import replays

from paddle_darts.errors import GenotypeError
from paddle_darts.methods.parts.greedy import (
    DecisionSchedule,
    GreedyDecisions,
    from_official_indices,
    greedy_genotype,
    official_indices,
)


@replays("decisions_", "sgas")
def replay_decisions(golden: Golden) -> None:
    a = golden.args
    assert a["primitives"][0] == "none", "the recorded indices count from it"
    assert a["cell_order"] == list(KINDS) and a["criterion"] == (2 if a["use_history"] else 1)
    schedule = DecisionSchedule(a["warmup_dec_epoch"], a["decision_freq"])
    cells = {
        kind: GreedyDecisions(a["primitives"], a["steps"], a["criterion"], a["history_size"], official_start=True)
        for kind in KINDS
    }
    expected = golden.meta["genotype_json"]
    trace = Trace()
    for epoch in range(a["epochs"]):
        probabilities = {kind: softmax(golden.input(f"alphas_{kind}")[epoch]) for kind in KINDS}
        for kind, cell in cells.items():
            after = one_epoch(cell, probabilities[kind], schedule.due(epoch))
            trace.add({f"{key}_{kind}": value for key, value in after.items()})
        forced = greedy_genotype(cells, a["multiplier"], probabilities)
        assert forced == read_genotype(expected["forced_per_epoch"][epoch]), f"epoch {epoch}"
    trace.check(golden)
    for kind, cell in cells.items():
        assert np.array_equal(from_official_indices(golden.input(f"selected_idxs_{kind}")[-1]), cell.choice)
    if expected["final"] is None:
        assert expected["final_error"]
        with pytest.raises(GenotypeError, match="undecided"):
            greedy_genotype(cells, a["multiplier"])
    else:
        assert greedy_genotype(cells, a["multiplier"]) == read_genotype(expected["final"])


def one_epoch(cell: GreedyDecisions, probabilities: np.ndarray, due: bool) -> dict[str, Any]:
    """The state after an epoch under the official names."""
    scores, decision = cell.end_epoch(probabilities, due)
    return {
        "importance": scores.importance,
        "certainty": scores.certainty,
        "stability": scores.stability,
        "score": scores.score,
        "decided": decision is not None,
        "selected_idxs": official_indices(cell.choice),
        "candidate_flags": cell.undecided,
    }


def softmax(alphas: np.ndarray) -> np.ndarray:
    """In float64."""
    shifted = np.exp(alphas.astype("float64") - alphas.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
