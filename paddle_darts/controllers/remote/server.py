"""The server: one controller for many clients, over TCP."""

from __future__ import annotations

import contextlib
import logging
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from paddle_darts.controllers.remote import wire
from paddle_darts.controllers.remote.channel import Channel, key_bytes, welcome
from paddle_darts.controllers.remote.leases import Session
from paddle_darts.controllers.remote.service import ControllerService
from paddle_darts.controllers.remote.wire import ProtocolError
from paddle_darts.errors import ConfigError

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
#: Connections that may be in their handshake at a time; beyond this the oldest of them makes room.
PENDING = 32


class ControllerServer:
    """Serves one controller to many :class:`ControllerClient` processes, on this machine or on others.

    Every proposal is leased to the client that asked for it. When that client's connection ends, or ``lease_s``
    seconds pass without a score or a :meth:`ControllerClient.ping`, the proposal goes to the next client that asks.
    Whoever scores it first is counted; later scores of it are answered, but not counted. Once ``search_steps`` scores
    are counted, every client that asks gets :class:`SearchFinished`. When all steps that remain are out with others,
    a client that asks waits, for one of them may fail.

    Nothing that arrives is executed: messages are JSON of at most 1 MiB, signed with ``key`` (never sent itself) so
    that they can be neither forged nor replayed; numbers are checked. Slow, silent and surplus connections are closed;
    each connection has a thread of its own, and one lock guards the controller.

    Args:
        controller: ``next_tokens()``, ``update(tokens, reward, iter=, client_num=)``, ``best_tokens``, ``max_reward``,
            ``current_tokens`` and, for a state, ``state_dict()`` and ``load_state_dict()``. It is told as
            ``client_num`` how many clients (by name) are connected.
        address: host and port; no host means 127.0.0.1 (this machine only), port 0 a free one, see :meth:`port`.
        max_client_num: how many clients may be connected at a time.
        search_steps: scores after which the search is finished; None: never.
        key: the secret that clients must have; None: a random one is made. Read it as ``server.key``.
        lease_s: seconds after which a proposal without a score is free again.
        handshake_s: seconds in which a new connection must show that it has the key.
        read_s: seconds that one message may take on its way.
        max_open: proposals without a score that one client may have at a time.
        range_table: ``(lows, highs)`` or highs of the tokens; None: the controller's ``range_table`` if it has one.
        on_update: called after every counted score (to save :meth:`state_dict`, say), while the controller is locked.

    Raises:
        ConfigError: an impossible value, or the address cannot be had.

    Source: PaddleSlim 2.6.0, ``common/controller_server.py``; it had neither leases nor any protection.
    """

    def __init__(
        self,
        controller: Any,
        address: tuple[str, int] = ("", 0),
        max_client_num: int = 100,
        search_steps: int | None = None,
        key: str | bytes | None = None,
        *,
        lease_s: float = 3600.0,
        handshake_s: float = 5.0,
        read_s: float = 10.0,
        max_open: int = 100,
        range_table: Any = None,
        on_update: Callable[[], None] | None = None,
    ) -> None:
        counts = {"max_client_num": max_client_num, "max_open": max_open, "search_steps": search_steps or 1}
        times = {"lease_s": lease_s, "handshake_s": handshake_s, "read_s": read_s}
        for name, value in {**counts, **times}.items():
            if not value > 0:
                raise ConfigError(f"{name} must be above 0, not {value!r}")
        if search_steps == 0:
            raise ConfigError("search_steps must be above 0 or None, not 0")
        self.key = secrets.token_hex(16) if key is None else key
        self._secret = key_bytes(self.key)
        self._address = (address[0] or LOOPBACK, address[1])
        self._times = times
        self._max_client_num = max_client_num
        self.service = ControllerService(
            controller,
            search_steps=search_steps,
            lease_s=lease_s,
            max_open=max_open,
            range_table=range_table,
            on_update=on_update,
        )
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._changed = threading.Condition()  # guards the two tables below
        self._pending: dict[socket.socket, threading.Thread] = {}
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._slots = threading.BoundedSemaphore(max_client_num + 2 * PENDING)

    # ------------------------------------------------------------------------------------------ start, stop

    def start(self) -> str:
        """Serves in the background; returns ``host:port``. A second call changes nothing."""
        if self._listener is None:
            self._listener = _listen(self._address)
            self._wake, self._waker = socket.socketpair()
            self._stopping.clear()
            self._thread = threading.Thread(target=self._accept_all, name="controller-server", daemon=True)
            self._thread.start()
            log.info("controller server on %s:%d", self.ip(), self.port())
        return f"{self.ip()}:{self.port()}"

    def run(self) -> None:
        """Serves until :meth:`close`, or until the search is finished and the last client has left."""
        self.start()
        try:
            with self._changed:
                while not self._stopping.is_set() and (self._clients or not self.done):
                    self._changed.wait(0.5)
        finally:
            self.close()

    def close(self) -> None:
        """Ends all connections and frees the port; the controller and :meth:`state_dict` stay usable."""
        if self._listener is None:
            return
        self._stopping.set()
        self._waker.send(b"x")
        self._thread.join()
        _hang_up(self._listener)
        for sock in (self._listener, self._wake, self._waker):
            sock.close()
        self._listener = None
        with self._changed:
            self._changed.notify_all()
            conversations = {**self._pending, **self._clients}
        for sock in conversations:
            _hang_up(sock)
        deadline = time.monotonic() + 5.0
        for thread in conversations.values():
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> ControllerServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ip(self) -> str:
        """The address that the server is bound to; ConfigError before :meth:`start`."""
        return self._bound()[0]

    def port(self) -> int:
        """The port, also when it was asked for as 0; ConfigError before :meth:`start`."""
        return self._bound()[1]

    @property
    def done(self) -> bool:
        """Whether ``search_steps`` scores are counted."""
        return self.service.done

    def state_dict(self) -> dict[str, Any]:
        """The controller's state, the proposals that are out, and what was scored; JSON if the controller's is."""
        return self.service.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues a search. Proposals that were out are handed out again first; scores for them still count."""
        self.service.load_state_dict(state)

    def _bound(self) -> tuple[str, int]:
        if self._listener is None:
            raise ConfigError("the controller server is not running; call start() first")
        return self._listener.getsockname()[:2]

    # ------------------------------------------------------------------------------------------ connections

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                if not self._stopping.is_set():
                    self._accept()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:  # whoever knocked is gone
            return
        except OSError as error:
            log.warning("a connection could not be accepted: %s", error)
            self._stopping.wait(0.1)  # out of files, most likely: give some time to come back
            return
        sock.setblocking(True)
        thread = threading.Thread(target=self._converse, args=(sock,), name="controller-client", daemon=True)
        self._make_room()
        while not self._slots.acquire(timeout=0.2):
            if self._stopping.is_set():
                return sock.close()
        with self._changed:
            self._pending[sock] = thread
        try:
            thread.start()
        except RuntimeError as error:  # no more threads to be had
            log.warning("a connection was turned away: %s", error)
            self._forget(sock)

    def _make_room(self) -> None:
        """A flood of connections that never show the key must not keep others out: the oldest of them goes."""
        with self._changed:
            surplus = list(self._pending)[: max(0, len(self._pending) - PENDING + 1)]
        for sock in surplus:
            _hang_up(sock)

    def _converse(self, sock: socket.socket) -> None:
        """The life of one connection."""
        try:
            _tune(sock)
            channel, name = welcome(sock, self._secret, self._times["handshake_s"])
            if self._enrol(sock):
                self._attend(channel, self.service.connect(name))
            else:
                text = f"the server has its {self._max_client_num} clients (max_client_num) already"
                channel.send({"ok": False, "kind": "busy", "error": text}, self._times["handshake_s"])
        except (ProtocolError, OSError) as error:
            log.debug("a connection ended: %s", error)
        except Exception:
            log.exception("a connection was given up")
        finally:
            self._forget(sock)

    def _attend(self, channel: Channel, session: Session) -> None:
        """Answers a client's requests until it leaves, breaks the protocol or is silent for too long."""
        read_s = self._times["read_s"]
        try:
            channel.send({"ok": True}, read_s)
            while not self._stopping.is_set():
                body = channel.receive(idle_s=self._times["lease_s"], frame_s=read_s)
                answer, last = self._answer(session, body)
                channel.send(answer, read_s)
                if last:
                    return
        finally:
            self.service.disconnect(session)

    def _answer(self, session: Session, body: bytes) -> tuple[dict[str, Any], bool]:
        """The answer, and whether the conversation ends with it."""
        try:
            message = wire.decode(body)
        except ProtocolError as error:
            return {"ok": False, "kind": "invalid", "error": str(error)}, False
        if isinstance(message, dict) and message.get("op") == "close":
            return {"ok": True}, True
        return self.service.answer(session, message), False

    def _enrol(self, sock: socket.socket) -> bool:
        """From a stranger to a client, if there is room."""
        with self._changed:
            if len(self._clients) >= self._max_client_num:
                return False
            self._clients[sock] = self._pending.pop(sock)
            return True

    def _forget(self, sock: socket.socket) -> None:
        with self._changed:
            self._pending.pop(sock, None)
            self._clients.pop(sock, None)
            self._changed.notify_all()
        _hang_up(sock)  # closing alone would not end it if this process has been forked meanwhile
        sock.close()
        self._slots.release()


def _listen(address: tuple[str, int]) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}:{port} ({error}); port 0 takes a free one") from error
    listener.setblocking(False)
    return listener


def _tune(sock: socket.socket) -> None:
    """Answers go out at once, and the system notices when the other machine is gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _hang_up(sock: socket.socket) -> None:
    """Ends a connection (or the listening) at once, also for threads that wait for it and for forked children."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
