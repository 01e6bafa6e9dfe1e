"""Server and clients over real sockets: verbs, lost answers, floods, ends."""

from __future__ import annotations

import json
import math
import socket
import threading
import time

import numpy as np
import pytest
from controller_remote_parts import (
    BookKeeper,
    LossyNetwork,
    client_of,
    digits,
    eventually,
    forked,
    server_threads,
    work,
)

from paddle_darts.controllers import SAController
from paddle_darts.controllers.remote import (
    ControllerClient,
    ControllerConnectionError,
    ControllerServer,
    SearchFinished,
    SearchSpaceExhausted,
)
from paddle_darts.controllers.remote.server import PENDING
from paddle_darts.errors import ConfigError


def test_the_verbs():
    controller = BookKeeper()
    with ControllerServer(controller, search_steps=2) as server, client_of(server) as client:
        assert client.request_current_info()["best_reward"] == -math.inf
        first = client.next_tokens()
        assert first == digits(0)
        assert client.update(np.array(first), np.float32(0.5), iter=1) is True
        assert client.update(first, 0.7) is False
        second = client.next_tokens()
        assert client.ping() == 1
        assert client.update(second, -1) is True
        assert client.request_current_info() == {
            "best_tokens": digits(0), "best_reward": 0.5, "current_tokens": digits(1),
            "steps": 2, "outstanding": 0, "clients": 1,
        }  # fmt: skip
        with pytest.raises(SearchFinished):
            client.next_tokens()
        assert server.done


def test_a_remote_search_by_annealing_is_the_local_one():
    def search(next_tokens, update):
        for step in range(40):
            tokens = next_tokens()
            update(tokens, sum(tokens) / 24, step + 1)

    options = {"range_table": [5] * 6, "init_tokens": [0] * 6, "seed": 1}
    local, remote = SAController(**options), SAController(**options)
    search(local.next_tokens, local.update)
    with ControllerServer(remote) as server, client_of(server) as client:
        search(client.next_tokens, client.update)
    assert remote.state_dict() == local.state_dict()


def test_it_listens_on_the_own_machine_only_unless_told():
    with ControllerServer(BookKeeper()) as server:
        assert server.ip() == "127.0.0.1"
        assert server.start() == f"127.0.0.1:{server.port()}"
    with ControllerServer(BookKeeper(), ("0.0.0.0", 0)) as server:
        assert server.ip() == "0.0.0.0"
    with pytest.raises(ConfigError, match="not running"):
        server.port()


def test_two_servers_on_one_host():
    with ControllerServer(BookKeeper()) as one, ControllerServer(BookKeeper()) as two:
        assert one.port() != two.port() and one.key != two.key
        with client_of(one) as first, client_of(two) as second:
            assert first.next_tokens() == second.next_tokens() == digits(0)
        with pytest.raises(ConfigError, match="cannot listen"):
            ControllerServer(BookKeeper(), ("", one.port())).start()


def test_a_wrong_key_is_told_at_once():
    controller = BookKeeper()
    with ControllerServer(controller, key="right") as server:
        start = time.monotonic()
        for _ in range(50):
            client = ControllerClient(server.ip(), server.port(), "wrong", timeout_s=20)
            with pytest.raises(ControllerConnectionError, match="another key"):
                client.next_tokens()
        assert time.monotonic() - start < 15
        with ControllerClient(None, server.port(), b"right") as client:
            assert client.next_tokens() == digits(0)


