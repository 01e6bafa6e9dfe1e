"""Folders that built kernels are kept in: private, shared by the processes of one user, safe to be killed in.

What lies there is executed, so a folder that others can write to is not used. Nothing here knows about compilers.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where this module is imported but not used
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

#: How the names of folders begin in which something is being built.
PARTIAL = ".partial-"
#: After this long a partial folder is of a killed process [s]; no compiler is allowed to take as long.
STALE = 2 * 3600
#: How long to wait for another process that builds the same [s].
PATIENCE = 900.0

_temporary: list[tempfile.TemporaryDirectory[str]] = []


class PlaceError(Exception):
    """A folder cannot be used, but another one may be; the text is the reason, in one line."""


@dataclass(frozen=True)
class Place:
    """``base`` is the user's, the folders ``own`` below it are ours alone."""

    base: Path
    own: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.base.joinpath(*self.own))

    def folder(self, key: str) -> Path:
        """The folder of one build, created if need be; PlaceError unless it is private and can be written to."""
        try:
            self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            base = self.base.resolve()
            check_ancestors(base)
            folder = base
            for name in (*self.own, key):
                folder = folder / name
                folder.mkdir(mode=0o700, exist_ok=True)
                check_private(folder)
        except OSError as error:
            raise PlaceError(f"{error.strerror}: {error.filename}") from error
        return folder


def places() -> Iterator[Place]:
    """Where to keep the kernels, best first.

    $PADDLE_DARTS_CACHE, else the user's cache folder; a folder in the temporary directory under a name that the
    processes of this user share; one of this process alone, deleted at its end.
    """
    wanted = os.environ.get("PADDLE_DARTS_CACHE") or _user_cache()
    if wanted:
        yield Place(Path(wanted).expanduser().absolute(), ("paddle_darts", "kernels"))
    try:
        shared = Path(tempfile.gettempdir()).absolute()
        yield Place(shared, (f"paddle_darts-{os.geteuid()}", "kernels"))
        _temporary.append(tempfile.TemporaryDirectory(prefix="paddle_darts-", ignore_cleanup_errors=True))
    except OSError:  # no temporary directory, or a full one
        return
    yield Place(Path(_temporary[-1].name).absolute(), ("kernels",))


def _user_cache() -> str | None:
    """$XDG_CACHE_HOME (which by its rules must be absolute) or ~/.cache; None for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    home = os.path.expanduser("~")
    return given if os.path.isabs(given) else os.path.join(home, ".cache") if os.path.isabs(home) else None


def check_private(folder: Path) -> None:
    """PlaceError unless ``folder`` is a real folder that belongs to this user and that nobody else may write to."""
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise PlaceError(f"{folder} is not a folder")
    if facts.st_uid != os.geteuid():
        raise PlaceError(f"{folder} belongs to another user")
    if facts.st_mode & 0o022:
        raise PlaceError(f"{folder} can be written to by others")


def check_ancestors(folder: Path) -> None:
    """PlaceError when everybody may rename what lies in ``folder`` or above it.

    The sticky bit (as of /tmp) forbids that. Groups are let pass: on many systems each user has a group alone.
    """
    for above in (folder, *folder.parents):
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise PlaceError(f"{above} can be written to by everybody")


@contextlib.contextmanager
def locked(folder: Path, patience: float | None = None) -> Iterator[None]:
    """Lets one process at a time into the block; the lock of a killed one falls with it.

    On a file system without locks, and when waiting took longer than ``patience``, the block is entered all the same:
    it must end in :func:`publish`, which makes doing the work twice a waste and nothing worse.
    """
    with open(folder / "lock", "w") as handle:
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        waiting = False
        while not _try_lock(handle.fileno()):
            if not waiting:
                log.info("waiting for another process that is building the CPU kernels in %s", folder)
                waiting = True
            if time.monotonic() >= deadline:
                log.info("the other process has not finished; building the CPU kernels here as well")
                break
            time.sleep(0.05)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system that has no locks
        log.debug("no file locks here", exc_info=True)
    return True


def remove_leftovers(folder: Path) -> None:
    """Deletes what killed builds left behind; only old things, because a lock can be overstayed."""
    for part in folder.glob(f"{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE:
                shutil.rmtree(part, ignore_errors=True)


def publish(built: Path, target: Path) -> None:
    """Moves a finished file into place, after its checksum: killed between the two, it counts as damaged."""
    checksum = built.with_suffix(".sha256")
    checksum.write_text(_digest(built), encoding="ascii")
    os.replace(checksum, target.with_suffix(".sha256"))
    os.replace(built, target)


def intact(target: Path) -> bool:
    """Whether ``target`` is all there: a full disk may have cut it off, and the linker would die of that."""
    try:
        return target.with_suffix(".sha256").read_text(encoding="ascii") == _digest(target)
    except (OSError, ValueError):
        return False


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
