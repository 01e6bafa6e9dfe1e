"""Memory of the process: what glibc's allocator does with what is freed."""

from __future__ import annotations

import ctypes
import os
import sys

#: Parameters of mallopt(3) and the environment variables by which a user sets them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
#: mallopt accepts no larger threshold than this for memory of its own mapping.
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Lets freed memory stay with the process; returns whether it does now.

    A training step frees hundreds of megabytes at its end and takes them again in the next one. By default glibc
    gives them back in between, and the kernel has to find and clear every page anew: a sixth of the retraining step
    of DARTS_V2 (docs/performance.md). The peak stays the same. Left alone where a user has set glibc's own variables,
    and without effect on other C libraries.
    """
    if not sys.platform.startswith("linux") or any(variable in os.environ for variable in _VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has none
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_TRIM_THRESHOLD, _NEVER))
