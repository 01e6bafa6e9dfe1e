"""The loops: search controller, trainer, evaluator, and what they leave behind."""

from __future__ import annotations

from paddle_darts.engine.callbacks import Callback, Pictures, ProgressBar
from paddle_darts.engine.config import EvaluateConfig, SearchConfig, TrainConfig
from paddle_darts.engine.controller import SearchController, SearchResult, search
from paddle_darts.engine.dashboard import Dashboard
from paddle_darts.engine.estimate import dry_run
from paddle_darts.engine.evaluator import EvaluationResult, evaluate
from paddle_darts.engine.loop import Loop
from paddle_darts.engine.stopping import Interrupted
from paddle_darts.engine.trainer import Trainer, TrainResult, train

__all__ = [
    "Callback",
    "Dashboard",
    "EvaluateConfig",
    "EvaluationResult",
    "Interrupted",
    "Loop",
    "Pictures",
    "ProgressBar",
    "SearchConfig",
    "SearchController",
    "SearchResult",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "dry_run",
    "evaluate",
    "search",
    "train",
]
