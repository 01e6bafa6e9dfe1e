"""What every controller can do; PaddleSlim's two abstract classes (paddleslim/common)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from paddle_darts.registry import Registry

#: Policies that are trained by reinforcement learning, by class name.
RLCONTROLLER = Registry("RLCONTROLLER")

Constraint = Callable[[list[int]], bool]


class EvolutionaryController(ABC):
    """A controller that proposes tokens and learns from their rewards, without a trained model."""

    @abstractmethod
    def next_tokens(self, control_token: list[int] | None = None) -> list[int]:
        """The tokens to be tried next."""

    @abstractmethod
    def update(self, tokens: list[int], reward: float, iter: int | None = None, client_num: int = 1) -> None:
        """Takes the reward of ``tokens``; larger is better."""

    @abstractmethod
    def reset(self, range_table: Any = None, constrain_func: Constraint | None = None) -> None:
        """Forgets everything; the next proposal is the first one of a new search."""


class RLBaseController(ABC):
    """A controller whose proposals come from a trained policy.

    PaddleSlim's ``get_params(program)`` and ``set_params(program, params, place)`` belong to static programs. Here
    the state is a dictionary, and ``get_params()``/``set_params(params)`` are other names for it.
    """

    @abstractmethod
    def next_tokens(self, *args: Any, **kwargs: Any) -> Any:
        """The tokens to be tried next, one list per requested sample."""

    @abstractmethod
    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Takes rewards and improves the policy."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that the next proposals depend on."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""

    def get_params(self) -> dict[str, Any]:
        """:meth:`state_dict` by PaddleSlim's name."""
        return self.state_dict()

    def set_params(self, params: dict[str, Any]) -> None:
        """:meth:`load_state_dict` by PaddleSlim's name."""
        self.load_state_dict(params)
