"""What the controllers of this package share: checks, memory, tries, state as plain JSON."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from paddle_darts.controllers.abstract import Constraint, EvolutionaryController
from paddle_darts.controllers.checks import checked_constraint, checked_count, checked_reward, from_json, to_json
from paddle_darts.controllers.errors import SearchSpaceExhausted
from paddle_darts.errors import ConfigError
from paddle_darts.spaces.tokens import RangeTable

log = logging.getLogger(__name__)

SCHEMA = 1


class Trial(NamedTuple):
    """A scored proposal."""

    tokens: list[int]
    reward: float


class TokenController(EvolutionaryController):
    """Base of the controllers that propose one list of tokens at a time.

    Contract: ``next_tokens()`` gives tokens that are in range, that satisfy ``constrain_func`` and that were neither
    proposed nor scored before; after ``max_try_times`` candidates without such tokens it raises
    `SearchSpaceExhausted`. ``update`` takes the rewards (finite numbers, larger is better) in any order, also of
    tokens that were never proposed. ``state_dict`` is plain JSON and holds the random state: a controller that loads
    it proposes exactly what this one would. A controller belongs to one thread at a time.

    Args:
        range_table: ``(lows, highs)`` or a list of highs; token i is drawn from ``[low, high)``.
        max_try_times: candidates looked at per proposal; known and forbidden ones count.
        constrain_func: called with a list of tokens; whether they may be proposed. Not part of the state.
        seed: of the controller's own ``np.random.RandomState``; None draws a fresh one.

    Subclasses write :meth:`_candidate` and, where there is something to learn, :meth:`_learn`, :meth:`_begin`,
    :meth:`_state` and :meth:`_load`.
    """

    def __init__(
        self,
        range_table: Any,
        max_try_times: int,
        *,
        constrain_func: Constraint | None = None,
        seed: int | None = None,
    ) -> None:
        self._table = RangeTable.of(range_table)
        self._max_try_times = checked_count("max_try_times", max_try_times)
        self._constrain_func = checked_constraint(constrain_func)
        self._seed = seed
        self._start()

    # ------------------------------------------------------------------------------------------ what can be asked
    @property
    def range_table(self) -> tuple[list[int], list[int]]:
        """``(lows, highs)``."""
        lows, highs = self._table.to_lists()
        return lows, highs

    @property
    def best_tokens(self) -> list[int] | None:
        """The tokens of the largest reward; None before there is one."""
        return _copy(self._best_tokens)

    @property
    def max_reward(self) -> float:
        """The largest reward; minus infinity before there is one."""
        return self._max_reward

    @property
    def current_tokens(self) -> list[int] | None:
        """The latest proposal; before the first one the initial tokens, if any."""
        return _copy(self._current_tokens)

    @property
    def history(self) -> list[Trial]:
        """All updates in order, as (tokens, reward)."""
        return [Trial(list(tokens), reward) for tokens, reward in self._history]

    # ------------------------------------------------------------------------------------------ the verbs
    def next_tokens(self, control_token: list[int] | None = None) -> list[int]:
        """New tokens. ``control_token``: what to start from instead of what the controller would choose."""
        control = None if control_token is None else self._table.check(control_token)
        blocked: list[int] | None = None
        self._refused.clear()
        for tries in range(self._max_try_times):
            self._tries = tries
            tokens = self._candidate(control, blocked)
            blocked = tokens
            if not self._is_known(tokens) and self._is_allowed(tokens):
                self._searched.setdefault(str(tokens), None)
                self._current_tokens = tokens
                self._proposals += 1
                return list(tokens)
        raise SearchSpaceExhausted(
            f"no new tokens that meet the constraint in {self._max_try_times} tries (max_try_times); "
            f"{len(self._searched)} of {self._table.size()} token lists are known"
        )

    def update(self, tokens: list[int], reward: float, iter: int | None = None, client_num: int = 1) -> None:
        """Takes the reward of ``tokens``.

        ``iter`` is the number of this step, from 1 (None: one more than the last); ``client_num`` how many clients
        share the search. ValueError for tokens out of range and for a reward that is no finite number.
        """
        tokens, reward = self._table.check(tokens), checked_reward(reward)
        count = checked_count("client_num", client_num)
        self._iter = max(self._iter, self._iter + 1 if iter is None else checked_count("iter", iter, least=0))
        self._searched[str(tokens)] = reward
        self._learn(tokens, reward, count)
        if reward > self._max_reward:
            self._max_reward, self._best_tokens = reward, tokens
        self._history.append(Trial(tokens, reward))
        log.debug("step %d: reward %g of %s; best %g of %s", self._iter, reward, tokens, *self._best())

    def reset(self, range_table: Any = None, constrain_func: Constraint | None = None) -> None:
        """Starts again as after the construction, with the same seed; None keeps the table and the constraint."""
        if range_table is not None:
            self._table = RangeTable.of(range_table)
        if constrain_func is not None:
            self._constrain_func = checked_constraint(constrain_func)
        self._start()

    # ------------------------------------------------------------------------------------------ state
    def state_dict(self) -> dict[str, Any]:
        """Everything that the next proposals depend on, except the constraint: JSON values only."""
        return {
            "schema": SCHEMA,
            "controller": type(self).__name__,
            "range_table": self._table.to_lists(),
            "max_try_times": self._max_try_times,
            "seed": self._seed,
            "rng": _rng_state(self._rng),
            "iter": self._iter,
            "proposals": self._proposals,
            "searched": dict(self._searched),
            "history": [[list(tokens), reward] for tokens, reward in self._history],
            "best_tokens": self.best_tokens,
            "max_reward": to_json(self._max_reward),
            "current_tokens": self.current_tokens,
            **self._state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; ConfigError for a state of another controller or another table."""
        if not isinstance(state, Mapping):
            raise ConfigError(f"the state of a controller is a mapping, got {state!r}")
        if state.get("controller") != type(self).__name__ or state.get("schema") != SCHEMA:
            raise ConfigError(
                f"this is no state of {type(self).__name__} (schema {SCHEMA}): "
                f"controller {state.get('controller')!r}, schema {state.get('schema')!r}"
            )
        self._check_table(state.get("range_table"))
        before = dict(self.__dict__)
        try:
            self._load_common(state)
            self._load(state)
        except (LookupError, OverflowError, TypeError, ValueError) as error:
            # what was loaded so far must not remain
            self.__dict__.update(before)
            raise ConfigError(f"the state of {type(self).__name__} is damaged: {error!r}") from error

    def _load_common(self, state: Mapping[str, Any]) -> None:
        self._max_try_times = checked_count("max_try_times", state["max_try_times"])
        self._seed = state["seed"]
        self._rng = _rng_from(state["rng"])
        self._iter, self._proposals = int(state["iter"]), int(state["proposals"])
        self._searched = dict(state["searched"])
        self._history = [Trial(self._table.check(tokens), checked_reward(r)) for tokens, r in state["history"]]
        self._best_tokens = self._optional(state["best_tokens"])
        self._max_reward = from_json(state["max_reward"])
        self._current_tokens = self._optional(state["current_tokens"])

    def _check_table(self, value: Any) -> None:
        """ConfigError unless ``value`` is this controller's range table."""
        found = RangeTable.of(value)
        if found != self._table:
            raise ConfigError(f"the state is of the range table {found.to_lists()}, not of {self._table.to_lists()}")

    # ------------------------------------------------------------------------------------------ for subclasses
    @abstractmethod
    def _candidate(self, control: list[int] | None, blocked: list[int] | None) -> list[int]:
        """A candidate for the next proposal.

        ``control`` is what the caller wants to start from; ``blocked`` the last candidate of this proposal, which was
        known or, when it is in ``_refused``, forbidden; ``_tries`` counts the candidates before this one.
        """

    def _walks_on(self) -> bool:
        """Whether a walk over blocked candidates goes on; it begins anew after as many steps as there are tokens."""
        return self._tries % (len(self._table) + 1) != 0

    def _learn(self, tokens: list[int], reward: float, client_num: int) -> None:
        """Takes a reward."""

    def _begin(self) -> None:
        """Sets what a subclass adds to the state of a new search."""

    def _state(self) -> dict[str, Any]:
        """What a subclass adds to :meth:`state_dict`."""
        return {}

    def _load(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`_state`."""

    # ------------------------------------------------------------------------------------------ inside
    def _start(self) -> None:
        self._rng = np.random.RandomState(self._seed)
        self._iter = self._proposals = 0
        #: reward by ``str(tokens)``, None until it is known
        self._searched: dict[str, float | None] = {}
        #: candidates of the present proposal that the constraint forbids
        self._refused: set[str] = set()
        self._tries = 0
        self._history: list[Trial] = []
        self._best_tokens: list[int] | None = None
        self._max_reward = -math.inf
        self._current_tokens: list[int] | None = None
        self._begin()

    def _is_known(self, tokens: list[int]) -> bool:
        return str(tokens) in self._searched

    def _is_allowed(self, tokens: list[int]) -> bool:
        """Whether the constraint holds; it is asked once per proposal and candidate, as it may take long."""
        if self._constrain_func is None:
            return True
        if str(tokens) in self._refused:
            return False
        allowed = bool(self._constrain_func(list(tokens)))
        if not allowed:
            self._refused.add(str(tokens))
        return allowed

    def _best(self) -> tuple[float, list[int] | None]:
        return self._max_reward, self._best_tokens

    def _optional(self, tokens: Any) -> list[int] | None:
        return None if tokens is None else self._table.check(tokens)


def _copy(tokens: list[int] | None) -> list[int] | None:
    return None if tokens is None else list(tokens)


def _rng_state(rng: np.random.RandomState) -> list[Any]:
    name, keys, position, has_gauss, cached = rng.get_state()
    return [name, [int(key) for key in keys], int(position), int(has_gauss), float(cached)]


def _rng_from(state: list[Any]) -> np.random.RandomState:
    name, keys, position, has_gauss, cached = state
    rng = np.random.RandomState(0)
    rng.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    return rng
