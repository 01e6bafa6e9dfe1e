"""Random search over tokens, the baseline of every comparison."""

from __future__ import annotations

from typing import Any

from paddle_darts.controllers.abstract import Constraint
from paddle_darts.controllers.base import TokenController


class RandomController(TokenController):
    """Proposes tokens uniformly at random, none of them twice; rewards only decide which are the best.

    ``control_token`` is checked and has no further effect. Source: Li and Talwalkar, "Random search and
    reproducibility for neural architecture search" (arXiv 1902.07638), without weight sharing.
    """

    def __init__(
        self,
        range_table: Any,
        max_try_times: int = 50000,
        *,
        constrain_func: Constraint | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(range_table, max_try_times, constrain_func=constrain_func, seed=seed)

    def _candidate(self, control: list[int] | None, blocked: list[int] | None) -> list[int]:
        return self._table.random(self._rng)
