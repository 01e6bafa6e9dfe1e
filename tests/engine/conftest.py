"""Finished runs that several tests look at; none may change them."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_methods import Whole
from engine_runs import TRAIN, searcher

from paddle_darts.engine import Dashboard, Pictures, train


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The short searches of all methods, to compare interrupted ones with."""
    return Whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def finished_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with everything that it leaves behind by default."""
    run_dir = tmp_path_factory.mktemp("finished") / "search"
    searcher(run_dir, [Dashboard(), Pictures(every_seconds=0.0)]).run()
    return run_dir


@pytest.fixture(scope="session")
def finished_training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two epochs on the whole digits, which an evaluation can load by name."""
    run_dir = tmp_path_factory.mktemp("finished") / "training"
    settings = {"batch_size": 512, "learning_rate": 0.1, "drop_path_prob": 0.0, "auxiliary": True}
    train(**{**TRAIN, **settings, "run_dir": str(run_dir)}, callbacks=[])
    return run_dir
