"""Names of the data sets and the functions that load them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from paddle_darts.data.bundle import DataBundle, check_image_size
from paddle_darts.errors import ConfigError, unknown

Loader = Callable[..., DataBundle]
DATASETS: dict[str, Loader] = {}


def register_dataset(name: str) -> Callable[[Loader], Loader]:
    """Decorator: make ``loader(data, *, image_size, seed, download)`` known by ``name``."""

    def register(loader: Loader) -> Loader:
        DATASETS[name] = loader
        return loader

    return register


def list_datasets() -> list[str]:
    """The names that `load_dataset` knows, sorted."""
    return sorted(DATASETS)


def load_dataset(
    name: str,
    data: str | os.PathLike | None = None,
    *,
    image_size: int | None = None,
    seed: int = 0,
    download: bool = True,
) -> DataBundle:
    """Load a data set: into memory, or for `imagenet` the names of its images.

    ``data`` is where it lies (a folder or an archive; `digits` needs none). ``image_size`` [pixels] resizes
    to squares. ``seed`` moves the random test part of a folder that has no ``test``: keep it the same in
    search, retraining and evaluation, or test images become training images. ``download`` False forbids the
    network. Raises ConfigError for an unknown name or size, DataError when the data are missing or damaged.
    """
    if name not in DATASETS:
        raise ConfigError(unknown("data set", name, DATASETS))
    check_image_size(image_size)
    path = None if data is None else Path(data).expanduser()
    return DATASETS[name](path, image_size=image_size, seed=seed, download=download)
