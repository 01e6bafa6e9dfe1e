"""A data set by name: its parts, and what belongs to them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from paddle_darts.data.augment import Augmentation
from paddle_darts.data.dataset import ArrayDataset, Dataset
from paddle_darts.errors import ConfigError


@dataclass(frozen=True, eq=False)
class DataBundle:
    """A data set by name: its parts and the recipe-independent facts about it.

    ``valid`` is None unless the data come with an own validation part. ``mean`` and ``std`` are per channel
    for images scaled to [0, 1]. ``augmentation`` and ``split`` ("contiguous" or "stratified", see
    `split_search`; "nats" after `nats_bundle`) are defaults that a recipe may replace. ``source`` says where the data
    came from; ``checksum`` is the md5 of the archive, or of the content where there is no archive (for image lists: of
    the list). ``auto_augment`` is the AutoAugment policy that suits the data, for those who ask for one. ``whole`` is
    where all images are, when these are only those that a search gets.
    """

    name: str
    train: Dataset
    valid: Dataset | None
    test: Dataset
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    split: str
    source: str
    checksum: str | None = None
    auto_augment: str = "cifar10"
    whole: str | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def channels(self) -> int:
        return self.train.channels

    @property
    def image_size(self) -> int:
        """Height = width [pixels]."""
        return self.train.image_size


def check_image_size(image_size: int | None) -> None:
    """ConfigError unless ``image_size`` is None or a whole number of pixels above 0."""
    if image_size is not None and (not isinstance(image_size, (int, np.integer)) or image_size < 1):
        raise ConfigError(f"image_size must be a whole number of pixels, 1 or more, got {image_size!r}")


def default_augmentation(image_size: int, *, flip: bool) -> Augmentation:
    """Crop padding of an eighth of the image (4 pixels for 32, as in the DARTS recipes)."""
    return Augmentation(crop_padding=image_size // 8, flip=flip)


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 [N, C, H, W], on the [0, 1] scale, to 6 decimals.

    A channel without any contrast gets a standard deviation of 1, so that dividing by it stays possible.
    """
    means, stds = [], []
    values = np.arange(256) / 255.0
    for channel in range(images.shape[1]):
        # by histogram: exact in float64 without a float copy of the images
        histogram = sum(np.bincount(image[channel].ravel(), minlength=256) for image in images)
        share = histogram / histogram.sum()
        mean = float(share @ values)
        means.append(round(mean, 6))
        stds.append(round(float(share @ (values - mean) ** 2) ** 0.5, 6) or 1.0)
    return tuple(means), tuple(stds)


def content_md5(*parts: ArrayDataset | None) -> str:
    """md5 (hex) over shapes, images and labels of the parts, for data that have no archive."""
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        if part is not None:
            digest.update(repr(part.images.shape).encode())
            digest.update(np.ascontiguousarray(part.images))
            digest.update(np.ascontiguousarray(part.labels))
    return digest.hexdigest()
