"""The evaluator: accuracy, size and speed of a trained network."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paddle

from paddle_darts.analysis.complexity import complexity
from paddle_darts.data import BatchStream, load_dataset
from paddle_darts.engine import environment
from paddle_darts.engine.batches import evaluate_batches, normalisation
from paddle_darts.engine.checkpoint import load_checkpoint
from paddle_darts.engine.commands import command
from paddle_darts.engine.config import EvaluateConfig, TrainConfig
from paddle_darts.engine.parsing import typed
from paddle_darts.engine.recipes import evaluate_settings
from paddle_darts.engine.rundir import RunDirectory
from paddle_darts.engine.setup import training_data
from paddle_darts.engine.trainer import build_from_config
from paddle_darts.errors import RunError
from paddle_darts.genotypes import genotype
from paddle_darts.nn.layers import copy_into


@dataclass(frozen=True)
class EvaluationResult:
    """Accuracies in percent over ``images`` test images; counts without the auxiliary head; latency of one image."""

    top1: float
    top5: float
    loss: float
    images: int
    params: int
    macs: int
    macs_paper: int
    latency_ms: float | None

    def lines(self) -> list[str]:
        """What the tool prints."""
        latency = "not measured" if self.latency_ms is None else f"{self.latency_ms:.2f} ms (median, one image)"
        return [
            f"top-1 accuracy   {self.top1:.2f} %",
            f"top-5 accuracy   {self.top5:.2f} %",
            f"loss             {self.loss:.6f}",
            f"test images      {self.images}",
            f"parameters       {self.params:,} ({self.params / 1e6:.2f} M, without auxiliary head)",
            f"MACs             {self.macs:,} ({self.macs / 1e6:.2f} M, convolutions and linear layers)",
            f"MACs (paper)     {self.macs_paper:,} ({self.macs_paper / 1e6:.2f} M, with 2 per BN, 1 per ReLU and pool)",
            f"latency          {latency}",
        ]


def evaluate_run(config: EvaluateConfig) -> EvaluationResult:
    """Measures the checkpoint of a training run on its test images."""
    environment.set_device(config.device)
    run_dir = RunDirectory(str(config.run))
    stored = run_dir.config()
    if not stored:
        raise RunError(f"{config.run} is not a run directory: it has no config.yaml")
    if "arch" not in stored:
        raise RunError(f"{config.run} is a search; train its genotype first: {command('train', arch=config.run)}")
    (settings,) = typed([TrainConfig], stored, str(run_dir.path / "config.yaml"))
    groups, _ = load_checkpoint(run_dir.checkpoints, config.checkpoint)
    whole = load_dataset(settings.dataset, config.data or settings.data, image_size=settings.image_size)
    bundle = training_data(settings, whole)
    network = build_from_config(settings, genotype(run_dir.path), bundle)
    copy_into(network.state_dict(), groups["weights"])
    network.eval()
    mean, std = normalisation(settings, bundle)
    stream = BatchStream(bundle.test, config.batch_size, mean=mean, std=std, shuffle=False)
    with paddle.no_grad():
        found = evaluate_batches(stream.iterate(0), lambda images: network(images)[0])
        shape = (bundle.channels, bundle.image_size, bundle.image_size)
        latency = latency_ms(network, shape, config.latency_runs) if config.latency_runs else None
    counts = asdict(complexity(network, shape))
    counts.pop("params_with_aux")
    return EvaluationResult(found.top1, found.top5, found.loss, found.images, latency_ms=latency, **counts)


def latency_ms(network: paddle.nn.Layer, shape: tuple[int, int, int], runs: int) -> float:
    """Median time of one image [C, H, W] = ``shape`` through ``network`` [ms], after two passes to warm up."""
    image = paddle.zeros([1, *shape])
    times = []
    for run in range(runs + 2):
        began = time.perf_counter()
        network(image)[0].numpy()
        if run >= 2:
            times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def evaluate(run: str | Path, **settings: Any) -> EvaluationResult:
    """Top-1, top-5, loss, parameters, MACs and latency of a training run; settings as on the command line."""
    return evaluate_run(evaluate_settings({"run": str(run), **settings}))
