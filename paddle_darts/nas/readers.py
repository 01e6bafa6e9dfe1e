"""Batches from what PaddleSlim's users hand in: a data set, a DataLoader, or a function that yields batches.

A stream answers like :class:`paddle_darts.data.BatchStream`. Whatever random numbers a reader draws from the global
generators of Python, NumPy and Paddle, it draws from generators seeded by (seed, name, pass), and the training does not
see them move: a pass can be repeated, which is what an exact resume needs.
"""

from __future__ import annotations

import contextlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import paddle

from paddle_darts.data import Batch
from paddle_darts.errors import ConfigError, DataError
from paddle_darts.io import rng

Reader = Any
#: The indices of the batches of a pass.
Plan = Callable[[int], list[Sequence[int]]]


class EndOfPass(Exception):
    """The reader has no batch at this position of a pass."""


class ReaderStream(ABC):
    """Passes over a reader; ``steps_per_epoch`` is an estimate until the first pass of a reader without length ends."""

    def __init__(self, batch_size: int, seed: int, name: str) -> None:
        self.batch_size, self.seed, self.name = batch_size, seed, name
        self.lengths: dict[int, int] = {}  # batches of the passes that were seen to end

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Batches of a pass."""

    @abstractmethod
    def batch(self, epoch: int, index: int) -> Batch:
        """Batch ``index`` of pass ``epoch``; EndOfPass beyond its end, DataError for what is not a batch."""

    def pick(self, position: int) -> Batch:
        """The batch at ``position``, counted from 0 over all passes."""
        for epoch in count():
            length = self.lengths.get(epoch)
            if length is None or position < length:
                with contextlib.suppress(EndOfPass):
                    return self.batch(epoch, position)
            position -= self.lengths[epoch]

    def iterate(self, epoch: int) -> Generator[Batch, None, None]:
        """The batches of one pass."""
        for index in count():
            try:
                yield self.batch(epoch, index)
            except EndOfPass:
                return

    def _ended(self, epoch: int, length: int) -> EndOfPass:
        if length == 0:
            raise DataError(f"the {self.name} reader gave no batch")
        self.lengths[epoch] = length
        return EndOfPass(f"pass {epoch} of the {self.name} reader has {length} batches")

    def _key(self, *position: int) -> int:
        """The seed of a part of the stream."""
        words = np.random.SeedSequence([self.seed, zlib.crc32(self.name.encode()), *position])
        return int(words.generate_state(1)[0])


class DatasetStream(ReaderStream):
    """Batches of a map-style data set, their indices fixed at the beginning of a pass.

    ``plan`` draws the indices of all batches of a pass (given its number), ``collate`` makes a batch of samples.
    """

    def __init__(self, dataset: Any, plan: Plan, collate: Callable, *where: Any) -> None:
        super().__init__(*where)
        self._dataset, self._draw, self._collate = dataset, plan, collate
        self._planned: tuple[int, list[Sequence[int]]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        return len(self._plan(0)) if self._planned is None else len(self._planned[1])

    def _plan(self, epoch: int) -> list[Sequence[int]]:
        if self._planned is None or self._planned[0] != epoch:
            with _Randomness(self._key(epoch)):
                self._planned = epoch, self._draw(epoch)
        return self._planned[1]

    def batch(self, epoch: int, index: int) -> Batch:
        plan = self._plan(epoch)
        if index >= len(plan):
            raise self._ended(epoch, len(plan))
        with _Randomness(self._key(epoch, index)):
            samples = [self._dataset[int(i)] for i in plan[index]]
            return as_batch(self._collate(samples), self.name)


class IterableStream(ReaderStream):
    """Batches of something that can only be gone through from its beginning; ``open_pass`` begins anew.

    A position that does not follow the last one is reached by going through the pass again.
    """

    def __init__(self, open_pass: Callable[[], Iterable], estimate: int, *where: Any) -> None:
        super().__init__(*where)
        self._open, self._estimate = open_pass, estimate
        self._at: tuple[int, int] = (-1, 0)

    @property
    def steps_per_epoch(self) -> int:
        return max(self.lengths.values(), default=self._estimate)

    def batch(self, epoch: int, index: int) -> Batch:
        if (epoch, index) != self._at:
            self._randomness = _Randomness(self._key(epoch))
            with self._randomness:
                self._batches: Iterator = iter(self._open())
            self._at = epoch, 0
        while True:
            at = self._at[1]
            with self._randomness:
                item = next(self._batches, None)
            if item is None:
                self._at = -1, 0
                raise self._ended(epoch, at)
            self._at = epoch, at + 1
            if at == index:
                return as_batch(item, self.name)


def open_reader(reader: Reader, batch_size: int, seed: int, name: str, *, shuffle: bool, estimate: int) -> ReaderStream:
    """The stream of a data set (``batch_size`` images, shuffled on request), of a DataLoader (its own batches, in its
    own order), or of batches: a function without arguments that returns an iterable of them, or such an iterable that
    can be gone through again and again.

    ConfigError for anything else. A DataLoader's data set, sampler and collate function are used in this process
    whatever its ``num_workers``: batches that worker processes make ahead cannot be repeated after a resume.
    """
    where = batch_size, seed, name
    if isinstance(reader, paddle.io.DataLoader):
        dataset, collate = reader.dataset, reader.collate_fn or as_arrays
        if isinstance(dataset, paddle.io.IterableDataset):
            size = reader.batch_size or 1
            return IterableStream(lambda: _grouped(dataset, size, collate, reader.drop_last), estimate, *where)
        if reader.batch_sampler is None:  # batch_size=None: every sample is a batch
            return DatasetStream(dataset, lambda epoch: [[i] for i in range(len(dataset))], lambda one: one[0], *where)
        return DatasetStream(dataset, lambda epoch: _sampled(reader.batch_sampler, epoch), collate, *where)
    if isinstance(reader, paddle.io.IterableDataset):
        return IterableStream(lambda: _grouped(reader, batch_size, as_arrays, False), estimate, *where)
    if hasattr(reader, "__getitem__") and hasattr(reader, "__len__") and not isinstance(reader, (str, bytes, dict)):
        return DatasetStream(reader, lambda epoch: _plan(len(reader), batch_size, shuffle), as_arrays, *where)
    if hasattr(reader, "__next__"):
        raise ConfigError(f"a reader is gone through many times, {reader!r:.60} only once: hand in what makes it")
    if callable(reader):
        return IterableStream(reader, estimate, *where)
    if hasattr(reader, "__iter__") and not isinstance(reader, (str, bytes, dict)):
        return IterableStream(lambda: reader, estimate, *where)
    raise ConfigError(
        f"a reader must be a paddle.io.Dataset, a DataLoader or a function that returns batches, got {reader!r:.60}"
    )


def as_batch(item: Any, name: str) -> Batch:
    """(images, labels), or a list of (image, label) pairs, as float32 [B, C, H, W] and int64 [B]."""
    if isinstance(item, (list, tuple)) and item and isinstance(item[0], tuple):
        item = as_arrays(item)  # a reader in the style of paddle.batch
    if not isinstance(item, (list, tuple)) or len(item) < 2:
        raise DataError(f"a batch of the {name} reader must be (images, labels), got {type(item).__name__}")
    images, labels = np.asarray(item[0]), np.asarray(item[1])
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if images.ndim != 4 or labels.shape != images.shape[:1] or not len(labels):
        raise DataError(
            f"a batch of the {name} reader must have images [B, C, H, W] and labels [B] or [B, 1], "
            f"got {list(images.shape)} and {list(np.shape(item[1]))}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"the labels of the {name} reader must be whole numbers, got {labels.dtype}")
    # copies: some readers fill the same array again and again
    dtype = paddle.get_default_dtype()
    return Batch(np.array(images, dtype=dtype), np.array(labels, dtype=np.int64), np.arange(len(labels)))


def as_arrays(samples: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Samples (image, label, ...) as two arrays; DataError when they are something else or differ in shape."""
    try:
        images = np.stack([np.asarray(sample[0]) for sample in samples])
        return images, np.stack([np.asarray(sample[1]).reshape(()) for sample in samples])
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise DataError(f"samples must be (image [C, H, W], label), all images of one shape: {error}") from error


