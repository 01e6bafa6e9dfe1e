"""Arguments of controllers, checked, and rewards as JSON values."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from paddle_darts.controllers.abstract import Constraint
from paddle_darts.errors import ConfigError
from paddle_darts.spaces.tokens import is_integer


def checked_reward(reward: Any) -> float:
    """``reward`` as a float; ConfigError (a ValueError) when it is no number, not one number, or not finite."""
    value = reward
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise ConfigError(f"a reward is one number, got {reward!r}")
    if not math.isfinite(value):
        raise ConfigError(f"a reward is a finite number, got {float(value)!r}")
    return float(value)


def checked_count(name: str, value: Any, least: int = 1) -> int:
    """``value`` as an integer of at least ``least``."""
    if not is_integer(value) or value < least:
        raise ConfigError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def checked_constraint(constrain_func: Any) -> Constraint | None:
    """``constrain_func``, if it is None or can be called."""
    if constrain_func is not None and not callable(constrain_func):
        raise ConfigError(f"constrain_func takes tokens and says whether they may be proposed, got {constrain_func!r}")
    return constrain_func


def to_json(reward: float) -> float | None:
    """Minus infinity, which JSON does not know, as None."""
    return None if reward == -math.inf else reward


def from_json(reward: float | None) -> float:
    """The inverse of `to_json`."""
    return -math.inf if reward is None else float(reward)
