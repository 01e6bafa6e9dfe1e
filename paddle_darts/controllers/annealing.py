"""Simulated annealing over tokens: PaddleSlim's ``SAController``."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddle_darts.controllers.abstract import Constraint
from paddle_darts.controllers.base import TokenController
from paddle_darts.controllers.checks import checked_count, from_json, to_json
from paddle_darts.errors import ConfigError
from paddle_darts.io.files import read_json, write_json
from paddle_darts.spaces.tokens import RangeTable, is_listing

log = logging.getLogger(__name__)

CHECKPOINT = "sanas.checkpoints"


class SAController(TokenController):
    """Changes one token of the accepted ones; worse ones are accepted less and less often.

    A proposal changes one random position of the accepted tokens (or of ``control_token``) to a random value, which
    may be the old one; known tokens are drawn again. A reward that is larger than the accepted one is accepted, else
    with the chance ``exp((reward - accepted) / T)``, where ``T = init_temperature * reduce_rate ** (client_num *
    iter)``. The draws are those of PaddleSlim: with ``seed=s`` the proposals are the same as PaddleSlim's after
    ``np.random.seed(s)``.

    Source: paddleslim/common/sa_controller.py (2.6.0), the arguments up to ``searched`` in its order. Deviations: both
    rewards start at minus infinity instead of -1 (pass ``reward=-1, max_reward=-1`` for the old start);
    ``constrain_func`` is honoured; where all tokens that are one change away are known or forbidden, candidates are
    changed further, while PaddleSlim leaves the process; tokens found at the very last try count; when none are found,
    `SearchSpaceExhausted` is raised; without ``init_tokens`` the first proposal is drawn at random (PaddleSlim fails);
    the checkpoint is written atomically and holds the random state.

    Args:
        range_table: ``(lows, highs)`` or a list of highs.
        reduce_rate: by what the temperature is multiplied per step, in (0, 1].
        init_temperature: default 1.0 with ``init_tokens``, 10.0 without.
        init_tokens: what the search starts from; they are not proposed themselves unless they are drawn.
        reward, max_reward, best_tokens, iters, searched: where a search is continued by hand. ``searched`` maps
            ``str(tokens)`` to rewards.
        checkpoints: folder in which every update writes ``sanas.checkpoints``; `load_checkpoint` reads it.
    """

    def __init__(
        self,
        range_table: Any = None,
        reduce_rate: float = 0.85,
        init_temperature: float | None = None,
        max_try_times: int = 300,
        init_tokens: list[int] | None = None,
        reward: float = -math.inf,
        max_reward: float = -math.inf,
        iters: int = 0,
        best_tokens: list[int] | None = None,
        constrain_func: Constraint | None = None,
        checkpoints: str | Path | None = None,
        searched: Mapping[str, float] | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        if range_table is None:
            raise ConfigError("range_table is needed: (lows, highs) or a list of highs")
        if not 0 < reduce_rate <= 1:
            raise ConfigError(f"reduce_rate must be above 0 and at most 1, got {reduce_rate!r}")
        if init_temperature is not None and not (0 <= init_temperature < math.inf):
            raise ConfigError(f"init_temperature must be a finite number of at least 0, got {init_temperature!r}")
        self._reduce_rate = reduce_rate
        self._given_temperature = init_temperature
        self._checkpoints = None if checkpoints is None else Path(checkpoints)
        table = RangeTable.of(range_table)
        self._given = {
            "tokens": None if init_tokens is None else table.check(init_tokens),
            "reward": _start_reward("reward", reward),
            "max_reward": _start_reward("max_reward", max_reward),
            "best_tokens": None if best_tokens is None else table.check(best_tokens),
            "iter": checked_count("iters", iters, least=0),
            "searched": _known(table, searched or {}),
        }
        super().__init__(table, max_try_times, constrain_func=constrain_func, seed=seed)

    @property
    def accepted_tokens(self) -> list[int] | None:
        """The tokens that the next proposal changes; None before there are any."""
        return None if self._tokens is None else list(self._tokens)

    def temperature(self, client_num: int = 1) -> float:
        """The temperature that the next update compares with, if its ``iter`` is not larger than those before."""
        return self._init_temperature * self._reduce_rate ** (client_num * self._iter)

    def update(self, tokens: list[int], reward: float, iter: int | None = None, client_num: int = 1) -> None:
        super().update(tokens, reward, iter, client_num)
        if self._checkpoints is not None:
            write_json(self._checkpoints / CHECKPOINT, self.state_dict())

    def reset(
        self,
        range_table: Any = None,
        constrain_func: Constraint | None = None,
        *,
        init_tokens: list[int] | None = None,
    ) -> None:
        """Starts again as constructed. A new range table starts without what was known of the old one.

        ``init_tokens`` replaces the initial tokens; a new range table without them starts at random ones.
        """
        table = self._table if range_table is None else RangeTable.of(range_table)
        if table != self._table:
            start = {"reward": -math.inf, "max_reward": -math.inf}
            self._given = {**start, "tokens": None, "best_tokens": None, "iter": 0, "searched": {}}
        if init_tokens is not None:
            self._given["tokens"] = table.check(init_tokens)
        super().reset(table, constrain_func)

    def load_checkpoint(self, folder: str | Path) -> None:
        """Continues from ``folder``/sanas.checkpoints (or such a file itself), ours or PaddleSlim's."""
        path = Path(folder)
        path = path / CHECKPOINT if path.is_dir() else path
        state = read_json(path)
        if state is None:
            raise ConfigError(f"no readable checkpoint of a controller at {path}")
        self.load_state_dict(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; also reads what PaddleSlim wrote.

        PaddleSlim's checkpoints hold no random state: the controller's own is kept.
        """
        if isinstance(state, Mapping) and "_range_table" in state:
            state = self._from_paddleslim(state)
        super().load_state_dict(state)

    # ------------------------------------------------------------------------------------------ inside
    def _begin(self) -> None:
        given = self._given
        self._tokens, self._reward = given["tokens"], given["reward"]
        self._best_tokens, self._max_reward = given["best_tokens"], given["max_reward"]
        self._current_tokens, self._iter = given["tokens"], given["iter"]
        self._searched = dict(given["searched"])
        default = 10.0 if self._tokens is None else 1.0
        self._init_temperature = default if self._given_temperature is None else float(self._given_temperature)

    def _candidate(self, control: list[int] | None, blocked: list[int] | None) -> list[int]:
        base = self._tokens if control is None else control
        if base is None:
            return self._table.random(self._rng)
        if blocked is not None and self._walks_on() and self._is_surrounded(base):
            base = blocked
        tokens = list(base)
        # PaddleSlim's two draws, in its order
        position = int(len(self._table) * self._rng.random_sample())
        tokens[position] = int(self._rng.randint(self._table.lows[position], self._table.highs[position]))
        return tokens

    def _is_surrounded(self, base: list[int]) -> bool:
        """Whether ``base`` and all tokens that differ from it in one place are known or forbidden."""
        for position, (low, high) in enumerate(zip(self._table.lows, self._table.highs, strict=True)):
            for value in range(low, high):
                neighbour = str([*base[:position], value, *base[position + 1 :]])
                if neighbour not in self._searched and neighbour not in self._refused:
                    return False
        return True

    def _learn(self, tokens: list[int], reward: float, client_num: int) -> None:
        if reward > self._reward or self._rng.random_sample() <= self._chance(reward, client_num):
            self._tokens, self._reward = tokens, reward

    def _chance(self, reward: float, client_num: int) -> float:
        """How likely a reward that is not larger than the accepted one is accepted."""
        if reward == self._reward:
            return 1.0
        temperature = self.temperature(client_num)
        # after some thousand steps the temperature is exactly 0
        return math.exp((reward - self._reward) / temperature) if temperature > 0 else 0.0

    def _state(self) -> dict[str, Any]:
        return {
            "tokens": self.accepted_tokens,
            "reward": to_json(self._reward),
            "init_temperature": self._init_temperature,
            "reduce_rate": self._reduce_rate,
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        self._tokens, self._reward = self._optional(state["tokens"]), from_json(state["reward"])
        self._init_temperature = float(state["init_temperature"])
        self._reduce_rate = float(state["reduce_rate"])

    def _from_paddleslim(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """PaddleSlim's keys in our words; what it does not store is this controller's own."""
        names = {
            "range_table": "_range_table",
            "reduce_rate": "_reduce_rate",
            "init_temperature": "_init_temperature",
            "max_try_times": "_max_try_times",
            "reward": "_reward",
            "tokens": "_tokens",
            "max_reward": "_max_reward",
            "best_tokens": "_best_tokens",
            "iter": "_iter",
            "searched": "_searched",
            "current_tokens": "_current_tokens",
        }
        missing = [theirs for theirs in names.values() if theirs not in state]
        if missing:
            raise ConfigError(f"this checkpoint of PaddleSlim lacks {', '.join(missing)}")
        log.info("a checkpoint of PaddleSlim has neither a random state nor the order of the trials")
        read = {ours: state[theirs] for ours, theirs in names.items()}
        read["searched"] = _known(self._table, read["searched"])
        return {**self.state_dict(), **read, "history": [], "proposals": len(read["searched"])}


def _start_reward(name: str, value: float) -> float:
    if math.isnan(value) or value == math.inf:
        raise ConfigError(f"{name} must be a number or minus infinity, got {value!r}")
    return float(value)


def _known(table: RangeTable, searched: Mapping[Any, float]) -> dict[str, float]:
    """Rewards by ``str(tokens)``; the keys may be such texts or the tokens as tuples."""
    found = {}
    for key, reward in searched.items():
        tokens = key
        if isinstance(key, str):
            try:
                tokens = json.loads(key)
            except ValueError:
                tokens = None
        if not is_listing(tokens):
            raise ConfigError(f"searched: a key is the text of a list of tokens, got {key!r}")
        found[str(table.check(tokens))] = reward
    return found
