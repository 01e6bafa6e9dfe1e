"""How many CPU threads are used. Paddle's own number is fixed when it is imported; nothing here imports it early."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import warnings


def available_cores() -> int:
    """CPU cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_chosen: int | None = None


def choose_threads(threads: int | None) -> None:
    """Sets the threads of the CPU kernels, at any time (None: as many as Paddle has)."""
    global _chosen
    _chosen = threads


def paddle_threads() -> int:
    """CPU threads that Paddle's own operators were started with."""
    first = re.match(r"\s*(\d+)", os.environ.get("OMP_NUM_THREADS", ""))  # OpenMP allows a list, one per nesting level
    return max(1, int(first[1])) if first else 1


def thread_count() -> int:
    """CPU threads of the kernels."""
    return _chosen or paddle_threads()


def import_paddle(threads: int | None) -> None:
    """Imports Paddle with ``threads`` CPU threads (None: what OMP_NUM_THREADS says, else all cores).

    Paddle itself would take one, because its convolutions and pools hardly gain from more; the kernels do. Its
    remarks about the number of threads and a missing ccache are left out: the number is wanted, and the kernels are
    compiled once. Has no effect once Paddle is imported.
    """
    if "paddle" in sys.modules:
        return
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = available_cores()
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(max(1, threads))
    warnings.filterwarnings("ignore", message=".*ccache.*")
    remarks = io.StringIO()
    with contextlib.redirect_stderr(remarks):
        import paddle  # noqa: F401
    kept = [line for line in remarks.getvalue().splitlines() if "OMP_NUM_THREADS" not in line]
    if kept:
        print("\n".join(kept), file=sys.stderr)
