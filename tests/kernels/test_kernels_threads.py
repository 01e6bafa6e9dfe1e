"""Threads and repetitions: they change no bit of what the kernels compute."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import pytest
from plain_plans import Case, Maker, compare, drawn, litter
from sample_plans import cell

from paddle_darts.kernels import cell as passes
from paddle_darts.kernels.library import library

pytestmark = pytest.mark.skipif(library() is None, reason="there are no kernels on this machine")


@pytest.fixture
def threads(monkeypatch):
    """Sets the number of threads of the passes that follow."""
    return lambda count: monkeypatch.setattr(passes, "thread_count", lambda: count)


def sample(batch: int, dtype: str = "float64", seed: int = 1, channels: int = 12) -> Case:
    """A new cell each time, so that running statistics start from the same numbers."""
    return cell(Maker(seed, dtype), batch, channels, (6, 5))


def same_bits(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, want in expected.items():
        assert found[name].dtype == want.dtype and found[name].tobytes() == want.tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 7, 33, 70])
def test_any_number_of_threads(batch, dtype, threads):
    threads(1)
    alone = sample(batch, dtype).fused()
    for count in (2, 3, 5, 8):
        threads(count)
        same_bits(sample(batch, dtype).fused(), alone)


@pytest.mark.parametrize("batch", [33, 70])
def test_large_batches_are_right(batch, threads):
    """More samples than runs of samples that sums are taken over."""
    threads(3)
    case = sample(batch)
    expected = case.plain()
    compare(case.fused(), expected)


@pytest.mark.parametrize("count", [1, 2])
def test_repetitions(count, threads):
    """Whatever ran before, and wherever its memory lay."""
    threads(count)
    first = sample(7).fused()
    for _ in range(10):
        litter()
        sample(9, "float32", seed=2, channels=6).fused()
        same_bits(sample(7).fused(), first)


def test_python_threads_do_not_disturb_each_other(threads):
    threads(2)
    settings = [(5, "float64", 1, 12), (7, "float32", 2, 20), (3, "float64", 3, 8), (9, "float32", 4, 16)]
    alone = [trained(sample(*s)) for s in settings]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda s: trained(sample(*s)), settings * 8))
    for number, found in enumerate(together):
        same_bits(found, alone[number % 4])


def trained(case: Case) -> dict[str, np.ndarray]:
    """Output and gradients as a training step computes them: `paddle.grad` itself is not made for several threads."""
    out = case.forward()
    (out * drawn(out.shape, out.dtype)).sum().backward()
    return {"output": out.numpy()} | {name: t.grad.numpy() for name, t in case.sources.items()}


def test_an_error_leaves_the_kernels_usable(threads):
    threads(2)
    case = sample(2)
    expected = case.fused(track=False)
    whole = case.inputs
    for _ in range(3):
        case.inputs = [whole[0], paddle.concat([whole[1], whole[1]], axis=2)]
        with pytest.raises(ValueError, match="maps of different sizes are added"):
            case.forward()
        case.inputs = whole
        same_bits(case.fused(track=False), expected)