def _plan(total: int, batch_size: int, shuffle: bool) -> list[Sequence[int]]:
    """All images in batches; the last one is smaller when the sizes do not divide."""
    order = np.random.permutation(total) if shuffle else np.arange(total)
    return [order[first : first + batch_size] for first in range(0, total, batch_size)]


def _sampled(sampler: Any, epoch: int) -> list[Sequence[int]]:
    """The batches of a sampler; a distributed one counts passes itself and is told which one this is."""
    if hasattr(sampler, "set_epoch"):
        sampler.set_epoch(epoch)
    return [list(batch) for batch in sampler]


def _grouped(samples: Iterable, size: int, collate: Callable, drop_last: bool) -> Iterator[Any]:
    """Batches of ``size`` samples; what comes as a batch (images of 4 dimensions) stays one."""
    group: list[Any] = []
    for sample in samples:
        if np.ndim(sample[0]) == 4:
            yield sample
            continue
        group.append(sample)
        if len(group) == size:
            yield collate(group)
            group = []
    if group and not drop_last:
        yield collate(group)


class _Randomness:
    """Inside of it the global generators are those of a reader, seeded once; they go on where they were left."""

    def __init__(self, seed: int) -> None:
        self._seed: int | None = seed

    def __enter__(self) -> None:
        self._outside = rng.capture()
        if self._seed is None:
            rng.restore(self._inside)
        else:
            rng.seed_everything(self._seed)
            self._seed = None

    def __exit__(self, *_: object) -> None:
        self._inside = rng.capture()
        rng.restore(self._outside)
