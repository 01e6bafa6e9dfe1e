"""The book of proposals that are out: who has which, until when, and which tokens were scored."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from paddle_darts.errors import ConfigError

Tokens = tuple[int, ...]


class Session:
    """One client's connection; two connections are two sessions even under one name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Session({self.name!r})"


@dataclass
class Lease:
    """A proposal that waits for its score; ``holder`` is None when whoever had it is gone."""

    tokens: Tokens
    holder: Session | None
    until: float
    request: str

    def free(self, now: float) -> bool:
        """Whether the next client that asks gets it."""
        return self.holder is None or now >= self.until


class LeaseBook:
    """Every proposal is in this book from the moment it is made until it is scored (or given up on purpose).

    Not thread-safe: the caller holds its lock. Times are seconds of ``clock``.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lease_s = lease_s
        self.clock = clock
        self.open: dict[str, Lease] = {}
        #: The request that scored these tokens (last), so that its repetition is recognised.
        self.scored: dict[Tokens, str] = {}

    def issue(self, tokens: Tokens, holder: Session, request: str) -> str:
        """Enters a new proposal; returns its id, which no other proposal of any server has."""
        proposal = secrets.token_hex(8)
        self.open[proposal] = Lease(tokens, holder, self.clock() + self.lease_s, request)
        return proposal

    def reissue(self, holder: Session, request: str) -> str | None:
        """Gives the oldest proposal that is free to ``holder``; None when there is none."""
        now = self.clock()
        for proposal, lease in self.open.items():
            if lease.free(now):
                lease.holder, lease.until, lease.request = holder, now + self.lease_s, request
                return proposal
        return None

    def answered(self, holder: Session, request: str) -> str | None:
        """The proposal that was the answer to this very request, now held by ``holder``; None when there is none."""
        for proposal, lease in self.open.items():
            if lease.request == request:
                lease.holder, lease.until = holder, self.clock() + self.lease_s
                return proposal
        return None

    def renew(self, holder: Session, proposals: Iterable[str]) -> int:
        """Prolongs those that are the holder's or nobody's; returns how many."""
        now, count = self.clock(), 0
        for proposal in proposals:
            lease = self.open.get(proposal)
            if lease is not None and (lease.holder is holder or lease.free(now)):
                lease.holder, lease.until = holder, now + self.lease_s
                count += 1
        return count

    def release(self, holder: Session) -> int:
        """Makes all proposals of a holder free at once; returns how many."""
        held = [lease for lease in self.open.values() if lease.holder is holder]
        for lease in held:
            lease.holder = None
        return len(held)

    def held(self, holder: Session) -> int:
        """How many proposals are out with ``holder``."""
        return sum(lease.holder is holder for lease in self.open.values())

    def find(self, tokens: Tokens, holder: Session) -> str | None:
        """The open proposal of these tokens, the holder's own first; None when there is none."""
        same = [
            (lease.holder is not holder, proposal) for proposal, lease in self.open.items() if lease.tokens == tokens
        ]
        return min(same, key=lambda entry: entry[0])[1] if same else None

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; the holders are left out, as no connection outlives the server."""
        return {
            "open": [{"proposal": proposal, "tokens": list(lease.tokens)} for proposal, lease in self.open.items()],
            "scored": [{"tokens": list(tokens), "request": request} for tokens, request in self.scored.items()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """All open proposals become free, oldest first; ConfigError when the state is damaged."""
        try:
            opened = {str(entry["proposal"]): _tokens(entry["tokens"]) for entry in state["open"]}
            scored = {_tokens(entry["tokens"]): str(entry["request"]) for entry in state["scored"]}
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the state of the controller server is damaged: {error!r}") from None
        self.open = {proposal: Lease(tokens, None, 0.0, "") for proposal, tokens in opened.items()}
        self.scored = scored


def _tokens(values: Iterable[Any]) -> Tokens:
    return tuple(int(value) for value in values)
