"""What a network needs to know besides the edges of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from paddle_darts.errors import GenotypeError, unknown
from paddle_darts.genotypes.edges import as_index, as_list, shown


@dataclass(frozen=True)
class NetworkOptions:
    """What a cell needs besides its edges so that the network is built as its authors built it.

    ``aux_bn``: batch norm after the 768-channel convolution of the ImageNet auxiliary head; P-DARTS and SGAS have
    it, DARTS, PC-DARTS, DrNAS and DDSAS do not. ``reductions``: positions of the reduction cells, None for those at
    one and two thirds of the depth. ``pool_bn``: a batch norm without scale and shift after every pooling; DrNAS.
    """

    aux_bn: bool = False
    reductions: tuple[int, ...] | None = None
    pool_bn: bool = False

    def __post_init__(self) -> None:
        for name in ("aux_bn", "pool_bn"):
            if not isinstance(getattr(self, name), bool):
                raise GenotypeError(f"network option {name} must be true or false, got {getattr(self, name)!r}")
        if self.reductions is not None:
            cells = tuple(as_index(c, "network option reductions") for c in as_list(self.reductions, "reductions"))
            if cells and (cells[0] < 0 or any(a >= b for a, b in pairwise(cells))):
                raise GenotypeError(f"network option reductions must be ascending cell positions, got {list(cells)}")
            object.__setattr__(self, "reductions", cells)

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> NetworkOptions:
        """Inverse of :meth:`to_dict`; a missing key keeps its default, an unknown one is an error."""
        if not isinstance(options, Mapping):
            raise GenotypeError(f"network options must be a mapping, got {shown(options)}")
        known = [f.name for f in fields(cls)]
        for key in options:
            if key not in known:
                raise GenotypeError(unknown("network option", str(key)[:60], known))
        return cls(**options)
