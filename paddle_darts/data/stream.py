"""Batches of a data set as a pure function of (seed, name, epoch, index)."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Sequence
from itertools import count
from typing import Literal, NamedTuple

import numpy as np

from paddle_darts.data.augment import Augmentation, augment
from paddle_darts.data.crops import draw_crops
from paddle_darts.data.dataset import Dataset
from paddle_darts.data.prefetch import prefetched
from paddle_darts.errors import ConfigError, unknown

_ORDER, _FRESH, _AUGMENT = range(3)  # what a random generator is for; part of its seed


class Batch(NamedTuple):
    """images float32 [B, C, H, W], labels int64 [B], indices int64 [B] (positions in the data set)."""

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


class BatchStream:
    """Endless passes over a data set, every batch reproducible on its own.

    Each batch is a pure function of (seed, name, epoch, index): nothing else is remembered, so the state of a
    stream in a checkpoint is one integer, the position.

    ``draw="permutation"``: each epoch is one pass, reshuffled with ``shuffle``, in order without; the last
    batch is smaller when the sizes do not divide (no image is ever dropped). ``draw="fresh"``: every batch
    is a new random choice without replacement, always full (the official DARTS validation batches for alphas:
    ``next(iter(loader))`` at each step); ``shuffle`` has no meaning there.
    A data set smaller than ``batch_size`` gives one batch of all images. ``name`` keeps streams of one
    seed apart. Raises ConfigError for a batch size below 1, a negative seed or an unknown ``draw``.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int = 0,
        name: str = "train",
        shuffle: bool = True,
        augmentation: Augmentation | None = None,
        draw: Literal["permutation", "fresh"] = "permutation",
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be 1 or more, got {batch_size}")
        if seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {seed}")
        if draw not in ("permutation", "fresh"):
            raise ConfigError(unknown("draw", draw, ["permutation", "fresh"]))
        self.dataset, self._total = dataset, len(dataset)
        self.batch_size = batch_size
        self.mean, self.std = tuple(mean), tuple(std)
        self.seed, self.name = seed, name
        self.shuffle, self.draw = shuffle, draw
        self.augmentation = augmentation or Augmentation()
        self._last_order: tuple[int, np.ndarray] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass: ceil(images / batch size)."""
        return -(-self._total // self.batch_size)

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch ``index`` of pass ``epoch`` (both from 0); IndexError beyond the pass."""
        if epoch < 0 or not 0 <= index < self.steps_per_epoch:
            raise IndexError(f"batch {index} of epoch {epoch}: an epoch has {self.steps_per_epoch} batches")
        indices = self._indices(epoch, index)
        rng = self._rng(_AUGMENT, epoch, index)
        crops = draw_crops(rng, len(indices)) if self.augmentation.random_resized_crop else None
        images = augment(
            self.dataset.pixels(indices, crops),
            rng=rng,
            augmentation=self.augmentation,
            mean=self.mean,
            std=self.std,
        )
        return Batch(images, self.dataset.labels[indices], indices)

    def pick(self, position: int) -> Batch:
        """The batch at ``position``, counted from 0 over all passes."""
        if not self.steps_per_epoch:
            raise ConfigError(f"the {self.name} data are empty: there is no batch to pick")
        return self.batch(*divmod(position, self.steps_per_epoch))

    def iterate(self, epoch: int, start: int = 0, prefetch: int = 2) -> Generator[Batch, None, None]:
        """The batches of one pass from ``start`` on, ``prefetch`` ahead in a thread (0: no thread)."""
        return prefetched((self.batch(epoch, i) for i in range(start, self.steps_per_epoch)), prefetch)

    def iterate_from(self, position: int, prefetch: int = 2) -> Generator[Batch, None, None]:
        """`pick(position)`, `pick(position + 1)`, ... without end."""
        return prefetched((self.pick(p) for p in count(position)), prefetch)

    def _indices(self, epoch: int, index: int) -> np.ndarray:
        total = self._total
        if self.draw == "fresh":
            rng = self._rng(_FRESH, epoch, index)
            return rng.choice(total, size=min(self.batch_size, total), replace=False)
        first = index * self.batch_size
        return self._order(epoch)[first : first + self.batch_size]

    def _order(self, epoch: int) -> np.ndarray:
        # One pair, replaced as a whole: the prefetching thread and its consumer may both come here.
        cached = self._last_order
        if cached is None or cached[0] != epoch:
            total = self._total
            order = self._rng(_ORDER, epoch).permutation(total) if self.shuffle else np.arange(total)
            cached = self._last_order = (epoch, order.astype(np.int64))
        return cached[1]

    def _rng(self, purpose: int, *position: int) -> np.random.Generator:
        key = [self.seed, zlib.crc32(self.name.encode()), purpose, *position]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
