"""Our side: the steps of this library, as a search and a training take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddle_darts.benchmark.config import BenchmarkConfig
from paddle_darts.benchmark.side import Side, Step
from paddle_darts.threads import import_paddle


class Ours(Side):
    """The library under the settings of a measurement."""

    def __init__(self, config: BenchmarkConfig) -> None:
        import_paddle(config.threads)
        self.config = config

    def build(self, case: str) -> Step:
        import paddle

        from paddle_darts.benchmark.cases import BUILDERS
        from paddle_darts.engine.environment import set_device

        set_device(self.config.device)
        paddle.seed(0)
        return BUILDERS[case](self.config)

    def describe(self) -> dict[str, Any]:
        from paddle_darts.engine.environment import describe

        found = describe(self.config.device)
        return {"threads": found["threads"], "version": f"paddle {found['paddle']}", "kernels": found["kernels"]}

    def synchronize(self) -> None:
        if self.config.device != "cpu":
            import paddle

            paddle.device.synchronize()

    def count_op_calls(self, run: Callable[[], Any]) -> int | None:
        from paddle_darts.benchmark.opcalls import count_op_calls

        return count_op_calls(run)
