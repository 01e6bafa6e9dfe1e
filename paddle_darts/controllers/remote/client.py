"""The client: asks a server's controller for proposals and sends their scores back."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from paddle_darts.controllers.checks import checked_reward
from paddle_darts.controllers.errors import ControllerConnectionError, SearchFinished, SearchSpaceExhausted
from paddle_darts.controllers.remote import wire
from paddle_darts.controllers.remote.channel import Channel, KeyRefusedError, client_name, introduce, key_bytes
from paddle_darts.controllers.remote.checks import whole_numbers
from paddle_darts.controllers.remote.wire import ProtocolError
from paddle_darts.errors import ConfigError

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


class ControllerClient:
    """One worker of a search whose controller runs in a :class:`ControllerServer`.

    A lost connection is built up again within the time limit, and a score whose answer was lost is sent again without
    being counted twice. Safe to use from several threads and after a fork (the child gets a connection of its own).

    Args:
        server_ip: host of the server; None: 127.0.0.1.
        server_port: its port.
        key: the server's ``key``.
        client_name: how the server counts this client; None: a random one.
        connect_s: seconds for one attempt to connect.
        timeout_s: seconds after which a call gives up with :class:`ControllerConnectionError`.

    Raises:
        ConfigError: port or key missing, or an impossible name. No connection is made before the first call.

    Source: PaddleSlim 2.6.0, ``common/controller_client.py``.
    """

    def __init__(
        self,
        server_ip: str | None = None,
        server_port: int | None = None,
        key: str | bytes | None = None,
        client_name: str | None = None,
        *,
        connect_s: float = 5.0,
        timeout_s: float = 30.0,
    ) -> None:
        if server_port is None:
            raise ConfigError("server_port is missing: the number that ControllerServer.port() gives")
        self._address = (server_ip or "127.0.0.1", server_port)
        self._key = key_bytes(key)
        self.name = _checked_name(client_name)
        self.connect_s, self.timeout_s = connect_s, timeout_s
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._pid = os.getpid()
        self._closed = False
        self._proposals: dict[tuple[int, ...], list[str]] = {}
        self._unanswered: dict[tuple[int, ...], str] = {}

    # ------------------------------------------------------------------------------------------ the verbs

    def next_tokens(self, timeout: float | None = None) -> list[int]:
        """The next proposal; waits while all that remain are out with other clients.

        Raises:
            SearchFinished: all steps are scored.
            SearchSpaceExhausted: the controller finds no new proposal.
            ControllerConnectionError: no server, or more than ``timeout`` seconds of waiting (None: no limit).
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        request, pause = uuid.uuid4().hex, _FIRST_PAUSE_S
        while True:
            answer = self._ask({"op": "next_tokens", "request": request})
            if "wait" not in answer:
                return self._take(answer)
            pause = min(2 * pause, float(answer["wait"]))
            if time.monotonic() + pause > deadline:
                raise ControllerConnectionError(f"all proposals were out with other clients for {timeout:g} s")
            time.sleep(pause)

    def update(self, tokens: Sequence[int], reward: float, iter: int | None = None) -> bool:
        """Sends the score of a proposal.

        Returns whether this score is the one that counts: False when another client was faster (the proposal had been
        given away) or the search was over. ``iter`` is the client's own count of steps. ConfigError when the reward
        is not finite or the server refuses the tokens; to give a proposal up, use :meth:`skip`.
        """
        score = checked_reward(reward)
        key = tuple(whole_numbers(tokens))
        # Kept until an answer comes, so that a repeated call is known to be a repetition.
        request = self._unanswered.setdefault(key, uuid.uuid4().hex)
        step = None if iter is None else whole_numbers([iter])[0]
        message = {"op": "update", "reward": score, "iter": step, "request": request, **self._about(key)}
        try:
            answer = self._ask(message)
        except ConfigError:
            self._unanswered.pop(key, None)
            raise
        self._unanswered.pop(key, None)
        self._settle(key, message["proposal"])
        return answer.get("counted") is True

    def skip(self, tokens: Sequence[int]) -> bool:
        """Gives a proposal up for good: nobody will score it. Returns whether it was still open."""
        key = tuple(whole_numbers(tokens))
        message = {"op": "skip", **self._about(key)}
        answer = self._ask(message)
        self._settle(key, message["proposal"])
        return answer.get("dropped") is True

    def request_current_info(self) -> dict[str, Any]:
        """``best_tokens``, ``best_reward`` (-inf before the first score), ``current_tokens``; besides ``steps``
        (scores counted), ``outstanding`` (proposals that are out) and ``clients`` (connected now)."""
        answer = self._ask({"op": "current_info"})
        answer.pop("ok", None)
        if answer.get("best_reward") is None:
            answer["best_reward"] = -math.inf
        return answer

    def ping(self) -> int:
        """Tells the server that this client still works on its proposals; returns how many leases were renewed.

        Of use in evaluations that take longer than the server's ``lease_s``.
        """
        return int(self._ask(self._heartbeat()).get("renewed", 0))

    def wait(self, timeout: float | None = None) -> None:
        """Waits until the server answers, for workers that start before it; ControllerConnectionError after that."""
        self._ask(self._heartbeat(), self.timeout_s if timeout is None else timeout)

    def close(self) -> None:
        """Says good-bye: proposals of this client that have no score are free for others. The client ends here."""
        self._notice_fork()
        with self._lock:
            if not self._closed and self._channel is not None:
                with contextlib.suppress(OSError, ProtocolError):
                    self._exchange({"op": "close"}, time.monotonic() + min(2.0, self.timeout_s))
            self._closed = True
            self._drop()

    def __enter__(self) -> ControllerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -------------------------------------------------------------------------------------- proposals held

    def _take(self, answer: dict[str, Any]) -> list[int]:
        if answer.get("done"):
            raise SearchFinished("all steps of the search are scored")
        try:
            tokens = whole_numbers(answer["tokens"])
            self._proposals.setdefault(tuple(tokens), []).append(str(answer["proposal"]))
        except (KeyError, ConfigError) as error:
            raise ControllerConnectionError(f"the server's answer holds no proposal: {error}") from None
        return tokens

    def _about(self, tokens: tuple[int, ...]) -> dict[str, Any]:
        held = self._proposals.get(tokens)
        return {"tokens": list(tokens), "proposal": held[0] if held else None}

    def _settle(self, tokens: tuple[int, ...], proposal: str | None) -> None:
        held = self._proposals.get(tokens, [])
        if proposal in held:
            held.remove(proposal)
        if not held:
            self._proposals.pop(tokens, None)

    def _heartbeat(self) -> dict[str, Any]:
        return {"op": "ping", "proposals": [proposal for held in list(self._proposals.values()) for proposal in held]}

    # ---------------------------------------------------------------------------------------- conversation

    def _ask(self, message: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """The server's answer, errors raised."""
        self._notice_fork()
        with self._lock:
            answer = self._persist(message, self.timeout_s if timeout is None else timeout)
        if answer.get("ok") is True:
            return answer
        text = str(answer.get("error", "the server gives no reason"))
        kinds = {"invalid": ConfigError, "exhausted": SearchSpaceExhausted}
        raise kinds.get(str(answer.get("kind")), ControllerConnectionError)(text)

    def _persist(self, message: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Sends a message until it is answered, on new connections if need be."""
        deadline, pause = time.monotonic() + timeout, _FIRST_PAUSE_S
        where = f"the controller server at {self._address[0]}:{self._address[1]}"
        while not self._closed:
            try:
                return self._exchange(message, deadline)
            except KeyRefusedError as error:
                self._drop()
                raise ControllerConnectionError(f"{where} has another key than this client") from error
            except (OSError, ProtocolError, OverflowError) as error:
                self._drop()
                if time.monotonic() + pause >= deadline:
                    raise ControllerConnectionError(f"{where} gave no answer within {timeout:g} s: {error}") from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        raise ControllerConnectionError("this client is closed")

    def _exchange(self, message: dict[str, Any], deadline: float) -> dict[str, Any]:
        channel = self._connection(deadline)
        channel.send(message, _left(deadline))
        return _receive(channel, deadline)

    def _connection(self, deadline: float) -> Channel:
        if self._channel is None:
            sock = socket.create_connection(self._address, timeout=min(self.connect_s, _left(deadline)))
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                channel = introduce(sock, self._key, self.name, min(self.connect_s, _left(deadline)))
                answer = _receive(channel, deadline)
                if answer.get("ok") is not True:
                    raise ConnectionError(str(answer.get("error")))
            except BaseException:
                sock.close()
                raise
            self._channel = channel
        return self._channel

    def _notice_fork(self) -> None:
        """In a forked child: the parent's conversation, and a lock that its threads may hold, are not ours."""
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), threading.Lock()
            self._drop()

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.sock.close()
            self._channel = None


def _receive(channel: Channel, deadline: float) -> dict[str, Any]:
    left = _left(deadline)
    answer = wire.decode(channel.receive(idle_s=left, frame_s=left))
    if not isinstance(answer, dict):
        raise ProtocolError("the server's answer is no JSON object")
    return answer


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("out of time")
    return left


def _checked_name(name: str | None) -> str:
    try:
        return client_name(uuid.uuid4().hex if name is None else name)
    except ProtocolError as error:
        raise ConfigError(str(error)) from None
