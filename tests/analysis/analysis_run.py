"""A run directory as a search leaves it, made up but plausible; tests read it instead of searching."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import yaml

DARTS_V2 = {
    "normal": [
        ["sep_conv_3x3", 0], ["sep_conv_3x3", 1], ["sep_conv_3x3", 0], ["sep_conv_3x3", 1],
        ["sep_conv_3x3", 1], ["skip_connect", 0], ["skip_connect", 0], ["dil_conv_3x3", 2],
    ],
    "normal_concat": [2, 3, 4, 5],
    "reduce": [
        ["max_pool_3x3", 0], ["max_pool_3x3", 1], ["skip_connect", 2], ["max_pool_3x3", 1],
        ["max_pool_3x3", 0], ["skip_connect", 2], ["skip_connect", 2], ["max_pool_3x3", 1],
    ],
    "reduce_concat": [2, 3, 4, 5],
}  # fmt: skip
NASNET = {
    "normal": [
        ["sep_conv_5x5", 1], ["sep_conv_3x3", 0], ["sep_conv_5x5", 0], ["sep_conv_3x3", 0],
        ["avg_pool_3x3", 1], ["skip_connect", 0], ["avg_pool_3x3", 0], ["avg_pool_3x3", 0],
        ["sep_conv_3x3", 1], ["skip_connect", 1],
    ],
    "normal_concat": [2, 3, 4, 5, 6],
    "reduce": [
        ["sep_conv_5x5", 1], ["sep_conv_7x7", 0], ["max_pool_3x3", 1], ["sep_conv_7x7", 0],
        ["avg_pool_3x3", 1], ["sep_conv_5x5", 0], ["skip_connect", 3], ["avg_pool_3x3", 2],
        ["sep_conv_3x3", 2], ["max_pool_3x3", 1],
    ],
    "reduce_concat": [4, 5, 6],
}  # fmt: skip
WITH_NONE = {
    **DARTS_V2,
    "normal": [["none", 1], ["skip_connect", 0], ["none", 2], ["none", 1], *DARTS_V2["normal"][4:]],
}
SPARSE = {  # FairDARTS_c in the normal cell: node 1 does not exist, nor does what skip_connect would bring from it
    "normal": [
        ["max_pool_3x3", 2, 0], ["sep_conv_5x5", 2, 1], ["dil_conv_3x3", 4, 0], ["dil_conv_5x5", 4, 2],
        ["skip_connect", 5, 3], ["sep_conv_3x3", 5, 0],
    ],
    "normal_concat": [2, 3, 4, 5],
    "reduce": [
        ["sep_conv_5x5", 2, 0], ["skip_connect", 2, 0], ["dil_conv_5x5", 2, 1], ["avg_pool_3x3", 5, 2],
        ["max_pool_3x3", 5, 2], ["sep_conv_3x3", 4, 1],
    ],
    "reduce_concat": [2, 3, 4, 5],
}  # fmt: skip
OPS = [
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
]  # fmt: skip


def softmax_table(rng: random.Random, sharpness: float, chosen: dict[int, str]) -> list[list[float]]:
    """[14][8] probabilities that lean towards the chosen operations as ``sharpness`` grows."""
    table = []
    for edge in range(14):
        raw = [rng.gauss(0, 0.08) + (sharpness if op == chosen.get(edge) else 0.0) for op in OPS]
        raw[0] += 0.6 * sharpness  # the familiar rise of `none`
        total = sum(map(math.exp, raw))
        table.append([math.exp(value) / total for value in raw])
    return table


def chosen_ops(edges: list[list]) -> dict[int, str]:
    """Row of the architecture matrix -> operation, for the pairs or triples of one cell."""
    offsets = [0, 2, 5, 9]
    return {offsets[edge[1] - 2 if len(edge) == 3 else k // 2] + edge[-1]: edge[0] for k, edge in enumerate(edges)}


def make_run(folder: Path, epochs: int = 20, genotype: dict | None = None, done: bool = True) -> Path:
    """Fill ``folder`` with every file that the report reads, except the pictures."""
    genotype = genotype or DARTS_V2
    rng = random.Random(3)
    folder.mkdir(parents=True, exist_ok=True)
    history, alphas = [], []
    for epoch in range(epochs):
        t = epoch / max(1, epochs - 1)
        early = {**genotype, "normal": [["sep_conv_5x5", *genotype["normal"][0][1:]], *genotype["normal"][1:]]}
        current = None if epoch == 0 else early if t < 0.5 else genotype
        history.append(
            {
                "epoch": epoch,
                "train_loss": 1.9 * math.exp(-2.6 * t) + 0.12 + rng.uniform(0, 0.05),
                "train_top1": 96 - 62 * math.exp(-3.2 * t) + rng.uniform(-1, 1),
                "valid_loss": 1.8 * math.exp(-2.2 * t) + 0.32 + rng.uniform(0, 0.08) if epoch % 2 == 1 else None,
                "valid_top1": 90 - 58 * math.exp(-3.0 * t) + rng.uniform(-1, 1) if epoch % 2 == 1 else None,
                "lr": 0.001 + 0.012 * (1 + math.cos(math.pi * t)),
                "seconds": 41.5 + rng.uniform(-2, 2),
                "peak_rss_mb": 1432.0 + epoch,
                "genotype": current,
            }
        )
        tables = {kind: softmax_table(rng, 1.6 * t, chosen_ops(genotype[kind])) for kind in ("normal", "reduce")}
        alphas.append({"epoch": epoch, "ops": OPS, "probabilities": tables})
    lines = {"history.jsonl": history, "alphas.jsonl": alphas}
    for name, rows in lines.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "method": "pc_darts", "dataset": "cifar10", "data": "/data/sets", "epochs": epochs, "batch_size": 256,
        "learning_rate": 0.025, "fidelity": "clean", "unrolled": False, "cutout": None,
        "normalise": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616]},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    environment = {
        "paddle": "3.3.1", "python": "3.11.2", "device": "cpu", "threads": 2, "kernels": "native",
        "command": "paddle-darts search --method pc_darts --dataset cifar10",
    }  # fmt: skip
    (folder / "environment.json").write_text(json.dumps(environment))
    document = {"schema": 1, "space": "darts", "genotype": genotype, "network": {"aux_bn": False}}
    (folder / "genotype.json").write_text(json.dumps(document))
    if done:
        summary = {
            "tool": "search", "title": "PC-DARTS on CIFAR-10", "parameters": 3738574, "macs": 595847808,
            "next_command": f"paddle-darts train --dataset cifar10 --arch runs/{folder.name}",
            "wall_seconds": 41.5 * epochs, "result": {"best_valid_top1": 89.4, "skip_connections": 2},
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder
