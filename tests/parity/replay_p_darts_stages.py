"""What P-DARTS decides at the end of its stages, and the dropout of its skip connections."""

from __future__ import annotations

from functools import partial

import numpy as np
from golden import Golden
from reading import KINDS, read_genotype
from registry import replays

from paddle_darts.genotypes import Genotype
from paddle_darts.methods.parts.derivation import node_rows
from paddle_darts.methods.parts.progressive import (
    drop_weakest,
    on_probabilities,
    progressive_genotype,
    restricted_genotype,
    restricted_genotypes,
    skip_dropout,
)


@replays("stage_decisions", "p_darts")
def replay_stage_decisions(golden: Golden) -> None:
    a = golden.args
    assert a["softmax_dim"] == -1 and a["initial_switches"] == "all True"
    assert len(golden.meta["genotype_json"]) == a["n_cases"]
    for i, logged in enumerate(golden.meta["genotype_json"]):
        switches = {kind: np.ones((a["n_edges"], len(a["primitives"])), dtype=bool) for kind in KINDS}
        for stage in range(a["n_stages"]):
            prefix = f"case{i:02d}/stage{stage}"
            for kind in KINDS:
                golden.check(f"{prefix}/switches_before_{kind}", switches[kind])
            alphas = {kind: golden.input(f"{prefix}/alphas_{kind}") for kind in KINDS}
            probabilities = {kind: on_probabilities(alphas[kind], switches[kind]) for kind in KINDS}
            if stage == a["n_stages"] - 1:
                check_final(golden, prefix, probabilities, switches, logged)
                break
            for kind in KINDS:
                switches[kind] = drop_weakest(probabilities[kind], switches[kind], a["num_to_drop"][stage])
                assert (switches[kind].sum(axis=1) == a["num_to_keep"][stage]).all()
                golden.check(f"{prefix}/switches_after_{kind}", switches[kind])


def check_final(
    golden: Golden,
    prefix: str,
    probabilities: dict[str, np.ndarray],
    switches: dict[str, np.ndarray],
    logged: list[dict],
) -> None:
    """The official program logs the unrestricted genotype, then one for each limit that it has to act for."""
    a = golden.args
    primitives, steps = tuple(a["primitives"]), a["steps"]
    setting = (probabilities, switches, primitives, steps, steps)
    unrestricted = last = progressive_genotype(*setting)
    derive = partial(progressive_genotype, switches=switches, primitives=primitives, steps=steps, multiplier=steps)
    restricted = restricted_genotypes(derive, probabilities, range(2 * steps, -1, -1), primitives)
    found: list[tuple[int | None, Genotype]] = [(None, unrestricted)]
    for limit in (min(limit, 2 * steps) for limit in a["max_sk_sequence"]):
        assert restricted_genotype(*setting, limit) == restricted[limit]
        if last.count("skip_connect", "normal") > limit:
            last = restricted[limit]
            found.append((limit, last))
        assert restricted[limit] == last
    assert found == [(entry["max_sk"], read_genotype(entry)) for entry in logged], prefix
    golden.check(f"{prefix}/switches_after_normal", chosen(last, "normal", primitives))
    golden.check(f"{prefix}/switches_after_reduce", chosen(unrestricted, "reduce", primitives))


def chosen(genotype: Genotype, kind: str, primitives: tuple[str, ...]) -> np.ndarray:
    """A cell as switches: one operation on where the genotype has an edge."""
    rows = node_rows(genotype.steps)
    switches = np.zeros((rows[-1].stop, len(primitives)), dtype=bool)
    for k, (op, source) in enumerate(getattr(genotype, kind)):
        switches[rows[k // 2][source], primitives.index(op)] = True
    return switches


@replays("dropout_schedule", "p_darts")
def replay_dropout_schedule(golden: Golden) -> None:
    a = golden.args
    assert a["array_axes"] == ["stage", "epoch"]
    assert {case["key"] for case in a["cases"]} == {key for key in golden.document if not key.startswith("_")}
    for case in a["cases"]:
        rates = case["dropout_rate"]
        assert len(rates) == a["n_stages"]
        golden.arrays[case["key"]] = np.array(golden.document[case["key"]])
        values = [
            [skip_dropout(rate, e, a["epochs"], a["eps_no_arch"], a["scale_factor"]) for e in range(a["epochs"])]
            for rate in rates
        ]
        golden.check(case["key"], np.array(values))
