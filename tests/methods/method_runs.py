"""Small searches for the tests of single methods."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import paddle

from paddle_darts.methods import METHODS, Batch, SearchMethod
from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.drop import RandomSource

KINDS = ("normal", "reduce")
SPEC = SupernetSpec(init_channels=8, layers=2, steps=2, multiplier=2, num_classes=3, reductions=(1,))
SPEC_201 = SupernetSpec(space="nas_bench_201", init_channels=8, layers=5, num_classes=3)
EPOCHS = 4


def batch(seed: int, size: int = 6, pixels: int = 4) -> Batch:
    """Random square images in the default precision."""
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(size, 3, pixels, pixels)).astype(paddle.get_default_dtype())
    return Batch(paddle.to_tensor(images), paddle.to_tensor(generator.integers(0, 3, size)))


def build(name: str, seed: int = 0, spec: SupernetSpec = SPEC, epochs: int = EPOCHS, **options: Any) -> SearchMethod:
    paddle.seed(seed)
    method = METHODS[name](spec, METHODS[name].options_class(**options), epochs, RandomSource(seed))
    method.supernet.train()
    return method


def train(method: SearchMethod, epoch: int, steps: Iterable[int]) -> None:
    """Some steps of an epoch, each with its own batches."""
    method.supernet.train()
    for step in steps:
        method.step(batch(100 * epoch + step), batch(100 * epoch + step + 50))


def search(method: SearchMethod, epochs: Iterable[int], steps: int = 2) -> None:
    for epoch in epochs:
        paddle.seed(epoch)  # initial weights of whatever begins here
        method.begin_epoch(epoch)
        train(method, epoch, range(steps))
        method.observe(epoch, 1.0, 30.0 + epoch)
        method.end_epoch(epoch)


def resumed(original: SearchMethod, **options: Any) -> SearchMethod:
    """Another object, with other initial numbers, in the state that ``original`` would save now."""
    other = build(original.name, seed=7, epochs=original.epochs, **options)
    other.load_state(json.loads(json.dumps(original.state())))
    other.load_tensors({group: {n: t.clone() for n, t in g.items()} for group, g in original.tensors().items()})
    return other


def arrays(tensors: dict[str, paddle.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in tensors.items()}


def moved(before: dict[str, np.ndarray], tensors: dict[str, paddle.Tensor]) -> set[str]:
    """The names of the tensors that are no longer what :func:`arrays` said."""
    return {name for name, tensor in tensors.items() if not np.array_equal(before[name], tensor.numpy())}


def parameter(values: Any, dtype: str = "float64") -> paddle.Tensor:
    """A tensor that takes gradients."""
    return paddle.to_tensor(np.asarray(values), dtype=dtype, stop_gradient=False)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def assert_equal(one: SearchMethod, other: SearchMethod) -> None:
    """Bit by bit, with all that is saved or derived."""
    assert_equal_tensors(one, other)
    assert one.state() == other.state() and one.derive() == other.derive()


def assert_equal_tensors(one: SearchMethod, other: SearchMethod) -> None:
    """Bit by bit."""
    expected, got = one.tensors(), other.tensors()
    assert {g: set(t) for g, t in expected.items()} == {g: set(t) for g, t in got.items()}
    for group, tensors in expected.items():
        for name, tensor in tensors.items():
            assert np.array_equal(tensor.numpy(), got[group][name].numpy()), f"{group}: {name}"