def test_what_cannot_be_is_refused():
    for options in ({"lease_s": 0}, {"search_steps": 0}, {"max_client_num": 0}, {"max_open": -1}, {"read_s": -2.0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            ControllerServer(BookKeeper(), **options)
    with pytest.raises(ConfigError, match="key"):
        ControllerServer(BookKeeper(), key="")
    with pytest.raises(ConfigError, match="server_port"):
        ControllerClient(key="k")
    with pytest.raises(ConfigError, match="key"):
        ControllerClient(server_port=1)
    with pytest.raises(ConfigError, match="name"):
        ControllerClient(server_port=1, key="k", client_name="a\nb")


def test_wrong_values_are_the_caller_s_error_and_the_client_goes_on():
    with ControllerServer(BookKeeper()) as server, client_of(server) as client:
        tokens = client.next_tokens()
        for reward in (float("nan"), float("inf"), "1", None):
            with pytest.raises(ConfigError, match="reward"):
                client.update(tokens, reward)
        with pytest.raises(ConfigError, match="token 2 is 100"):
            client.update([0, 0, 100], 1.0)
        with pytest.raises(ConfigError, match="integers"):
            client.update([0.5, 0, 1], 1.0)
        assert client.update(tokens, 1.0) is True


def test_skip_gives_a_proposal_up():
    with ControllerServer(BookKeeper()) as server, client_of(server) as client:
        tokens = client.next_tokens()
        assert client.skip(tokens) is True
        assert client.skip(tokens) is False
        assert client.request_current_info()["outstanding"] == 0


def test_an_exhausted_space_is_raised():
    controller = SAController(range_table=[2], init_tokens=[0], max_try_times=100, seed=0)
    with ControllerServer(controller) as server, client_of(server) as client:
        for _ in range(2):
            client.update(client.next_tokens(), 0.0)
        with pytest.raises(SearchSpaceExhausted):
            client.next_tokens()


# ------------------------------------------------------------------------------------------ lost answers
@pytest.fixture
def lossy():
    controller = BookKeeper()
    with ControllerServer(controller) as server:
        network = LossyNetwork(server)
        yield controller, server, network
        network.close()


def test_a_score_whose_answer_was_lost_counts_once(lossy):
    controller, server, network = lossy
    with network.client(server) as client:
        tokens = client.next_tokens()
        network.lose_the_next_answer()
        assert client.update(tokens, 1.0) is True
        assert network.connections == 2
    controller.assert_each_scored_once(1)


def test_a_score_that_is_sent_again_after_an_error_counts_once(lossy):
    controller, server, network = lossy
    with network.client(server) as client:
        tokens = client.next_tokens()
        network.lose_the_next_answer()
        client.timeout_s = 0.05  # too short for a second attempt
        with pytest.raises(ControllerConnectionError):
            client.update(tokens, 1.0)
        client.timeout_s = 5.0
        assert client.update(tokens, 1.0) is True
        assert client.update(tokens, 1.0) is False  # another score of the same
    controller.assert_each_scored_once(1)


def test_a_proposal_whose_answer_was_lost_is_the_next_one(lossy):
    controller, server, network = lossy
    with network.client(server) as client:
        client.wait(2)
        network.lose_the_next_answer()
        assert client.next_tokens() == digits(0)
        assert controller.made == 1


# ------------------------------------------------------------------------------- clients that go or are slow
def test_a_client_that_closes_gives_its_proposals_back():
    with ControllerServer(BookKeeper()) as server, client_of(server) as other:
        with client_of(server) as client:
            tokens = client.next_tokens()
        assert other.next_tokens() == tokens
        with pytest.raises(ControllerConnectionError, match="closed"):
            client.ping()


def test_a_slow_client_s_proposal_goes_on_and_counts_once():
    controller = BookKeeper()
    with ControllerServer(controller, lease_s=0.3) as server, client_of(server) as slow, client_of(server) as quick:
        tokens = slow.next_tokens()
        time.sleep(0.35)
        assert quick.next_tokens() == tokens
        assert quick.update(tokens, 1.0) is True
        assert slow.update(tokens, 2.0) is False
    assert controller.scores == [(tuple(tokens), 1.0)]


def test_ping_keeps_a_proposal():
    with ControllerServer(BookKeeper(), lease_s=1.0) as server, client_of(server) as slow, client_of(server) as other:
        tokens = slow.next_tokens()
        for _ in range(3):
            time.sleep(0.4)
            assert slow.ping() == 1
        assert other.next_tokens() != tokens


def test_waiting_for_others_can_be_limited():
    with ControllerServer(BookKeeper(), search_steps=1) as server, client_of(server) as one, client_of(server) as two:
        one.next_tokens()
        with pytest.raises(ControllerConnectionError, match="out with other clients"):
            two.next_tokens(timeout=0.3)


def test_many_clients_at_once():
    controller = BookKeeper()
    with ControllerServer(controller, search_steps=400) as server:
        results = [[] for _ in range(12)]
        clients = [client_of(server, f"client {i}") for i in range(12)]
        threads = [
            threading.Thread(target=lambda i=i: results[i].extend(work(clients[i]))) for i in range(len(clients))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sum(map(len, results)) == 400
        assert len({tokens for counted in results for tokens in counted}) == 400
    controller.assert_each_scored_once(400)
    assert max(controller.client_nums) <= 12


def test_one_client_in_many_threads():
    controller = BookKeeper()
    with ControllerServer(controller, max_open=8) as server, client_of(server) as client:

        def some():
            for _ in range(25):
                assert client.update(client.next_tokens(), 1.0) is True

        threads = [threading.Thread(target=some) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    controller.assert_each_scored_once(200)
    assert set(controller.client_nums) == {1}


# ------------------------------------------------------------------------------------------------- floods
@pytest.mark.parametrize("handshake_s", [0.5, 60.0])
def test_silent_and_dripping_connections_block_nobody(handshake_s):
    with ControllerServer(BookKeeper(), max_client_num=4, handshake_s=handshake_s) as server:
        address = (server.ip(), server.port())
        strangers = [socket.create_connection(address) for _ in range(3 * PENDING)]
        for stranger in strangers[-10:]:
            stranger.sendall(b"\0")
        start = time.monotonic()
        with client_of(server) as client:
            assert client.next_tokens() == digits(0)
        assert time.monotonic() - start < 4
        assert len(server_threads()) <= 4 + 2 * PENDING
        if handshake_s < 1:
            eventually(lambda: not server_threads(), 10)  # all were closed by the server
        for stranger in strangers:
            stranger.close()


def test_a_full_server_says_so_and_takes_the_next_when_one_leaves():
    with ControllerServer(BookKeeper(), max_client_num=2) as server:
        one, two = client_of(server), client_of(server)
        one.wait(2), two.wait(2)
        third = client_of(server, timeout_s=0.5)
        with pytest.raises(ControllerConnectionError, match="max_client_num"):
            third.ping()
        one.close()
        third.wait(3)
        assert third.request_current_info()["clients"] == 2


def test_a_silent_client_is_dropped_and_comes_back_by_itself():
    with ControllerServer(BookKeeper(), lease_s=0.3) as server, client_of(server) as client:
        tokens = client.next_tokens()
        eventually(lambda: not server_threads(), 10)
        assert client.update(tokens, 1.0) is True


# -------------------------------------------------------------------------------------------------- the end
def test_a_server_that_goes_away_is_told_in_time():
    server = ControllerServer(BookKeeper())
    server.start()
    client = client_of(server, timeout_s=1.0)
    tokens = client.next_tokens()
    start = time.monotonic()
    server.close()
    server.close()
    assert time.monotonic() - start < 3
    start = time.monotonic()
    with pytest.raises(ControllerConnectionError, match="no answer within 1 s"):
        client.update(tokens, 1.0)
    assert time.monotonic() - start < 4


def test_something_else_on_the_port_is_told_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = ControllerClient("127.0.0.1", silent.getsockname()[1], "k", timeout_s=0.5)
        start = time.monotonic()
        with pytest.raises(ControllerConnectionError, match="no answer within"):
            client.wait()
        assert time.monotonic() - start < 4


def test_wait_is_for_workers_that_start_first():
    with ControllerServer(BookKeeper()) as server:
        port = server.port()
    later = ControllerServer(BookKeeper(), ("", port), key="k")
    timer = threading.Timer(0.4, later.start)
    timer.start()
    with ControllerClient(server_port=port, key="k") as client:
        client.wait(10)
        assert client.next_tokens() == digits(0)
    later.close()


def test_run_ends_with_the_search_and_its_clients():
    controller = BookKeeper()
    server = ControllerServer(controller, search_steps=20)
    server.start()
    thread = threading.Thread(target=server.run)
    client = client_of(server)
    client.wait(2)
    thread.start()
    work(client)
    thread.join(5)
    assert not thread.is_alive()
    controller.assert_each_scored_once(20)


def test_a_search_survives_the_restart_of_its_server():
    states = []
    old = BookKeeper()
    server = ControllerServer(old, search_steps=6, key="k", on_update=lambda: states.append(server.state_dict()))
    server.start()
    port = server.port()
    survivor, lost = client_of(server), client_of(server)
    kept, dropped = survivor.next_tokens(), lost.next_tokens()
    for _ in range(2):
        tokens = survivor.next_tokens()
        survivor.update(tokens, 1.0)
    server.close()
    state = json.loads(json.dumps(states[-1]))
    new = BookKeeper()
    with ControllerServer(new, ("", port), search_steps=6, key="k") as server:
        server.load_state_dict(state)
        assert survivor.update(kept, 1.0) is True
        assert survivor.next_tokens() == dropped
        assert survivor.update(dropped, 1.0) is True
        assert len(work(survivor)) == 2
    new.assert_each_scored_once(6)


def test_a_listener_that_fails_loses_no_score():
    def fail():
        raise OSError("disk full")

    with ControllerServer(BookKeeper(), on_update=fail) as server, client_of(server) as client:
        assert client.update(client.next_tokens(), 1.0) is True


# --------------------------------------------------------------------------------------------------- forks
def score_one(client):
    assert client.update(client.next_tokens(), 2.0) is True


def test_a_forked_client_gets_a_connection_of_its_own():
    controller = BookKeeper()
    with ControllerServer(controller) as server, client_of(server) as client:
        mine = client.next_tokens()
        with client._lock:  # as if another thread were in the middle of a request
            child = forked(score_one, client)
        child.join(10)
        assert child.exitcode == 0
        assert client.update(mine, 1.0) is True
    assert controller.scores == [(tuple(digits(1)), 2.0), (tuple(mine), 1.0)]


def test_a_forked_child_of_the_server_s_process_does_not_keep_its_port():
    server = ControllerServer(BookKeeper())
    server.start()
    port, client = server.port(), client_of(server, timeout_s=1.0)
    client.wait(2)
    child = forked(time.sleep, 30)
    server.close()
    with pytest.raises(ControllerConnectionError):
        client.ping()
    with ControllerServer(BookKeeper(), ("", port)):
        pass
    child.kill()
    child.join(5)
