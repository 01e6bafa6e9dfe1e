"""The query layer of NATS-Bench under its official method names, over records from anywhere."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from paddle_darts.analysis.nats.conventions import CONVENTION, SETS, convention
from paddle_darts.analysis.nats.records import TRAIN, Records
from paddle_darts.analysis.nats.sources import ByBudget, Source, open_source
from paddle_darts.analysis.nats.universe import SIZE, TOPOLOGY, universe
from paddle_darts.errors import DataError, GenotypeError

if TYPE_CHECKING:
    from paddle_darts.nn.drop import RandomSource

log = logging.getLogger(__name__)


class NATSBench:
    """Accuracies, losses, times and costs of the architectures of NATS-Bench.

    ``source``: None for the index alone (names and strings, no results), the folder of the official ``-simple``
    files, or a JSON document of records (a dictionary or a file). ``search_space``: "tss" (topology) or "sss" (size).
    One file is read per architecture and kept only until the next, so that the memory stays small.

    Method names, arguments and returned keys are those of the package ``nats_bench`` (arXiv 2009.00437), with three
    differences: the default budget ``hp`` is the full training ("200" of the topology space, "90" of the size space,
    officially "12", which misleads many); ``random`` and ``is_random=True`` draw from ``random_source``; nothing is
    unpickled freely. Errors are DataError (no such record) and GenotypeError (no such index).
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Mapping[str, Any] | Source | None = None,
        search_space: str = "tss",
        *,
        random_source: RandomSource | None = None,
    ) -> None:
        self._universe = universe(search_space)
        self._source = open_source(source, self._universe)
        self._random = random_source
        self._last: tuple[int, ByBudget] | None = None
        self._used_time = 0.0

    # ---- the space
    def __len__(self) -> int:
        return len(self._universe)

    def __getitem__(self, index: int) -> str:
        return self.arch(index)

    def __repr__(self) -> str:
        held = "no results" if self._source is None else f"results of {len(self.evaluated_indexes)}"
        return f"{type(self).__name__}({self.search_space_name}, {len(self)} architectures, {held})"

    @property
    def search_space_name(self) -> str:
        return self._universe.name

    @property
    def is_topology(self) -> bool:
        return self._universe.name == TOPOLOGY

    @property
    def is_size(self) -> bool:
        return self._universe.name == SIZE

    @property
    def full_train_epochs(self) -> int:
        """Epochs of the full training, the default budget."""
        return self._universe.full_epochs

    @property
    def evaluated_indexes(self) -> set[int]:
        """The architectures whose records are there."""
        return set() if self._source is None else set(self._source)

    def arch(self, index: int) -> str:
        """The text of architecture ``index``; GenotypeError outside the space."""
        return self._universe.architecture(index)

    def query_index_by_arch(self, arch: Any) -> int:
        """The index of a text, a genotype, an object with ``tostr()``, or an index itself; -1 when unknown."""
        if hasattr(arch, "tostr"):
            arch = arch.tostr()
        return self._universe.index(arch)

    def random(self) -> int:
        """The index of a random architecture."""
        return self._draw(len(self))

    def get_unique_str(self, arch: Any) -> str:
        """A text that isomorphic cells share (topology space only)."""
        return self._universe.unique(self._index(arch))

    # ---- results
    def get_more_info(
        self,
        index: Any,
        dataset: str,
        iepoch: int | None = None,
        hp: str | int | None = None,
        is_random: bool | int = True,
    ) -> dict[str, Any]:
        """Loss, accuracy (percent) and times (seconds) after epoch ``iepoch`` (from 0; None: the last).

        The keys are ``train-``, ``valid-``, ``test-`` or ``valtest-`` with ``loss``, ``accuracy``, ``per-time`` and
        ``all-time``; sets without records are left out. ``dataset`` "cifar10-valid" was trained on half of CIFAR-10,
        "cifar10" on all of it. ``is_random``: True for a run drawn at random, False for the mean of all runs (the
        convention of the papers), a number for the run of that seed.
        """
        records = self._records(index, hp)
        seed = self._seed(records, dataset, is_random)
        info: dict[str, Any] = {}
        for key, set_name in {"train": TRAIN, **SETS.get(dataset, {})}.items():
            metrics = records.metrics(dataset, set_name, iepoch, seed)
            if metrics is None:
                continue
            total = metrics["all_time"]
            info[f"{key}-loss"], info[f"{key}-accuracy"] = metrics["loss"], metrics["accuracy"]
            info[f"{key}-per-time"] = None if total is None else total / (metrics["iepoch"] + 1)
            info[f"{key}-all-time"] = total
        return info

    def get_metrics(
        self,
        index: Any,
        dataset: str,
        set_name: str,
        iepoch: int | None = None,
        hp: str | int | None = None,
        is_random: bool | int = False,
    ) -> dict[str, Any]:
        """``loss``, ``accuracy``, ``cur_time``, ``all_time`` on one set by its own name ("x-test", "train", ...)."""
        records = self._records(index, hp)
        found = records.metrics(dataset, set_name, iepoch, self._seed(records, dataset, is_random))
        if found is None:
            raise DataError(f"architecture {self._index(index)}: nothing recorded of {set_name!r} on {dataset}")
        return found

    def accuracy(self, arch: Any, dataset: str, split: str, hp: str | int | None = None) -> float:
        """Mean accuracy in percent by the papers' convention: ``split`` "valid" or "test" of the three data sets."""
        key = convention(dataset, split)
        return self.get_metrics(arch, *key, hp=hp)["accuracy"]

    def get_cost_info(self, index: Any, dataset: str, hp: str | int | None = None) -> dict[str, float | None]:
        """``flops`` and ``params`` in millions, ``latency`` in seconds, ``T-<set>@epoch|total`` in seconds."""
        return self._records(index, hp).costs(dataset)

    def get_latency(self, index: Any, dataset: str, hp: str | int | None = None) -> float | None:
        """Seconds for a batch of 256 images; None when it was not recorded."""
        return self.get_cost_info(index, dataset, hp)["latency"]

    def get_net_config(self, index: Any, dataset: str) -> dict[str, Any]:
        """What is needed to build the network: name, sizes, architecture and number of classes."""
        budgets = self._budgets(self._index(index))
        trial = next(iter(next(iter(budgets.values())).of(dataset).values()))
        return self._universe.network(trial.config)

    def simulate_train_eval(
        self, arch: Any, dataset: str, iepoch: int | None = None, hp: str | int | None = None, account_time: bool = True
    ) -> tuple[float, float | None, float, float]:
        """(validation accuracy, latency, seconds this took, seconds so far) of training and validating ``arch``.

        One run is drawn at random. Where only the last epoch was validated, the accuracy before it is that of
        validation and test set together, as officially. ``account_time`` adds to :attr:`used_time`.
        """
        trained_on, _ = convention(dataset, "valid")
        info = self.get_more_info(arch, trained_on, iepoch, hp)
        validation = info if "valid-accuracy" in info else self.get_more_info(arch, trained_on, None, hp)
        accuracy = info.get("valid-accuracy", info.get("valtest-accuracy"))
        if accuracy is None:
            raise DataError(f"architecture {self._index(arch)}: no validation accuracy after epoch {iepoch}")
        seconds = self._seconds(info["train-all-time"], "training") + self._seconds(
            validation["valid-per-time"], "validation"
        )
        if account_time:
            self._used_time += seconds
        return accuracy, self.get_latency(arch, dataset, hp), seconds, self._used_time

    def find_best(
        self,
        dataset: str,
        metric_on_set: str,
        flop_max: float | None = None,
        param_max: float | None = None,
        hp: str | int | None = None,
    ) -> tuple[int, float]:
        """(index, mean accuracy) of the best architecture of which there are records, within limits in millions.

        ``metric_on_set`` is "valid" or "test" by the papers' convention, or the name of a set. Raises DataError when
        no architecture fits.
        """
        dataset, metric_on_set = CONVENTION.get((dataset, metric_on_set), (dataset, metric_on_set))
        best: tuple[int, float] | None = None
        for index in sorted(self.evaluated_indexes):
            costs = self.get_cost_info(index, dataset, hp) if (flop_max, param_max) != (None, None) else {}
            if (flop_max is not None and costs["flops"] > flop_max) or (
                param_max is not None and costs["params"] > param_max
            ):
                continue
            accuracy = self.get_metrics(index, dataset, metric_on_set, hp=hp)["accuracy"]
            if best is None or accuracy > best[1]:
                best = index, accuracy
        if best is None:
            raise DataError("no architecture with records is within the limits")
        return best

    # ---- time and memory
    @property
    def used_time(self) -> float:
        """Seconds that all of `simulate_train_eval` would have taken so far."""
        return self._used_time

    def reset_time(self) -> None:
        self._used_time = 0.0

    def clear_params(self, index: int | None = None, hp: str | int | None = None) -> None:
        """Lets go of the architecture that is kept in memory; there are never any weights."""
        self._last = None

    def reload(self, archive_root: str | os.PathLike[str], index: int | None = None) -> None:
        """Reads from the folder ``archive_root`` from now on."""
        self._source, self._last = open_source(archive_root, self._universe), None

    # ---- parts
    def _index(self, arch: Any) -> int:
        index = self.query_index_by_arch(arch)
        if index < 0:
            raise GenotypeError(self._universe.not_found(arch))
        return index

    def _budgets(self, index: int) -> ByBudget:
        if self._source is None:
            raise DataError("there is only the index of the architectures here, no results: give the benchmark's files")
        if self._last is None or self._last[0] != index:
            self._last = index, self._source.read(index)
        return self._last[1]

    def _records(self, arch: Any, hp: str | int | None) -> Records:
        index = self._index(arch)
        budgets, wanted = self._budgets(index), str(self.full_train_epochs if hp is None else hp)
        if wanted not in budgets:
            known = ", ".join(repr(budget) for budget in budgets)
            raise DataError(f"architecture {index} was not trained with hp={wanted!r}; its budgets are {known}")
        found = budgets[wanted]
        if found.arch != self.arch(index):
            raise DataError(f"architecture {index} is {self.arch(index)}, but its records are of {found.arch}")
        return found

    def _seed(self, records: Records, dataset: str, is_random: bool | int) -> int | None:
        if is_random is False:
            return None
        seeds = records.seeds(dataset)
        return seeds[self._draw(len(seeds))] if is_random is True else int(is_random)

    def _draw(self, high: int) -> int:
        if self._random is None:
            from paddle_darts.nn.drop import RandomSource

            self._random = RandomSource(int.from_bytes(os.urandom(8), "little"))
        return int(self._random.integers(high, 1)[0])

    def _seconds(self, recorded: float | None, what: str) -> float:
        if recorded is None:
            log.warning("the records hold no %s times: they count as nothing", what)
        return recorded or 0.0
