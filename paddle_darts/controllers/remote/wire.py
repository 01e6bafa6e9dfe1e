"""What goes over the socket: frames with a length before them, and JSON that is only ever parsed, never run."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

#: Bytes of the longest frame; a token list of a hundred thousand entries fits.
MAX_FRAME = 1 << 20
#: Bytes of the longest frame before the other side has shown that it knows the key.
MAX_HELLO = 4096
_HEADER = 4
_CHUNK = 1 << 16


class ProtocolError(Exception):
    """The other side sent something that the protocol does not allow."""


def write_frame(sock: socket.socket, payload: bytes, timeout_s: float) -> None:
    """Sends four bytes of length (big-endian) and the payload, all of it within ``timeout_s``."""
    if len(payload) > MAX_FRAME:
        raise ProtocolError(f"a message of {len(payload)} bytes; at most {MAX_FRAME} are allowed")
    sock.settimeout(timeout_s)
    sock.sendall(len(payload).to_bytes(_HEADER, "big") + payload)


def read_frame(sock: socket.socket, limit: int, idle_s: float, frame_s: float) -> bytes:
    """The payload of the next frame.

    The first byte may take ``idle_s``, all others together ``frame_s``: a sender of one byte now and then is cut off.
    Memory is taken as bytes arrive, not by the length that was announced.

    Raises:
        ProtocolError: the announced length is above ``limit``.
        ConnectionError: the other side ended the connection.
        TimeoutError: too slow.
    """
    first = _read(sock, 1, time.monotonic() + idle_s)
    deadline = time.monotonic() + frame_s
    size = int.from_bytes(first + _read(sock, _HEADER - 1, deadline), "big")
    if size > limit:
        raise ProtocolError(f"a frame of {size} bytes was announced; at most {limit} are allowed")
    return _read(sock, size, deadline)


def _read(sock: socket.socket, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the message did not arrive in time")
        sock.settimeout(left)
        chunk = sock.recv(min(_CHUNK, size - len(data)))
        if not chunk:
            raise ConnectionError("the other side ended the connection")
        data += chunk
    return bytes(data)


def encode(message: Any) -> bytes:
    """JSON in ASCII; NaN and infinity are refused with a ValueError."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")


def decode(payload: bytes) -> Any:
    """The JSON document; ProtocolError for anything else, NaN and endless nesting included."""
    try:
        return json.loads(payload.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ProtocolError("the message is nested too deeply") from None
    except ValueError as error:
        raise ProtocolError(f"the message is no valid JSON: {str(error)[:200]}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")
