"""What can be measured, and the settings of a measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Sizes(NamedTuple):
    """Images per step, channels of the first cells, and cells."""

    batch_size: int
    channels: int
    layers: int


#: By search space. Those of NAS-Bench-201 have one cell per group (3N + 2 layers with N = 1).
SUPERNET = {"darts": Sizes(16, 16, 8), "nas_bench_201": Sizes(64, 16, 5)}
NETWORK = {"darts": Sizes(16, 36, 20), "nas_bench_201": Sizes(64, 16, 17)}


class Case(NamedTuple):
    """One thing to time: what it does, and by search space its sizes where none are given."""

    about: str
    sizes: dict[str, Sizes]
    has_peer: bool = True


CASES: dict[str, Case] = {
    "search-step": Case(
        "forward and backward of the supernet, gradients of weights and alphas, no optimizer", SUPERNET
    ),
    "arch-step": Case("one update of the alphas, at second order where the method has it", SUPERNET),
    "train-step": Case("one training step of a genotype with all that its recipe has, and SGD", NETWORK),
    "data": Case("augmented images out of the data pipeline", SUPERNET, has_peer=False),
}
SWEEP = "sweep"
SWEEP_ABOUT = "search-step over batch size, channels, layers and threads; writes the numbers and a plot"

#: Who can take part in a sweep: our kernels, Paddle's own operators, and the PyTorch program.
CONTESTANTS = ("ours", "plain", "torch")
AXES = ("batch_size", "channels", "layers", "threads")


@dataclass
class Measured:
    """What is measured, and how often.

    Args:
        method: search method.
        epoch: epoch of the search whose steps are measured, for methods that shrink, grow or decide.
        space: search space; for train-step that of the genotype.
        batch_size: images per step (default: 16; NAS-Bench-201: 64).
        channels: channels of the first cells (default: 16, for train-step 36; NAS-Bench-201: 16).
        layers: cells of the network (default: 8, for train-step 20; NAS-Bench-201: 5 and 17, with residual blocks).
        image_size: pixels.
        device: cpu, gpu or gpu:N.
        threads: CPU threads of every contestant (default: as many as there are cores).
        repeats: timed steps.
        warmup: steps before them that are not counted.
        time_limit: stop repeating after so many seconds of a contestant, though not before three repeats.
    """

    method: str = "darts"
    epoch: int = 0
    space: str = "darts"
    batch_size: int | None = None
    channels: int | None = None
    layers: int | None = None
    image_size: int = 32
    device: str = "cpu"
    threads: int | None = None
    repeats: int = 10
    warmup: int = 2
    time_limit: float | None = None


@dataclass
class BenchmarkConfig(Measured):
    """Settings of one measurement.

    Args:
        arch: genotype of train-step: a registered name, a file, a run directory or the printed text.
        unrolled: second order in arch-step (default: where the method has it).
        kernels: on, or off to measure Paddle's own operators.
        peer: torch, to measure the PyTorch program in turns with ours.
        json: file to write everything to.
    """

    arch: str = "DARTS_V2"
    unrolled: bool | None = None
    kernels: Literal["on", "off"] = "on"
    peer: Literal["torch"] | None = None
    json: str | None = None


@dataclass
class SweepConfig(Measured):
    """Settings of a sweep in the space darts; the sizes that do not vary are those of the point in the middle.

    Args:
        time_limit: stop repeating after so many seconds of a contestant, though not before three repeats.
        contestants: who takes part: ours, plain (Paddle's own operators), torch.
        points: what is varied: batch_size, channels, layers, threads.
        sweep_batch_size: batch sizes to measure.
        sweep_channels: channels to measure.
        sweep_layers: layers to measure.
        sweep_threads: numbers of threads to measure.
        json: file of the numbers; points that it holds are not measured again. The plot goes beside it.
    """

    time_limit: float | None = 60.0
    contestants: list[str] = field(default_factory=lambda: list(CONTESTANTS))
    points: list[str] = field(default_factory=lambda: list(AXES))
    sweep_batch_size: list[int] = field(default_factory=lambda: [4, 8, 16, 32, 64])
    sweep_channels: list[int] = field(default_factory=lambda: [8, 16, 32])
    sweep_layers: list[int] = field(default_factory=lambda: [4, 8, 14, 20])
    sweep_threads: list[int] = field(default_factory=lambda: [1, 2])
    json: str = "sweep.json"
