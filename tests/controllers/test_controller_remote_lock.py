"""Locks on files."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from controller_remote_parts import eventually, forked

from paddle_darts.controllers.remote import FileLock, lock, unlock


def test_lock_and_unlock_exclude_each_other(tmp_path):
    path = tmp_path / "lock"
    order = []
    with path.open("w") as first:
        lock(first)

        def second():
            with path.open("w") as file:
                lock(file)
                order.append("second")
                unlock(file)

        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
        unlock(first)
        thread.join(5)
    assert order == ["first", "second"]


def test_a_file_lock_gives_up_in_time(tmp_path):
    path = tmp_path / "lock"
    with FileLock(path) as held:
        assert held.locked
        start = time.monotonic()
        with pytest.raises(TimeoutError, match="still locked"):
            FileLock(path, timeout_s=0.2).acquire()
        assert 0.15 < time.monotonic() - start < 2
        with pytest.raises(RuntimeError, match="already"):
            held.acquire()
    assert not held.locked
    with FileLock(path, timeout_s=0.2) as again:
        assert again.locked


def add_one(path, times):
    for _ in range(times):
        with FileLock(path.with_suffix(".lock")):
            path.write_text(str(int(path.read_text()) + 1))


def test_processes_do_not_overwrite_each_other(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    processes = [forked(add_one, path, 100) for _ in range(3)]
    for process in processes:
        process.join(20)
    assert path.read_text() == "300"


def hold(path, told):
    with FileLock(path):
        told.touch()
        time.sleep(60)


def test_a_killed_holder_frees_the_lock(tmp_path):
    path, told = tmp_path / "lock", tmp_path / "told"
    process = forked(hold, path, told)
    eventually(told.exists)
    with pytest.raises(TimeoutError):
        FileLock(path, timeout_s=0).acquire()
    os.kill(process.pid, signal.SIGKILL)
    process.join(5)
    with FileLock(path, timeout_s=2):
        pass
