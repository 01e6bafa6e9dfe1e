"""Made-up results in the forms that those of NATS-Bench come in."""

from __future__ import annotations

import bz2
import collections
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from paddle_darts.analysis.nats import NatsTable
from paddle_darts.spaces.nas_bench_201 import architectures

COUNT = 15625
SAMPLE = Path(__file__).parents[1] / "goldens" / "nas_bench_201" / "benchmark_sample.json"
EVAL_SECONDS = 1.25


def made_table(*columns: str, seed: int = 0, levels: int = 10001) -> NatsTable:
    """Random accuracies; few ``levels`` make many equals."""
    generator = np.random.default_rng(seed)
    names = columns or ("cifar10_test",)
    return NatsTable({name: generator.integers(0, levels, COUNT) * 100 / (levels - 1) for name in names}, "made")


def sample() -> dict[str, Any]:
    return json.loads(SAMPLE.read_text(encoding="utf-8"))


def accuracy_at(final: float, epoch: int, epochs: int) -> float:
    """The made-up accuracy after an epoch of a run of which only the last one was recorded."""
    return final + 0.01 * (epoch + 1 - epochs)


def write_archive(folder: Path, order: list[str] | None = None) -> Path:
    """The sample's topology records as files of the official benchmark, curves made up back to the first epoch."""
    folder.mkdir(parents=True)
    write_pickle(folder / "meta.pickle.pbz2", {"meta_archs": order or list(architectures()), "total_archs": COUNT})
    for index, budgets in sample()["tss"].items():
        write_pickle(folder / f"{int(index):06d}.pickle.pbz2", official(int(index), budgets))
    return folder


def write_pickle(path: Path, value: Any) -> Path:
    path.write_bytes(bz2.compress(pickle.dumps(value, protocol=4)))
    return path


def official(index: int, budgets: dict[str, Any]) -> dict[str, Any]:
    """The value of an official file: everything of a run by epoch, times in ordered dictionaries."""
    return collections.OrderedDict(
        (
            budget,
            {
                "arch_index": index,
                "arch_str": record["arch_str"],
                "all_results": {
                    (dataset, seed): official_run(dataset, seed, record["runs"][f"{dataset}/{seed}"])
                    for dataset, seeds in record["seeds"].items()
                    for seed in seeds
                },
                "dataset_seed": record["seeds"],
                "clear_net_done": True,
            },
        )
        for budget, record in budgets.items()
    )


def official_run(dataset: str, seed: int, run: dict[str, Any]) -> dict[str, Any]:
    epochs = run["epochs"]
    keyed = [(f"{name}@{e}", e, result) for name, result in run["eval"].items() for e in range(epochs)]
    return {
        "name": dataset,
        "net_state_dict": None,
        "train_acc1es": {e: accuracy_at(run["train_acc"], e, epochs) for e in range(epochs)},
        "train_acc5es": None,
        "train_losses": dict.fromkeys(range(epochs), run["train_loss"]),
        "train_times": collections.OrderedDict((e, run["train_time_per_epoch"]) for e in range(epochs)),
        "arch_config": run["config"],
        "params": run["params_M"],
        "flop": run["flops_M"],
        "seed": seed,
        "epochs": epochs,
        "latency": [run["latency_s"] - 0.001, run["latency_s"] + 0.001],
        "eval_names": list(run["eval"]),
        "eval_acc1es": {key: accuracy_at(result["acc"], e, epochs) for key, e, result in keyed},
        "eval_losses": {key: result["loss"] for key, _, result in keyed},
        "eval_times": {key: EVAL_SECONDS for key, _, _ in keyed},
    }
