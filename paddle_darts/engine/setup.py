"""What every run needs before its first step: device, data, directory, environment, seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from paddle_darts.data import DataBundle, load_dataset, nats_bundle
from paddle_darts.engine import environment
from paddle_darts.engine.batches import normalisation
from paddle_darts.engine.config import SearchConfig, TrainConfig
from paddle_darts.engine.rundir import RunDirectory, default_name
from paddle_darts.io.rng import seed_everything

#: Pixels from which on a network without a stem of its own choice begins with the one of ImageNet, which divides by 8.
LARGE_IMAGES = 96


@dataclass(frozen=True)
class Setup:
    """``config`` are the settings as they will be stored, ``stream`` the arguments that all batch streams share."""

    config: dict[str, Any]
    environment: dict[str, Any]
    run_dir: RunDirectory
    bundle: DataBundle
    stream: dict[str, Any]


def set_up(
    config: SearchConfig | TrainConfig, tool: str, label: str, further: Mapping[str, Any], bundle: DataBundle | None
) -> Setup:
    """Chooses the device, loads the data (unless given), names the run directory and seeds everything.

    ``label`` says what is run (the method or the genotype), ``further`` are settings to store besides ``config``.
    Nothing is written.
    """
    device = environment.set_device(config.device)
    environment.set_threads(config.threads)
    bundle = bundle or load_dataset(config.dataset, config.data, image_size=config.image_size)
    run_dir = RunDirectory(config.run_dir or default_name(tool, label, config.dataset))
    mean, std = normalisation(config, bundle)
    stored = {**asdict(config), "mean": mean, "std": std, "run_dir": str(run_dir.path), **further}
    stored["stem"] = stem_of(config, bundle)
    seed_everything(config.seed)
    stream = {"mean": mean, "std": std, "seed": config.seed}
    return Setup(stored, environment.describe(device), run_dir, bundle, stream)


def training_data(config: TrainConfig, bundle: DataBundle) -> DataBundle:
    """The parts of the data that a training and its evaluation use."""
    return bundle if config.split is None else nats_bundle(bundle)


def stem_of(config: SearchConfig | TrainConfig, bundle: DataBundle) -> str:
    """The stem that a config asks for, else the one for images of that size."""
    return config.stem or ("imagenet" if bundle.image_size >= LARGE_IMAGES else "cifar")
