"""Where the benchmark's records come from: the official files of single architectures, or a JSON document.

The official files (``NATS-tss-v1_0-3ffb9-simple/``) are bz2-compressed pickles, one per architecture. They are read by
the restricted unpickler, so that a file from anywhere can be opened: it holds values, or it is refused.
"""

from __future__ import annotations

import bz2
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from paddle_darts.analysis.nats.records import TRAIN, Curve, Records, Trial
from paddle_darts.analysis.nats.universe import Universe
from paddle_darts.errors import DataError
from paddle_darts.io import unpickle

EXTENSION = "pickle.pbz2"
META = f"meta.{EXTENSION}"
#: No file of a single architecture comes near to it; a file made to fill the memory stops here.
LARGEST = 256 * 1024 * 1024

ByBudget = Mapping[str, Records]


class Source(Protocol):
    """Records of single architectures by index, each by budget ("12", "200", ...)."""

    def __contains__(self, index: int) -> bool: ...

    def __iter__(self) -> Iterator[int]: ...

    def read(self, index: int) -> ByBudget: ...


class Archive:
    """The folder of the official benchmark with one file per architecture ("-simple")."""

    def __init__(self, folder: Path, architectures: Sequence[str]) -> None:
        """Opens ``folder``; its list of architectures must be ``architectures``. Raises DataError."""
        self.folder = folder
        meta = folder / META
        if not meta.is_file():
            raise DataError(
                f"{folder} is no NATS-Bench folder: it holds no {META}; download and unpack "
                "NATS-tss-v1_0-3ffb9-simple.tar (links: the README of D-X-Y/NATS-Bench) and give that folder"
            )
        listed = read_pickle(meta)
        if not isinstance(listed, dict) or list(listed.get("meta_archs", ())) != list(architectures):
            raise DataError(f"{meta}: it does not list the architectures of this search space in their order")

    def path(self, index: int) -> Path:
        padded = self.folder / f"{index:06d}.{EXTENSION}"
        return padded if padded.is_file() else self.folder / f"{index}.{EXTENSION}"

    def __contains__(self, index: int) -> bool:
        return self.path(index).is_file()

    def __iter__(self) -> Iterator[int]:
        numbers = (path.name.split(".")[0] for path in self.folder.glob(f"*.{EXTENSION}"))
        return iter(sorted(int(number) for number in numbers if number.isdigit()))

    def read(self, index: int) -> ByBudget:
        path = self.path(index)
        if not path.is_file():
            raise DataError(f"{self.folder} holds no file {index:06d}.{EXTENSION}: the folder is not complete")
        return official_records(read_pickle(path), str(path))


class Document:
    """Records in one JSON document: ``{index: {budget: {"arch_str", "runs": {"<data set>/<seed>": run}}}}``."""

    def __init__(self, by_index: Mapping[str, Any], name: str = "document") -> None:
        self._by_index = {int(index): budgets for index, budgets in by_index.items()}
        self._name = name

    def __contains__(self, index: int) -> bool:
        return index in self._by_index

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._by_index))

    def read(self, index: int) -> ByBudget:
        if index not in self._by_index:
            known = ", ".join(map(str, list(self)[:20]))
            raise DataError(f"{self._name} has no records of architecture {index}; it has those of {known}")
        try:
            return {budget: _json_records(record) for budget, record in self._by_index[index].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{self._name}: architecture {index}: {type(error).__name__}: {error}") from error


def open_source(source: Any, space: Universe) -> Source | None:
    """The records that ``source`` means; see `paddle_darts.analysis.NATSBench`."""
    if source is None:
        return None
    if isinstance(source, Mapping):
        return _document(source, space, "document")
    if not isinstance(source, (str, os.PathLike)):
        return source
    path = Path(source)
    if path.is_dir():
        return Archive(path, space.architectures())
    if path.suffix != ".json":
        raise DataError(f"{path} is neither a folder of the benchmark ('-simple') nor a .json file of records")
    try:
        return _document(json.loads(path.read_text(encoding="utf-8")), space, str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: it cannot be read: {error}") from error


def _document(document: Any, space: Universe, name: str) -> Document:
    records = document.get(space.tag) if isinstance(document, Mapping) else None
    if not isinstance(records, Mapping) or not all(str(index).isdigit() for index in records):
        raise DataError(f"{name} holds no records of the space {space.tag!r} by index")
    return Document(records, name)


def read_pickle(path: Path) -> Any:
    """The value of a bz2-compressed pickle, restricted to plain values; DataError naming the file."""
    try:
        with bz2.open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: it cannot be read: {error}") from error
    if len(content) > LARGEST:
        raise DataError(f"{path}: more than {LARGEST >> 20} MB unpacked; give the '-simple' folder, without weights")
    return unpickle.load(content, name=str(path))


def official_records(budgets: Any, name: str) -> ByBudget:
    """Records from the value of an official file; ``name`` is what errors call it."""
    try:
        return {
            str(budget): Records(
                str(state["arch_str"]),
                {
                    dataset: {int(seed): _official_trial(state["all_results"][dataset, seed]) for seed in seeds}
                    for dataset, seeds in state["dataset_seed"].items()
                },
            )
            for budget, state in budgets.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{name}: not a record of the benchmark: {type(error).__name__}: {error}") from error


def _official_trial(run: Mapping[str, Any]) -> Trial:
    """A run; the keys of its evaluations are "<set>@<epoch>"."""
    curves = {TRAIN: Curve(_numbers(run["train_acc1es"]), _numbers(run["train_losses"]), _times(run["train_times"]))}
    for name in run["eval_names"]:
        of_set = [
            {key.rpartition("@")[2]: value for key, value in run[what].items() if key.rpartition("@")[0] == name}
            for what in ("eval_acc1es", "eval_losses", "eval_times")
        ]
        curves[name] = Curve(_numbers(of_set[0]), _numbers(of_set[1]), _times(of_set[2]))
    latency = run["latency"]
    return Trial(
        epochs=int(run["epochs"]),
        flops=float(run["flop"]),
        params=float(run["params"]),
        latency=float(sum(latency) / len(latency)) if latency else None,
        curves=curves,
        config=dict(run["arch_config"]),
    )


def _numbers(values: Mapping[Any, Any]) -> dict[int, float]:
    return {int(epoch): float(value) for epoch, value in values.items()}


def _times(values: Mapping[Any, Any] | None) -> dict[int, float] | None:
    return _numbers(values) if values else None


def _json_records(record: Mapping[str, Any]) -> Records:
    runs = record["runs"]
    return Records(
        record["arch_str"],
        {
            dataset: {int(seed): _json_trial(runs[f"{dataset}/{seed}"]) for seed in seeds}
            for dataset, seeds in record["seeds"].items()
        },
    )


def _json_trial(run: Mapping[str, Any]) -> Trial:
    """A run of which only the last epoch is kept; its training time is the same in every epoch."""
    epochs = int(run["epochs"])
    last = epochs - 1
    seconds = run["train_time_per_epoch"]
    times = None if seconds is None else dict.fromkeys(range(epochs), float(seconds))
    curves = {TRAIN: Curve({last: float(run["train_acc"])}, {last: float(run["train_loss"])}, times)}
    for name, result in run["eval"].items():
        curves[name] = Curve({last: float(result["acc"])}, {last: float(result["loss"])})
    latency = run["latency_s"]
    return Trial(
        epochs=epochs,
        flops=float(run["flops_M"]),
        params=float(run["params_M"]),
        latency=None if latency is None else float(latency),
        curves=curves,
        config=dict(run.get("config", {})),
    )
