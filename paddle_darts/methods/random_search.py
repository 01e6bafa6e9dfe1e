"""Random search: candidates drawn uniformly, none of them twice (arXiv 1902.07638, without weight sharing)."""

from __future__ import annotations

from typing import Any

from paddle_darts.controllers import RandomController
from paddle_darts.methods.sampled import SampledMethod


class RandomSearch(SampledMethod):
    """Trains random cells and keeps the best."""

    name = "random_search"

    def new_controller(self, range_table: list[int], constrain_func: Any, seed: int) -> RandomController:
        return RandomController(range_table, constrain_func=constrain_func, seed=seed)
