"""What the numbers of a process and its machine are; imports no framework."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from paddle_darts.threads import available_cores


def rss_mb() -> float:
    """Resident memory of this process now [MB]."""
    return psutil.Process().memory_info().rss / 2**20


def peak_rss_mb() -> float:
    """Highest resident memory of this process so far [MB].

    On Linux from /proc: what getrusage tells there begins with the memory of the process that started this one.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    except OSError:
        pass
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def cpu_name() -> str:
    """The name that the processor gives itself, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """The part of a result that says where it was measured."""
    return {
        "cpu": cpu_name(),
        "cores": available_cores(),
        "memory_mb": round(psutil.virtual_memory().total / 2**20),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


class OtherLoad:
    """How busy other processes keep the machine meanwhile: times measured then are worth little.

    A program whose threads wait for each other suffers most, so turns alone do not make it fair.
    """

    def __init__(self, processes: Sequence[int] = ()) -> None:
        """``processes``: ids of those that are measured; they and this process do not count as others."""
        self._own = [psutil.Process(), *map(psutil.Process, processes)]
        self._began, self._busy = time.perf_counter(), self._others()

    def cores(self) -> float:
        """Cores that others used on average since the start."""
        return max(0.0, (self._others() - self._busy) / (time.perf_counter() - self._began))

    def _others(self) -> float:
        """Seconds that all processors have worked for others."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Linux counts guests twice
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        own = sum(t.user + t.system for t in (process.cpu_times() for process in self._own))
        return sum(times) - idle - guests - own
