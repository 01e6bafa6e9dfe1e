"""A stand-in for the kernels' sources, small enough to be compiled in each test, and a compiler that can be watched."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from paddle_darts.kernels import library as kernels
from paddle_darts.kernels.toolchain import COMPILERS, BuildError, find_compiler

STANDIN = """
#define PUBLIC extern "C" __attribute__((visibility("default")))
#ifdef _OPENMP
#include <omp.h>
#endif
PUBLIC int pd_abi() { return 1; }
PUBLIC void pd_add(const float* a, const float* b, float* out, long n, int threads) {
#pragma omp parallel for num_threads(threads)
  for (long i = 0; i < n; ++i) out[i] = a[i] + b[i];
  (void)threads;
}
PUBLIC int pd_team(int threads) {
  int team = 1;
#pragma omp parallel num_threads(threads)
  {
#ifdef _OPENMP
#pragma omp single
    team = omp_get_num_threads();
#endif
  }
  (void)threads;
  return team;
}
"""


@pytest.fixture
def compiler() -> str:
    """The command line of this machine's compiler; tests that want one are skipped without."""
    try:
        return shlex.join(find_compiler())
    except BuildError:
        pytest.skip(f"no C++ compiler ({', '.join(COMPILERS)} or $CXX): nothing of the build is tested")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-in sources in csrc/, where also the cache and temporary files go; no decision taken yet."""
    (tmp_path / "csrc").mkdir()
    (tmp_path / "csrc" / "add.cpp").write_text(STANDIN)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("PADDLE_DARTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PADDLE_DARTS_KERNELS", raising=False)
    monkeypatch.setattr(kernels, "_outcomes", {})
    return tmp_path


@pytest.fixture
def target(room: Path) -> Path:
    """A private folder to build into."""
    folder = room / "target"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """The lines that the room logged at a level."""
    caplog.set_level(logging.INFO, "paddle_darts.kernels")
    ours = "paddle_darts.kernels"
    return lambda level: [r.getMessage() for r in caplog.records if r.name.startswith(ours) and r.levelname == level]


@pytest.fixture
def only_warning(said: Callable[[str], list[str]]) -> Callable[[], str]:
    """The one warning of a process without kernels."""

    def check() -> str:
        (text,) = said("WARNING")
        assert text.startswith("no C++ CPU kernels: ") and "Paddle's own operators" in text
        return text

    return check


class Wrapped:
    """A compiler that notes its calls and first does what ``before`` (shell lines) says."""

    def __init__(self, folder: Path, compiler: str) -> None:
        self.path, self.compiler, self.calls = folder / "compiler", compiler, folder / "calls"
        self.calls.touch()
        self.before("")

    def before(self, lines: str) -> None:
        note = f'echo "$*" >> {shlex.quote(str(self.calls))}'
        self.path.write_text(f'#!{shutil.which("bash")}\n{note}\n{lines}\nexec {self.compiler} "$@"\n')
        self.path.chmod(0o755)

    def compiled(self) -> int:
        """How many translation units were compiled so far."""
        return sum(" -c " in f" {line} " for line in self.calls.read_text().splitlines())


@pytest.fixture
def wrapped(room: Path, compiler: str, monkeypatch: pytest.MonkeyPatch) -> Wrapped:
    made = Wrapped(room, compiler)
    monkeypatch.setenv("CXX", shlex.quote(str(made.path)))
    return made
