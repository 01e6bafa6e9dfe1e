"""How many CPU threads Paddle uses; must be decided before Paddle is imported, so nothing here imports it."""

from __future__ import annotations

import os
import sys


def available_cores() -> int:
    """CPU cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(threads: int | None) -> None:
    """Makes a later `import paddle` use ``threads`` CPU threads (None: what the environment says, else all cores).

    Has no effect once Paddle is imported.
    """
    if "paddle" in sys.modules:
        return
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(max(1, threads))
    else:
        os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))
