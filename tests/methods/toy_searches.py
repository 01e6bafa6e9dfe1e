"""Small searches with a known answer: one operation hands on what the classes are told from, the others do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddle_darts.methods import METHODS, Batch, SearchMethod
from paddle_darts.methods.ddsas import Ddsas
from paddle_darts.methods.gradient import GradientMethod
from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.drop import RandomSource

CLASSES, BATCH, STEPS = 3, 24, 20
CHANCE = float(np.log(CLASSES))
#: The methods that search in a supernet.
NAMES = [name for name, method in METHODS.items() if issubclass(method, GradientMethod)]


class Pass(nn.Layer):
    """Hands every image the features of the one ``shift`` places before it in the batch, times ``scale``; shift 0: its
    own."""

    def __init__(self, stride: int, shift: int, scale: float = 1.0) -> None:
        super().__init__()
        self.stride, self.shift, self.scale = stride, shift, scale

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.scale * paddle.roll(x, self.shift, axis=0)[:, :, :: self.stride, :: self.stride]


def batch(rng: np.random.Generator, size: int, signal: bool) -> Batch:
    """Three classes that differ in colour, in noise; without ``signal`` the labels are those of other images."""
    labels = rng.permutation(np.arange(size) % CLASSES)
    images = rng.normal(size=(size, 3, 4, 4)) + 1.0 * np.eye(3)[labels][:, :, None, None]
    labels = labels if signal else rng.permutation(labels)
    return Batch(paddle.to_tensor(images.astype("float32")), paddle.to_tensor(labels))


@dataclass
class Search:
    """A finished toy search: the method, the useful operation, the row of every epoch, the masks of DDSAS after every
    step."""

    method: SearchMethod
    good: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    masks: list[dict[str, np.ndarray]] = field(default_factory=list)

    def column(self, key: str) -> list[Any]:
        return [row[key] for row in self.rows]

    def shares(self, kind: str) -> np.ndarray:
        """The share of the good operation in the strength of all real operations, per edge."""
        table, ops = self.method.strengths()[kind], self.method.supernet.spec.primitives
        real = [column for column, op in enumerate(ops) if op != "none"]
        return table[:, ops.index(self.good)] / table[:, real].sum(axis=1)

    def best(self, kind: str) -> list[str]:
        """The strongest real operation of every edge; `none` never counts."""
        table, ops = self.method.strengths()[kind], self.method.supernet.spec.primitives
        real = [column for column, op in enumerate(ops) if op != "none"]
        return [ops[real[place]] for place in table[:, real].argmax(axis=1)]


def search(
    name: str, options: dict[str, Any], epochs: int, spec: SupernetSpec, good: str, signal: bool, seed: int = 1
) -> Search:
    """A whole search in the order of the engine."""
    paddle.seed(seed)
    cls = METHODS[name]
    settings = cls.options_class(**{"learning_rate": 0.05, "arch_learning_rate": 0.05, **options})
    found = Search(cls(spec, settings, cls.total_epochs(settings, epochs), RandomSource(seed)), good)
    rng = np.random.default_rng(seed)
    for epoch in range(cls.total_epochs(settings, epochs)):
        found.rows.append(_epoch(found, epoch, rng, signal))
    return found


def _epoch(found: Search, epoch: int, rng: np.random.Generator, signal: bool) -> dict[str, Any]:
    method, losses = found.method, []
    method.begin_epoch(epoch)
    method.supernet.train()
    size = method.batch_size(BATCH)
    for _ in range(STEPS):
        losses.append(method.step(batch(rng, size, signal), batch(rng, size, signal)).loss)
        if isinstance(method, Ddsas):
            found.masks.append(method.space.active)
    stage = method.stage
    method.end_epoch(epoch)
    return {"stage": stage, "batch_size": size, "loss": float(np.mean(losses)), **method.facts()}


@dataclass(frozen=True)
class Toy:
    """The settings with which a method searches, further ones to search with, and what must happen on the way."""

    epochs: int
    options: dict[str, Any]
    happened: Callable[[Search, str], None]
    variants: tuple[dict[str, Any], ...] = ()


def case_name(value: Any) -> str:
    return value if isinstance(value, str) else ",".join(value) or "default"
