"""What a run would cost, from a few real steps; nothing is written."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import yaml

from paddle_darts.engine.checkpoint import tensor_bytes
from paddle_darts.engine.loop import Loop
from paddle_darts.engine.meter import peak_rss_mb
from paddle_darts.engine.rundir import SIDE_FILES


@dataclass(frozen=True)
class Estimate:
    """Cost of a run. Times in seconds; ``epoch_seconds`` leaves out the evaluation after an epoch."""

    config: dict
    parameters: int
    step_seconds: float
    steps_per_epoch: int
    epochs: int
    memory_mb: float
    disk_mb: float

    @property
    def epoch_seconds(self) -> float:
        return self.step_seconds * self.steps_per_epoch

    def lines(self) -> list[str]:
        """What `--dry_run` prints."""
        total = self.epoch_seconds * self.epochs
        return [
            yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True).rstrip(),
            "",
            f"parameters         {self.parameters:,} ({self.parameters / 1e6:.6f} M)",
            f"steps per epoch    {self.steps_per_epoch}",
            f"time per step      {self.step_seconds:.3f} s (median)",
            f"time per epoch     {_span(self.epoch_seconds)}",
            f"time in all        {_span(total)} for {self.epochs} epochs",
            f"peak memory        {self.memory_mb:.0f} MB",
            f"disk               about {self.disk_mb:.0f} MB",
            "dry run: nothing was written",
        ]


def dry_run(loop: Loop, steps: int = 3) -> Estimate:
    """Runs ``steps`` + 1 real steps (the first warms up) and extrapolates; ``loop`` must not be used afterwards."""
    loop.callbacks = []
    loop.begin_epoch(0)
    times = []
    for i in range(steps + 1):
        batch = loop.batch_at(0, i % loop.steps_per_epoch)
        began = time.perf_counter()
        loop.step(batch)
        times.append(time.perf_counter() - began)
    return Estimate(
        loop.config,
        loop.parameters,
        statistics.median(times[1:]),
        loop.steps_per_epoch,
        loop.epochs,
        peak_rss_mb(),
        (3 * tensor_bytes(loop.tensors()) + SIDE_FILES) / 2**20,
    )


def _span(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
