"""Getting ready for `import paddle`: how many CPU threads it uses is fixed by then. Nothing here imports it early."""

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


def thread_count() -> int:
    """CPU threads that Paddle was started with, which are the kernels' threads too."""
    first = re.match(r"\s*(\d+)", os.environ.get("OMP_NUM_THREADS", ""))  # OpenMP allows a list, one per nesting level
    return max(1, int(first[1])) if first else 1


def import_paddle(threads: int | None) -> None:
    """Imports Paddle with ``threads`` CPU threads (None: what OMP_NUM_THREADS says, else Paddle's default of one).

    One is the default because the operators that dominate a search (depthwise convolutions, pooling) are
    single-threaded in Paddle, and the small ones run slower on two threads than on one (docs/numerics.md).
    Paddle's remarks about the number of threads and a missing ccache are left out: the number is wanted, and nothing
    is compiled. Has no effect once Paddle is imported.
    """
    if "paddle" in sys.modules:
        return
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(max(1, threads))
    warnings.filterwarnings("ignore", message=".*ccache.*")
    remarks = io.StringIO()
    with contextlib.redirect_stderr(remarks):
        import paddle  # noqa: F401
    kept = [line for line in remarks.getvalue().splitlines() if "OMP_NUM_THREADS" not in line]
    if kept:
        print("\n".join(kept), file=sys.stderr)
