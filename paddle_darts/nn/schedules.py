"""Learning-rate and drop-path schedules in closed form: a value per epoch, constant within it.

The official programs step a scheduler; depending on the PyTorch version that gives the rate of epoch e or e+1.
These formulas are the rates that the papers used. All epochs count from 0.
"""

from __future__ import annotations

import math

from paddle_darts.errors import ConfigError, unknown


def cosine(epoch: int, epochs: int, base: float, minimum: float = 0.0) -> float:
    """Half a cosine from ``base`` towards ``minimum``, reached at ``epochs``."""
    return minimum + (base - minimum) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def exponential(epoch: int, base: float, gamma: float = 0.97, period: int = 1) -> float:
    """``base`` times ``gamma`` every ``period`` epochs (DARTS on ImageNet)."""
    return base * gamma ** (epoch // period)


def linear(epoch: int, epochs: int, base: float) -> float:
    """Linear to zero, the last five epochs at a fifth of the pace (PC-DARTS and P-DARTS on ImageNet)."""
    left = epochs - epoch
    if epochs <= 5:
        return base * left / epochs
    return base * (left - 5) / (epochs - 5) if left > 5 else base * left / (5 * (epochs - 5))


def warm_up(epoch: int, scheduled: float, base: float, rule: str = "override", epochs: int = 5) -> float:
    """The first ``epochs`` epochs rise linearly: "override" from the base rate (PC-DARTS), "scale" the scheduled
    rate (P-DARTS)."""
    if epoch >= epochs:
        return scheduled
    return (base if rule == "override" else scheduled) * (epoch + 1) / epochs


def annealed(epoch: int, epochs: int, first: float, last: float) -> float:
    """Linear from ``first`` in the first epoch to ``last`` in the last one (temperatures of Gumbel softmaxes)."""
    return first - (first - last) * epoch / max(1, epochs - 1)


def drop_path_prob(epoch: int, epochs: int, final: float) -> float:
    """Linear from 0 in the first epoch towards ``final``."""
    return final * epoch / epochs


LR_SCHEDULES = ("cosine", "exponential", "linear", "constant")


def learning_rate(
    schedule: str,
    epoch: int,
    epochs: int,
    base: float,
    minimum: float = 0.0,
    gamma: float = 0.97,
    period: int = 1,
) -> float:
    """The rate of ``epoch`` under a schedule given by name."""
    if schedule == "cosine":
        return cosine(epoch, epochs, base, minimum)
    if schedule == "exponential":
        return exponential(epoch, base, gamma, period)
    if schedule == "linear":
        return linear(epoch, epochs, base)
    if schedule == "constant":
        return base
    raise ConfigError(unknown("learning-rate schedule", schedule, LR_SCHEDULES))
