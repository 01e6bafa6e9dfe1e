"""What the server answers: one controller, one lock, and the book of proposals. No sockets here."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from paddle_darts.controllers.errors import SearchSpaceExhausted
from paddle_darts.controllers.remote.checks import (
    RequestError,
    TokenRange,
    check_iter,
    check_reward,
    check_text,
    whole_numbers,
)
from paddle_darts.controllers.remote.leases import LeaseBook, Session
from paddle_darts.errors import ConfigError

log = logging.getLogger(__name__)

#: Seconds after which a client that has to wait asks again, at most.
WAIT_S = 0.5
SCHEMA = 1


class ControllerService:
    """Answers requests (JSON objects with an ``op``) for a controller; safe to call from several threads.

    =============  ========================================================  ========================================
    op             fields of the request                                     fields of the answer, besides ``ok``
    =============  ========================================================  ========================================
    next_tokens    request                                                   tokens, proposal | wait | done
    update         tokens, reward, iter, request, proposal (optional)        counted
    skip           tokens, proposal (optional)                               dropped
    current_info                                                             best_tokens, best_reward, current_tokens,
                                                                             steps, outstanding, clients
    ping           proposals (optional): those the client still works on     renewed
    =============  ========================================================  ========================================

    A refused request is answered ``{"ok": false, "kind": ..., "error": text}``; see :class:`ControllerServer` for the
    rules of leases and steps.
    """

    def __init__(
        self,
        controller: Any,
        *,
        search_steps: int | None,
        lease_s: float,
        max_open: int,
        range_table: Any = None,
        on_update: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.controller = controller
        self.search_steps = search_steps
        self.max_open = max_open
        self.steps = 0
        self.lock = threading.RLock()
        self.on_update = on_update
        self._book = LeaseBook(lease_s, clock)
        self._range = TokenRange(range_table if range_table is not None else _table_of(controller))
        self._sessions: set[Session] = set()
        self._operations = {
            "next_tokens": self._next_tokens,
            "update": self._update,
            "skip": self._skip,
            "current_info": self._current_info,
            "ping": self._ping,
        }

    @property
    def done(self) -> bool:
        """Whether all steps of the search are scored."""
        return self.search_steps is not None and self.steps >= self.search_steps

    def connect(self, name: str) -> Session:
        """A new client."""
        session = Session(name)
        with self.lock:
            self._sessions.add(session)
        return session

    def disconnect(self, session: Session) -> None:
        """The client is gone; what it worked on goes to whoever asks next."""
        with self.lock:
            self._sessions.discard(session)
            count = self._book.release(session)
        if count:
            log.info("client %s left; %d of its proposals are free again", session.name, count)

    def answer(self, session: Session, message: Any) -> dict[str, Any]:
        """The answer to one request, whatever the request is; never raises."""
        try:
            if not isinstance(message, dict):
                raise RequestError("a request must be a JSON object")
            operation = self._operations.get(check_text(message.get("op"), "op"))
            if operation is None:
                raise RequestError(f"unknown op; known: {', '.join(sorted(self._operations))}, close")
            with self.lock:
                return {"ok": True, **operation(session, message)}
        except RequestError as error:
            return {"ok": False, "kind": "invalid", "error": str(error)}
        except SearchSpaceExhausted as error:
            return {"ok": False, "kind": "exhausted", "error": str(error)}
        except Exception as error:  # a fault of the controller must not take the server down
            log.exception("the controller failed")
            return {"ok": False, "kind": "internal", "error": f"the controller failed: {type(error).__name__}"}

    # ------------------------------------------------------------------------------------------ operations

    def _next_tokens(self, session: Session, message: dict[str, Any]) -> dict[str, Any]:
        if self.done:
            return {"done": True}
        request = check_text(message.get("request"), "request")
        proposal = self._book.answered(session, request)
        if proposal is None and self._book.held(session) >= self.max_open:
            raise RequestError(
                f"{self.max_open} proposals are out with this client; send their rewards, or skip those not wanted"
            )
        proposal = proposal or self._book.reissue(session, request)
        if proposal is None:
            # A client's own unscored proposals are no reason to let it wait: it may want several at a time.
            others = len(self._book.open) - self._book.held(session)
            if self.search_steps is not None and self.steps + others >= self.search_steps:
                return {"wait": WAIT_S}
            try:
                proposal = self._book.issue(self._propose(), session, request)
            except SearchSpaceExhausted:
                if not others:
                    raise
                return {"wait": WAIT_S}
        return {"tokens": list(self._book.open[proposal].tokens), "proposal": proposal}

    def _propose(self) -> tuple[int, ...]:
        tokens = whole_numbers(self.controller.next_tokens())
        self._range.learn(tokens)
        return tuple(tokens)

    def _update(self, session: Session, message: dict[str, Any]) -> dict[str, Any]:
        tokens = self._range.check(message.get("tokens"))
        reward = check_reward(message.get("reward"))
        step = check_iter(message.get("iter"))
        request = check_text(message.get("request"), "request")
        proposal = self._proposal(session, message, tokens)
        if proposal is None and tokens in self._book.scored:
            return {"counted": self._book.scored[tokens] == request}
        if proposal is None and self.done:
            return {"counted": False}
        self.controller.update(list(tokens), reward, iter=step, client_num=self._client_num())
        if proposal is not None:
            del self._book.open[proposal]
        self._book.scored[tokens] = request
        self.steps += 1
        self._tell()
        return {"counted": True}

    def _proposal(self, session: Session, message: dict[str, Any], tokens: tuple[int, ...]) -> str | None:
        """The open proposal that a message is about."""
        proposal = check_text(message.get("proposal"), "proposal", optional=True)
        if not proposal:
            return self._book.find(tokens, session)
        lease = self._book.open.get(proposal)
        if lease is not None and lease.tokens != tokens:
            raise RequestError("these are not the tokens of that proposal")
        if lease is None and tokens not in self._book.scored:
            return self._book.find(tokens, session)
        return proposal if lease is not None else None

    def _skip(self, session: Session, message: dict[str, Any]) -> dict[str, Any]:
        proposal = self._proposal(session, message, self._range.check(message.get("tokens")))
        dropped = self._book.open.pop(proposal, None) if proposal is not None else None
        return {"dropped": dropped is not None}

    def _current_info(self, session: Session, message: dict[str, Any]) -> dict[str, Any]:
        reward = self.controller.max_reward
        return {
            "best_tokens": _plain(self.controller.best_tokens),
            "best_reward": float(reward) if reward is not None and math.isfinite(reward) else None,
            "current_tokens": _plain(self.controller.current_tokens),
            "steps": self.steps,
            "outstanding": len(self._book.open),
            "clients": self._client_num(),
        }

    def _ping(self, session: Session, message: dict[str, Any]) -> dict[str, Any]:
        proposals = message.get("proposals", [])
        if not isinstance(proposals, list) or not all(isinstance(proposal, str) for proposal in proposals):
            raise RequestError("proposals must be a list of texts")
        return {"renewed": self._book.renew(session, proposals)}

    def _client_num(self) -> int:
        return max(1, len({session.name for session in self._sessions}))

    def _tell(self) -> None:
        if self.on_update is None:
            return
        try:
            self.on_update()
        except Exception:  # the reward is counted, whatever the listener does
            log.exception("on_update failed")

    # ----------------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Controller, proposals that are out, scored tokens and the count of steps."""
        with self.lock:
            controller = self.controller.state_dict()
            return {"schema": SCHEMA, "controller": controller, "steps": self.steps, **self._book.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where :meth:`state_dict` was taken; what was out then is handed out again first."""
        steps = state.get("steps")
        if state.get("schema") != SCHEMA:
            raise ConfigError(
                f"a state of a controller server of schema {SCHEMA} is needed, got {state.get('schema')!r}"
            )
        if type(steps) is not int or steps < 0 or "controller" not in state:
            raise ConfigError("this is no state of a controller server: 'controller' or 'steps' is missing")
        with self.lock:
            book = LeaseBook(self._book.lease_s, self._book.clock)
            book.load_state_dict(state)
            self.controller.load_state_dict(state["controller"])  # may refuse: nothing has changed so far
            self._book, self.steps = book, steps


def _table_of(controller: Any) -> Any:
    table = getattr(controller, "range_table", None)
    return table() if callable(table) else table


def _plain(tokens: Any) -> list[int] | None:
    return None if tokens is None else whole_numbers(tokens)
