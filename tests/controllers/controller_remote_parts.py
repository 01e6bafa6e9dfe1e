"""What the tests of the remote controller share: a controller that keeps books, and a network that loses answers."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
import time
from collections import Counter

from paddle_darts.controllers.remote import ControllerClient, ControllerServer, SearchFinished

BASE = 100


class BookKeeper:
    """Proposes the numbers 0, 1, 2, ... as three digits of base 100; remembers every score in order."""

    range_table = ([0, 0, 0], [BASE, BASE, BASE])

    def __init__(self):
        self.made = 0
        self.scores = []
        self.client_nums = []
        self.iters = []
        self.busy = threading.Lock()

    def next_tokens(self, control_token=None):
        assert self.busy.acquire(blocking=False), "two threads in the controller"
        number, self.made = self.made, self.made + 1
        time.sleep(0.0005)  # an invitation to other threads
        self.busy.release()
        return digits(number)

    def update(self, tokens, reward, iter=None, client_num=1):
        assert self.busy.acquire(blocking=False), "two threads in the controller"
        self.scores.append((tuple(tokens), reward))
        self.client_nums.append(client_num)
        self.iters.append(iter)
        time.sleep(0.0005)
        self.busy.release()

    @property
    def best_tokens(self):
        return list(max(self.scores, key=lambda score: score[1])[0]) if self.scores else None

    @property
    def max_reward(self):
        return max((reward for _, reward in self.scores), default=-float("inf"))

    @property
    def current_tokens(self):
        return digits(self.made - 1) if self.made else None

    def state_dict(self):
        return {"made": self.made, "scores": [[list(tokens), reward] for tokens, reward in self.scores]}

    def load_state_dict(self, state):
        self.made = state["made"]
        self.scores = [(tuple(tokens), reward) for tokens, reward in state["scores"]]

    def assert_each_scored_once(self, count):
        """Exactly the first ``count`` proposals, each once."""
        scored = Counter(tokens for tokens, _ in self.scores)
        assert scored == Counter(tuple(digits(number)) for number in range(count))


def digits(number):
    return [number // BASE**2, number // BASE % BASE, number % BASE]


def client_of(server, name=None, **options):
    options.setdefault("timeout_s", 5.0)
    return ControllerClient(server.ip(), server.port(), server.key, name, **options)


def work(client, pause_s=0.0):
    """Scores proposals until the search is over; returns what was counted for this client."""
    counted = []
    with client:
        while True:
            try:
                tokens = client.next_tokens(timeout=60)
            except SearchFinished:
                return counted
            time.sleep(pause_s)
            if client.update(tokens, float(sum(tokens)), len(counted) + 1):
                counted.append(tuple(tokens))


def forked(target, *args):
    """A started process that shares nothing but what it had at the fork."""
    process = multiprocessing.get_context("fork").Process(target=target, args=args, daemon=True)
    process.start()
    return process


def eventually(condition, within_s=5.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def server_threads():
    return [thread for thread in threading.enumerate() if thread.name == "controller-client"]


class LossyNetwork:
    """Stands between a client and the server and can cut the line once a request is through, before its answer."""

    def __init__(self, server: ControllerServer):
        self._target = (server.ip(), server.port())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_after = None
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def client(self, server, name=None):
        return ControllerClient("127.0.0.1", self.port, server.key, name, timeout_s=5.0)

    def lose_the_next_answer(self):
        self.cut_after = 1

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                far = socket.create_connection(self._target)
                threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source, sink, answers):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers and self.cut_after:
                    self.cut_after = None
                    break
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
