"""A contestant in a process of its own: `python -m paddle_darts.benchmark.worker`, JSON lines in and out.

Requests and replies, in order: ``{"contestant", "case", "config"}`` -> what was built; ``{"do": "step"}`` as often
as wanted -> ``{"seconds"}``; ``{"do": "finish"}`` -> memory and operator calls. A setting that this contestant
cannot have is ``{"error"}``; anything else that fails ends the process with a traceback on stderr.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any

from paddle_darts.benchmark.config import BenchmarkConfig
from paddle_darts.benchmark.machine import peak_rss_mb, rss_mb
from paddle_darts.benchmark.side import Side
from paddle_darts.errors import PaddleDartsError


def main() -> None:
    """Serves requests until stdin ends."""
    # libraries print; their words go to stderr, and the old stdout is for replies only
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def reply(document: dict[str, Any]) -> None:
        replies.write(json.dumps(document) + "\n")
        replies.flush()

    request = json.loads(sys.stdin.readline())
    try:
        side = _side(request["contestant"], BenchmarkConfig(**request["config"]))
        import_rss = rss_mb()
        step = side.build(request["case"])
        reply({"images": step.images, "import_rss_mb": import_rss, **side.describe()})
        for line in sys.stdin:
            if json.loads(line)["do"] == "step":
                reply({"seconds": _timed(side, step.run)})
            else:
                peak = peak_rss_mb()
                reply({"peak_rss_mb": peak, "op_calls": side.count_op_calls(step.run)})
    except PaddleDartsError as error:
        reply({"error": str(error)})


def _side(contestant: str, config: BenchmarkConfig) -> Side:
    if contestant == "torch":
        from paddle_darts.benchmark.torch_peer.side import TorchSide

        return TorchSide(config)
    from paddle_darts.benchmark.ours import Ours

    return Ours(config)


def _timed(side: Side, run: Any) -> float:
    """Seconds of one run; garbage of the one before is not its cost."""
    gc.collect()
    side.synchronize()
    began = time.perf_counter()
    run()
    side.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
