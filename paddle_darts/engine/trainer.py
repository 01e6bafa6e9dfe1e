"""The trainer: a genotype's evaluation network, trained from scratch with the recipe of the papers."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from paddle_darts.analysis.complexity import Complexity, complexity, count_parameters
from paddle_darts.data import BatchStream, DataBundle
from paddle_darts.engine.batches import augmentation, evaluate_batches, to_device
from paddle_darts.engine.callbacks import Callback
from paddle_darts.engine.commands import command
from paddle_darts.engine.config import TrainConfig
from paddle_darts.engine.loop import Loop
from paddle_darts.engine.meter import StepLosses
from paddle_darts.engine.recipes import complete, train_settings
from paddle_darts.engine.setup import set_up, stem_of, training_data
from paddle_darts.genotypes import (
    AnyGenotype,
    NetworkOptions,
    format_genotype,
    genotype,
    genotype_document,
)
from paddle_darts.io.files import exists
from paddle_darts.methods.parts.bilevel import gradients_or_none
from paddle_darts.networks import build_network
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import BatchNorm, copy_into, trainable
from paddle_darts.nn.losses import correct_in_top_k, cross_entropy
from paddle_darts.nn.optimizers import sgd
from paddle_darts.nn.schedules import drop_path_prob, learning_rate, warm_up

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a training reached; ``top1`` is that of the last epoch, in percent."""

    top1: float
    history: list[dict[str, Any]]
    run_dir: Path
    complexity: Complexity


