"""The numbering of the NAS-Bench-201 space, the fixed parts of its data sets, and real records of its benchmark."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import numpy as np
from golden import Golden
from registry import replays

from paddle_darts.analysis.nats import NATSBench
from paddle_darts.data import nats_split
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.genotypes.nas_bench_201 import EDGES, OPS
from paddle_darts.spaces.nas_bench_201 import architecture_index, architectures

TIMES = ("per-time", "all-time")


@replays("tss_index_and_splits", "nas_bench_201")
def replay_index_and_splits(golden: Golden) -> None:
    a = golden.args
    assert tuple(a["ops"]) == OPS
    assert [f"{source}->{target}" for target, source in EDGES] == a["edges"]
    rows = golden.input("tss_ops")
    cells = [str(NasBench201Genotype(tuple(OPS[op] for op in row))) for row in rows]
    assert len(cells) == a["n_archs"] and tuple(cells) == architectures()
    assert [architecture_index(cell) for cell in cells] == list(range(len(cells)))
    lexicographic = list(product(range(len(OPS)), repeat=len(EDGES)))
    random.Random(a["shuffle_seed"]).shuffle(lexicographic)
    assert np.array_equal(rows, lexicographic)
    assert a["packing"] == "numpy.packbits"
    for split in a["splits"]:
        check_split(golden, split)


def check_split(golden: Golden, split: dict[str, Any]) -> None:
    """A mask is 1 where an image belongs to the named part."""
    mask = np.unpackbits(golden.input(split["key"]))
    assert not mask[split["n"] :].any()
    mask = mask[: split["n"]].astype(bool)
    ours = nats_split(split["key"].rpartition("_")[0].replace("16_", "16-"))
    assert (split["named"], split["complement"], ours.of) in (("train", "valid", "train"), ("xvalid", "xtest", "test"))
    assert np.array_equal(ours.first, np.flatnonzero(mask)) and np.array_equal(ours.second, np.flatnonzero(~mask))


@replays("benchmark_sample", "nas_bench_201")
def replay_sample(golden: Golden) -> None:
    """Every number of every run, run by run and as means, is what the query layer answers."""
    a = golden.args
    assert a["run_key"] == "<dataset>/<seed>" and set(a["units"].values()) == {"1e6", "s"}
    for space in a["spaces"]:
        bench = NATSBench(golden.document, space)
        assert bench.evaluated_indexes == set(a["indices"][space])
        for index in a["indices"][space]:
            budgets = golden.document[space][str(index)]
            assert sorted(budgets) == sorted(a["hp"][space])
            for hp, record in budgets.items():
                assert (
                    bench.arch(index) == record["arch_str"] and bench.query_index_by_arch(record["arch_str"]) == index
                )
                for dataset, seeds in record["seeds"].items():
                    runs = {seed: record["runs"][f"{dataset}/{seed}"] for seed in seeds}
                    check_runs(golden, bench, (index, dataset, hp), runs)
                assert sum(map(len, record["seeds"].values())) == len(record["runs"])


def check_runs(golden: Golden, bench: NATSBench, which: tuple[int, str, str], runs: dict[int, dict[str, Any]]) -> None:
    index, dataset, hp = which
    for seed, run in runs.items():
        check_info(golden, bench.get_more_info(index, dataset, hp=hp, is_random=seed), expected_info(dataset, run))
        for set_name, result in run["eval"].items():
            found = bench.get_metrics(index, dataset, set_name, hp=hp, is_random=seed)
            close(golden, found["accuracy"], result["acc"])
            close(golden, found["loss"], result["loss"])
            assert found["iepoch"] == run["epochs"] - 1
    drawn = bench.get_more_info(index, dataset, hp=hp)
    assert drawn in [bench.get_more_info(index, dataset, hp=hp, is_random=seed) for seed in runs]
    expected = [expected_info(dataset, run) for run in runs.values()]
    mean = {key: None if value is None else mean_of(expected, key) for key, value in expected[0].items()}
    check_info(golden, bench.get_more_info(index, dataset, hp=hp, is_random=False), mean)
    check_costs(golden, bench.get_cost_info(index, dataset, hp), runs)
    check_config(bench.get_net_config(index, dataset), next(iter(runs.values()))["config"])


def expected_info(dataset: str, run: dict[str, Any]) -> dict[str, float | None]:
    """What the official query returns for a run; evaluation times are not in the sample."""
    halves = dataset in ("cifar10-valid", "cifar10")
    names = {"x-valid": "valid", "x-test": "test", "ori-test": "test" if halves else "valtest"}
    info = {
        "train-loss": run["train_loss"],
        "train-accuracy": run["train_acc"],
        "train-per-time": run["train_time_per_epoch"],
        "train-all-time": run["train_time_per_epoch"] * run["epochs"],
    }
    for set_name, result in run["eval"].items():
        name = names[set_name]
        info |= {f"{name}-loss": result["loss"], f"{name}-accuracy": result["acc"]}
        info |= {f"{name}-{time}": None for time in TIMES}
    return info


def check_info(golden: Golden, found: dict[str, Any], expected: dict[str, float | None]) -> None:
    assert set(found) == set(expected)
    for key, value in expected.items():
        if value is None:
            assert found[key] is None, key
        else:
            close(golden, found[key], value)


def check_costs(golden: Golden, found: dict[str, Any], runs: dict[int, dict[str, Any]]) -> None:
    """Means over the runs; FLOPs and parameters that disagree in the fifth decimal are those of seed 888."""
    for key, field in (("flops", "flops_M"), ("params", "params_M")):
        values = {seed: run[field] for seed, run in runs.items()}
        agree = len({f"{value:.5f}" for value in values.values()}) == 1
        close(golden, found[key], sum(values.values()) / len(values) if agree else values[888])
    latencies = [run["latency_s"] for run in runs.values() if run["latency_s"] and run["latency_s"] > 0]
    if latencies:
        close(golden, found["latency"], sum(latencies) / len(latencies))
    else:
        assert found["latency"] is None
    close(golden, found["T-train@epoch"], mean_of(list(runs.values()), "train_time_per_epoch"))


def check_config(found: dict[str, Any], config: dict[str, Any]) -> None:
    ours = {"class_num": found["num_classes"]}
    if found["name"] == "infer.tiny":
        ours |= {"channel": found["C"], "num_cells": found["N"], "arch_str": found["arch_str"]}
    else:
        ours |= {"name": found["name"], "channels": found["channels"], "genotype": found["genotype"]}
        ours |= {"arch_str": found["channels"]}
    assert ours == config


def mean_of(rows: list[dict[str, Any]], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)


def close(golden: Golden, value: float, expected: float) -> None:
    """By the tolerance of the file."""
    rtol, atol = golden.tolerance("")
    assert abs(value - expected) <= atol + rtol * abs(expected), f"{golden.path.name}: {value} is not {expected}"
