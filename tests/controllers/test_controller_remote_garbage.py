"""Ten thousand random and malformed messages: no crash, no hang, nothing executed, no proposal lost."""

from __future__ import annotations

import json
import os
import pickle
import random
import socket
import threading
import time

import psutil
import pytest
from controller_remote_parts import BookKeeper, client_of, digits, eventually, forked, server_threads, work

from paddle_darts.controllers.remote import ControllerServer, wire
from paddle_darts.controllers.remote.channel import introduce, key_bytes
from paddle_darts.controllers.remote.wire import ProtocolError

SIGNED, UNSIGNED = 9_000, 1_000
STEPS = 300


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


class Garbage:
    """Seeded random messages that no server may accept as a score."""

    def __init__(self, seed, marker):
        self.rng = random.Random(seed)
        self.code = f"__import__('os').mkdir({str(marker)!r})"
        self.pickled = pickle.dumps(Bomb(marker))

    def value(self, depth=0):
        rng = self.rng
        kinds = [
            lambda: None,
            lambda: rng.random() < 0.5,
            lambda: rng.randint(-(10**12), 10**12),
            lambda: rng.uniform(-1e300, 1e300),
            lambda: rng.choice([float("nan"), float("inf"), -float("inf"), 10**300]),
            lambda: "".join(chr(rng.randrange(1, 0xD800)) for _ in range(rng.randrange(8))),
            lambda: self.code,
        ]
        if depth < 3:
            kinds.append(lambda: [self.value(depth + 1) for _ in range(rng.randrange(4))])
            kinds.append(lambda: {str(self.value(3)): self.value(depth + 1) for _ in range(rng.randrange(4))})
        return rng.choice(kinds)()

    def almost(self):
        """A good score with at least one field spoiled."""
        rng = self.rng
        message = {"op": "update", "tokens": digits(rng.randrange(1000)), "reward": 1.0, "iter": 1, "request": "r"}
        spoiled = rng.choice(
            [("tokens", self.tokens()), ("reward", rng.choice(["1", None, [1.0], float("nan"), True]))]
        )
        message[spoiled[0]] = spoiled[1]
        if rng.random() < 0.3:
            message[rng.choice(list(message))] = self.value()
            message[spoiled[0]] = spoiled[1]
        return message

    def tokens(self):
        rng = self.rng
        good = digits(rng.randrange(1000))
        bad = [good[:2], [*good, 0], [100, 0, 0], [-1, 0, 0], [0.5, 0, 0], [True, 0, 0], "0,0,1", None, [good], [], {}]
        return rng.choice([*bad, [self.code, 0, 0], [10**300, 0, 0]])

    def body(self):
        """Bytes that come with a genuine signature."""
        rng = self.rng
        kinds = [
            lambda: rng.randbytes(rng.randrange(64)),
            lambda: json.dumps(self.value()).encode(),
            lambda: json.dumps(self.almost()).encode(),
            lambda: json.dumps({"op": self.value(), "tokens": self.value()}).encode(),
            lambda: json.dumps(self.almost()).encode()[: rng.randrange(60)],
            lambda: rng.choice([b"[", b'{"op":']) * rng.randrange(1, 5000),
            lambda: b"9" * rng.randrange(1, 9000),
            lambda: self.pickled,
            lambda: self.code.encode(),
        ]
        return rng.choice(kinds)()

    def frame(self):
        """Bytes of somebody without the key."""
        rng = self.rng
        kinds = [
            lambda: rng.randbytes(rng.randrange(200)),
            lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            lambda: (2**32 - 1).to_bytes(4, "big") + b"x" * 100,
            lambda: (4096).to_bytes(4, "big") + rng.randbytes(rng.randrange(500)),
            lambda: len(self.pickled).to_bytes(4, "big") + self.pickled,
            lambda: b"\0\0\0\0",
            lambda: b"\0\0\0\x40" + rng.randbytes(64),
            lambda: b"next_tokens",
        ]
        return rng.choice(kinds)()


def signed_channel(server, name):
    sock = socket.create_connection((server.ip(), server.port()), timeout=5)
    channel = introduce(sock, key_bytes(server.key), name, 5.0)
    assert wire.decode(channel.receive(5.0, 5.0)) == {"ok": True}
    return channel


def pester_with_the_key(server, garbage, count):
    """Sends garbage with genuine signatures; every message must be answered, and none as a success."""
    channel = signed_channel(server, "pest")
    for number in range(count):
        if number % 100 == 0:  # takes a proposal and goes away with it
            channel.send({"op": "next_tokens", "request": f"r{number}"}, 5.0)
            assert wire.decode(channel.receive(5.0, 5.0))["ok"] is True
            channel.sock.close()
            channel = signed_channel(server, "pest")
        channel.send_body(garbage.body(), 5.0)
        answer = wire.decode(channel.receive(5.0, 5.0))
        assert (answer["ok"], answer["kind"]) == (False, "invalid"), answer
    channel.sock.close()