class Trainer(Loop):
    """Trains one evaluation network; made from typed settings, or from the same keyword arguments as :func:`train`.

    Data with a validation part are validated on it after every epoch and tested once, at the end; other data are
    tested after every epoch, as the authors do. The checkpoint `best` is the one with the highest of that accuracy.
    """

    tool = "train"

    def __init__(
        self,
        config: TrainConfig | str | os.PathLike[str] | None = None,
        bundle: DataBundle | None = None,
        callbacks: Sequence[Callback] | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(config, TrainConfig):
            config = train_settings({**settings, "config": config})
        self.genotype = genotype(str(config.arch))
        config = complete(config, self.genotype.space)
        further = {"arch": arch_setting(self.genotype)}
        setup = set_up(config, "train", arch_label(config.arch), further, bundle)
        super().__init__(setup.config, setup.environment, setup.run_dir, config.epochs, callbacks)
        self.settings, self.bundle = config, training_data(config, setup.bundle)
        self.best_key = "valid_top1" if self.bundle.valid is not None else "test_top1"
        self.network = build_from_config(config, self.genotype, self.bundle)
        self.network.random = RandomSource(config.seed)
        if config.bn_init == "uniform":
            _uniform_scales(self.network)
        self.optimizer = sgd(
            trainable(self.network), config.learning_rate, config.momentum, config.weight_decay, config.nesterov
        )
        changed = augmentation(config, self.bundle)
        self._train = BatchStream(
            self.bundle.train, config.batch_size, name="train", augmentation=changed, **setup.stream
        )
        self._parts = {
            name: BatchStream(part, config.batch_size, name=name, shuffle=False, **setup.stream)
            for name, part in (("valid", self.bundle.valid), ("test", self.bundle.test))
            if part is not None
        }
        self.steps_per_epoch = self._train.steps_per_epoch

    @property
    def lr(self) -> float:
        return self.optimizer.lr

    @functools.cached_property
    def complexity(self) -> Complexity:
        """Parameters and multiply-adds, counted when they are first asked for."""
        size = self.bundle.image_size
        return complexity(self.network, (self.bundle.channels, size, size))

    @property
    def parameters(self) -> int:
        return count_parameters(self.network, auxiliary=True)

    def begin_epoch(self, epoch: int) -> None:
        s = self.settings
        rate = learning_rate(
            s.lr_schedule, epoch, s.epochs, s.learning_rate, s.learning_rate_min, s.lr_gamma, s.lr_period
        )
        self.optimizer.lr = warm_up(epoch, rate, s.learning_rate, s.warmup, s.warmup_epochs)
        if s.drop_path_prob:  # some networks have none
            self.network.drop_path_prob = drop_path_prob(epoch, s.epochs, s.drop_path_prob)
        self.network.train()

    def batch_at(self, epoch: int, step: int) -> Any:
        return self._train.batch(epoch, step)

    def train_step(self, batch: Any) -> StepLosses:
        s = self.settings
        images, labels = to_device(batch)
        logits, logits_aux = self.network(images)
        loss = cross_entropy(logits, labels, s.label_smooth)
        if logits_aux is not None:
            loss = loss + s.auxiliary_weight * cross_entropy(logits_aux, labels, s.label_smooth)
        self.optimizer.step(gradients_or_none(loss, self.optimizer.parameters), s.grad_clip)
        return StepLosses(float(loss), correct_in_top_k(logits, labels, 1), labels.shape[0])

    def evaluate(self, epoch: int) -> dict[str, Any]:
        due = ["valid"] if "valid" in self._parts and epoch + 1 < self.epochs else list(self._parts)
        row: dict[str, Any] = {"genotype": str(self.genotype)}
        self.network.eval()
        with paddle.no_grad():
            for name in due:
                batches = self.interruptible(self._parts[name].iterate(0))
                found = evaluate_batches(batches, lambda images: self.network(images)[0])
                row |= {f"{name}_loss": found.loss, f"{name}_top1": found.top1, f"{name}_top5": found.top5}
        return row

    def tensors(self) -> dict[str, dict[str, paddle.Tensor]]:
        return {"weights": self.network.state_dict(), "optimizer_weights": self.optimizer.state_dict()}

    def load_tensors(self, groups: dict[str, dict[str, paddle.Tensor]]) -> None:
        copy_into(self.network.state_dict(), groups["weights"])
        self.optimizer.load_state_dict(groups["optimizer_weights"])

    def state(self) -> dict[str, Any]:
        return {"source": self.network.random.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.network.random.load_state_dict(state["source"])

    def prepare_files(self) -> None:
        self.run_dir.write_genotype(self.genotype)

    def finish(self) -> TrainResult:
        last = self.rows[-1]
        self.run_dir.write_summary(
            {
                "tool": "train",
                "title": f"{arch_label(self.settings.arch)} on {self.settings.dataset}",
                "next_command": self.next_command,
                "parameters": self.complexity.params,
                "macs": self.complexity.macs,
                "result": {k: last[k] for k in ("valid_top1", "test_top1", "test_top5") if last.get(k) is not None},
                "wall_seconds": round(sum(row["seconds"] for row in self.rows), 1),
            }
        )
        return TrainResult(last["test_top1"], self.rows, self.run_dir.path, self.complexity)

    @property
    def next_command(self) -> str:
        """The command that measures what was trained."""
        return command("evaluate", run=self.run_dir.path)


def build_from_config(config: TrainConfig, arch: AnyGenotype, bundle: DataBundle) -> paddle.nn.Layer:
    """The network that a training config asks for on a data set."""
    return build_network(
        arch,
        bundle.num_classes,
        config.init_channels,
        config.layers,
        config.auxiliary,
        stem=stem_of(config, bundle),
        channels=config.channels,
        drop_path_prob=config.drop_path_prob or 0.0,
        in_channels=bundle.channels,
    )


def arch_setting(arch: AnyGenotype) -> str:
    """The genotype as a setting that depends on no file elsewhere: its registered name, else itself."""
    if arch.name:
        return arch.name
    plain = arch.network == NetworkOptions()
    return format_genotype(arch, "python") if plain else json.dumps(genotype_document(arch))


def arch_label(arch: str | None) -> str:
    """A short name for run directories and titles."""
    text = str(arch)
    if exists(text):
        return Path(text).name
    return "genotype" if any(mark in text for mark in "({|") else text.rpartition("/")[2]


def _uniform_scales(network: paddle.nn.Layer) -> None:
    """Batch-norm scales drawn from U(0, 1), PyTorch's default before 1.2."""
    for layer in network.sublayers():
        if isinstance(layer, BatchNorm) and layer.weight is not None:
            layer.weight.set_value(paddle.rand(layer.weight.shape, dtype=layer.weight.dtype))


def train(**settings: Any) -> TrainResult:
    """Trains a genotype; keyword arguments are the settings of the command line.

    Example: ``train(arch="DARTS_PADDLE", dataset="digits", epochs=5, init_channels=8, layers=5)``.
    """
    return Trainer(**settings).run()
