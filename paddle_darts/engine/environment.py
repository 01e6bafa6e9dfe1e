"""Device, threads and versions: what a run's numbers depend on besides its settings."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import re
import shlex
import sys
from typing import Any

import numpy as np
import paddle

import paddle_darts
from paddle_darts.errors import ConfigError
from paddle_darts.kernels.library import build_details, implementation
from paddle_darts.memory import keep_freed_memory
from paddle_darts.threads import available_cores, choose_threads, paddle_threads, thread_count

log = logging.getLogger(__name__)


def set_device(device: str | None) -> str:
    """Selects cpu, gpu or gpu:N (None: the GPU if this Paddle has one) and returns Paddle's name for it."""
    has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    chosen = device or ("gpu" if has_gpu else "cpu")
    match = re.fullmatch(r"cpu|gpu(?::(\d+))?", chosen)
    if match is None:
        raise ConfigError(f"device must be cpu, gpu or gpu:N, got {chosen!r}")
    if chosen.startswith("gpu"):
        count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
        if int(match[1] or 0) >= count:
            built = "has GPU support" if paddle.is_compiled_with_cuda() else "is a CPU build"
            raise ConfigError(f"device {chosen} is not there: this Paddle {built} and sees {count} GPUs; use cpu")
        paddle.set_flags({"FLAGS_cudnn_deterministic": True})
    else:
        keep_freed_memory()
    paddle.set_device(chosen)
    return chosen


def set_threads(wanted: int | None) -> None:
    """Sets the CPU threads of the kernels, and says so where Paddle itself was already imported with another number."""
    choose_threads(wanted)
    if wanted and wanted != paddle_threads():
        log.info(
            "threads=%d holds for the CPU kernels only: Paddle was already imported with %d; set OMP_NUM_THREADS "
            "before the import, or use the command line",
            wanted,
            paddle_threads(),
        )


def describe(device: str) -> dict[str, Any]:
    """The content of environment.json; on a CPU this builds the kernels, unless they are there."""
    on_cpu = device == "cpu"
    return {
        "command": shlex.join(sys.argv),
        "paddle_darts": paddle_darts.__version__,
        "paddle": paddle.__version__,
        "numpy": np.__version__,
        "visualdl": importlib.metadata.version("visualdl"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "device": device,
        "threads": thread_count(),
        "cores": available_cores(),
        "kernels": implementation() if on_cpu else "paddle",
        "kernels_build": build_details() if on_cpu else None,
    }


#: Entries of environment.json whose change may alter the last bits of a resumed run.
NUMERIC = ("paddle", "machine", "device", "threads", "kernels")
