"""What each case runs on our side, built from the same parts as a search or a training."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import paddle

from paddle_darts.benchmark.checks import knows_second_order
from paddle_darts.benchmark.config import BenchmarkConfig
from paddle_darts.benchmark.side import Step
from paddle_darts.data import ArrayDataset, Augmentation, BatchStream, DataBundle
from paddle_darts.data.bundle import default_augmentation
from paddle_darts.data.cifar import MEAN, STD
from paddle_darts.engine import TrainConfig, Trainer
from paddle_darts.engine.recipes import search_settings
from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import NasBench201Genotype, genotype
from paddle_darts.methods import Batch, SearchMethod, get_method
from paddle_darts.methods.parts.bilevel import gradients_or_none
from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.losses import cross_entropy

CLASSES, EPOCHS, DROP_PATH, CUTOUT = 10, 50, 0.2, 16
#: The data set whose recipes the methods follow.
RECIPES = "cifar10"
#: Batches per repetition of `data`: one alone is too short for the clock.
DATA_BATCHES = 50


def search_step(config: BenchmarkConfig) -> Step:
    """The supernet alone: loss and all gradients of one batch, no update."""
    method = _method(config, {})
    batch = _batch(config, 0)
    method.step(batch, _batch(config, 1))  # some methods choose what is active only now
    arch = [a for a in method.tensors().get("arch", {}).values() if not a.stop_gradient]
    parameters = [*method.supernet.weights().values(), *arch]

    def run() -> float:
        logits, _ = method.supernet(batch.images, method.mixture(), grads="both")
        loss = cross_entropy(logits, batch.labels)
        gradients_or_none(loss, parameters)
        return float(loss)

    return Step(run, config.batch_size)


def arch_step(config: BenchmarkConfig) -> Step:
    """Gradient and update of the alphas; the momentum of the weights is there, as after any step of a search."""
    method = _method(config, {"unrolled": config.unrolled} if knows_second_order(config.method) else {})
    train, valid = _batch(config, 0), _batch(config, 1)
    optimizer = method.weight_optimizer
    optimizer.step([paddle.zeros_like(p) for p in optimizer.parameters])

    def run() -> float:
        hyper = method.arch_gradient(train, valid)
        method.update_arch(hyper.total)
        return float(hyper.loss)

    return Step(run, config.batch_size)


def train_step(config: BenchmarkConfig) -> Step:
    """The step of the trainer itself, with auxiliary head and the drop path of the last epoch if there are such."""
    has_both = not isinstance(genotype(config.arch), NasBench201Genotype)
    settings = TrainConfig(
        arch=config.arch,
        batch_size=config.batch_size,
        init_channels=config.channels or 0,
        layers=config.layers or 0,
        auxiliary=has_both,
        device=config.device,
    )
    trainer = Trainer(settings, bundle=_bundle(config, config.batch_size), callbacks=[])
    trainer.begin_epoch(0)
    if has_both:
        trainer.network.drop_path_prob = DROP_PATH
    batch = trainer.batch_at(0, 0)
    return Step(lambda: trainer.train_step(batch), config.batch_size)


def data(config: BenchmarkConfig) -> Step:
    """Batches with the augmentation of the papers: crop, flip, normalise, cutout."""
    crop_and_flip = default_augmentation(config.image_size, flip=True)
    stream = BatchStream(
        _bundle(config, DATA_BATCHES * config.batch_size).train,
        config.batch_size,
        mean=MEAN,
        std=STD,
        augmentation=Augmentation(crop_and_flip.crop_padding, True, CUTOUT),
    )
    epochs = count()

    def run() -> None:
        for _ in stream.iterate(next(epochs), prefetch=0):
            pass

    return Step(run, DATA_BATCHES * config.batch_size)


BUILDERS: dict[str, Callable[[BenchmarkConfig], Step]] = {
    "search-step": search_step,
    "arch-step": arch_step,
    "train-step": train_step,
    "data": data,
}


def _method(config: BenchmarkConfig, options: dict[str, Any]) -> SearchMethod:
    """The method in training mode, in the epoch that is asked for: stages entered, decisions taken, nothing learned.

    Its settings are those of its recipe for the search space; ``options`` go over them.
    """
    cls = get_method(config.method)
    spec = SupernetSpec(
        space=config.space,
        num_classes=CLASSES,
        init_channels=config.channels or 0,
        layers=config.layers or 0,
    )
    _, chosen = search_settings({"method": config.method, "space": config.space, "dataset": RECIPES, **options})
    epochs = cls.total_epochs(chosen, EPOCHS)
    if config.epoch >= epochs:
        raise ConfigError(f"a search with {config.method} has the epochs 0 to {epochs - 1} here, got {config.epoch}")
    method = cls(spec, chosen, epochs, RandomSource(0))
    for epoch in range(config.epoch + 1):
        method.begin_epoch(epoch)
        if epoch < config.epoch:
            method.end_epoch(epoch)
    method.supernet.train()
    return method


def _batch(config: BenchmarkConfig, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((config.batch_size, 3, config.image_size, config.image_size))
    labels = rng.integers(CLASSES, size=config.batch_size)
    return Batch(paddle.to_tensor(images.astype(paddle.get_default_dtype())), paddle.to_tensor(labels))


def _bundle(config: BenchmarkConfig, images: int) -> DataBundle:
    """Random pictures as a data set."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(images, 3, config.image_size, config.image_size), dtype=np.uint8)
    part = ArrayDataset(pixels, rng.integers(CLASSES, size=images))
    return DataBundle(
        name="random",
        train=part,
        valid=None,
        test=part,
        classes=tuple(map(str, range(CLASSES))),
        mean=MEAN,
        std=STD,
        augmentation=Augmentation(),
        split="contiguous",
        source="random numbers",
    )
