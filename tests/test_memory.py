"""Freed memory stays with the process: seen in the page faults of a process of its own."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator only")

#: 100 arrays of 1 MB, taken, filled and freed again; the faults of the last of ten rounds.
ROUNDS = """
import resource, sys
import numpy as np
from paddle_darts.memory import keep_freed_memory

print(keep_freed_memory() if sys.argv[1] == "keep" else None)
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(2**17 + i) for i in range(100)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 100 * 2**20 // os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0


def rounds(what, **environment):
    env = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES" and not k.startswith("MALLOC_")}
    ran = subprocess.run(
        [sys.executable, "-c", ROUNDS, what], env=env | environment, capture_output=True, text=True, check=True
    )
    answer, faults = ran.stdout.split()
    return answer, int(faults)


def test_freed_memory_is_used_again():
    _, usual = rounds("leave")
    if usual < PAGES // 2:
        pytest.skip("this C library keeps freed memory anyway")
    answer, faults = rounds("keep")
    assert answer == "True"
    assert faults < PAGES // 20


def test_what_the_user_has_set_is_left_alone():
    answer, faults = rounds("keep", MALLOC_MMAP_THRESHOLD_="65536")
    assert answer == "False"
    assert faults > PAGES // 2
