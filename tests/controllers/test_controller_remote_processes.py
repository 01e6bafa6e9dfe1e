"""Real processes: clients and servers that are killed with SIGKILL."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from controller_remote_parts import BookKeeper, client_of, eventually, forked, work

from paddle_darts.controllers.remote import ControllerClient, ControllerConnectionError, ControllerServer

CONTEXT = multiprocessing.get_context("fork")


def take_and_sleep(address, key, pipe):
    client = ControllerClient(*address, key)
    pipe.send(client.next_tokens())
    time.sleep(600)


def work_and_tell(address, key, queue, pause_s):
    queue.put(work(ControllerClient(*address, key, f"client {os.getpid()}"), pause_s))


def work_quietly(address, key, pause_s):
    work(ControllerClient(*address, key), pause_s)


def serve_and_tell(pipe):
    server = ControllerServer(BookKeeper(), key="k")
    server.start()
    pipe.send(server.port())
    time.sleep(600)


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join(5)
    assert process.exitcode == -signal.SIGKILL


def test_what_a_killed_client_worked_on_goes_to_the_next_one_at_once():
    controller = BookKeeper()
    with ControllerServer(controller, search_steps=5) as server:
        near, far = CONTEXT.Pipe()
        children = [forked(take_and_sleep, (server.ip(), server.port()), server.key, far) for _ in range(3)]
        taken = [near.recv() for _ in children]
        for child in children:
            kill(child)
        start = time.monotonic()
        counted = work(client_of(server))
        assert time.monotonic() - start < 5  # far less than a lease
    assert {tuple(tokens) for tokens in taken} < set(counted)
    controller.assert_each_scored_once(5)


def test_a_frozen_client_s_late_score_does_not_count_twice():
    controller = BookKeeper()
    with ControllerServer(controller, search_steps=1, lease_s=0.5) as server:
        queue = CONTEXT.Queue()
        child = forked(work_and_tell, (server.ip(), server.port()), server.key, queue, 1.5)
        eventually(lambda: controller.made == 1)
        os.kill(child.pid, signal.SIGSTOP)
        assert len(work(client_of(server))) == 1
        os.kill(child.pid, signal.SIGCONT)
        assert queue.get(timeout=10) == []
        child.join(5)
    controller.assert_each_scored_once(1)


def test_several_processes_score_every_proposal_once():
    controller = BookKeeper()
    with ControllerServer(controller, search_steps=300) as server:
        queue = CONTEXT.Queue()
        children = [forked(work_and_tell, (server.ip(), server.port()), server.key, queue, 0.0) for _ in range(4)]
        counted = [tokens for _ in children for tokens in queue.get(timeout=30)]
        for child in children:
            child.join(5)
            assert child.exitcode == 0
    assert len(counted) == len(set(counted)) == 300
    controller.assert_each_scored_once(300)


def test_a_killed_server_is_told_in_time():
    near, far = CONTEXT.Pipe()
    child = forked(serve_and_tell, far)
    client = ControllerClient(server_port=near.recv(), key="k", timeout_s=1.0)
    tokens = client.next_tokens()
    kill(child)
    start = time.monotonic()
    with pytest.raises(ControllerConnectionError, match="no answer within"):
        client.update(tokens, 1.0)
    assert time.monotonic() - start < 5


def test_killing_clients_again_and_again_loses_nothing():
    """Workers are killed at random moments, in the middle of requests too, and replaced."""
    rng, controller, steps = random.Random(0), BookKeeper(), 400
    with ControllerServer(controller, search_steps=steps) as server:

        def worker():
            return forked(work_quietly, (server.ip(), server.port()), server.key, 0.005)

        children = [worker() for _ in range(3)]
        for number in range(15):
            eventually(lambda number=number: server.service.steps >= 20 * number, 30)
            time.sleep(rng.uniform(0.0, 0.02))
            victim = children.pop(rng.randrange(3))
            os.kill(victim.pid, signal.SIGKILL)
            victim.join(5)
            children.append(worker())
        assert not server.done, "there must be something left to lose"
        for child in children:
            child.join(30)
            assert child.exitcode == 0
        assert server.done
    controller.assert_each_scored_once(steps)


SCRIPT = """
import sys, time
from paddle_darts.controllers.remote import ControllerClient, SearchFinished
client = ControllerClient(sys.argv[1], int(sys.argv[2]), sys.argv[3], timeout_s=20)
while True:
    try:
        tokens = client.next_tokens()
    except SearchFinished:
        break
    time.sleep(0.02)
    client.update(tokens, float(sum(tokens)))
"""


@pytest.mark.slow
def test_programs_of_their_own_some_of_them_killed():
    controller, steps = BookKeeper(), 1500
    with ControllerServer(controller, search_steps=steps) as server:
        command = [sys.executable, "-c", SCRIPT, server.ip(), str(server.port()), server.key]
        programs = [subprocess.Popen(command) for _ in range(5)]
        eventually(lambda: server.service.steps > 100, 120)
        for program in programs[:3]:
            program.kill()
            assert program.wait(5) == -signal.SIGKILL
        assert not server.done
        for program in programs[3:]:
            assert program.wait(180) == 0
    controller.assert_each_scored_once(steps)
