"""Runs the entries of a leaderboard, a few at a time, and keeps the table up to date."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paddle_darts.engine.stopping import StopSignals
from paddle_darts.errors import RunError
from paddle_darts.leaderboard.entries import Entry
from paddle_darts.leaderboard.process import EntryProcess, occupied

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

#: Seconds between two looks at the running entries.
PAUSE = 0.1


@dataclass
class Progress:
    """What came of the entries: ``failed`` with their errors, ``signum`` of the signal that stopped the rest."""

    total: int
    done: list[Entry] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    signum: int | None = None

    @property
    def left(self) -> int:
        return self.total - len(self.done) - len(self.failed)


def run_entries(entries: list[Entry], jobs: int, threads: int, report: Callable[[Entry], str]) -> Progress:
    """Runs what is not done yet, ``jobs`` entries at a time; those that fail do not stop the others.

    ``report(entry)`` is called after every entry that has finished and gives a line about it. The first Ctrl-C or
    SIGTERM lets the running entries save themselves and ends, the second one does not wait.
    """
    progress = Progress(len(entries), [entry for entry in entries if entry.done])
    queue = [entry for entry in entries if not entry.done]
    running: list[EntryProcess] = []
    with StopSignals() as signals, _bar(len(entries), len(progress.done)) as bar:
        try:
            while running or (queue and signals.caught is None):
                if signals.caught is None:
                    for entry in _start(queue, running, jobs, threads):
                        progress.done.append(entry)
                        bar.update()
                elif progress.signum is None:
                    progress.signum = signals.caught
                    for process in running:
                        process.stop()
                bar.set_description(", ".join(process.entry.title for process in running) or "waiting", refresh=False)
                for process in [process for process in running if process.ended()]:
                    running.remove(process)
                    bar.update(_finish(process, progress, report))
                time.sleep(PAUSE)
            progress.signum = signals.caught
        finally:
            for process in running:  # asked twice to stop, or an error of our own
                process.kill()
    return progress


def _start(queue: list[Entry], running: list[EntryProcess], jobs: int, threads: int) -> list[Entry]:
    """Starts entries as long as there is room; one that another process still runs waits.

    Returns those that such a process has meanwhile finished.
    """
    found = []
    for entry in list(queue):
        if len(running) >= jobs:
            break
        if occupied(entry):
            continue
        queue.remove(entry)
        if entry.done:
            found.append(entry)
        else:
            running.append(EntryProcess(entry, threads))
    return found


def _finish(process: EntryProcess, progress: Progress, report: Callable[[Entry], str]) -> bool:
    """Notes how an entry ended; False for one that was only stopped."""
    entry = process.entry
    error = process.finish(stopped=progress.signum is not None)
    if error is None:
        progress.done.append(entry)
        log.info("%s: %s", entry.title, report(entry))
    elif error:
        progress.failed[entry.title] = error
        log.error("%s failed: %s; see %s", entry.title, error, entry.path)
        report(entry)
    return error != ""


@contextlib.contextmanager
def _bar(total: int, done: int) -> Iterator[Any]:
    """A bar over the entries with the remaining time; lines of the log go above it."""
    from tqdm.auto import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    pace = 0.5 if sys.stderr.isatty() else 60.0  # in a log file a bar is a new line each time
    look: dict[str, Any] = {"unit": "entry", "dynamic_ncols": True, "file": sys.stderr}
    with (
        tqdm(total=total, initial=done, mininterval=pace, maxinterval=pace, smoothing=0, **look) as bar,
        logging_redirect_tqdm(tqdm_class=tqdm),
    ):
        yield bar


@contextlib.contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Keeps a second leaderboard out of the directory; RunError when there is one already."""
    if fcntl is None:
        yield
        return
    with open(out / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another leaderboard is running in {out}; wait for it or stop it first") from None
        except OSError as error:  # some network file systems have no locks
            log.debug("%s cannot be locked: %s", out, error)
        yield
