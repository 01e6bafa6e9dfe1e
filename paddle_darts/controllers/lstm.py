"""A policy that proposes tokens one after the other and learns by REINFORCE: PaddleSlim's ``LSTM`` controller."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddle_darts.controllers.abstract import RLCONTROLLER, RLBaseController
from paddle_darts.controllers.checks import checked_count, checked_reward
from paddle_darts.controllers.lstm_policy import Policy, PolicySettings
from paddle_darts.errors import ConfigError, RunError
from paddle_darts.io.files import read_json, write_json
from paddle_darts.io.tensors import load_tensors, save_tensors
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import copy_into, trainable
from paddle_darts.nn.optimizers import NamedOptimizer
from paddle_darts.spaces.tokens import RangeTable

log = logging.getLogger(__name__)

SCHEMA = 1
#: Limit of the norm of each gradient.
CLIP_NORM = 5.0
STATE = "policy.json"


@RLCONTROLLER.register
class LSTM(RLBaseController):
    """Draws tokens from a `Policy` and makes those likelier whose reward is above the average.

    ``update`` first moves the baseline, b <- b - (1 - decay) * (b - mean reward), then takes one step of Adam on
    ``-sum(log p(token)) * (reward - b)``, every gradient limited to the norm 5. A policy belongs to one thread at a
    time.

    Args:
        range_tables: highs of the tokens (exclusive), or ``(zeros, highs)``.
        use_gpu: compute on the first GPU instead of the CPU.
        seed: of start values and proposals; None draws a fresh one.
        kwargs: see `PolicySettings`.

    Source: paddleslim/common/rl_controller/lstm/lstm_controller.py (2.6.0), REINFORCE with a baseline as in ENAS
    (arXiv 1802.03268). Deviations: dygraph instead of two static programs; every sample of a batch has its own reward
    (PaddleSlim gives all of them their mean); the cells are shared by all positions and really stacked (there every
    position has new ones, and upper layers see the input of the lowest); one start embedding for all samples; own
    random numbers; everything is part of the state; a setting of 0 is not taken for a missing one.
    """

    def __init__(self, range_tables: Any, use_gpu: bool = False, *, seed: int | None = None, **kwargs: Any) -> None:
        self._table = RangeTable.of(range_tables)
        if any(self._table.lows):
            raise ConfigError(f"tokens of the LSTM controller count from 0, got lows {list(self._table.lows)}")
        if use_gpu and not paddle.is_compiled_with_cuda():
            raise ConfigError("use_gpu is not possible: this Paddle is a CPU build")
        self.settings = PolicySettings.of(kwargs)
        self.source = RandomSource(int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed)
        self.policy = Policy(self._table.highs, self.settings)
        self.policy.to(device=paddle.CUDAPlace(0) if use_gpu else paddle.CPUPlace())
        self.policy.begin(self.source)
        self._weights = trainable(self.policy)
        adam = paddle.optimizer.Adam(
            float(self.settings.controller_lr),
            parameters=list(self._weights.values()),
            grad_clip=nn.ClipGradByNorm(CLIP_NORM),
        )
        self._optimizer = NamedOptimizer(adam, self._weights)
        self.baseline, self.updates = 0.0, 0
        self._proposed: list[list[int]] = []

    @property
    def range_table(self) -> tuple[list[int], list[int]]:
        """``(lows, highs)``."""
        lows, highs = self._table.to_lists()
        return lows, highs

    @property
    def lr(self) -> float:
        """The rate of the next update."""
        s = self.settings
        if s.controller_decay_steps is None:
            return s.controller_lr
        return s.controller_lr * s.controller_decay_rate ** (self.updates / s.controller_decay_steps)

    # ------------------------------------------------------------------------------------------ the verbs
    @paddle.no_grad()
    def next_tokens(
        self, num_archs: int | None = None, params_dict: dict[str, Any] | None = None, is_inference: bool = False
    ) -> list[list[int]]:
        """``num_archs`` token lists (None: controller_batch_size); with ``is_inference`` the likeliest tokens.

        ``params_dict``: a state to load before. What was drawn last waits for :meth:`update`; the likeliest tokens do
        not.
        """
        if params_dict is not None:
            self.load_state_dict(params_dict)
        rows = checked_count("num_archs", self.settings.controller_batch_size if num_archs is None else num_archs)
        choose = _likeliest if is_inference else self._draw
        tokens, _ = self.policy.walk(choose, rows)
        found = np.stack(tokens, axis=1).tolist()
        if not is_inference:
            self._proposed = [list(row) for row in found]
        return found

    def update(self, rewards: Any, params_dict: dict[str, Any] | None = None) -> dict[str, Any]:
        """Learns from the rewards of what ``next_tokens`` drew last: one number for all, or one for each.

        Returns :meth:`state_dict`. ConfigError when nothing was drawn, when the number of rewards is wrong, and for a
        reward that is no finite number.
        """
        if params_dict is not None:
            self.load_state_dict(params_dict)
        if not self._proposed:
            raise ConfigError("there are no tokens to be rewarded: call next_tokens() first")
        self.learn(self._proposed, rewards)
        self._proposed = []
        return self.state_dict()

    def learn(self, samples: Sequence[Sequence[int]], rewards: Any) -> float:
        """One update on given token lists, drawn by whomever; returns the loss before it."""
        rows = [self._table.check(tokens) for tokens in samples]
        gains = self._gains(rewards, len(rows))
        columns = np.array(rows, dtype=np.int64).T
        _, chosen = self.policy.walk(lambda position, log_p: columns[position], len(rows))
        log_p = paddle.stack(chosen)
        if self.settings.weight_entropy is not None:
            nats = -(log_p * log_p.exp()).sum(axis=0).detach()
            gains = gains + self.settings.weight_entropy * nats.numpy().astype(np.float64)
        self.baseline -= (1.0 - self.settings.decay) * (self.baseline - float(gains.mean()))
        advantage = paddle.to_tensor(gains - self.baseline, dtype=log_p.dtype, place=log_p.place)
        loss = -(log_p.sum(axis=0) * advantage).sum()
        self._optimizer.lr = self.lr
        self._optimizer.step(paddle.grad(loss, self._optimizer.parameters, allow_unused=True))
        self.updates += 1
        log.debug(
            "update %d: mean reward %g, baseline %g, loss %g", self.updates, gains.mean(), self.baseline, float(loss)
        )
        return float(loss)

    def _gains(self, rewards: Any, rows: int) -> np.ndarray:
        """One finite reward per sample, float64."""
        values = rewards.numpy() if hasattr(rewards, "numpy") else rewards
        listed = (
            list(values) if isinstance(values, (Sequence, np.ndarray)) and np.ndim(values) == 1 else [values] * rows
        )
        if len(listed) == 1:
            listed = listed * rows
        if len(listed) != rows:
            raise ConfigError(f"{rows} token lists want one reward each, or one for all, got {len(listed)}")
        return np.array([checked_reward(value) for value in listed])

    def _draw(self, position: int, log_p: paddle.Tensor) -> np.ndarray:
        """Tokens by the inverse of the distribution function."""
        cumulated = np.exp(log_p.numpy().astype(np.float64)).cumsum(axis=1)
        marks = self.source.uniform((len(cumulated), 1)) * cumulated[:, -1:]
        return (cumulated <= marks).sum(axis=1).clip(max=self._table.highs[position] - 1)

    # ------------------------------------------------------------------------------------------ state
    def _plain(self) -> dict[str, Any]:
        """The part of the state that is JSON."""
        return {
            "schema": SCHEMA,
            "controller": "LSTM",
            "range_table": self._table.to_lists(),
            "settings": dict(vars(self.settings)),
            "baseline": self.baseline,
            "updates": self.updates,
            "proposed": [list(tokens) for tokens in self._proposed],
            "source": self.source.state_dict(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next proposals and updates depend on: plain values, and ``tensors`` by name."""
        tensors = {f"policy/{name}": t for name, t in self._weights.items()}
        tensors |= {f"optimizer/{name}": t for name, t in self._optimizer.state_dict().items()}
        return {**self._plain(), "tensors": {name: t.detach().clone() for name, t in tensors.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; ConfigError for a state of another controller, table or settings."""
        for key, own in self._plain().items():
            if key in ("schema", "controller", "range_table", "settings") and state.get(key) != own:
                raise ConfigError(f"the state does not fit this LSTM controller: {key} {state.get(key)!r}, not {own!r}")
        try:
            tensors = state["tensors"]
            weights = {name: tensors[f"policy/{name}"] for name in self._weights}
            moments = {n.removeprefix("optimizer/"): t for n, t in tensors.items() if n.startswith("optimizer/")}
            baseline, updates = float(state["baseline"]), int(state["updates"])
            proposed = [self._table.check(tokens) for tokens in state["proposed"]]
            self.source.load_state_dict(state["source"])
            copy_into(self._weights, weights)
            self._optimizer.load_state_dict(moments)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the state of the LSTM controller is damaged: {error!r}") from error
        self.baseline, self.updates, self._proposed = baseline, updates, proposed

    def save(self, folder: str | Path) -> None:
        """Writes the state: ``policy.json``, and the tensors in the safetensors file that it names."""
        folder, state = Path(folder), self.state_dict()
        folder.mkdir(parents=True, exist_ok=True)
        name = f"policy-{self.updates:08d}.safetensors"
        checksum = save_tensors(folder / f"{name}.part", state.pop("tensors"))
        (folder / f"{name}.part").replace(folder / name)
        write_json(folder / STATE, {**state, "file": name, "checksum": checksum})
        for old in folder.glob("policy-*.safetensors*"):  # only now: until here policy.json named the old one
            if old.name != name:
                old.unlink(missing_ok=True)

    def load(self, folder: str | Path) -> None:
        """Continues from what :meth:`save` wrote; RunError when it is missing or damaged."""
        folder = Path(folder)
        state = read_json(folder / STATE)
        if not isinstance(state, dict) or not isinstance(state.get("file"), str):
            raise RunError(f"no readable state of an LSTM controller in {folder}")
        tensors = load_tensors(folder / Path(state["file"]).name, state.get("checksum"))
        self.load_state_dict({**state, "tensors": tensors})


def _likeliest(position: int, log_p: paddle.Tensor) -> np.ndarray:
    return log_p.numpy().argmax(axis=1)
