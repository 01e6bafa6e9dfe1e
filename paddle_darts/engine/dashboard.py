"""The VisualDL dashboard of a run: `visualdl --logdir runs/X/vdl`."""

from __future__ import annotations

import logging
import math
import shutil
from typing import Any

import numpy as np

from paddle_darts.analysis.panels import number, true_fact
from paddle_darts.engine.callbacks import Callback, Logs, Run
from paddle_darts.engine.config import FREE_ON_RESUME
from paddle_darts.genotypes import parse_genotype

_SCALARS = {
    "train_loss": "loss/train",
    "valid_loss": "loss/valid",
    "test_loss": "loss/test",
    "train_top1": "accuracy/train",
    "valid_top1": "accuracy/valid",
    "test_top1": "accuracy/test",
    "skip_share": "cells/share of skip connections, normal",
    "skip_share_reduce": "cells/share of skip connections, reduction",
    "lr": "progress/learning rate",
    "seconds": "progress/seconds per epoch",
    "peak_rss_mb": "progress/peak memory MB",
}


class Dashboard(Callback):
    """Scalars, hyper-parameters, and for searches the architecture weights (histograms, heat maps) and the cells.

    Everything is written from the rows of history.jsonl and alphas.jsonl, so that a resumed run shows exactly its
    own past: the folder is written anew then. VisualDL shows only the newest record file of a folder.
    """

    def on_search_begin(self, search: Run) -> None:
        logging.getLogger("visualdl").setLevel(logging.WARNING)
        from visualdl import LogWriter

        shutil.rmtree(search.run_dir.vdl, ignore_errors=True)
        self._writer = LogWriter(logdir=str(search.run_dir.vdl))
        self._pictures: dict[str, np.ndarray] = {}
        plain = {k: v for k, v in search.config.items() if isinstance(v, (int, float, str)) and k not in FREE_ON_RESUME}
        hparams = {k: int(v) if isinstance(v, bool) else v for k, v in plain.items()}
        self._writer.add_hparams(hparams_dict=hparams, metrics_list=["loss/train", "accuracy/train"])
        arch = {row["epoch"]: row for row in search.run_dir.arch_history()}
        for row in search.rows:
            self._emit(row, arch.get(row["epoch"], {}))

    def on_epoch_end(self, search: Run, epoch: int, logs: Logs) -> None:
        self._emit(logs, logs)

    def on_search_end(self, search: Run, result: Any) -> None:
        self._writer.close()

    def on_exception(self, search: Run, exc: BaseException) -> None:
        if hasattr(self, "_writer"):
            self._writer.close()

    def _emit(self, row: Logs, arch: Logs) -> None:
        step = row["epoch"]
        for key, value in row.items():
            tag = _tag(key, row)
            if tag is not None and not math.isnan(number(value)):
                self._writer.add_scalar(tag, number(value), step)
        for kind, probabilities in arch.get("probabilities", {}).items():
            self._emit_weights(kind, np.array(probabilities), arch["ops"], step)
        if arch.get("probabilities") and row.get("genotype"):
            for kind in parse_genotype(row["genotype"]).kinds:
                self._writer.add_image(f"cell/{kind}", self._cell(row["genotype"], kind), step)
        self._writer.flush()

    def _emit_weights(self, kind: str, probabilities: np.ndarray, ops: list[str], step: int) -> None:
        from paddle_darts.analysis import heatmap
        from paddle_darts.analysis.looks import edge_labels

        self._writer.add_histogram(f"architecture/{kind}", probabilities.ravel(), step, buckets=20)
        image = heatmap(probabilities.tolist(), edge_labels(len(probabilities)), ops)
        self._writer.add_image(f"architecture weights/{kind}", image, step)

    def _cell(self, genotype: str, kind: str) -> np.ndarray:
        """The picture of a cell as RGB [H, W, 3]; cells that stay as they are are drawn once."""
        from paddle_darts.analysis import render_cell

        key = f"{kind} {genotype}"
        if key not in self._pictures:
            self._pictures = {k: v for k, v in self._pictures.items() if not k.startswith(kind)}
            self._pictures[key] = np.asarray(render_cell(parse_genotype(genotype), kind))
        return self._pictures[key]


def _tag(key: str, row: Logs) -> str | None:
    """The name of the scalar of a key of the history; None for what is no scalar."""
    if key == "skip_share" and "skip_share_reduce" not in row:
        return "cells/share of skip connections"  # of the only kind of cells
    truth = true_fact(key)
    return f"true {truth[1]}/{truth[0]}" if truth else _SCALARS.get(key)
