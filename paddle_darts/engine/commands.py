"""The shell commands that a run tells its user to go on with."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

_TOOLS = {"search": "train_search", "train": "train", "evaluate": "evaluate", "visualize": "visualize"}


def command(tool: str, **flags: object) -> str:
    """A command line for ``tool`` in the way this process was started: `python tools/...` or `paddle-darts ...`.

    A flag whose value is None is left out, True makes it a bare flag; ``config`` is written as `-c`.
    """
    installed = Path(sys.argv[0]).stem == "paddle-darts"
    words = ["paddle-darts", tool] if installed else ["python", f"tools/{_TOOLS[tool]}.py"]
    for name, value in flags.items():
        if value is None or value is False:
            continue
        words.append("-c" if name == "config" else f"--{name}")
        if value is not True:
            words.append(str(value))
    return shlex.join(words)
