"""A run directory as a search leaves it, made up but plausible; tests read it instead of searching."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import yaml

from paddle_darts.genotypes import PRIMITIVES, AnyGenotype
from paddle_darts.genotypes import genotype as parse

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
NB201 = {"arch": "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|"}
NB201_SKIPS = {"arch": "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"}
OPS = {
    "darts": list(PRIMITIVES),
    "nas_bench_201": ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"],
}
BEST = {"cifar10_test": 94.37, "cifar100_test": 73.51}


def softmax_table(rng: random.Random, sharpness: float, ops: list[str], chosen: list[str | None]) -> list[list[float]]:
    """[edges][ops] probabilities that lean towards the chosen operations as ``sharpness`` grows."""
    table = []
    for op_here in chosen:
        raw = [rng.gauss(0, 0.08) + (sharpness if op == op_here else 0.0) for op in ops]
        raw[0] += 0.6 * sharpness  # the familiar rise of `none`
        total = sum(map(math.exp, raw))
        table.append([math.exp(value) / total for value in raw])
    return table


def chosen_ops(cells: AnyGenotype, kind: str) -> list[str | None]:
    """The operation of every row of the architecture matrix of one cell, None where the edge is not kept."""
    first, last = (1, 4) if cells.space == "nas_bench_201" else (2, 6)
    kept = {(link.source, link.target): link.op for link in cells.links(kind)}
    return [kept.get((source, target)) for target in range(first, last) for source in range(target)]


def earlier(genotype: dict) -> dict:
    """The same cells with another operation on their first edge."""
    if "arch" in genotype:
        return {"arch": genotype["arch"].replace("|nor_conv_3x3~0|+", "|avg_pool_3x3~0|+", 1)}
    return {**genotype, "normal": [["sep_conv_5x5", *genotype["normal"][0][1:]], *genotype["normal"][1:]]}


def skip_shares(cells: AnyGenotype | None, kinds: tuple[str, ...]) -> dict[str, float | None]:
    """The share of skip connections: under ``skip_share`` of the first kind of cells, with the kind of the others."""
    names = ["skip_share", *(f"skip_share_{kind}" for kind in kinds[1:])]
    shares = [cells.count("skip_connect", kind) / len(cells.links(kind)) if cells else None for kind in kinds]
    return dict(zip(names, shares, strict=True))


def true_facts(rng: random.Random, derived: bool) -> dict[str, float | int | None]:
    """What a table says of the architecture of an epoch; null where none was derived."""
    facts: dict[str, float | int | None] = {}
    for column, best in BEST.items():
        facts[f"true_{column}"] = best - rng.uniform(0.5, 30) if derived else None
        facts[f"true_{column}_rank"] = rng.randrange(2, 15625) if derived else None
        facts[f"true_{column}_percentile"] = rng.uniform(1, 99) if derived else None
        facts[f"true_{column}_best"] = best
    return facts


def make_run(
    folder: Path, epochs: int = 20, genotype: dict | None = None, done: bool = True, truth: bool = False
) -> Path:
    """Fill ``folder`` with every file that the report reads, except the pictures.

    ``truth``: the history also says what a table knows of the architecture of every epoch.
    """
    genotype = genotype or DARTS_V2
    cells = parse(genotype)
    rng = random.Random(3)
    folder.mkdir(parents=True, exist_ok=True)
    history, alphas = [], []
    for epoch in range(epochs):
        t = epoch / max(1, epochs - 1)
        current = None if epoch == 0 else earlier(genotype) if t < 0.5 else genotype
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
                "genotype": None if current is None else str(parse(current)),
                **skip_shares(None if current is None else parse(current), cells.kinds),
                **(true_facts(rng, current is not None) if truth else {}),
            }
        )
        ops = OPS[cells.space]
        tables = {kind: softmax_table(rng, 1.6 * t, ops, chosen_ops(cells, kind)) for kind in cells.kinds}
        alphas.append({"epoch": epoch, "ops": ops, "probabilities": tables})
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
    document = {"schema": 1, "space": cells.space, "genotype": genotype, "network": {"aux_bn": False}}
    (folder / "genotype.json").write_text(json.dumps(document))
    if done:
        summary = {
            "tool": "search", "title": "PC-DARTS on CIFAR-10", "parameters": 3738574, "macs": 595847808,
            "next_command": f"paddle-darts train --dataset cifar10 --arch runs/{folder.name}",
            "wall_seconds": 41.5 * epochs, "result": {"best_valid_top1": 89.4, "skip_connections": 2},
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder
