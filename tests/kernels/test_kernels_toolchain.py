"""The compiler: its flags, the key that everything it depends on goes into, its errors, the sanitizers."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paddle_darts.errors import ConfigError
from paddle_darts.kernels import build as building
from paddle_darts.kernels import library as kernels
from paddle_darts.kernels.build import build, build_key
from paddle_darts.kernels.cache import PlaceError
from paddle_darts.kernels.toolchain import BuildError, find_toolchain, first_errors


def test_flags_keep_the_arithmetic(compiler):
    tools = find_toolchain()
    assert "-O3" in tools.compile_flags and "-fno-math-errno" in tools.compile_flags
    assert not [flag for flag in tools.compile_flags if "fast-math" in flag]
    assert "-fopenmp" not in tools.link_flags
    assert tools.label.split()[0] in ("g++", "clang++") and tools.label[-1].isdigit() and tools.isa


# ------------------------------------------------------------------------------------------ key
def test_key_depends_on_all_that_decides(room, compiler):
    tools, sources = find_toolchain(), room / "csrc"
    keys = [build_key(tools, sources), build_key(find_toolchain(sanitize=True), sources)]
    for change in (
        {"version": "g++ 99"},
        {"command": ("/other/g++",)},
        {"cpu": "-march=z80"},
        {"compile_flags": (*tools.compile_flags, "-g")},
        {"link_flags": (*tools.link_flags, "-s")},
        {"paddle": "9.9.9"},
    ):
        keys.append(build_key(dataclasses.replace(tools, **change), sources))
    (sources / "more.h").write_text("// one\n")
    keys.append(build_key(tools, sources))
    (sources / "more.h").write_text("// two\n")
    keys.append(build_key(tools, sources))
    (sources / "more.h").rename(sources / "less.h")
    keys.append(build_key(tools, sources))
    assert len(set(keys)) == len(keys)


def test_key_depends_on_nothing_else(room, compiler, monkeypatch):
    before = build_key(find_toolchain(), room / "csrc")
    (room / "csrc" / "notes.txt").write_text("not compiled")
    os.utime(room / "csrc" / "add.cpp", (0, 0))
    monkeypatch.chdir(room / "csrc")
    assert build_key(find_toolchain(), Path(".")) == before


def test_key_depends_on_the_abi(room, compiler, monkeypatch):
    before = build_key(find_toolchain(), room / "csrc")
    monkeypatch.setattr(building, "ABI", building.ABI + 1)
    assert build_key(find_toolchain(), room / "csrc") != before


# ------------------------------------------------------------------------------------------ failures
def test_errors_of_the_compiler_are_told(room, target, compiler):
    (room / "csrc" / "broken.cpp").write_text('int here = "text";\nint there = nowhere;\n')
    with pytest.raises(BuildError, match=r"broken\.cpp:1.*error.*\| .*nowhere") as caught:
        build(find_toolchain(), target, room / "csrc")
    assert str(target / "build.log") in str(caught.value) and "\n" not in str(caught.value)
    assert "broken.cpp" in (target / "build.log").read_text()
    assert not (target / "kernels.so").exists() and not list(target.glob(".partial-*"))


def test_errors_of_the_linker_are_told(room, target, compiler):
    (room / "csrc" / "twice.cpp").write_text('extern "C" int pd_abi() { return 1; }\n')
    with pytest.raises(BuildError, match=r"multiple definition|duplicate symbol"):
        build(find_toolchain(), target, room / "csrc")


@pytest.mark.parametrize(
    "output, told",
    [
        ("a\nx.cpp:1: error: b\nc\nx.cpp:2: error: d\n", "x.cpp:1: error: b | x.cpp:2: error: d"),
        ("Killed\n", "Killed"),
        ("", "it said nothing"),
    ],
)
def test_first_errors(output, told):
    assert first_errors(output) == told


def test_a_full_disk_is_the_folders_fault(room, target, wrapped):
    wrapped.before('case " $* " in *" -c "*) echo "add.s: No space left on device" >&2; exit 1;; esac')
    with pytest.raises(PlaceError, match="No space left on device"):
        build(find_toolchain(), target, room / "csrc")


def test_no_sources(room, compiler):
    (room / "csrc" / "add.cpp").unlink()
    for folder in (room / "csrc", room / "nowhere"):
        with pytest.raises(BuildError, match="their sources"):
            build_key(find_toolchain(), folder)


@pytest.mark.parametrize("cxx", ["no-such-compiler", "/bin/false", "'unclosed"])
def test_an_unusable_compiler_is_named(cxx, monkeypatch):
    monkeypatch.setenv("CXX", cxx)
    with pytest.raises(BuildError, match=cxx.strip("'") + r".*; install a C\+\+ compiler"):
        find_toolchain(paddle_dir=Path("/nowhere"), paddle_version="3")


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(BuildError, match="darwin"):
        find_toolchain()


# ------------------------------------------------------------------------------------------ sanitizers
@pytest.mark.skipif(hasattr(ctypes.CDLL(None), "__asan_init"), reason="runs under the sanitizer already")
def test_sanitizers_without_their_runtime_are_refused(room, compiler, monkeypatch):
    monkeypatch.setenv("PADDLE_DARTS_KERNELS_SANITIZE", "1")
    with pytest.raises(ConfigError, match="PADDLE_DARTS_KERNELS_SANITIZE=1 needs"):
        kernels.library(room / "csrc")


def test_sanitizers_find_an_overrun(room, target, compiler):
    asked = subprocess.run([*compiler.split(), "-print-file-name=libasan.so"], capture_output=True, text=True)
    runtime = asked.stdout.strip()
    if not os.path.isabs(runtime):
        pytest.skip("the compiler has no shared libasan (GCC on Debian and Ubuntu: comes with g++)")
    (room / "csrc" / "overrun.cpp").write_text(
        'extern "C" __attribute__((visibility("default"))) float pd_overrun(int i) '
        "{ float* p = new float[4](); float r = p[i]; delete[] p; return r; }\n"
    )
    path = build(find_toolchain(sanitize=True, paddle_dir=room, paddle_version="3"), target, room / "csrc")
    code = (
        f"import ctypes\nhandle = ctypes.CDLL({str(path)!r})\n"
        "handle.pd_overrun(3)\nprint('inside', flush=True)\nhandle.pd_overrun(4)"
    )
    environment = {**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"}
    ran = subprocess.run([sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True)
    assert ran.stdout == "inside\n" and ran.returncode != 0
    assert "overrun.cpp:1" in ran.stderr
    assert "heap-buffer-overflow" in ran.stderr or "insufficient space" in ran.stderr, "whichever sees it first"
