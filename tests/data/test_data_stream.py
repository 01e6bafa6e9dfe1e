"""Batches: pure functions of their position, complete passes, clean threads."""

import threading
import time
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_darts.data import ArrayDataset, Augmentation, BatchStream
from paddle_darts.data.prefetch import prefetched
from paddle_darts.errors import ConfigError

ALL = Augmentation(crop_padding=2, flip=True, cutout_length=4)


def dataset(count, size=6):
    rng = np.random.default_rng(count)
    return ArrayDataset(
        rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8), np.arange(count, dtype=np.int64) % 7
    )


def stream(count=23, batch_size=5, **options):
    options = {"augmentation": ALL, "seed": 3, **options}
    return BatchStream(dataset(count), batch_size, mean=(0.5,) * 3, std=(0.25,) * 3, **options)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def prefetch_threads():
    return [t for t in threading.enumerate() if t.name == "paddle_darts-prefetch"]


@pytest.mark.parametrize("draw", ["permutation", "fresh"])
def test_batch_is_a_pure_function(draw):
    first, second = stream(draw=draw), stream(draw=draw)
    list(second.iterate(7))  # other requests in between change nothing
    for epoch, index in [(0, 0), (4, 2), (0, 0), (1, 4)]:
        assert same(first.batch(epoch, index), second.batch(epoch, index))
        assert same(first.batch(epoch, index), first.batch(epoch, index))


@pytest.mark.parametrize("draw", ["permutation", "fresh"])
@pytest.mark.parametrize("change", [{"seed": 4}, {"name": "valid"}])
def test_seed_name_and_epoch_matter(draw, change):
    base, other = stream(200, 50, draw=draw), stream(200, 50, draw=draw, **change)
    assert not np.array_equal(base.batch(0, 0).indices, other.batch(0, 0).indices)
    assert not np.array_equal(base.batch(0, 0).indices, base.batch(1, 0).indices)


def test_augmentation_differs_between_epochs_and_batches():
    ordered = stream(10, 5, shuffle=False)
    assert np.array_equal(ordered.batch(0, 0).indices, ordered.batch(1, 0).indices)
    assert not np.array_equal(ordered.batch(0, 0).images, ordered.batch(1, 0).images)
    ordered.dataset.images[5:] = ordered.dataset.images[:5]  # two equal batches before augmentation
    assert not np.array_equal(ordered.batch(0, 0).images, ordered.batch(0, 1).images)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40), st.integers(1, 50), st.booleans(), st.integers(0, 3))
def test_every_image_once_per_pass(count, batch_size, shuffle, epoch):
    batches = stream(count, batch_size, shuffle=shuffle)
    seen = list(batches.iterate(epoch, prefetch=0))
    assert len(seen) == batches.steps_per_epoch == -(-count // batch_size)
    indices = np.concatenate([b.indices for b in seen]) if seen else np.empty(0, int)
    assert sorted(indices) == list(range(count))
    if not shuffle:
        assert list(indices) == list(range(count))
    for batch in seen[:-1]:
        assert len(batch.labels) == batch_size
    for batch in seen:
        np.testing.assert_array_equal(batch.labels, batches.dataset.labels[batch.indices])


def test_types_and_official_steps():
    batch = stream().batch(0, 4)
    assert [a.dtype for a in batch] == [np.float32, np.int64, np.int64]
    assert batch.images.shape == (3, 3, 6, 6)
    halves = dataset(25_000, size=1)
    steps = [BatchStream(halves, b, mean=(0,) * 3, std=(1,) * 3).steps_per_epoch for b in (64, 256, 96)]
    assert steps == [391, 98, 261]


def test_test_images_are_neither_shuffled_nor_changed():
    plain = stream(shuffle=False, augmentation=None)
    batch = plain.batch(0, 1)
    np.testing.assert_allclose(batch.images, (plain.dataset.images[5:10] / 255 - 0.5) / 0.25, atol=1e-6)


def test_fresh_batches_are_full_and_without_repeats():
    fresh = stream(23, 5, draw="fresh")
    batches = [fresh.pick(p) for p in range(40)]
    assert all(len(set(b.indices.tolist())) == 5 for b in batches)
    first_pass = np.concatenate([b.indices for b in batches[:5]])
    assert len(set(first_pass.tolist())) < 23  # independent draws, not a pass
    assert set(np.concatenate([b.indices for b in batches]).tolist()) == set(range(23))
    assert len(stream(4, 5, draw="fresh").batch(0, 0).labels) == 4


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_iterators_agree_with_pick(prefetch):
    batches = stream()
    for position, batch in enumerate(islice(batches.iterate_from(3, prefetch), 14), start=3):
        assert same(batch, batches.pick(position))
        assert same(batch, batches.batch(position // 5, position % 5))
    rest = list(batches.iterate(2, start=3, prefetch=prefetch))
    assert len(rest) == 2 and same(rest[0], batches.batch(2, 3))


def test_threads_end_when_the_consumer_stops():
    for stop_after in (1, 2, 5):
        running = stream().iterate_from(0, prefetch=2)
        for _ in range(stop_after):
            next(running)
        assert len(prefetch_threads()) == 1
        running.close()
        assert prefetch_threads() == []
    with pytest.raises(KeyError):
        for _ in stream().iterate(0):
            raise KeyError("consumer")
    list(stream().iterate(0))
    assert prefetch_threads() == []


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_producer_errors_reach_the_consumer_in_place(depth):
    def items():
        yield 1
        yield 2
        raise ZeroDivisionError("third")

    got = []
    with pytest.raises(ZeroDivisionError, match="third"):
        for item in prefetched(items(), depth):
            got.append(item)
    assert got == [1, 2]
    assert prefetch_threads() == []


def test_prefetch_works_ahead_but_not_further_than_told():
    made = []

    def items():
        for i in range(20):
            made.append(i)
            yield i

    running = prefetched(items(), 3)
    assert next(running) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert 4 <= len(made) <= 5  # 3 waiting, 1 in the producer's hand, 1 consumed
    assert list(running) == list(range(1, 20))


def test_wrong_arguments():
    with pytest.raises(ConfigError, match="batch_size must be 1 or more, got 0"):
        stream(batch_size=0)
    with pytest.raises(ConfigError, match="seed"):
        stream(seed=-1)
    with pytest.raises(ConfigError, match="did you mean 'permutation'"):
        stream(draw="permutations")
    with pytest.raises(IndexError, match="an epoch has 5 batches"):
        stream().batch(0, 5)
    with pytest.raises(ConfigError, match="empty"):
        stream(0).pick(0)
