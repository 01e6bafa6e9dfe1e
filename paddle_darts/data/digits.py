"""The handwritten digits that scikit-learn carries: real images without any download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paddle_darts.data.bundle import (
    ArrayDataset,
    DataBundle,
    channel_statistics,
    content_md5,
    default_augmentation,
)
from paddle_darts.data.images import resize_images
from paddle_darts.data.registry import register_dataset
from paddle_darts.data.split import split_off_test

DEFAULT_SIZE = 16


@register_dataset("digits")
def load_digits(data: Path | None = None, *, image_size: int | None = None, **_: object) -> DataBundle:
    """1,797 grey digits of 8 x 8 pixels (values 0..16), stretched to 0..255 and resized (default 16 x 16).

    The test part (20 %, stratified) does not depend on any seed, so that accuracies of different runs can be
    compared. ``data`` and all other arguments are ignored. Digits are not mirrored.
    Source: UCI optical recognition of handwritten digits, test set, as embedded in ``sklearn.datasets``.
    """
    from sklearn.datasets import load_digits as embedded

    size = image_size or DEFAULT_SIZE
    digits = embedded()
    images = np.rint(digits.images[:, None] * (255 / 16)).astype(np.uint8)
    whole = ArrayDataset(resize_images(images, size), digits.target.astype(np.int64))
    train, test = split_off_test(whole)
    mean, std = channel_statistics(train.images)
    return DataBundle(
        name="digits",
        train=train,
        valid=None,
        test=test,
        classes=tuple(str(name) for name in digits.target_names),
        mean=mean,
        std=std,
        augmentation=default_augmentation(size, flip=False),
        split="stratified",
        source="sklearn.datasets.load_digits",
        checksum=content_md5(train, test),
    )
