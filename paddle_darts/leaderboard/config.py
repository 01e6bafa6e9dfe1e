"""The settings of a leaderboard: one protocol for all methods, and what single entries need besides."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from paddle_darts.engine.config import DataSettings


@dataclass
class LeaderboardConfig(DataSettings):
    """Settings of a leaderboard. Those of the data and the sizes hold for all entries, whatever the recipes say.

    Args:
        methods: all, or names of methods and of the entries that per_method adds.
        seeds: a number N for the seeds 0 to N-1, or seeds with commas (3, is seed 3 alone).
        space: search space; its cells must have known accuracies.
        nats_table: results of all cells (a CSV or NPZ file, or the official folder).
        out: directory of the leaderboard; each entry has its run directory in it.
        report_only: write table and plots from what is there, run nothing.
        jobs: entries that run at the same time.
        threads: CPU threads of each entry (default: all cores shared among the jobs).
        device: cpu, gpu or gpu:N.
        epochs: the budget of an entry: passes over both halves of the data. All stages of a method share it; methods
            that learn from the training half alone have twice the epochs.
        init_channels: channels of the first cells of the supernet.
        layers: cells of the supernet (default: the space's).
        train_portion: share of the training images that trains the weights; the rest trains the architecture.
        split: contiguous, stratified or nats (default: contiguous for CIFAR, else stratified).
        save_minutes: checkpoint at least this often, besides after every epoch.
        common: further settings of every search, as in its own recipe (YAML).
        per_method: settings of single entries by name (YAML). With a key `method` the entry is a variant of that
            method under a name of its own; `epochs_scale` multiplies the budget.
    """

    methods: list[str] = field(default_factory=lambda: ["all"])
    seeds: int | str = 3
    space: str = "nas_bench_201"
    nats_table: str | None = None
    out: str = "runs/leaderboard"
    report_only: bool = False
    jobs: int = 1
    threads: int | None = None
    device: str | None = None
    epochs: int = 50
    init_channels: int = 16
    layers: int | None = None
    train_portion: float = 0.5
    split: Literal["contiguous", "stratified", "nats"] | None = None
    save_minutes: float = 10.0
    common: dict[str, Any] = field(default_factory=dict)
    per_method: dict[str, dict[str, Any]] = field(default_factory=dict)


#: Settings that say which entries run, and where and how: they may differ from one start to the next. What they
#: change of a single entry is found when its own settings are compared.
FREE = (
    *("methods", "seeds", "nats_table", "out", "report_only", "jobs", "threads", "device", "save_minutes", "data"),
    "per_method",
)
#: Settings of the protocol that are settings of each search.
SHARED = (
    *(f.name for f in fields(DataSettings)),
    *("space", "nats_table", "device", "init_channels", "layers", "train_portion", "split", "save_minutes"),
)
