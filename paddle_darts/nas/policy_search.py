"""A policy behind a server: one proposal at a time, rewards in any order, learning where the policy is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paddle_darts.controllers.checks import checked_reward
from paddle_darts.controllers.lstm import LSTM


class PolicyController:
    """What a `ControllerServer` asks of a controller, answered by a policy that learns from given tokens.

    Every reward is an update of the policy; with ``is_sync`` the rewards are gathered until there are as many as
    clients, and are one update together. Deviation from PaddleSlim, whose clients hold copies of the policy and send
    differences of its weights: here only tokens and rewards travel.
    """

    def __init__(self, policy: LSTM, is_sync: bool = False, on_learn: Callable[[], None] | None = None) -> None:
        self.policy, self.is_sync, self._on_learn = policy, is_sync, on_learn
        self.best_tokens: list[int] | None = None
        self.max_reward = -math.inf
        self.current_tokens: list[int] | None = None
        self._gathered: list[tuple[list[int], float]] = []

    @property
    def range_table(self) -> tuple[list[int], list[int]]:
        """``(lows, highs)``."""
        return self.policy.range_table

    def next_tokens(self, control_token: list[int] | None = None) -> list[int]:
        """One draw from the policy."""
        (tokens,) = self.policy.next_tokens(1)
        self.current_tokens = tokens
        return list(tokens)

    def update(self, tokens: Sequence[int], reward: float, iter: int | None = None, client_num: int = 1) -> None:
        """Takes one reward."""
        reward = checked_reward(reward)
        self._gathered.append((list(tokens), reward))
        if reward > self.max_reward:
            self.best_tokens, self.max_reward = list(tokens), reward
        if not self.is_sync or len(self._gathered) >= client_num:
            samples, rewards = zip(*self._gathered, strict=True)
            self._gathered = []
            self.policy.learn(samples, list(rewards))
            if self._on_learn is not None:
                self._on_learn()

    def state_dict(self) -> dict[str, Any]:
        """The policy's state, with tensors in it, and the best so far."""
        best = {"best_tokens": self.best_tokens, "max_reward": self.max_reward, "current_tokens": self.current_tokens}
        return {"policy": self.policy.state_dict(), "gathered": list(self._gathered), **best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.policy.load_state_dict(state["policy"])
        self._gathered = [(list(tokens), float(reward)) for tokens, reward in state["gathered"]]
        self.best_tokens, self.max_reward = state["best_tokens"], state["max_reward"]
        self.current_tokens = state["current_tokens"]
