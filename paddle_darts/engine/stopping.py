"""Stopping a run in good order when it is asked to by a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import TracebackType


class Interrupted(Exception):
    """The run was asked to stop (Ctrl-C, SIGTERM) and has saved itself. ``signum`` is the signal."""

    def __init__(self, signum: int, resume_command: str) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}; continue with: {resume_command}")
        self.signum = signum


class StopSignals:
    """While it is entered, the first Ctrl-C or SIGTERM is only noted in ``caught``; the second one stops at once.

    Does nothing outside the main thread, where Python delivers no signals.
    """

    def __init__(self) -> None:
        self.caught: int | None = None

    def __enter__(self) -> StopSignals:
        main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, signum: int, frame: object) -> None:
        if self.caught is not None:
            raise KeyboardInterrupt  # asked twice: do not wait for the step
        self.caught = signum
        with contextlib.suppress(OSError):  # not by way of sys.stderr: the signal may have come while it was writing
            os.write(2, b"\nstopping after this step ...\n")
