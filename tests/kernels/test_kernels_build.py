"""Building: the flags, the key, the cache, and many processes that start at once."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from paddle_darts.kernels import cache
from paddle_darts.kernels.build import build
from paddle_darts.kernels.cache import intact
from paddle_darts.kernels.toolchain import find_toolchain

BUILDER = """
import logging, sys
from pathlib import Path
from paddle_darts.kernels import build, cache, toolchain
logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
room = Path(sys.argv[1])
tools = toolchain.find_toolchain(paddle_dir=room, paddle_version="3")
folder = next(cache.places()).folder(build.build_key(tools, room / "csrc"))
print("path", build.build(tools, folder, room / "csrc"), flush=True)
"""


def start(room):
    return subprocess.Popen([sys.executable, "-c", BUILDER, str(room)], stdout=subprocess.PIPE, text=True)


def add(handle, threads=2):
    a, b = np.random.default_rng(0).normal(size=(2, 10001)).astype("float32")
    out = np.empty_like(a)
    pointers = (ctypes.c_void_p(x.ctypes.data) for x in (a, b, out))
    handle.pd_add(*pointers, ctypes.c_long(a.size), threads)
    np.testing.assert_array_equal(out, a + b)


# ------------------------------------------------------------------------------------------ what is built
def test_what_is_built_computes_with_paddles_threads(room, target, compiler):
    tools = find_toolchain()
    path = build(tools, target, room / "csrc")
    handle = ctypes.CDLL(str(path))
    add(handle)
    content = path.read_bytes()
    assert b"libgomp" not in content
    if "-fopenmp" in tools.compile_flags:
        assert b"libiomp5.so" in content
        assert handle.pd_team(2) == 2
    assert "warning" not in (target / "build.log").read_text()


def test_a_paddle_without_openmp_gives_one_thread(room, target, compiler):
    tools = find_toolchain(paddle_dir=room, paddle_version="3")
    assert "-fopenmp" not in tools.compile_flags
    handle = ctypes.CDLL(str(build(tools, target, room / "csrc")))
    add(handle)
    assert handle.pd_team(2) == 1
    assert "warning" not in (target / "build.log").read_text(), "the pragmas are not complained of"


def test_several_sources_are_linked(room, target, compiler):
    (room / "csrc" / "seven.h").write_text("inline int seven() { return 7; }\n")
    (room / "csrc" / "more.cpp").write_text(
        '#include "seven.h"\nextern "C" __attribute__((visibility("default"))) int pd_seven() { return seven(); }\n'
    )
    handle = ctypes.CDLL(str(build(find_toolchain(), target, room / "csrc")))
    assert (handle.pd_seven(), handle.pd_abi()) == (7, 1)


# ------------------------------------------------------------------------------------------ cache
def test_the_second_time_nothing_is_compiled(room, target, wrapped):
    tools = find_toolchain()
    path = build(tools, target, room / "csrc")
    written = path.stat()
    assert wrapped.compiled() == 1
    assert build(tools, target, room / "csrc") == path
    assert wrapped.compiled() == 1
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (written.st_mtime_ns, written.st_ino)
    assert {p.name for p in target.iterdir()} == {"kernels.so", "kernels.sha256", "build.log", "lock"}


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone", "no checksum", "damaged checksum"])
def test_a_damaged_library_is_built_again(room, target, wrapped, damage):
    tools = find_toolchain()
    path = build(tools, target, room / "csrc")
    content, checksum = path.read_bytes(), target / "kernels.sha256"
    if damage == "gone":
        path.unlink()
    elif "checksum" in damage:
        checksum.unlink() if damage == "no checksum" else checksum.write_bytes(b"\xff")
    else:
        path.write_bytes(content[:1000] if damage == "truncated" else content[:-1] + b"x")
    assert not intact(path)
    assert build(tools, target, room / "csrc") == path
    assert wrapped.compiled() == 2
    assert intact(path)
    add(ctypes.CDLL(str(path)))


def test_processes_that_start_at_once_build_once(room, wrapped):
    wrapped.before('case " $* " in *" -c "*) sleep 2;; esac')
    processes = [start(room) for _ in range(8)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert wrapped.compiled() == 1
    assert sum("built the CPU kernels in" in text for text in said) == 1
    assert sum("waiting for another process" in text for text in said) >= 1
    assert len({text.splitlines()[-1] for text in said}) == 1


def test_a_killed_builder_is_in_nobodys_way(room, wrapped):
    wrapped.before('case " $* " in *" -c "*) echo $$ > ' + f"'{room}/child'; exec sleep 60;; esac")
    killed = start(room)
    deadline = time.monotonic() + 60
    while not (room / "child").exists() or not (room / "child").read_text().strip():
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    wrapped.before("")
    following = start(room)
    said = following.communicate(timeout=60)[0]
    assert following.returncode == 0 and "waiting" not in said, said
    with contextlib.suppress(ProcessLookupError):
        os.kill(int((room / "child").read_text()), signal.SIGKILL)
    (folder,) = (room / "cache" / "paddle_darts" / "kernels").iterdir()
    (left,) = folder.glob(".partial-*")
    cache.remove_leftovers(folder)
    assert left.exists(), "it could belong to a process that is still at work"
    os.utime(left, (0, 0))
    cache.remove_leftovers(folder)
    assert not left.exists()


def test_waiting_has_an_end(room, target, compiler, monkeypatch, caplog):
    monkeypatch.setattr(cache, "PATIENCE", 0.2)
    with caplog.at_level(logging.INFO), cache.locked(target):
        assert intact(build(find_toolchain(), target, room / "csrc"))
    said = [record.message for record in caplog.records]
    assert sum(text.startswith("waiting for another process") for text in said) == 1
    assert sum(text.startswith("the other process has not finished") for text in said) == 1


def test_a_file_system_without_locks_does_without(room, target, compiler, monkeypatch):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(cache.fcntl, "flock", flock)
    assert intact(build(find_toolchain(), target, room / "csrc"))