def pester_without_the_key(server, garbage, count):
    """Sends garbage from strangers; nothing but the greeting and a refusal may come back."""
    for _ in range(count):
        with socket.create_connection((server.ip(), server.port()), timeout=5) as sock:
            received = b""
            try:
                sock.sendall(garbage.frame())
                sock.shutdown(socket.SHUT_WR)
                while data := sock.recv(4096):
                    received += data
            except TimeoutError:
                raise
            except OSError:
                pass  # hung up on us, as it may
            assert b'"ok"' not in received


def test_ten_thousand_bad_messages(tmp_path):
    marker = tmp_path / "executed"
    controller, failures, counted = BookKeeper(), [], []
    process = psutil.Process()
    with ControllerServer(controller, search_steps=STEPS, max_client_num=8, handshake_s=2.0) as server:
        garbage = [Garbage(seed, marker) for seed in range(5)]
        before = process.memory_info().rss

        def guarded(task, *args):
            try:
                result = task(*args)
                counted.extend(result or [])
            except BaseException as error:
                failures.append(error)

        jobs = [(pester_with_the_key, server, garbage[i], SIGNED // 3) for i in range(3)]
        jobs += [(pester_without_the_key, server, garbage[3 + i], UNSIGNED // 2) for i in range(2)]
        jobs += [(work, client_of(server, f"honest {i}", timeout_s=20), 0.01) for i in range(2)]
        threads = [threading.Thread(target=guarded, args=job, daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads), "something hangs"
        assert failures == []
        assert server.done and server.service.steps == STEPS
        assert process.memory_info().rss - before < 64 * 2**20
        eventually(lambda: not server_threads())  # no connection is left behind
        with client_of(server) as client:  # and the server lives
            assert client.request_current_info()["steps"] == STEPS
    controller.assert_each_scored_once(STEPS)
    assert len(counted) == STEPS
    assert not marker.exists()


def test_the_garbage_would_be_noticed(tmp_path):
    """The bomb and the code above do leave their trace where somebody runs them."""
    marker = tmp_path / "executed"
    pickle.loads(Garbage(0, marker).pickled)
    assert marker.exists()
    marker.rmdir()
    eval(Garbage(0, marker).code)
    assert marker.exists()


def test_a_recorded_score_cannot_be_replayed():
    controller = BookKeeper()
    with ControllerServer(controller) as server:
        address = (server.ip(), server.port())
        listener = socket.create_server(("127.0.0.1", 0))
        recorded = []

        def relay():
            near, _ = listener.accept()
            far = socket.create_connection(address)
            back = threading.Thread(target=pump, args=(far, near, []), daemon=True)
            back.start()
            pump(near, far, recorded)

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        with client_of(server) as client:
            client._address = listener.getsockname()[:2]
            client.update(client.next_tokens(), 1.0)
        thread.join(5)
        listener.close()
        before = server.state_dict()
        conversation = b"".join(recorded)
        assert b'"op":"update"' in conversation  # what is replayed is the real thing
        with socket.create_connection(address, timeout=5) as sock:
            sock.sendall(conversation)
            received = b""
            try:
                while data := sock.recv(4096):
                    received += data
            except ConnectionError:
                pass
        assert b'"ok"' not in received
        assert server.state_dict() == before
    controller.assert_each_scored_once(1)


def pump(source, sink, copy):
    try:
        while data := source.recv(4096):
            copy.append(data)
            sink.sendall(data)
    except OSError:
        pass
    sink.close()


def test_an_unsigned_message_ends_the_conversation_and_frees_the_proposal():
    with ControllerServer(BookKeeper()) as server, client_of(server) as client:
        channel = signed_channel(server, "changes its mind")
        channel.send({"op": "next_tokens", "request": "r"}, 2.0)
        tokens = wire.decode(channel.receive(2.0, 2.0))["tokens"]
        child = forked(time.sleep, 30)  # holds a copy of the server's end, which must not keep it open
        wire.write_frame(channel.sock, bytes(32) + b'{"op":"ping"}', 2.0)
        with pytest.raises((ConnectionError, ProtocolError)):
            channel.receive(2.0, 2.0)
        eventually(lambda: len(server_threads()) == 0)
        assert client.next_tokens() == tokens
        child.kill()
        child.join(5)


def test_a_great_length_takes_no_memory_until_it_comes():
    process = psutil.Process()
    with ControllerServer(BookKeeper(), max_client_num=60, read_s=1.0) as server:
        channels = [signed_channel(server, f"big {i}") for i in range(50)]
        before = process.memory_info().rss
        for channel in channels:
            channel.sock.sendall(wire.MAX_FRAME.to_bytes(4, "big") + b"x")
        time.sleep(0.3)
        assert process.memory_info().rss - before < 16 * 2**20
        with client_of(server) as client:
            assert client.next_tokens() == digits(0)
        eventually(lambda: not server_threads(), 10)  # they were too slow
        for channel in channels:
            channel.sock.close()
