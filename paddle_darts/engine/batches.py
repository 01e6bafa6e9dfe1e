"""From arrays to tensors, and the measuring of a network over a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import paddle

from paddle_darts.data import Augmentation, DataBundle
from paddle_darts.data import Batch as ArrayBatch
from paddle_darts.data.colour import STANDARD
from paddle_darts.engine.config import DataSettings
from paddle_darts.errors import ConfigError
from paddle_darts.methods import Batch
from paddle_darts.nn.losses import correct_in_top_k, cross_entropy


class Evaluation(NamedTuple):
    """Mean loss and accuracies in percent over ``images`` images; none of them is left out."""

    loss: float
    top1: float
    top5: float
    images: int


def to_device(batch: ArrayBatch) -> Batch:
    """The arrays of a batch as tensors on the current device."""
    return Batch(paddle.to_tensor(batch.images), paddle.to_tensor(batch.labels))


def evaluate_batches(batches: Iterable[ArrayBatch], predict: Callable[[paddle.Tensor], paddle.Tensor]) -> Evaluation:
    """Runs ``predict`` (images -> logits) over all batches; the caller sets eval mode and switches gradients off."""
    loss, correct1, correct5, count = 0.0, 0, 0, 0
    for arrays in batches:
        batch = to_device(arrays)
        logits = predict(batch.images)
        size = batch.labels.shape[0]
        loss += float(cross_entropy(logits, batch.labels)) * size
        correct1 += correct_in_top_k(logits, batch.labels, 1)
        correct5 += correct_in_top_k(logits, batch.labels, 5)
        count += size
    return Evaluation(loss / count, 100.0 * correct1 / count, 100.0 * correct5 / count, count)


def augmentation(config: DataSettings, bundle: DataBundle) -> Augmentation:
    """The training augmentation: what the settings say, else what suits the data set.

    A random resized crop that is asked for takes the place of the data set's padded crop.
    """
    default = bundle.augmentation
    resized = default.random_resized_crop if config.random_resized_crop is None else config.random_resized_crop
    padding = 0 if resized else default.crop_padding
    return Augmentation(
        crop_padding=padding if config.crop_padding is None else config.crop_padding,
        flip=default.flip if config.flip is None else config.flip,
        cutout_length=config.cutout_length if config.cutout else 0,
        random_resized_crop=resized,
        color_jitter=STANDARD if config.color_jitter else None,
        auto_augment=bundle.auto_augment if config.auto_aug else None,
    )


def normalisation(config: DataSettings, bundle: DataBundle) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel: the recipe's, else the data set's."""
    mean, std = list(config.mean or bundle.mean), list(config.std or bundle.std)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != bundle.channels:
            raise ConfigError(f"{name} needs {bundle.channels} values, one per channel, got {values}")
    if min(std) <= 0:
        raise ConfigError(f"std must be above 0, got {std}")
    return mean, std
