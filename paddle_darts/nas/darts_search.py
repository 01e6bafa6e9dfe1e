"""DARTSearch: PaddleSlim's name and signature over this library's search loop.

Source: PaddlePaddle/PaddleSlim, paddleslim/nas/darts/train_search.py.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddle_darts.engine import Callback, SearchConfig
from paddle_darts.engine.rundir import RunDirectory
from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import AnyGenotype
from paddle_darts.methods import MethodOptions, get_method
from paddle_darts.methods.gradient import GradientOptions, UnrolledOptions
from paddle_darts.nas.protocol import protocol_spec
from paddle_darts.nas.reader_search import ReaderSearch
from paddle_darts.nas.readers import Reader, open_reader
from paddle_darts.networks.supernet import SearchNetwork, SupernetSpec

#: PaddleSlim's names of methods in our registry.
NAMES = {"DARTS": "darts", "PC-DARTS": "pc_darts"}


@dataclass(frozen=True)
class DARTSResult:
    """What a search found. ``genotype`` is that of the last epoch (None when its derivation was empty), ``history``
    one row per epoch, ``best_epoch`` the one with the highest validation accuracy, whose weights and alphas are
    ``save_dir``/checkpoint/best."""

    genotype: AnyGenotype | None
    history: list[dict[str, Any]]
    best_epoch: int
    save_dir: Path


class DARTSearch:
    """Searches with two readers, as PaddleSlim's class of that name does.

    Args:
        model: a model with PaddleSlim's protocol (see :func:`paddle_darts.nas.protocol.protocol_spec`), or a supernet
            of this library or its SupernetSpec. The search changes the model's weights and alphas; a supernet starts
            with its weights and has the final ones afterwards.
        train_reader: what the weights learn from: a paddle.io.Dataset of (image [C, H, W], label), a DataLoader, or a
            function that returns an iterable of batches (images [B, C, H, W], labels [B] or [B, 1]).
        valid_reader: what the architecture learns from, and what the supernet is measured on after every epoch.
        place: a place of Paddle or its name; None for the current one.
        batchsize: images per step of a data set, which is shuffled; other readers bring their own batches.
        num_imgs: images of the whole data set, of which half are to train the weights: a guess of the steps per epoch
            for readers without length, until the first pass has ended.
        epochs_no_archopt: epochs at the beginning in which only the weights learn.
        use_multiprocess: accepted; batches are made in this process, so that a resumed search sees the same ones.
        use_data_parallel: accepted in a single process only.
        save_dir: the run directory: config.yaml, genotype.json, history.jsonl, alphas.jsonl, checkpoint/, log.txt.
        log_freq: steps between two lines of the log.
        method: "DARTS", "PC-DARTS" or the name of one of our methods. A model with the protocol says itself in
            ``_method``; a different request is a ConfigError.
        seed: of all random numbers; None draws one, which config.yaml records.
        resume: True continues the run in save_dir exactly where it stopped (so does its path), and needs the same model
            and readers; a fresh directory is started.
        callbacks: see :class:`paddle_darts.engine.Callback`.

    Deviations from PaddleSlim, all of them repairs: validation data do not leak into the weights, the learning rate
    follows a cosine over the epochs down to 0.001, batch sizes hold, no image is dropped, the unrolled step starts
    with the optimizer's momentum, running statistics of a model with the protocol move by training passes alone, the
    search can be seeded and resumed, keeps two checkpoints at most, and returns what it found.
    """

    def __init__(
        self,
        model: nn.Layer | SupernetSpec,
        train_reader: Reader,
        valid_reader: Reader,
        place: Any = None,
        learning_rate: float = 0.025,
        batchsize: int = 64,
        num_imgs: int = 50000,
        arch_learning_rate: float = 3e-4,
        unrolled: bool = False,
        num_epochs: int = 50,
        epochs_no_archopt: int = 0,
        use_multiprocess: bool = False,
        use_data_parallel: bool = False,
        save_dir: str | os.PathLike[str] = "./",
        log_freq: int = 50,
        *,
        method: str = "DARTS",
        seed: int | None = None,
        resume: bool | str | os.PathLike[str] | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        for name, value in (("batchsize", batchsize), ("num_epochs", num_epochs), ("log_freq", log_freq)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
        if use_data_parallel and paddle.distributed.get_world_size() > 1:
            raise ConfigError("use_data_parallel is not possible here: a search runs in one process")
        self.model, self.train_reader, self.valid_reader = model, train_reader, valid_reader
        self.place, self.callbacks = place, list(callbacks)
        self.save_dir = Path(resume if isinstance(resume, (str, os.PathLike)) else save_dir)
        self._estimate = max(1, math.ceil(num_imgs * 0.5 / batchsize))
        for reader in (train_reader, valid_reader):  # what cannot be read is told before anything begins
            open_reader(reader, batchsize, 0, "", shuffle=False, estimate=1)
        self.config = SearchConfig(
            run_dir=str(self.save_dir),
            resume=bool(resume),
            seed=self._seed(seed, bool(resume)),
            device=device_name(place),
            report_freq=log_freq,
            dataset="readers",
            batch_size=int(batchsize),
            method=searched_method(model, method),
            epochs=int(num_epochs),
            **_shape(model),
        )
        given = {
            "learning_rate": float(learning_rate),
            "arch_learning_rate": float(arch_learning_rate),
            "arch_start_epoch": int(epochs_no_archopt),
        }
        self.options = _options(self.config.method, model, {**given, "unrolled": True} if unrolled else given)

    def train(self) -> DARTSResult:
        """Searches, or continues, to the end. RunError when save_dir already holds a run that is not to be resumed."""
        readers = self.train_reader, self.valid_reader
        found = ReaderSearch(self.config, self.options, self.model, readers, self._estimate, self.callbacks).run()
        accuracies = [-math.inf if row["valid_top1"] is None else row["valid_top1"] for row in found.history]
        return DARTSResult(found.genotype, found.history, int(np.argmax(accuracies)), found.run_dir)

    def _seed(self, seed: int | None, resume: bool) -> int:
        """The given seed, else that of the run to resume, else a new one."""
        if seed is None and resume:
            seed = RunDirectory(self.save_dir).config().get("seed")
        return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else int(seed)


def searched_method(model: nn.Layer | SupernetSpec, method: str) -> str:
    """The name in our registry of the method that ``model`` is searched with, when ``method`` is asked for.

    ConfigError for an unknown method, and for one that a model with the protocol was not built for.
    """
    name = NAMES.get(method, method)
    get_method(name)
    if isinstance(model, (SearchNetwork, SupernetSpec)):
        return name
    built_for = NAMES["PC-DARTS" if protocol_spec(model).betas else "DARTS"]
    if method != "DARTS" and name != built_for:
        raise ConfigError(f"the model was built for {built_for} (its _method says so), got method={method!r}")
    return built_for


def device_name(place: Any) -> str:
    """A place of Paddle, or its name, as cpu, gpu or gpu:N; None is the current one. ConfigError for others."""
    text = paddle.device.get_device() if place is None else place if isinstance(place, str) else repr(place)
    found = re.search(r"\b(cpu|gpu(?::\d+)?)\b", text)
    if found is None:
        raise ConfigError(f"place must be a CPU or GPU place, or its name (cpu, gpu, gpu:N), got {place!r}")
    return found[1]


def _shape(model: nn.Layer | SupernetSpec) -> dict[str, Any]:
    """What the settings of a run tell about the network."""
    if not isinstance(model, (SearchNetwork, SupernetSpec)):
        spec = protocol_spec(model)
        told = {"layers": getattr(model, "_layers", None), "init_channels": getattr(model, "_c_in", None)}
        known = {name: value for name, value in told.items() if isinstance(value, int)}
        return {"steps": spec.steps, "multiplier": spec.multiplier, "stem": "cifar", **known}
    spec = model.spec if isinstance(model, SearchNetwork) else model
    names = {field.name for field in fields(SearchConfig)} & {field.name for field in fields(SupernetSpec)}
    return {name: getattr(spec, name) for name in names}


def _options(method: str, model: nn.Layer | SupernetSpec, given: dict[str, Any]) -> MethodOptions:
    """The options of a search: those of a model with the protocol are plain DARTS'."""
    if not isinstance(model, (SearchNetwork, SupernetSpec)):
        return UnrolledOptions(**given)
    options_class = get_method(method).options_class
    if not issubclass(options_class, GradientOptions):
        raise ConfigError(f"DARTSearch learns the architecture by gradient; {method} trains samples, see SANAS")
    known = {field.name for field in fields(options_class)}
    if "unrolled" in given and "unrolled" not in known:
        raise ConfigError(f"{method} has no second-order step: unrolled must be False")
    spec = model.spec if isinstance(model, SearchNetwork) else model
    if spec.partial_channels > 1:
        given |= {name: getattr(spec, name) for name in ("partial_channels", "channel_sampling") if name in known}
    return options_class(**given)
