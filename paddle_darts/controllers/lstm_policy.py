"""The network behind the LSTM controller, and its settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddle_darts.controllers.checks import checked_count
from paddle_darts.errors import ConfigError, unknown
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import trainable

#: Position and log probabilities [rows, values] -> tokens [rows].
Choice = Callable[[int, paddle.Tensor], np.ndarray]


@dataclass(frozen=True)
class PolicySettings:
    """The keyword arguments of PaddleSlim's ``LSTM``; None stands for the default, and 0 is 0.

    Args:
        lstm_num_layers: cells on top of each other.
        hidden_size: values of a state and of an embedding.
        temperature: divides the logits; larger ones make proposals more random (None: 1).
        tanh_constant: c in ``c * tanh(logits)``, which limits how sure the policy can be (None: no limit).
        decay: of the moving average of the rewards, the baseline; 0 is the latest reward alone.
        weight_entropy: what is added to a reward for every nat of the entropy of the sampled tokens (None: nothing).
        controller_batch_size: token lists that ``next_tokens`` draws at a time; each counts as a sample.
        controller_lr: learning rate of Adam.
        controller_decay_steps: updates in which the rate falls by ``controller_decay_rate`` (None: it stays).
        controller_decay_rate: the factor of that fall.
    """

    lstm_num_layers: int = 1
    hidden_size: int = 100
    temperature: float | None = None
    tanh_constant: float | None = None
    decay: float = 0.99
    weight_entropy: float | None = None
    controller_batch_size: int = 1
    controller_lr: float = 1e-4
    controller_decay_steps: int | None = None
    controller_decay_rate: float | None = None

    def __post_init__(self) -> None:
        for name in ("lstm_num_layers", "hidden_size", "controller_batch_size"):
            checked_count(name, getattr(self, name))
        if self.controller_decay_steps is not None:
            checked_count("controller_decay_steps", self.controller_decay_steps)
            if self.controller_decay_rate is None or not 0 < self.controller_decay_rate <= 1:
                raise ConfigError(
                    "controller_decay_steps needs a controller_decay_rate above 0 and at most 1, "
                    f"got {self.controller_decay_rate!r}"
                )
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature must be above 0, got {self.temperature!r}")
        if not 0 <= self.decay <= 1:
            raise ConfigError(f"decay must be between 0 and 1, got {self.decay!r}")
        for name in ("tanh_constant", "weight_entropy", "controller_lr"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"{name} must be a finite number of at least 0, got {value!r}")

    @classmethod
    def of(cls, given: dict[str, Any]) -> PolicySettings:
        """The settings of keyword arguments; ConfigError for an unknown one."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise ConfigError(unknown("setting of the LSTM controller", name, known))
        return cls(**{name: value for name, value in given.items() if value is not None})


class Policy(nn.Layer):
    """LSTM cells over token positions: the embedding of the token before goes in, logits of the next one come out.

    The cells and the embedding are shared by all positions, each position has an output layer of its own.
    """

    def __init__(self, highs: Sequence[int], settings: PolicySettings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.start = self.create_parameter([1, hidden])
        self.embedding = nn.Embedding(max(highs), hidden)
        self.cells = nn.LayerList([nn.LSTMCell(hidden, hidden) for _ in range(settings.lstm_num_layers)])
        self.heads = nn.LayerList([nn.Linear(hidden, high) for high in highs])
        self._settings = settings

    def begin(self, source: RandomSource) -> None:
        """Start values: embeddings U(-1, 1), all others U(-b, b) with b = 1/sqrt(hidden_size)."""
        for name, weight in trainable(self).items():
            bound = 1.0 if name in ("start", "embedding.weight") else 1.0 / math.sqrt(self._settings.hidden_size)
            weight.set_value((bound * (2.0 * source.uniform(tuple(weight.shape)) - 1.0)).astype("float32"))

    def walk(self, choose: Choice, rows: int) -> tuple[list[np.ndarray], list[paddle.Tensor]]:
        """Goes through the positions; ``choose(position, log probabilities [rows, values])`` gives the tokens [rows].

        Returns the tokens and their log probabilities [rows], position by position.
        """
        inputs = self.start.expand([rows, -1])
        states = [(paddle.zeros_like(inputs), paddle.zeros_like(inputs)) for _ in self.cells]
        tokens, chosen = [], []
        for position, head in enumerate(self.heads):
            h = inputs
            for layer, cell in enumerate(self.cells):
                h, states[layer] = cell(h, states[layer])
            logits = self._bounded(head(h))
            # not log_softmax: Paddle's CPU kernel cuts it off at -64
            log_p = logits - paddle.logsumexp(logits, axis=-1, keepdim=True)
            token = choose(position, log_p)
            index = paddle.to_tensor(token, dtype="int64", place=log_p.place)
            tokens.append(token)
            chosen.append(paddle.take_along_axis(log_p, index.unsqueeze(1), axis=1).squeeze(1))
            inputs = self.embedding(index)
        return tokens, chosen

    def _bounded(self, logits: paddle.Tensor) -> paddle.Tensor:
        if self._settings.temperature is not None:
            logits = logits / self._settings.temperature
        if self._settings.tanh_constant is not None:
            logits = self._settings.tanh_constant * paddle.tanh(logits)
        return logits
