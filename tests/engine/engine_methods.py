"""A short search of every method in both spaces, what its history must tell, and interruptions at every moment."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from engine_runs import Crash, resumed, searcher

from paddle_darts.engine import Callback, Interrupted, SearchController
from paddle_darts.methods.ddsas import Ddsas

SMALL: dict[str, Any] = {"init_channels": 4, "layers": 3, "batch_size": 24}
#: Methods that train one candidate after the other know cells of 4 nodes only.
WHOLE_CELLS: dict[str, Any] = {"steps": 4, "multiplier": 4}
#: Short searches with two steps per epoch and everything in them that a method does between epochs.
RUNS: dict[str, dict[str, Any]] = {
    "darts": {"epochs": 2, "unrolled": True},
    "pc_darts": {"epochs": 2, "arch_start_epoch": 1, "partial_channels": 2, "channel_sampling": "random"},
    "p_darts": {
        "epochs": 1,
        "arch_start_epoch": 0,
        "add_layers": [0, 0, 1],
        "add_width": [0, 2, 2],
        "dropout_rate": [0.2, 0.4, 0.6],
        "num_to_drop": [3, 2],
    },
    "fair_darts": {"epochs": 2, "op_threshold": 0.45, "single_level": True},
    "sgas": {
        "epochs": 4,
        "batch_increase": 24,
        "warmup_dec_epoch": 0,
        "decision_freq": 1,
        "use_history": True,
        "fidelity": "official",
    },
    "dr_nas": {
        "epochs": 3,
        "arch_start_epoch": 0,
        "ks": [2, 1],
        "keeps": [7, 4],
        "stage_epochs": [1, 2],
        "fidelity": "official",
    },
    "ddsas": {
        "epochs": 3,
        "dss_max_ops": 7,
        "dss_freq": 2,
        "gumbel": True,
        "rdss_prob": 0.3,
        "space_config": "space_config_shrink",
        "stage_epochs": [1, 2, 3, 4, 5],
    },
    "gdas": {"epochs": 2},
    "random_search": {**WHOLE_CELLS, "epochs": 4, "candidate_epochs": 2},
    "regularized_evolution": {**WHOLE_CELLS, "epochs": 4, "population_size": 2, "sample_size": 2},
    "simulated_annealing": {**WHOLE_CELLS, "epochs": 3},
}
#: What the history says: the stage, the steps, and the facts of the method that follow from RUNS, epoch by epoch.
STORIES: dict[str, dict[str, list[Any]]] = {
    "darts": {"stage": [0, 0]},
    "pc_darts": {"stage": [0, 0]},
    "p_darts": {"stage": [0, 1, 2], "candidates_per_edge": [8, 5, 3], "skip_dropout": [0.2, 0.4, 0.6]},
    "fair_darts": {"stage": [0, 0]},
    "sgas": {"stage": [0, 0, 0, 0]},
    "dr_nas": {"stage": [0, 1, 1], "candidates_per_edge": [7, 4, 4], "partial_channels": [2, 1, 1]},
    "ddsas": {"stage": [0, 1, 2], "available_normal": [40, 26, 12], "available_reduce": [40, 26, 12]},
    "gdas": {"stage": [0, 0], "temperature": [10.0, 0.1]},
    "random_search": {"stage": [0] * 4, "candidates": [0, 1, 1, 2], "lr": [0.1, 0.05] * 2},
    "regularized_evolution": {"stage": [0] * 4, "candidates": [1, 2, 3, 4]},
    "simulated_annealing": {"stage": [0] * 3, "candidates": [1, 2, 3]},
}
#: The same in the space of NAS-Bench-201, on supernets of one cell per group.
SMALL_201: dict[str, Any] = {
    **SMALL,
    "space": "nas_bench_201",
    "layers": 5,
    "steps": None,
    "multiplier": None,
}
RUNS_201: dict[str, dict[str, Any]] = {
    **{name: RUNS[name] for name in ("darts", "pc_darts", "fair_darts", "gdas")},
    "p_darts": {**RUNS["p_darts"], "add_layers": [0, 0, 3], "num_to_drop": [2, 1]},
    "sgas": {**RUNS["sgas"], "epochs": 6},
    "dr_nas": {**RUNS["dr_nas"], "keeps": [5, 3]},
    "ddsas": {
        "epochs": 3,
        "dss_max_ops": 7,
        "dss_freq": 2,
        "gumbel": True,
        "rdss_prob": 0.3,
        "space_config": "space_config_shrink",
        "stage_epochs": [1, 2, 3, 4, 5],
    },
    "random_search": {"epochs": 4, "candidate_epochs": 2},
    "regularized_evolution": {"epochs": 4, "population_size": 2, "sample_size": 2},
    "simulated_annealing": {"epochs": 3},
}
STORIES_201: dict[str, dict[str, list[Any]]] = {
    **{name: STORIES[name] for name in ("darts", "pc_darts", "fair_darts", "gdas")},
    **{name: STORIES[name] for name in ("random_search", "regularized_evolution", "simulated_annealing")},
    "p_darts": {**STORIES["p_darts"], "candidates_per_edge": [5, 3, 2]},
    "sgas": {"stage": [0] * 6, "undecided_cell": [5, 4, 3, 2, 1, 0]},
    "dr_nas": {**STORIES["dr_nas"], "candidates_per_edge": [5, 3, 3]},
    "ddsas": {"stage": [0, 1, 2], "available_cell": [30, 16, 6]},
}
SPACES = {"darts": (SMALL, RUNS, STORIES), "nas_bench_201": (SMALL_201, RUNS_201, STORIES_201)}


#: One stage, one step per epoch, and no more epochs than needed.
BRIEF: dict[str, dict[str, Any]] = {
    "p_darts": {"add_layers": [0], "add_width": [0], "dropout_rate": [0.2], "num_to_drop": []},
    "dr_nas": {"ks": [2], "keeps": [7], "stage_epochs": []},
    "ddsas": {"space_config": "space_config_static", "stage_epochs": []},
    "fair_darts": {"op_threshold": 0.85},
    "sgas": {"epochs": 4},
}


class Steps(Callback):
    """Counts the steps of every epoch."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def on_step_end(self, search: SearchController, step: int, logs: dict[str, Any]) -> None:
        self.counts[search.epoch] += 1


