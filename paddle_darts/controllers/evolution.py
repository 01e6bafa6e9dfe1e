"""Regularised (ageing) evolution over tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from paddle_darts.controllers.abstract import Constraint
from paddle_darts.controllers.base import TokenController, Trial
from paddle_darts.controllers.checks import checked_count, checked_reward


class RegularizedEvolutionController(TokenController):
    """Mutates the winner of a tournament; the population always loses its oldest member, however good.

    The first ``population_size`` proposals are random. Then ``sample_size`` members of the population are drawn with
    replacement, and the child of the best of them differs from it in exactly one token, position and value drawn
    uniformly. Scored tokens join the population; beyond ``population_size`` the oldest leaves. With several clients
    the population is whatever has been scored so far.

    Source: Real et al., "Regularized evolution for image classifier architecture search" (arXiv 1802.01548),
    algorithm 1. Deviation: a child that is known already is mutated further instead of being scored again, unless
    ``repeats``; one that the constraint forbids is replaced by another child. The defaults are those of NATS-Bench's
    own experiments (D-X-Y/AutoDL-Projects, exps/NATS-algos/regularized_ea.py: population 10, sample 3).

    Args:
        range_table: ``(lows, highs)`` or a list of highs.
        population_size, sample_size: members, and how many of them compete for being the parent.
        repeats: propose known tokens again, as the paper does.
    """

    def __init__(
        self,
        range_table: Any,
        population_size: int = 10,
        sample_size: int = 3,
        max_try_times: int = 50000,
        *,
        repeats: bool = False,
        constrain_func: Constraint | None = None,
        seed: int | None = None,
    ) -> None:
        self._population_size = checked_count("population_size", population_size)
        self._sample_size = checked_count("sample_size", sample_size)
        self._repeats = repeats
        super().__init__(range_table, max_try_times, constrain_func=constrain_func, seed=seed)

    @property
    def population(self) -> list[Trial]:
        """The members, the oldest first."""
        return [Trial(list(tokens), reward) for tokens, reward in self._population]

    def _begin(self) -> None:
        self._population: deque[Trial] = deque(maxlen=self._population_size)

    def _candidate(self, control: list[int] | None, blocked: list[int] | None) -> list[int]:
        if control is None and (self._proposals < self._population_size or not self._population):
            return self._table.random(self._rng)
        if blocked is not None and self._walks_on() and self._passes(blocked):
            return self._mutated(blocked)
        return self._mutated(self._parent() if control is None else control)

    def _passes(self, blocked: list[int]) -> bool:
        """Whether a blocked child is mutated once more: a forbidden one only when little else has been left."""
        return str(blocked) not in self._refused or self._tries > self._max_try_times // 2

    def _parent(self) -> list[int]:
        members = self._rng.randint(len(self._population), size=self._sample_size)
        return max((self._population[i] for i in members), key=lambda member: member.reward).tokens

    def _mutated(self, tokens: list[int]) -> list[int]:
        """``tokens`` with one of them changed to another value; the same if no token has two values."""
        spans = list(zip(self._table.lows, self._table.highs, strict=True))
        free = [position for position, (low, high) in enumerate(spans) if high - low > 1]
        child = list(tokens)
        if free:
            position = free[self._rng.randint(len(free))]
            low, high = spans[position]
            other = int(self._rng.randint(low, high - 1))
            child[position] = other + (other >= tokens[position])
        return child

    def _is_known(self, tokens: list[int]) -> bool:
        return not self._repeats and super()._is_known(tokens)

    def _learn(self, tokens: list[int], reward: float, client_num: int) -> None:
        self._population.append(Trial(tokens, reward))

    def _state(self) -> dict[str, Any]:
        return {
            "population": [[list(tokens), reward] for tokens, reward in self._population],
            "population_size": self._population_size,
            "sample_size": self._sample_size,
            "repeats": self._repeats,
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        self._population_size = checked_count("population_size", state["population_size"])
        self._sample_size = checked_count("sample_size", state["sample_size"])
        self._repeats = bool(state["repeats"])
        members = [Trial(self._table.check(tokens), checked_reward(reward)) for tokens, reward in state["population"]]
        self._population = deque(members, maxlen=self._population_size)
