"""The registry of published cells, and the one function that finds a genotype wherever it is.

The data are the files of ``genotypes/``, one family each, read at first use.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from paddle_darts.errors import GenotypeError, unknown
from paddle_darts.genotypes.formats import GENOTYPES, AnyGenotype, from_mapping, parse_genotype
from paddle_darts.genotypes.options import NetworkOptions
from paddle_darts.io.files import exists
from paddle_darts.resources import resource_dir


class Report(NamedTuple):
    """One published result: accuracies in percent, by whom, of which network or of the ``supernet``."""

    dataset: str
    top1: float
    by: str
    top5: float | None = None
    spread: float | None = None  # the ± of top1, percentage points
    network: str | None = None  # a key of `Entry.params`, or "supernet"; None: another
    note: str | None = None


class Params(NamedTuple):
    """Trainable parameters, without and with the auxiliary head; None where nobody counted."""

    no_aux: int | None = None
    with_aux: int | None = None


class Macs(NamedTuple):
    """Multiply-adds of one image, no auxiliary head.

    ``conv_linear`` counts convolutions and linear layers; ``paper`` adds two per output of a batch norm and
    one per output of a ReLU or pooling, which gives the numbers that PC-DARTS and P-DARTS print.
    """

    conv_linear: int | None = None
    paper: int | None = None


@dataclass(frozen=True)
class Entry:
    """A published cell and what is known about it; sizes by network, such as ``cifar10_C36_L20``."""

    name: str
    family: str
    genotype: AnyGenotype
    aliases: tuple[str, ...]
    source: str
    dataset: str
    reported: tuple[Report, ...]
    params: Mapping[str, Params]
    macs: Mapping[str, Macs]

    @property
    def full_name(self) -> str:
        """``family/NAME``."""
        return f"{self.family}/{self.name}"

    @property
    def keys(self) -> tuple[str, ...]:
        """Every name that means this entry; an alias with a slash is meant only as it stands."""
        bare = [name for name in (self.name, *self.aliases) if "/" not in name]
        return (*bare, *(f"{self.family}/{name}" for name in bare), *(a for a in self.aliases if "/" in a))


def genotype(source: AnyGenotype | Mapping[str, Any] | str | os.PathLike[str]) -> AnyGenotype:
    """The genotype that ``source`` means.

    Tried in this order: a genotype itself; a dictionary of cells or the document of a ``genotype.json``; a
    registry name (``NAME``, ``family/NAME``, an alias; as written, else ignoring case); an existing file (a
    document, a text, or a log, of which the last genotype counts) or run directory (its ``genotype.json``,
    else its ``log.txt``); the printed text. A registry name wins over a file of that name: write ``./NAME``
    for the file. Raises `GenotypeError`, for an unknown name with the nearest ones.
    """
    if isinstance(source, AnyGenotype):
        return source
    if isinstance(source, Mapping):
        return from_mapping(source)
    if not isinstance(source, (str, os.PathLike)):
        raise GenotypeError(f"a genotype is a name, a path or a text, got {type(source).__name__}")
    text = os.fspath(source)
    found = _find(text) if isinstance(source, str) else None
    if found is not None:
        return found.genotype
    if exists(text):
        return _read(Path(text))
    if isinstance(source, str) and any(mark in text for mark in "({\n|"):
        return parse_genotype(text)
    raise GenotypeError(_not_found(text, is_path=not isinstance(source, str)))


def entry(name: str) -> Entry:
    """The registry's entry of that name; `GenotypeError` with the nearest names if there is none."""
    found = _find(name)
    if found is None:
        raise GenotypeError(_unknown(name))
    return found


def list_genotypes(pattern: str = "*") -> list[str]:
    """Names, sorted, of the published cells that match a shell ``pattern``, ignoring case.

    Compared are the name, ``family/NAME``, the aliases and the data sets that the cell was searched on.
    """
    wanted = pattern.casefold()
    return sorted(
        one.name for one in _entries() if any(fnmatchcase(text.casefold(), wanted) for text in (*one.keys, one.dataset))
    )


@functools.cache
def _entries() -> tuple[Entry, ...]:
    files = sorted(resource_dir("genotypes").glob("*.json"))
    if not files:
        raise GenotypeError(f"no genotype files in {resource_dir('genotypes')}: the installation is not complete")
    return tuple(one for path in files for one in _family(path))


def _family(path: Path) -> list[Entry]:
    """The entries of one data file."""
    data = json.loads(path.read_text("utf-8"))
    cells = GENOTYPES[data.get("space", "darts")]
    return [
        Entry(
            name=name,
            family=data["family"],
            genotype=cells.from_dict(
                cell["genotype"], network=NetworkOptions.from_dict(cell.get("network", {})), name=name
            ),
            aliases=tuple(cell.get("aliases", ())),
            source=cell.get("source", data["source"]),
            dataset=cell["dataset"],
            reported=tuple(Report(**report) for report in cell.get("reported", ())),
            params=MappingProxyType({key: Params(**value) for key, value in cell.get("params", {}).items()}),
            macs=MappingProxyType({key: Macs(**value) for key, value in cell.get("macs", {}).items()}),
        )
        for name, cell in data["cells"].items()
    ]


@functools.cache
def _index() -> dict[str, Entry]:
    index: dict[str, Entry] = {}
    for one in _entries():
        for key in one.keys:
            if key in index:
                raise GenotypeError(f"{index[key].full_name} and {one.full_name} both claim the name {key}")
            index[key] = one
    return index


def _find(name: str) -> Entry | None:
    """The entry of that name: as written, else ignoring case if that leaves one."""
    index = _index()
    if name in index:
        return index[name]
    alike = {one.full_name: one for key, one in index.items() if key.casefold() == name.casefold()}
    return next(iter(alike.values())) if len(alike) == 1 else None


def _read(path: Path) -> AnyGenotype:
    """The genotype of a file or of a run directory."""
    if path.is_dir():
        inside = [path / name for name in ("genotype.json", "log.txt") if (path / name).is_file()]
        if not inside:
            raise GenotypeError(f"{path} is no run: it holds neither genotype.json nor log.txt")
        path = inside[0]
    try:
        text = path.read_text("utf-8-sig")
        return parse_genotype(text, last=path.name == "log.txt" or path.suffix == ".log")
    except (OSError, ValueError) as error:  # GenotypeError and UnicodeDecodeError are ValueErrors
        raise GenotypeError(f"{path}: {error}") from error


def _not_found(text: str, is_path: bool) -> str:
    families = {one.family for one in _entries()}
    if is_path or (any(mark in text for mark in "/\\") and text.split("/")[0] not in families):
        return f"no such file or run directory: {text}"
    if Path(text).suffix in (".json", ".txt", ".log"):
        return f"no such file: {text}"
    return _unknown(text)


def _unknown(name: str) -> str:
    """The names to choose from are shown as the wrong one was written, with a family or without."""
    return unknown("genotype", name[:60], [key for key in _index() if ("/" in key) == ("/" in name)])
