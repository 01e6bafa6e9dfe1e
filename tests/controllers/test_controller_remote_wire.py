"""Frames, JSON and signatures of the remote controller."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_darts.controllers.remote import wire
from paddle_darts.controllers.remote.channel import KeyRefusedError, introduce, key_bytes, welcome
from paddle_darts.controllers.remote.wire import MAX_FRAME, MAX_HELLO, ProtocolError
from paddle_darts.errors import ConfigError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


def handshake(near, far, key="k", other=None):
    """(client's channel, server's channel, name)."""
    result = {}

    def serve():
        try:
            result["server"] = welcome(far, key_bytes(other or key), 2.0)
        except ProtocolError as error:
            result["error"] = error

    thread = threading.Thread(target=serve)
    thread.start()
    client = introduce(near, key_bytes(key), "worker", 2.0)
    thread.join()
    return client, result


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_json_comes_back(value):
    assert wire.decode(wire.encode(value)) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_know_are_not_sent(number):
    with pytest.raises(ValueError):
        wire.encode({"reward": number})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b"\xff\xfe",
        b"[" * 200_000,
        b"1" * 10_000,
        b"{'a': 1}",
        b"1 2",
    ],
    ids=lambda body: f"{body[:8]!r}*{len(body)}",
)
def test_what_is_no_json_is_refused(body):
    with pytest.raises(ProtocolError):
        wire.decode(body)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body):
    try:
        value = wire.decode(body)
    except ProtocolError:
        return
    assert value is None or isinstance(value, dict | list | str | int | float)


def test_frames_keep_their_borders(pair):
    near, far = pair
    for payload in (b"", b"x", b"y" * 70_000):
        thread = threading.Thread(target=wire.write_frame, args=(near, payload, 2.0))
        thread.start()
        assert wire.read_frame(far, MAX_FRAME, 2.0, 2.0) == payload
        thread.join()


def test_an_announced_length_above_the_limit_is_refused_at_once(pair):
    near, far = pair
    near.sendall((MAX_HELLO + 1).to_bytes(4, "big"))
    with pytest.raises(ProtocolError, match=str(MAX_HELLO)):
        wire.read_frame(far, MAX_HELLO, 2.0, 2.0)
    with pytest.raises(ProtocolError):
        wire.write_frame(near, bytes(MAX_FRAME + 1), 2.0)


def test_one_byte_now_and_then_does_not_prolong_the_time(pair):
    near, far = pair
    stop = threading.Event()

    def drip():
        near.sendall((1000).to_bytes(4, "big"))
        while not stop.wait(0.05):
            near.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        wire.read_frame(far, MAX_FRAME, idle_s=5.0, frame_s=0.4)
    assert 0.3 < time.monotonic() - start < 4.0
    stop.set()
    thread.join()


def test_a_cut_frame_is_an_ended_connection(pair):
    near, far = pair
    near.sendall((10).to_bytes(4, "big") + b"abc")
    near.close()
    with pytest.raises(ConnectionError):
        wire.read_frame(far, MAX_FRAME, 2.0, 2.0)


def test_both_sides_agree_and_talk(pair):
    client, result = handshake(*pair)
    server, name = result["server"]
    assert name == "worker"
    for number in range(3):
        client.send({"n": number}, 2.0)
        assert wire.decode(server.receive(2.0, 2.0)) == {"n": number}
        server.send([number], 2.0)
        assert wire.decode(client.receive(2.0, 2.0)) == [number]


def test_another_key_is_refused_on_both_sides(pair):
    client, result = handshake(*pair, key="right", other="wrong")
    assert isinstance(result["error"], KeyRefusedError)
    with pytest.raises(KeyRefusedError):
        client.receive(2.0, 2.0)


class Recorder:
    """A socket that keeps what was sent through it."""

    def __init__(self, sock):
        self._sock, self.sent = sock, []

    def sendall(self, data):
        self.sent.append(data)
        self._sock.sendall(data)

    def __getattr__(self, name):
        return getattr(self._sock, name)


def test_a_message_is_good_for_once_only(pair):
    near, far = pair
    recorder = Recorder(near)
    client, result = handshake(recorder, far)
    server, _ = result["server"]
    client.send({"op": "update"}, 2.0)
    server.receive(2.0, 2.0)
    near.sendall(recorder.sent[-1])  # the same frame again
    with pytest.raises(KeyRefusedError):
        server.receive(2.0, 2.0)


def test_a_message_of_another_connection_or_direction_is_refused(pair):
    near, far = pair
    recorder = Recorder(near)
    client, _ = handshake(recorder, far)
    client.send({"op": "update"}, 2.0)
    hello, update = recorder.sent
    far.sendall(update)  # sent back to its author
    with pytest.raises(KeyRefusedError):
        client.receive(2.0, 2.0)
    near2, far2 = socket.socketpair()
    with near2, far2:
        near2.sendall(hello)  # of the recorded conversation
        with pytest.raises(KeyRefusedError):
            welcome(far2, key_bytes("k"), 2.0)


def test_a_changed_bit_is_noticed(pair):
    near, far = pair
    recorder = Recorder(near)
    client, result = handshake(recorder, far)
    server, _ = result["server"]
    body = wire.encode({"reward": 1.0})
    client.send_body(body, 2.0)
    frame = bytearray(wire.read_frame(far, MAX_FRAME, 2.0, 2.0))
    frame[-2] ^= 1
    wire.write_frame(near, bytes(frame), 2.0)
    with pytest.raises(KeyRefusedError):
        server.receive(2.0, 2.0)


def test_the_key_itself_is_never_on_the_wire(pair):
    near, far = pair
    here, there = Recorder(near), Recorder(far)
    client, result = handshake(here, there, key="a secret of some length")
    client.send({"op": "ping"}, 2.0)
    result["server"][0].send({"ok": True}, 2.0)
    wired = b"".join(here.sent + there.sent)
    assert len(here.sent) == 2 and len(there.sent) == 2
    for form in (b"a secret of some length", b"a secret of some length".hex().encode()):
        assert form not in wired


@pytest.mark.parametrize("key", ["", b"", None, 5])
def test_a_key_must_be_a_text(key):
    with pytest.raises(ConfigError, match="key must be"):
        key_bytes(key)
