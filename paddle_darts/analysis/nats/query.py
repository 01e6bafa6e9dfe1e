"""All that is known of one NAS-Bench-201 architecture."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from paddle_darts.analysis.nats.classes import isomorphic
from paddle_darts.analysis.nats.costs import IMAGES, Costs, costs
from paddle_darts.analysis.nats.table import NatsTable
from paddle_darts.analysis.nats.universe import UNIVERSES
from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import NasBench201Genotype, genotype


@dataclass(frozen=True)
class Standing:
    """Where an architecture stands in one column of a table; accuracies in percent, see `NatsTable`."""

    accuracy: float
    rank: int
    percentile: float
    best_accuracy: float
    best_arch: str


@dataclass(frozen=True)
class Facts:
    """What `look_up` found; ``isomorphic`` are the indices of all cells that compute the same, this one included."""

    arch: str
    name: str | None
    index: int
    valid: bool
    unique: str
    isomorphic: tuple[int, ...]
    costs: dict[str, Costs]
    results: dict[str, Standing]
    table: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        counted = {dataset: one._asdict() for dataset, one in self.costs.items()}
        return {**asdict(self), "isomorphic": list(self.isomorphic), "costs": counted}

    def lines(self) -> list[str]:
        """For people."""
        same = ", ".join(map(str, self.isomorphic[:8])) + (", ..." if len(self.isomorphic) > 8 else "")
        shown = [
            self.arch,
            f"index       {self.index} of {len(UNIVERSES['tss']):,}" + (f" ({self.name})" if self.name else ""),
            f"valid       {'yes' if self.valid else 'no: nothing of the input reaches the output'}",
            f"unique      {self.unique}",
            f"isomorphic  {len(self.isomorphic)} of the cells, this one included: {same}",
            "",
            f"{'network':<20}{'parameters':>12}{'multiply-adds':>15}",
        ]
        shown += [f"{dataset:<20}{one.params:>12,}{one.macs / 1e6:>13.2f} M" for dataset, one in self.costs.items()]
        if self.results:
            shown += ["", f"{'accuracy, %':<20}{'this':>9}{'rank':>8}{'percentile':>12}{'best':>9}  best architecture"]
        for column, at in self.results.items():
            found = f"{column:<20}{at.accuracy:>9.2f}{at.rank:>8}{at.percentile:>12.2f}"
            shown.append(f"{found}{at.best_accuracy:>9.2f}  {at.best_arch}")
        return shown


def look_up(arch: NasBench201Genotype | str | int, table: NatsTable | None = None) -> Facts:
    """What is known of ``arch``: see :func:`find_cell` for what it may be. Raises GenotypeError."""
    cell = find_cell(arch)
    return Facts(
        arch=str(cell),
        name=cell.name,
        index=UNIVERSES["tss"].find(cell),
        valid=cell.valid,
        unique=cell.unique,
        isomorphic=isomorphic(cell),
        costs={dataset: costs(cell, dataset) for dataset in IMAGES},
        results={} if table is None else {column: standing(table, cell, column) for column in table.columns},
        table=None if table is None else table.name,
    )


def standing(table: NatsTable, cell: NasBench201Genotype, column: str) -> Standing:
    """Accuracy, rank and percentile of ``cell`` in ``column``, beside the best possible."""
    best_arch, best = table.best(column)
    return Standing(
        table.accuracy(cell, column), table.rank(cell, column), table.percentile(cell, column), best, best_arch
    )


def find_cell(arch: NasBench201Genotype | str | int) -> NasBench201Genotype:
    """The cell that ``arch`` means: a cell, its index (a number or its digits), or whatever `genotype` understands
    (text, registry name, file, run directory). GenotypeError for anything else, and for cells of other spaces."""
    if isinstance(arch, str) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", arch):
        arch = int(arch)
    if isinstance(arch, int):
        return NasBench201Genotype.parse(UNIVERSES["tss"].architecture(arch))
    found = genotype(arch)
    if not isinstance(found, NasBench201Genotype):
        raise GenotypeError(
            f"{str(arch)[:80]!r} is a cell of the space {found.space}; the benchmark knows NAS-Bench-201 cells"
        )
    return found
