"""The search controller: any method, any data set, one loop."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import paddle

from paddle_darts.analysis.complexity import count_parameters
from paddle_darts.analysis.looks import cell_title
from paddle_darts.analysis.nats import read_table, true_accuracy
from paddle_darts.data import BatchStream, DataBundle, nats_split, split_search
from paddle_darts.engine.batches import Evaluation, augmentation, evaluate_batches, to_device
from paddle_darts.engine.callbacks import Callback
from paddle_darts.engine.commands import command
from paddle_darts.engine.config import SearchConfig
from paddle_darts.engine.loop import Loop
from paddle_darts.engine.meter import StepLosses
from paddle_darts.engine.recipes import of_space, search_settings
from paddle_darts.engine.setup import Setup, set_up, stem_of
from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import AnyGenotype
from paddle_darts.methods import MethodOptions, SearchMethod, get_method
from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.losses import correct_in_top_k

log = logging.getLogger(__name__)

#: A larger share of skip connections in the normal cell is a sign of collapse (darts: issues of the authors' program).
MANY_SKIPS = 0.5


@dataclass(frozen=True)
class SearchResult:
    """What a search found. ``genotype`` is None when the last derivation was empty."""

    genotype: AnyGenotype | None
    history: list[dict[str, Any]]
    run_dir: Path


class SearchController(Loop):
    """Searches with one method on one data set.

    Made from typed settings, or from the keyword arguments of :func:`search` (``config`` is then a recipe). ``run()``
    does everything; ``step()`` is one iteration (on a given pair of a training and a validation batch, or on the one
    that is due), for loops of one's own; ``state_dict()`` is the state besides the tensors.
    """

    tool = "search"

    def __init__(
        self,
        config: SearchConfig | str | os.PathLike[str] | None = None,
        options: MethodOptions | None = None,
        bundle: DataBundle | None = None,
        callbacks: Sequence[Callback] | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(config, SearchConfig):
            config, options = search_settings({**settings, "config": config})
        options = options or get_method(config.method).options_class()
        config = of_space(config)
        self._table = read_table(config.nats_table) if config.nats_table else None
        setup = set_up(config, "search", config.method, asdict(options), bundle)
        epochs = get_method(config.method).total_epochs(options, config.epochs)
        super().__init__(setup.config, setup.environment, setup.run_dir, epochs, callbacks)
        self.bundle = setup.bundle
        self.method = self.new_method(config, options)
        self.open_data(config, setup)
        self._open_streams()
        self._genotype: AnyGenotype | None = None
        self._arch_rows: list[dict[str, Any]] = []

    @property
    def lr(self) -> float:
        return self.method.lr

    @property
    def parameters(self) -> int:
        return count_parameters(self.method.supernet)

    @property
    def stage(self) -> int:
        return self.method.stage

    # ---- what is searched, and on which data: a subclass may bring its own
    def new_method(self, config: SearchConfig, options: MethodOptions) -> SearchMethod:
        """The method of the settings, on a supernet of its own."""
        spec = supernet_spec(config, self.bundle)
        return get_method(config.method)(spec, options, self.epochs, RandomSource(config.seed))

    def open_data(self, config: SearchConfig, setup: Setup) -> None:
        """The two halves of the data; called once."""
        self._train_part, self._valid_part = split_search(self.bundle, config.train_portion, config.split, config.seed)
        self._shared = {**setup.stream, "augmentation": augmentation(config, self.bundle)}
        self._draw: Literal["fresh", "permutation"] = "fresh" if config.valid_batches == "fresh" else "permutation"

    def streams(self, size: int) -> tuple[BatchStream, BatchStream, BatchStream]:
        """Batches of ``size`` images: for the weights, for the architecture, and to measure the supernet with."""
        train = BatchStream(self._train_part, size, name="train", **self._shared)
        valid = BatchStream(self._valid_part, size, name="valid", draw=self._draw, **self._shared)
        # the supernet is measured on the validation half with augmentation, as the authors do
        return train, valid, BatchStream(self._valid_part, size, name="measure", shuffle=False, **self._shared)

    def _open_streams(self) -> None:
        """Batches of the size that the method wants in this epoch."""
        self._train, self._valid, self._measured = self.streams(self.method.batch_size(self.config["batch_size"]))
        self.steps_per_epoch = self._train.steps_per_epoch

    def begin_epoch(self, epoch: int) -> None:
        self.method.begin_epoch(epoch)
        self.method.supernet.train()
        if self.method.batch_size(self.config["batch_size"]) != self._train.batch_size:
            self._open_streams()

    def batch_at(self, epoch: int, step: int) -> Any:
        # the validation half is walked through in passes of its own, whatever its size
        return self._train.batch(epoch, step), self._valid.pick(self.steps_before + step)

    def train_step(self, batch: Any) -> StepLosses:
        train, valid = (to_device(b) for b in batch)
        result = self.method.step(train, valid)
        correct = correct_in_top_k(result.logits, train.labels, 1)
        return StepLosses(result.loss, correct, train.labels.shape[0], result.arch_loss)

    def evaluate(self, epoch: int) -> dict[str, Any]:
        measured = self._measure(epoch)
        self.method.observe(epoch, measured.loss, measured.top1)
        self.method.end_epoch(epoch)
        self._genotype = genotype = self.derive()
        return {
            "valid_loss": measured.loss,
            "valid_top1": measured.top1,
            "genotype": None if genotype is None else str(genotype),
            **self._skip_shares(genotype),
            **self._true_accuracy(genotype),
            **self.method.facts(),
        }

    def _skip_shares(self, genotype: AnyGenotype | None) -> dict[str, float | None]:
        """The share of skip connections of each kind of cell; the first kind has no name."""
        main, *others = self.method.spec.kind_names
        names = {main: "skip_share", **{kind: f"skip_share_{kind}" for kind in others}}
        return {name: None if genotype is None else skip_share(genotype, kind) for kind, name in names.items()}

    def _true_accuracy(self, genotype: AnyGenotype | None) -> dict[str, Any]:
        """What the table says of the present cell, with the best of all; written down, and used for nothing."""
        table = self._table
        if table is None:
            return {}
        best = {f"true_{column}_best": table.best(column)[1] for column in table.columns}
        return {**true_accuracy(table, genotype), **best}

    def _measure(self, epoch: int) -> Evaluation:
        supernet = self.method.supernet
        supernet.eval()
        with paddle.no_grad():
            mix = self.method.mixture()
            batches = self.interruptible(self._measured.iterate(epoch))
            return evaluate_batches(batches, lambda images: supernet(images, mix)[0])

    def derive(self) -> AnyGenotype | None:
        """The present genotype; None, with a warning, when the derivation is empty."""
        try:
            return self.method.derive(self.config["max_skip_connect"])
        except GenotypeError as error:
            log.warning("the derivation is empty: %s", error)
            return None

    def save_epoch(self, epoch: int, row: dict[str, Any]) -> dict[str, Any]:
        genotype = self._genotype
        self.run_dir.write_genotype(genotype, self.method.spec.space)
        log.info("genotype = %s", genotype)
        for column in () if self._table is None else self._table.columns:
            log.info("true %s = %s (rank %s)", column, row[f"true_{column}"], row[f"true_{column}_rank"])
        for name, variant in self.method.variants().items():
            self.run_dir.write_genotype(variant, self.method.spec.space, name)
        if (row.get("skip_share") or 0.0) > MANY_SKIPS:
            main = genotype.kinds[0]
            skips = genotype.count("skip_connect", main)
            log.warning("the %s has %d skip connections: the search may be collapsing", cell_title(main), skips)
        arch = {
            "epoch": epoch,
            "ops": list(self.method.spec.primitives),
            "probabilities": {kind: p.tolist() for kind, p in self.method.probabilities().items()},
            "alphas": {name: a.numpy().tolist() for name, a in self.method.tensors()["arch"].items()},
        }
        self._arch_rows.append(arch)
        self.run_dir.write_arch_history(self._arch_rows)
        return arch

    def prepare_files(self) -> None:
        self._arch_rows = [row for row in self.run_dir.arch_history() if row["epoch"] < self.epoch]
        self.run_dir.write_arch_history(self._arch_rows)

    def tensors(self) -> dict[str, dict[str, paddle.Tensor]]:
        return self.method.tensors()

    def load_tensors(self, groups: dict[str, dict[str, paddle.Tensor]]) -> None:
        self.method.load_tensors(groups)

    def state(self) -> dict[str, Any]:
        return self.method.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.method.load_state(state)

    def finish(self) -> SearchResult:
        genotype = self.derive()
        self.run_dir.write_genotype(genotype, self.method.spec.space)
        for name, variant in self.method.variants().items():
            if variant is not None:
                log.info("genotype_%s = %s", name, variant)
        last = self.rows[-1]
        self.run_dir.write_summary(
            {
                "tool": "search",
                "title": f"{self.config['method']} on {self.config['dataset']}",
                "next_command": self.next_command,
                "parameters": self.parameters,
                "result": {"valid_top1": last["valid_top1"]},
                "wall_seconds": round(sum(row["seconds"] for row in self.rows), 1),
            }
        )
        return SearchResult(genotype, self.rows, self.run_dir.path)

    @property
    def next_command(self) -> str:
        """The command that trains what was found on the same data, without the images that the search validated on
        where they are some of the test images."""
        config = self.config
        tested = config["split"] == "nats" and nats_split(self.bundle.name).of == "test"
        dataset = None if config["retrain"] else config["dataset"]
        return command(
            "train",
            config=config["retrain"],
            arch=self.run_dir.path,
            dataset=dataset,
            data=self.bundle.whole or config["data"],
            image_size=config["image_size"],
            split="nats" if tested else None,
            stem=config["stem"] if config["stem"] != "cifar" and not config["retrain"] else None,
        )


def supernet_spec(config: SearchConfig, bundle: DataBundle) -> SupernetSpec:
    """The supernet that a config asks for on a data set."""
    return SupernetSpec(
        space=config.space,
        in_channels=bundle.channels,
        num_classes=bundle.num_classes,
        init_channels=config.init_channels,
        layers=config.layers,
        steps=config.steps,
        multiplier=config.multiplier,
        stem_multiplier=config.stem_multiplier,
        stem=stem_of(config, bundle),
        affine=config.affine,
        track_running_stats=config.track_running_stats,
    )


def skip_share(genotype: AnyGenotype, kind: str) -> float:
    """The share of a cell's edges that are skip connections."""
    return round(genotype.count("skip_connect", kind) / len(genotype.links(kind)), 4)


def search(**settings: Any) -> SearchResult:
    """Searches an architecture; keyword arguments are the settings of the command line.

    ``config`` names a recipe (a YAML file or one of ours). Example:
    ``search(method="darts", dataset="digits", epochs=3)``.
    """
    return SearchController(**settings).run()
