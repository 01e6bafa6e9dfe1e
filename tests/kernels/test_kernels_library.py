"""The handle: where it comes from, when there is none, and what the log says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from paddle_darts.engine import environment
from paddle_darts.errors import ConfigError
from paddle_darts.kernels import library as kernels
from paddle_darts.kernels.build import CSRC
from paddle_darts.threads import thread_count


# ------------------------------------------------------------------------------------------ loading
def test_it_is_built_loaded_and_said_once(room, wrapped, said):
    handle = kernels.library(room / "csrc")
    assert handle is not None and handle.pd_abi() == 1
    assert kernels.library(room / "csrc") is handle
    lines = [text for text in said("INFO") if text.startswith("CPU kernels: ")]
    assert len(lines) == 1 and str(room / "cache") in lines[0] and "built by" in lines[0]
    assert not said("WARNING")
    kernels.reset()
    assert kernels.library(room / "csrc") is not handle
    assert wrapped.compiled() == 1


def test_threads_of_one_process_get_one_handle(room, wrapped, said):
    with ThreadPoolExecutor(8) as pool:
        handles = list(pool.map(lambda _: kernels.library(room / "csrc"), range(8)))
    assert handles[0] is not None and len(set(map(id, handles))) == 1
    assert wrapped.compiled() == 1
    assert sum(text.startswith("CPU kernels: ") for text in said("INFO")) == 1


def test_the_cache_is_private(room, compiler):
    before = os.umask(0)
    try:
        assert kernels.library(room / "csrc") is not None
    finally:
        os.umask(before)
    folders = [room / "cache" / "paddle_darts", *(room / "cache" / "paddle_darts").rglob("*")]
    assert len([f for f in folders if f.is_dir()]) == 3
    assert all(f.stat().st_mode & 0o777 == 0o700 for f in folders if f.is_dir())


@pytest.mark.skipif(not list(CSRC.glob("*.cpp")), reason="the package has no kernels yet")
def test_the_packages_own_kernels_are_in_use(compiler, monkeypatch):
    """From the user's own cache: where there is a compiler, falling back is a defect."""
    monkeypatch.delenv("PADDLE_DARTS_KERNELS", raising=False)
    monkeypatch.setattr(kernels, "_outcomes", {})
    assert kernels.library() is not None, kernels.build_details()
    assert kernels.implementation() == "cpp"


def test_importing_builds_nothing(tmp_path):
    code = (
        "import sys, paddle_darts, paddle_darts.kernels.library\n"
        "print([name for name in ('paddle', 'numpy') if name in sys.modules])"
    )
    environ = {**os.environ, "PADDLE_DARTS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert not (tmp_path / "cache").exists()


# ------------------------------------------------------------------------------------------ switching off
@pytest.mark.parametrize("value", ["0", "off", "False", " no "])
def test_switched_off(room, monkeypatch, only_warning, value):
    monkeypatch.setenv("PADDLE_DARTS_KERNELS", value)
    assert kernels.library(room / "csrc") is None
    assert kernels.library(room / "csrc") is None
    assert "PADDLE_DARTS_KERNELS=" + value in only_warning()
    assert not (room / "cache").exists()


@pytest.mark.parametrize("value", ["1", "on", "TRUE", "yes", ""])
def test_switched_on(room, compiler, monkeypatch, value):
    monkeypatch.setenv("PADDLE_DARTS_KERNELS", value)
    assert kernels.library(room / "csrc") is not None


@pytest.mark.parametrize("name", ["PADDLE_DARTS_KERNELS", "PADDLE_DARTS_KERNELS_SANITIZE"])
def test_an_impossible_switch(room, monkeypatch, name):
    monkeypatch.setenv(name, "maybe")
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"{name} must be one of 1, on, .*0, off, .*'maybe'"):
            kernels.library(room / "csrc")


def test_disabled_within_a_block(room, compiler):
    sources = room / "csrc"
    handle = kernels.library(sources)
    with kernels.kernels_disabled():
        with kernels.kernels_disabled():
            assert kernels.library(sources) is None
        assert kernels.library(sources) is None and kernels.implementation() == "paddle"
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(kernels.library, sources).result() is None
    assert kernels.library(sources) is handle is not None
    with pytest.raises(ZeroDivisionError), kernels.kernels_disabled():
        raise ZeroDivisionError
    assert kernels.library(sources) is handle


# ------------------------------------------------------------------------------------------ none to be had
def test_no_compiler(room, monkeypatch, only_warning):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(room))
    assert kernels.library(room / "csrc") is None
    assert kernels.library(room / "csrc") is None
    assert "none of c++, g++, clang++ is on the PATH; install a C++ compiler" in only_warning()


def test_a_compile_error(room, wrapped, only_warning):
    (room / "csrc" / "broken.cpp").write_text("int here = nowhere;\n")
    assert kernels.library(room / "csrc") is None
    assert kernels.library(room / "csrc") is None
    assert "broken.cpp:1" in only_warning() and "nowhere" in only_warning()
    assert wrapped.compiled() == 2, "it is tried once (two files)"


@pytest.mark.parametrize("text, found", [("return 1;", "2"), ("pd_abi", "None")])
def test_another_abi(room, compiler, only_warning, text, found):
    source = room / "csrc" / "add.cpp"
    source.write_text(source.read_text().replace(text, {"2": "return 2;", "None": "pd_other"}[found], 1))
    assert kernels.library(room / "csrc") is None
    assert f"ABI {found}" in only_warning()


def test_a_library_that_misses_something(room, compiler, only_warning):
    (room / "csrc" / "more.cpp").write_text("void not_there();\nvoid use() { not_there(); }\n")
    assert kernels.library(room / "csrc") is None
    assert "not_there" in only_warning()


# ------------------------------------------------------------------------------------------ environment.json
def test_environment_says_which_operators_compute(monkeypatch):
    outcome = kernels._Outcome(kernels.ctypes.CDLL(None), "g++ 12.2.0, znver3+avx512")
    monkeypatch.setattr(kernels, "_outcomes", {CSRC: outcome})
    assert environment.describe("cpu")["kernels"] == "cpp"
    assert environment.describe("cpu")["kernels_build"] == "g++ 12.2.0, znver3+avx512"
    monkeypatch.setattr(kernels, "_outcomes", {CSRC: kernels._Outcome(None, "no compiler")})
    assert environment.describe("cpu")["kernels"] == "paddle"
    assert environment.describe("cpu")["kernels_build"] == "no compiler"
    assert "kernels" in environment.NUMERIC and "kernels_build" not in environment.NUMERIC


def test_a_gpu_needs_no_kernels(monkeypatch):
    monkeypatch.setattr(kernels, "_outcome", lambda *_: pytest.fail("nothing is to be built"))
    described = environment.describe("gpu:0")
    assert (described["kernels"], described["kernels_build"]) == ("paddle", None)


@pytest.mark.parametrize("value, count", [("3", 3), ("4,2", 4), ("0", 1), ("", 1), ("many", 1), (None, 1)])
def test_thread_count(monkeypatch, value, count):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert thread_count() == count
