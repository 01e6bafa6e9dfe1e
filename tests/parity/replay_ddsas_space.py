"""The moving sub-space of DDSAS: windows, shrinking, random masks, derivations."""

from __future__ import annotations

from typing import Any

import numpy as np
from checking import Trace
from golden import Golden
from reading import KINDS, read_genotype
from recorded import RecordedDraws
from registry import replays

from paddle_darts.methods.parts.subspace import SpaceConfig, SubSpace, select, shrink


def read_config(name: str, document: dict[str, Any]) -> SpaceConfig:
    """The recorded configuration, published or not."""
    priority = document.get("priority")
    return SpaceConfig(
        name=name,
        type=document["type"],
        primitives=tuple(document["PRIMITIVES"]),
        stages=tuple((int(epoch), int(number)) for epoch, number in document.get("stage") or ()),
        priority=None if priority is None else tuple(priority),
    )


def column_of_none(primitives: list[str]) -> int | None:
    return primitives.index("none") if "none" in primitives else None


@replays("space_trace_", "ddsas")
def replay_trace(golden: Golden) -> None:
    a = golden.args
    assert a["order"] == [
        "stage event when epoch_start",
        "set alphas and betas",
        "update_dss",
        "generate_dss",
        "record",
    ]
    assert a["tau"] is None and not a["norm_used_for_saliency"]
    config = read_config(a["space"], a["space_config"])
    assert list(config.primitives) == a["primitives"]
    space = SubSpace(config, a["steps"], a["dss_max_ops"], a["confidence"], a["saliency_type"], safe_shrink=False)
    arch = {
        name: {kind: golden.input(f"{name}_{kind}").astype("float64") for kind in KINDS} for name in ("alphas", "betas")
    }
    trace = Trace()
    for i in range(a["windows"]):
        if a["epoch_start"][i]:
            space.begin_epoch(int(golden.input("epoch")[i]))
        space.update(*({kind: table[i] for kind, table in tables.items()} for tables in arch.values()))
        space.select()
        trace.add(snapshot(space))
        assert space.derive(a["multiplier"]) == read_genotype(golden.meta["genotype_json"][i]), f"window {i}"
    trace.check(golden)


def snapshot(space: SubSpace) -> dict[str, Any]:
    """The state under the official names of the buffers."""
    tables = {
        "avail": space.available,
        "mask": space.active,
        "saliency": space.saliency,
        "opt_steps": space.windows,
        "ucb": space.ucb,
    }
    by_kind = {f"{name}_{kind}": tables[name][kind] for name in tables for kind in KINDS}
    return {"total_opt_steps": space.total, **by_kind}


@replays("shrink_cases", "ddsas")
def replay_shrink(golden: Golden) -> None:
    a = golden.args
    saliency, available = golden.input("saliency"), golden.input("avail_in").astype(bool)
    none = column_of_none(a["primitives"])
    assert golden.input("num").tolist() == a["num"] and a["cases"] == list(range(len(a["num"])))
    for key, safe in ((a["official"], False), (a["recommended"], True)):
        golden.check(key, np.array([shrink(saliency[i], available[i], a["num"][i], none, safe) for i in a["cases"]]))


@replays("random_subspace", "ddsas")
def replay_random(golden: Golden) -> None:
    a = golden.args
    assert a["value_order"] == list(KINDS)
    for case in a["cases"]:
        n, config = case["case"], read_config(case["space"], case["space_config"])
        assert list(config.primitives) == case["primitives"]
        space = SubSpace(config, a["steps"], case["dss_max_ops"], a["confidence"], a["saliency_type"])
        space.available = {kind: golden.input(f"avail_{kind}_{n}").astype(bool) for kind in KINDS}
        source = RecordedDraws(uniform=[golden.input(f"value_{kind}_{n}") for kind in KINDS])
        space.select_random(source)
        assert source.exhausted()
        for kind in KINDS:
            golden.check(f"mask_{kind}_{n}", space.active[kind])
            again = select(golden.input(f"value_{kind}_{n}"), space.available[kind], case["dss_max_ops"], config.none)
            assert np.array_equal(again, space.active[kind])


@replays("genotype_cases", "ddsas")
def replay_genotypes_of_saliency(golden: Golden) -> None:
    a = golden.args
    for case, expected in zip(a["cases"], golden.meta["genotype_json"], strict=True):
        n, config = case["case"], SpaceConfig(case["space"], "static", tuple(case["primitives"]))
        space = SubSpace(config, a["steps"], a["dss_max_ops"], a["confidence"], a["saliency_type"])
        space.saliency = {kind: golden.input(f"saliency_{kind}_{n}") for kind in KINDS}
        space.available = {kind: golden.input(f"avail_{kind}_{n}").astype(bool) for kind in KINDS}
        assert space.derive(a["multiplier"]) == read_genotype(expected), f"case {n}"
