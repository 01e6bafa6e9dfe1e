"""The handle of the C++ kernels in this process, or None where Paddle's own operators are used instead.

``PADDLE_DARTS_KERNELS=0`` switches them off. They are built when they are first asked for, never by an import.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paddle_darts.errors import ConfigError
from paddle_darts.kernels.build import ABI, CSRC, build, build_key
from paddle_darts.kernels.cache import PlaceError, places
from paddle_darts.kernels.toolchain import BuildError, find_toolchain

log = logging.getLogger(__name__)

SWITCH = "PADDLE_DARTS_KERNELS"
SANITIZE = "PADDLE_DARTS_KERNELS_SANITIZE"
_ON, _OFF = ("1", "on", "true", "yes"), ("0", "off", "false", "no")


@dataclass(frozen=True)
class _Outcome:
    """``handle`` None: not in use, for the reason that ``build`` gives."""

    handle: ctypes.CDLL | None
    build: str


_outcomes: dict[Path, _Outcome] = {}
_guard = threading.RLock()
_disabled = 0


def library(sources: Path = CSRC) -> ctypes.CDLL | None:
    """The loaded kernels, built first if need be; None: use Paddle's operators.

    The first call decides for the process and says what it decided in one line of the log, a warning when there are
    no kernels. ConfigError for an impossible PADDLE_DARTS_KERNELS.
    """
    return None if _disabled else _outcome(sources).handle


def implementation() -> str:
    """The operators that a CPU device computes with, in one word: "cpp" or "paddle"."""
    return "cpp" if library() is not None else "paddle"


def build_details() -> str:
    """Compiler and instruction set of the kernels, or why they are not in use."""
    return "switched off for a while" if _disabled else _outcome(CSRC).build


@contextlib.contextmanager
def kernels_disabled() -> Iterator[None]:
    """Within the block all threads of this process use Paddle's operators."""
    global _disabled
    with _guard:
        _disabled += 1
    try:
        yield
    finally:
        with _guard:
            _disabled -= 1


def reset() -> None:
    """Forgets what :func:`library` decided, so that a test can change the circumstances; handles stay valid."""
    with _guard:
        _outcomes.clear()


def _outcome(sources: Path) -> _Outcome:
    known = _outcomes.get(sources)
    if known is not None:
        return known
    with _guard:  # the first of several threads decides for all
        if sources not in _outcomes:
            _outcomes[sources] = _decide(sources)
        return _outcomes[sources]


def _decide(sources: Path) -> _Outcome:
    if not _switch(SWITCH, True):
        return _without(f"{SWITCH}={os.environ[SWITCH]}")
    try:
        return _load(sources)
    except BuildError as error:
        return _without(str(error))


def _without(reason: str) -> _Outcome:
    log.warning("no C++ CPU kernels: %s. Paddle's own operators are used: the same results, more slowly", reason)
    return _Outcome(None, reason)


def _load(sources: Path) -> _Outcome:
    """Builds and loads in the first place that allows it; BuildError when none does."""
    toolchain = find_toolchain(sanitize=_sanitize())
    key = build_key(toolchain, sources)
    refused = []
    for place in places():
        try:
            path = build(toolchain, place.folder(key), sources)
            handle = open_library(path)
        except PlaceError as error:
            log.info("the CPU kernels cannot be kept in %s (%s)", place, error)
            refused.append(str(error))
            continue
        log.info("CPU kernels: %s, built by %s, %s", toolchain.isa, toolchain.label, path)
        return _Outcome(handle, f"{toolchain.label}, {toolchain.isa}")
    raise BuildError(f"there is no private folder to build them in ({'; '.join(refused)}); set PADDLE_DARTS_CACHE")


def open_library(path: Path) -> ctypes.CDLL:
    """Loads the library and asks for its ABI; PlaceError when its folder forbids to execute files."""
    try:
        handle = ctypes.CDLL(str(path))
        found = handle.pd_abi()
    except OSError as error:
        if "map segment" in str(error) or "not permitted" in str(error):
            raise PlaceError(f"nothing may be executed from {path.parent}") from error
        raise BuildError(f"the built library cannot be loaded ({error})") from error
    except AttributeError:
        found = None
    if found != ABI:
        raise BuildError(f"the built library has ABI {found}, {ABI} is needed; install the package again")
    return handle


def _sanitize() -> bool:
    """Whether to build with the sanitizers; without their runtime, loading such a build would end the process."""
    wanted = _switch(SANITIZE, False)
    if wanted and not hasattr(ctypes.CDLL(None), "__asan_init"):
        raise ConfigError(
            f"{SANITIZE}=1 needs the runtime of the address sanitizer in the process from the start; "
            "the command line for that stands at the top of paddle_darts/kernels/build.py"
        )
    return wanted


def _switch(name: str, default: bool) -> bool:
    given = os.environ.get(name, "").strip().casefold()
    if given and given not in _ON + _OFF:
        raise ConfigError(f"{name} must be one of {', '.join(_ON + _OFF)}, got {os.environ[name]!r}")
    return given in _ON if given else default
