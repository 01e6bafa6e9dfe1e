"""The shared secret: both sides prove that they know it, and sign every message of the connection.

The server greets with a random number. The client answers with its name and a random number of its own, signed with
a key made of the secret and the server's number; from then on both sides sign with a key made of the secret and both
numbers. A signature (HMAC-SHA256) also covers the direction and the position in the conversation, so a recorded
message is worthless: in another connection, a second time in this one, or sent back to its author. Signatures are
checked before anything is parsed. The secret itself is never sent. Messages are signed, not hidden: on a network where
tokens and rewards must stay private, use a tunnel.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from typing import Any

from paddle_darts.controllers.remote import wire
from paddle_darts.controllers.remote.wire import MAX_FRAME, MAX_HELLO, ProtocolError
from paddle_darts.errors import ConfigError

PROTOCOL = "paddle_darts.controller/1"
MAX_NAME = 200
_NONCE = 32
_MAC = 32
_SERVER, _CLIENT = b"server", b"client"


class KeyRefusedError(ProtocolError):
    """The two sides do not have the same key."""


class Channel:
    """One side of a connection whose messages are signed; ``send`` and ``receive`` take and give JSON documents."""

    def __init__(self, sock: socket.socket, session_key: bytes, mine: bytes, theirs: bytes) -> None:
        self.sock = sock
        self._key = session_key
        self._mine, self._theirs = mine, theirs
        self._sent = self._received = 0

    def send(self, message: Any, timeout_s: float) -> None:
        """Signs and sends; OSError when it does not get through within ``timeout_s``."""
        self.send_body(wire.encode(message), timeout_s)

    def send_body(self, body: bytes, timeout_s: float) -> None:
        """:meth:`send` for what is encoded already."""
        mac = _sign(self._key, self._mine, self._sent, body)
        self._sent += 1
        wire.write_frame(self.sock, mac + body, timeout_s)

    def receive(self, idle_s: float, frame_s: float, limit: int = MAX_FRAME) -> bytes:
        """The next message, its signature checked, not yet parsed; ProtocolError when it is not genuine."""
        frame = wire.read_frame(self.sock, limit, idle_s, frame_s)
        body = _verify(self._key, self._theirs, self._received, frame)
        self._received += 1
        return body


def key_bytes(key: str | bytes) -> bytes:
    """The secret as bytes; an empty one or another type is a ConfigError (its value is not repeated)."""
    raw = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    if not isinstance(raw, bytes) or not raw:
        raise ConfigError(f"key must be a text that is not empty, not {type(key).__name__}; see ControllerServer.key")
    return raw


def welcome(sock: socket.socket, key: bytes, timeout_s: float) -> tuple[Channel, str]:
    """The server's side of the handshake: the signed channel and the client's name.

    Everything together may take about ``timeout_s`` per direction. Raises ProtocolError, ConnectionError, TimeoutError.
    """
    mine = secrets.token_bytes(_NONCE)
    wire.write_frame(sock, wire.encode({"protocol": PROTOCOL, "nonce": mine.hex()}), timeout_s)
    frame = wire.read_frame(sock, MAX_HELLO, timeout_s, timeout_s)
    try:
        body = _verify(_derive(key, b"hello", mine), _CLIENT, 0, frame)
    except KeyRefusedError:
        # No signature that could be genuine: all that the stranger learns is that its key is another one.
        wire.write_frame(sock, bytes(_MAC), timeout_s)
        raise
    hello = wire.decode(body)
    if not isinstance(hello, dict) or hello.get("op") != "hello":
        raise ProtocolError("the first message must be hello")
    session_key = _derive(key, b"session", mine + _nonce(hello.get("nonce")))
    return Channel(sock, session_key, _SERVER, _CLIENT), client_name(hello.get("client"))


def introduce(sock: socket.socket, key: bytes, name: str, timeout_s: float) -> Channel:
    """The client's side of the handshake; the server's first signed answer is still to be received."""
    greeting = wire.decode(wire.read_frame(sock, MAX_HELLO, timeout_s, timeout_s))
    if not isinstance(greeting, dict) or greeting.get("protocol") != PROTOCOL:
        raise ProtocolError(f"the other side does not speak {PROTOCOL}")
    theirs = _nonce(greeting.get("nonce"))
    mine = secrets.token_bytes(_NONCE)
    hello = {"op": "hello", "client": name, "nonce": mine.hex()}
    Channel(sock, _derive(key, b"hello", theirs), _CLIENT, _SERVER).send(hello, timeout_s)
    return Channel(sock, _derive(key, b"session", theirs + mine), _CLIENT, _SERVER)


def client_name(name: Any) -> str:
    """``name`` if it can be one: 1 to 200 printable characters."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ProtocolError(f"a client's name must be 1 to {MAX_NAME} printable characters")
    return name


def _nonce(text: Any) -> bytes:
    try:
        nonce = bytes.fromhex(text)
    except (TypeError, ValueError):
        nonce = b""
    if len(nonce) != _NONCE:
        raise ProtocolError(f"the handshake needs a random number of {_NONCE} bytes in hexadecimal")
    return nonce


def _derive(key: bytes, purpose: bytes, nonces: bytes) -> bytes:
    return hmac.digest(key, PROTOCOL.encode() + b"|" + purpose + b"|" + nonces, "sha256")


def _sign(key: bytes, sender: bytes, position: int, body: bytes) -> bytes:
    return hmac.digest(key, sender + position.to_bytes(8, "big") + body, "sha256")


def _verify(key: bytes, sender: bytes, position: int, frame: bytes) -> bytes:
    mac, body = frame[:_MAC], frame[_MAC:]
    if not hmac.compare_digest(mac, _sign(key, sender, position, body)):
        raise KeyRefusedError("a message whose signature is not genuine: another key, altered or sent again")
    return body
