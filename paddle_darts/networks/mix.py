"""What a method tells a supernet."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import paddle


@dataclass(frozen=True, eq=False)
class CellMix:
    """How one cell mixes its candidates.

    ``ops``: weights [edges, ops], differentiable. ``active``: bool [edges, ops]; what is off is neither computed nor
    given a gradient (None: all on). An edge without anything active adds nothing; with partial channels the active
    `none` is enough for the channels that pass by. ``edges``: weights [edges] of whole edges, of the channels that
    pass by too (None: all 1). ``offset``: scalars [edges] added to an edge's output (None: nothing), which lets a hard
    sample pass on gradients of what it did not choose. Cells with the same weights share one object.
    """

    ops: paddle.Tensor
    active: np.ndarray | None = None
    edges: paddle.Tensor | None = None
    offset: paddle.Tensor | None = None

    def detach(self) -> CellMix:
        """The same numbers without a graph behind them."""

        def cut(tensor: paddle.Tensor | None) -> paddle.Tensor | None:
            return None if tensor is None else tensor.detach()

        return replace(self, ops=self.ops.detach(), edges=cut(self.edges), offset=cut(self.offset))

    def restricted(self, built: np.ndarray | None) -> CellMix:
        """The same where only the candidates ``built`` [edges, ops] exist (None: all)."""
        if built is None:
            return self
        return replace(self, active=built if self.active is None else built & self.active)

    def check(self, edges: int, ops: int) -> None:
        """ValueError unless all parts are those of a cell with so many edges and candidates per edge."""
        parts = (("ops", self.ops), ("active", self.active), ("edges", self.edges), ("offset", self.offset))
        for name, part in parts:
            fit = [edges, ops] if name in ("ops", "active") else [edges]
            if part is not None and list(part.shape) != fit:
                raise ValueError(f"the {name} of a mix must be {fit} in this supernet, got {list(part.shape)}")
