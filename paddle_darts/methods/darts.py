"""DARTS, first and second order (arXiv 1806.09055; quark0/darts: cnn/train_search.py, architect.py).

Deviations: the network of the unrolled step is the search network itself, moved and put back, so that non-default
``steps`` and ``multiplier`` hold there too; see :func:`paddle_darts.methods.parts.bilevel.second_order`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from paddle_darts.methods.gradient import GradientMethod, UnrolledOptions


@dataclass
class DartsOptions(UnrolledOptions):
    """Settings of DARTS."""


class Darts(GradientMethod):
    """Softmax over the candidates of every edge; alphas learn from the validation half before each weight step."""

    name = "darts"
    options_class = DartsOptions
    official: ClassVar = {"valid_batches": "fresh"}