class Whole:
    """The runs that nobody interrupts, with the steps of their epochs; each is made once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, {}

    def __call__(self, name: str, space: str = "darts") -> tuple[Path, dict[int, int]]:
        if (name, space) not in self.made:
            run_dir, steps = self.folder / space / name, Steps()
            searcher(run_dir, [steps], **settings_of(name, space)).run()
            self.made[name, space] = run_dir, dict(steps.counts)
        return self.made[name, space]


class OneMove(Callback):
    """Ends the run after each of its moves, once per moment, however often the run is resumed.

    Moments: in even epochs every step but the last, and the evaluation (which is then reached with unsaved steps); in
    odd epochs every step, and behind the evaluation without saving anything, as a kill does; between all epochs.
    """

    def __init__(self) -> None:
        self.moments: list[tuple[str, int]] = []

    def watch(self, search: SearchController) -> SearchController:
        """``search``, with an evaluation that can be stopped too."""
        batches = search.interruptible

        def interruptible(given: Any) -> Iterator[Any]:
            if search.epoch % 2 == 0:
                self._stop("evaluation", search.epoch)
            return batches(given)

        search.interruptible = interruptible  # type: ignore[method-assign]
        return search

    def on_step_end(self, search: SearchController, step: int, logs: dict[str, Any]) -> None:
        if search.epoch % 2 or search.step_in_epoch < search.steps_per_epoch:
            self.moments.append(("step", search.epoch))
            signal.raise_signal(signal.SIGTERM)

    def on_epoch_end(self, search: SearchController, epoch: int, logs: dict[str, Any]) -> None:
        if epoch % 2 and ("decided", epoch) not in self.moments:
            self.moments.append(("decided", epoch))
            raise Crash
        self._stop("epoch", epoch)

    def _stop(self, moment: str, epoch: int) -> None:
        if (moment, epoch) not in self.moments:
            self.moments.append((moment, epoch))
            signal.raise_signal(signal.SIGTERM)


def settings_of(name: str, space: str = "darts") -> dict[str, Any]:
    small, runs, _ = SPACES[space]
    return {**small, "method": name, **runs[name]}


def with_interruptions(run_dir: Path, settings: dict[str, Any]) -> list[tuple[str, int]]:
    """Runs a search that is stopped after every single move, and resumed; the moments."""
    move = OneMove()
    search = searcher(run_dir, [move], **settings)
    while True:
        try:
            move.watch(search).run()
            return move.moments
        except (Interrupted, Crash):
            search = resumed(run_dir, [move])


def all_moments(steps: dict[int, int]) -> list[tuple[str, int]]:
    """The moments of a search with so many steps in each epoch, sorted."""
    moments = [("step", e) for e, count in steps.items() for _ in range(count if e % 2 else count - 1)]
    moments += [("decided" if e % 2 else "evaluation", e) for e in steps]
    return sorted(moments + [("epoch", e) for e in steps])


class PreferSkips(Callback):
    """After every step skip connections are the strongest on all edges, by far, and the other operations ranked."""

    def on_step_end(self, search: SearchController, step: int, logs: dict[str, Any]) -> None:
        method = search.method
        ops = method.supernet.spec.primitives
        wanted = np.linspace(2.0, 3.0, len(ops))
        wanted[ops.index("skip_connect")] = 4.0
        if isinstance(method, Ddsas):  # its genotype is read from saliencies
            method.space.saliency = {kind: table * 0 + wanted for kind, table in method.space.saliency.items()}
            return
        for name, tensor in method.arch.items():
            if name.startswith("alphas"):
                tensor.set_value(np.broadcast_to(wanted, tensor.shape).astype("float32"))
