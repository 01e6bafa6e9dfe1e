"""What was measured, as JSON and as a small table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import paddle_darts
from paddle_darts.benchmark.config import BenchmarkConfig
from paddle_darts.benchmark.machine import machine


@dataclass(frozen=True)
class Measurement:
    """One contestant on one case.

    ``median_s`` are the seconds of one step (median of ``times``), ``spread`` half the distance of their quartiles
    over the median (0.02: half of all steps lie within about 2 %), ``peak_rss_mb`` the highest resident memory of
    the process, of which ``import_rss_mb`` were there after the import of the framework. ``op_calls`` are the
    framework's operator calls of one step, ``kernels`` what ran the cells (None: not said).
    """

    median_s: float
    spread: float
    images_per_s: float
    peak_rss_mb: float
    op_calls: int | None
    threads: int
    import_rss_mb: float
    kernels: str | None
    version: str
    times: list[float]

    @classmethod
    def of(cls, times: Sequence[float], *, images: int, **facts: Any) -> Measurement:
        """From the seconds of all steps, each of ``images`` images, and the other ``facts``."""
        median = statistics.median(times)
        rounded = {name: round(facts.pop(name), 1) for name in ("peak_rss_mb", "import_rss_mb")}
        return cls(median, spread(times), images / median, times=list(times), **rounded, **facts)


def spread(times: Sequence[float]) -> float:
    """Half the interquartile range over the median; 0 for a single time."""
    if len(times) < 2:
        return 0.0
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return (high - low) / 2 / median


@dataclass(frozen=True)
class Result:
    """One measurement with its circumstances; ``other_load`` are the cores that other processes kept busy."""

    case: str
    config: BenchmarkConfig
    ours: Measurement
    peer: Measurement | None
    other_load: float

    @property
    def ratio(self) -> float | None:
        """How many times faster than the peer we are."""
        return self.peer.median_s / self.ours.median_s if self.peer else None

    @property
    def memory_ratio(self) -> float | None:
        """Our peak memory over that of the peer."""
        return self.ours.peak_rss_mb / self.peer.peak_rss_mb if self.peer else None

    def as_dict(self) -> dict[str, Any]:
        """The content of `--json`."""
        c = self.config
        sizes = {name: getattr(c, name) for name in ("batch_size", "channels", "layers", "image_size")}
        document: dict[str, Any] = {"case": self.case, "method": c.method, "epoch": c.epoch, "space": c.space}
        document |= sizes
        document |= {"arch": c.arch} if self.case == "train-step" else {}
        document |= {"unrolled": c.unrolled} if self.case == "arch-step" else {}
        document |= {"device": c.device, "warmup": c.warmup, **asdict(self.ours)}
        if self.peer:
            document["peer"] = {"name": c.peer, **asdict(self.peer)}
            document |= {"ratio": self.ratio, "memory_ratio": self.memory_ratio}
        document |= {"other_load": self.other_load, "paddle_darts": paddle_darts.__version__, "machine": machine()}
        return document

    def lines(self) -> list[str]:
        """The table for the terminal."""
        c = self.config
        at = f" in epoch {c.epoch}" if c.epoch else ""
        at += "" if c.unrolled is None else f" of {'second' if c.unrolled else 'first'} order"
        what = {"train-step": c.arch, "data": "random pictures"}.get(
            self.case, f"method {c.method}{at}, space {c.space}"
        )
        network = "" if self.case == "data" else f", channels {c.channels}, layers {c.layers}"
        sizes = f"batch size {c.batch_size}{network}, image size {c.image_size}, threads {self.ours.threads}"
        rows = [("ours", self.ours), (str(c.peer), self.peer)]
        table = [_HEAD, *(_row(name, m) for name, m in rows if m is not None)]
        if self.peer:
            table.append(f"{'ratio':<8}{self.ratio:>9.2f}x{'':>20}{self.memory_ratio:>11.2f}x")
        return [
            f"{self.case}: {what}, {sizes}, device {c.device}",
            f"{machine()['cpu']}, kernels {self.ours.kernels}, {', '.join(m.version for _, m in rows if m)}",
            "",
            *table,
        ]


_HEAD = f"{'':<8}{'s/step':>10}{'spread':>9}{'images/s':>11}{'peak MB':>12}{'op calls':>10}"


def _row(name: str, m: Measurement) -> str:
    calls = "-" if m.op_calls is None else f"{m.op_calls}"
    speed = f"{m.median_s:>10.4f}{m.spread:>8.1%} {m.images_per_s:>10.1f}"
    return f"{name:<8}{speed}{m.peak_rss_mb:>12.0f}{calls:>10}"
