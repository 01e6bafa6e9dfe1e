"""Timing of the library's steps, alone or against plain PyTorch on the same machine at the same time.

Nothing here imports a framework: the workers choose theirs, and the number of threads, before they do.
"""

from __future__ import annotations

from paddle_darts.benchmark.config import CASES, SWEEP, BenchmarkConfig, SweepConfig

__all__ = ["CASES", "SWEEP", "BenchmarkConfig", "SweepConfig"]
