"""One entry in a process of its own, so that its memory and its time are its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import paddle_darts
from paddle_darts.engine.rundir import RunDirectory
from paddle_darts.errors import RunError
from paddle_darts.io.files import write_json
from paddle_darts.leaderboard.entries import FAILURE, OUTPUT, SETTINGS, Entry

#: Bytes at the end of what a search printed in which its last error is looked for.
_TAIL = 20_000


class EntryProcess:
    """The search of an entry, started or resumed by the library's own command line.

    It is a session of its own: Ctrl-C reaches the leaderboard alone, which then asks its entries to stop.
    """

    def __init__(self, entry: Entry, threads: int) -> None:
        self.entry = entry
        (entry.path / FAILURE).unlink(missing_ok=True)
        self._output: IO[bytes] = open(entry.path / OUTPUT, "ab")  # noqa: SIM115 (open as long as the process runs)
        self._before = self._output.tell()
        self._process = subprocess.Popen(
            [*command_line(entry), "--threads", str(threads)],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        """Asks the search to save itself and end; asked twice, it ends at once."""
        if not self.ended():
            self._process.terminate()

    def kill(self) -> None:
        """Ends it for certain; it goes on from its last checkpoint."""
        self._process.kill()
        self._process.wait()
        self._output.close()

    def finish(self, stopped: bool) -> str | None:
        """After its end: None when the search is done, else what went wrong, also written down for the table.

        ``stopped``: it was asked to stop, so that an early end is no failure; the text is then empty.
        """
        status = self._process.wait()
        self._output.close()
        if self.entry.done:
            return None
        if stopped:
            return ""
        error = f"killed by signal {-status} (out of memory?)" if status < 0 else self._last_error(status)
        write_json(self.entry.path / FAILURE, {"status": status, "error": error})
        return error

    def _last_error(self, status: int) -> str:
        """The last line that says "error", else the last line, of what this process printed."""
        with open(self.entry.path / OUTPUT, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._before, size - _TAIL))
            text = file.read().decode("utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        last = (errors or lines or ["it said nothing"])[-1]
        return f"{last.removeprefix('error: ')} (exit status {status})"


def command_line(entry: Entry) -> list[str]:
    """The command that starts the search, or continues it; the same in a checkout and from a wheel."""
    cli = [sys.executable, "-m", "paddle_darts.cli", "search"]
    return [*cli, "-c", str(entry.path / SETTINGS), "--run_dir", str(entry.path), "--resume"]


def occupied(entry: Entry) -> bool:
    """Whether another process is running this search, such as one whose leaderboard was killed."""
    if not entry.begun:
        return False
    run = RunDirectory(entry.path)
    try:
        run.lock()
    except RunError:
        return True
    run.unlock()
    return False


def _environment() -> dict[str, str]:
    """Our package is found wherever it lies."""
    package = str(Path(paddle_darts.__file__).resolve().parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
