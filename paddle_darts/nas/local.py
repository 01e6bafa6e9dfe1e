"""A controller in the same process, with the verbs of a `ControllerClient`: no socket, no other clients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from paddle_darts.controllers import SearchFinished
from paddle_darts.controllers.checks import checked_count
from paddle_darts.controllers.remote.service import SCHEMA


class LocalClient:
    """Asks ``controller`` for proposals until ``search_steps`` of them are scored (None: without end)."""

    def __init__(self, controller: Any, search_steps: int | None) -> None:
        if search_steps is not None:
            checked_count("search_steps", search_steps)
        self.controller, self.search_steps, self.steps = controller, search_steps, 0
        self._waiting: list[list[int]] = []  # proposals of a search that went on elsewhere, not scored there

    @property
    def done(self) -> bool:
        """Whether all steps are scored."""
        return self.search_steps is not None and self.steps >= self.search_steps

    def next_tokens(self) -> list[int]:
        """The next proposal; SearchFinished after the last step."""
        if self.done:
            raise SearchFinished(f"all {self.search_steps} steps of the search are scored")
        return self._waiting.pop(0) if self._waiting else self.controller.next_tokens()

    def update(self, tokens: Sequence[int], reward: float, iter: int | None = None) -> bool:
        """Takes the score of a proposal; whether it counts."""
        if self.done:
            return False
        self.controller.update(list(tokens), reward, iter)
        self.steps += 1
        return True

    def skip(self, tokens: Sequence[int]) -> bool:
        """Gives a proposal up."""
        return True

    def request_current_info(self) -> dict[str, Any]:
        """``best_tokens``, ``best_reward`` (-inf before the first score), ``current_tokens``, ``steps``."""
        best = self.controller.max_reward
        return {
            "best_tokens": self.controller.best_tokens,
            "best_reward": -math.inf if best is None else float(best),
            "current_tokens": self.controller.current_tokens,
            "steps": self.steps,
        }

    def close(self) -> None:
        """There is nothing to close."""

    def state_dict(self) -> dict[str, Any]:
        """In the form of `ControllerServer.state_dict`, so that a search may go on with a server and back."""
        waiting = [{"proposal": str(i), "tokens": list(tokens)} for i, tokens in enumerate(self._waiting)]
        controller = self.controller.state_dict()
        return {"schema": SCHEMA, "controller": controller, "steps": self.steps, "open": waiting, "scored": []}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; what was out is handed out again first."""
        steps, waiting = checked_count("steps", state["steps"], least=0), [list(o["tokens"]) for o in state["open"]]
        self.controller.load_state_dict(state["controller"])
        self.steps, self._waiting = steps, waiting
