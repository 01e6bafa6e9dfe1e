"""The search loop over readers instead of a data set, and over a given model instead of one of its own."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from itertools import count
from typing import Any

import numpy as np
from paddle import nn

from paddle_darts.data import ArrayDataset, Augmentation, DataBundle
from paddle_darts.engine import Callback, SearchConfig, SearchController
from paddle_darts.engine.commands import command
from paddle_darts.engine.setup import Setup
from paddle_darts.errors import ConfigError
from paddle_darts.methods import MethodOptions, SearchMethod, get_method
from paddle_darts.nas.protocol_method import ProtocolDarts
from paddle_darts.nas.readers import EndOfPass, Reader, ReaderStream, open_reader
from paddle_darts.networks.supernet import SearchNetwork, SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import copy_into

log = logging.getLogger(__name__)


class ReaderSearch(SearchController):
    """A search whose batches come from two readers and whose network is given."""

    def __init__(
        self,
        config: SearchConfig,
        options: MethodOptions,
        model: nn.Layer | SupernetSpec,
        readers: tuple[Reader, Reader],
        estimate: int,
        callbacks: Sequence[Callback],
    ) -> None:
        self._model, self._readers, self._estimate = model, readers, estimate
        channels = getattr(getattr(model, "spec", model), "in_channels", 1)
        super().__init__(config, options, _no_images(channels), callbacks)

    def new_method(self, config: SearchConfig, options: MethodOptions) -> SearchMethod:
        source = RandomSource(config.seed)
        if not isinstance(self._model, (SearchNetwork, SupernetSpec)):
            return ProtocolDarts(self._model, options, self.epochs, source)
        spec = self._model.spec if isinstance(self._model, SearchNetwork) else self._model
        method = get_method(config.method)(spec, options, self.epochs, source)
        if isinstance(self._model, SearchNetwork):
            if method.supernet.spec != spec:
                raise ConfigError(
                    f"{config.method} begins with another network than the given one ({method.supernet.spec}, "
                    f"got {spec}); hand in its SupernetSpec instead"
                )
            copy_into(method.supernet.state_dict(), self._model.state_dict())
        return method

    def open_data(self, config: SearchConfig, setup: Setup) -> None:
        """Readers are opened as streams."""

    def streams(self, size: int) -> tuple[ReaderStream, ReaderStream, ReaderStream]:
        train, valid = self._readers
        common = size, self.config["seed"]
        return (
            open_reader(train, *common, "train", shuffle=True, estimate=self._estimate),
            open_reader(valid, *common, "valid", shuffle=True, estimate=self._estimate),
            open_reader(valid, *common, "measure", shuffle=False, estimate=self._estimate),
        )

    def batches(self, epoch: int, start: int = 0) -> Generator[Any, None, None]:
        """The batches of a pass, however many the reader has; not made ahead, for readers draw random numbers."""
        for step in count(start):
            try:
                batch = self.batch_at(epoch, step)
            except EndOfPass:
                break
            yield batch
        self.steps_per_epoch = self._train.steps_per_epoch

    def step(self, batch: Any = None) -> dict[str, Any]:
        if batch is None:
            self._begin_epoch_once()
            try:
                batch = self.batch_at(self.epoch, self.step_in_epoch)
            except EndOfPass:
                self._next_epoch()
                self._begin_epoch_once()
                batch = self.batch_at(self.epoch, self.step_in_epoch)
        return super().step(batch)

    def state(self) -> dict[str, Any]:
        lengths = {stream.name: sorted(stream.lengths.items()) for stream in (self._train, self._valid)}
        return {"method": super().state(), "passes": lengths}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state["method"])
        for stream in (self._train, self._valid):
            stream.lengths = {int(epoch): int(length) for epoch, length in state["passes"][stream.name]}
        self.steps_per_epoch = self._train.steps_per_epoch

    def finish(self) -> Any:
        result = super().finish()
        if isinstance(self._model, SearchNetwork):
            if self.method.supernet.spec == self._model.spec:
                copy_into(self._model.state_dict(), self.method.supernet.state_dict())
            else:
                log.warning("the last stage has another network than the given one, which keeps its weights")
        return result

    @property
    def next_command(self) -> str:
        return command("train", arch=self.run_dir.path)


def _no_images(channels: int) -> DataBundle:
    """What the loop wants to know about data that only their readers know; images come normalised from them."""
    nothing = ArrayDataset(np.zeros((0, channels, 1, 1), np.uint8), np.zeros(0, np.int64))
    return DataBundle(
        name="readers",
        train=nothing,
        valid=nothing,
        test=nothing,
        classes=(),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        augmentation=Augmentation(),
        split="contiguous",
        source="readers",
    )
