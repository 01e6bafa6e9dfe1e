"""Exclusive locks on files, between processes and between threads."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None

#: Seconds between two looks at a lock that somebody else holds.
POLL_S = 0.02


def lock(file: IO[Any]) -> None:
    """Waits for the exclusive lock of an open file.

    The lock belongs to this opening of the file: :func:`unlock`, closing the file or the end of the process give it
    back. Raises NotImplementedError where the system has no ``flock``. PaddleSlim's function of that name.
    """
    _flock(file, wait=True)


def unlock(file: IO[Any]) -> None:
    """Gives the lock of an open file back; it is no error if there was none."""
    _need_flock().flock(file, fcntl.LOCK_UN)


class FileLock:
    """An exclusive lock that stands in a file of its own: ``with FileLock("search.lock"): ...``.

    The file is created when it is missing and is left in place: deleting it would let two holders lock two different
    files of one name. Not reentrant. A holder that is killed frees the lock.

    Args:
        path: the lock file; its folder must exist.
        timeout_s: seconds to wait for the present holder (None: without end), then TimeoutError.
    """

    def __init__(self, path: str | Path, timeout_s: float | None = None) -> None:
        self.path = Path(path)
        self.timeout_s = timeout_s
        self._file: IO[Any] | None = None

    @property
    def locked(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Waits for the lock; TimeoutError after ``timeout_s``, RuntimeError when this object has it already."""
        if self._file is not None:
            raise RuntimeError(f"{self.path} is locked by this very object already")
        file = self.path.open("a")
        try:
            self._wait(file)
        except BaseException:
            file.close()
            raise
        self._file = file

    def _wait(self, file: IO[Any]) -> None:
        if self.timeout_s is None:
            return lock(file)
        deadline = time.monotonic() + self.timeout_s
        while not _flock(file, wait=False):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{self.path} is still locked by somebody else after {self.timeout_s:g} s")
            time.sleep(POLL_S)

    def release(self) -> None:
        """Gives the lock back; it is no error if there was none."""
        if self._file is not None:
            unlock(self._file)
            self._file.close()
            self._file = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _need_flock() -> Any:
    if fcntl is None:
        raise NotImplementedError("file locks need the flock call, which this system does not have")
    return fcntl


def _flock(file: IO[Any], wait: bool) -> bool:
    """Whether the lock was got."""
    flags = _need_flock().LOCK_EX | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(file, flags)
    except BlockingIOError:
        return False
    return True
