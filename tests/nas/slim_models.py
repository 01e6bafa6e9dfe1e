"""Models with PaddleSlim's protocol, data for them, and searches over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.nas import DARTSearch
from paddle_darts.networks import CellMix, Supernet, SupernetSpec

SPEC = SupernetSpec(init_channels=2, layers=2, steps=2, multiplier=2, num_classes=4)
#: Edges of two nodes.
EDGES = 5


def parameter(shape: list[int], seed: int) -> paddle.Tensor:
    values = np.random.default_rng(seed).normal(scale=1e-3, size=shape)
    initial = nn.initializer.Assign(values.astype("float32"))
    return paddle.create_parameter(shape, "float32", default_initializer=initial)


class PlainModel(nn.Layer):
    """A cell of two nodes in Paddle's own layers, written as PaddleSlim's users write them."""

    def __init__(self, method: str = "DARTS", betas: bool = True, seed: int = 0) -> None:
        super().__init__()
        paddle.seed(seed)
        self._steps, self._multiplier, self._method = 2, 2, method
        self._primitives = ["none", "skip_connect", "sep_conv_3x3"]
        self.stem = nn.Sequential(nn.Conv2D(3, 4, 3, padding=1), nn.BatchNorm2D(4))
        self.convs = nn.LayerList([nn.Sequential(nn.Conv2D(4, 4, 3, padding=1), nn.BatchNorm2D(4)) for _ in range(5)])
        self.classifier = nn.Linear(8, 4)
        self.alphas_normal = parameter([EDGES, 3], 1)
        self.alphas_reduce = parameter([EDGES, 3], 2)
        self._listed = [self.alphas_normal, self.alphas_reduce]
        if method == "PC-DARTS" and betas:
            self.betas_normal, self.betas_reduce = parameter([EDGES], 3), parameter([EDGES], 4)
            self._listed += [self.betas_normal, self.betas_reduce]

    def arch_parameters(self) -> list[paddle.Tensor]:
        return self._listed

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        s = self.stem(images)
        states, row = [s, s], 0
        weights = F.softmax(self.alphas_normal + self.alphas_reduce)
        if self._method == "PC-DARTS":
            edges = paddle.concat([F.softmax(b) for b in (self.betas_normal + self.betas_reduce).split([2, 3])])
            weights = weights * edges.unsqueeze(1)
        for _ in range(2):
            total = 0.0
            for h in states:
                total = total + weights[row, 1] * h + weights[row, 2] * self.convs[row](h)
                row += 1
            states.append(total)
        return self.classifier(paddle.concat(states[-2:], axis=1).mean(axis=[2, 3]))

    def _loss(self, images: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        assert labels.shape == [images.shape[0], 1]
        return F.cross_entropy(self(images), labels)


class WrappedSupernet(nn.Layer):
    """Our supernet as a model with the protocol: what it learns must be what our DARTS learns."""

    _method = "DARTS"

    def __init__(self, spec: SupernetSpec = SPEC) -> None:
        super().__init__()
        self.net = Supernet(spec)
        self._steps, self._multiplier, self._primitives = spec.steps, spec.multiplier, spec.primitives
        self.alphas_normal = parameter([EDGES, len(spec.primitives)], 1)
        self.alphas_reduce = parameter([EDGES, len(spec.primitives)], 2)

    def arch_parameters(self) -> list[paddle.Tensor]:
        return [self.alphas_normal, self.alphas_reduce]

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        mixes = {kind: CellMix(F.softmax(getattr(self, f"alphas_{kind}"))) for kind in ("normal", "reduce")}
        return self.net(images, [mixes[kind] for kind in self.net.spec.kinds])[0]

    def _loss(self, images: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        from paddle_darts.nn.losses import cross_entropy

        return cross_entropy(self(images), labels.squeeze(1))


class Images(paddle.io.Dataset):
    """``total`` images of four classes that can be told apart; each one is disturbed anew whenever it is asked for."""

    def __init__(self, total: int = 40, first: int = 0) -> None:
        super().__init__()
        self.total, self.first = total, first

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if not 0 <= index < self.total:
            raise IndexError(index)
        fixed = np.random.default_rng(self.first + index).normal(size=(3, 8, 8)) + index % 4
        return (fixed + 0.1 * np.random.normal(size=(3, 8, 8))).astype("float32"), index % 4


class Stream(paddle.io.IterableDataset):
    """The same one after the other."""

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        images = Images()
        yield from (images[i] for i in range(len(images)))


def batch_generator() -> Iterator[list[np.ndarray]]:
    """PaddleSlim 1: a function that yields [images, labels [N, 1]], in random order."""
    images = Images()
    order = np.random.permutation(len(images))
    for first in range(0, len(images), 16):
        some = [images[i] for i in order[first : first + 16]]
        yield [np.stack([x for x, _ in some]), np.array([[y] for _, y in some])]


def sample_generator() -> Iterator[list[tuple[np.ndarray, int]]]:
    """The style of paddle.batch: a list of (image, label) pairs."""
    images = Images()
    for first in range(0, len(images), 16):
        yield [images[i] for i in range(first, min(first + 16, len(images)))]


def loader(**settings: Any) -> paddle.io.DataLoader:
    return paddle.io.DataLoader(Images(), **{"batch_size": 16, "shuffle": True, **settings})


#: All kinds of readers, by name; 40 images in batches of 16, 16 and 8.
READERS = {
    "dataset": Images,
    "loader": loader,
    "loader of a stream": lambda: paddle.io.DataLoader(Stream(), batch_size=16),
    "stream": Stream,
    "batch generator": lambda: batch_generator,
    "sample generator": lambda: sample_generator,
}


def searcher(save_dir: Path, model: Any = None, readers: Any = None, **settings: Any) -> DARTSearch:
    """A search of two epochs with three steps each."""
    train, valid = readers or (Images(), Images(first=100))
    common = {"batchsize": 16, "num_imgs": 80, "num_epochs": 2, "arch_learning_rate": 0.05, "seed": 3}
    model = PlainModel() if model is None else model
    return DARTSearch(model, train, valid, save_dir=save_dir, **{**common, **settings})
