"""What a method tells a supernet."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import paddle


@dataclass(frozen=True, eq=False)
class CellMix:
    """How one cell mixes its candidates.

    ``ops``: weights [edges, ops], differentiable. ``active``: bool [edges, ops]; what is off is neither computed nor
    given a gradient (None: all on). ``edges``: weights [edges] of whole edges (None: all 1). ``offset``: scalars
    [edges] added to an edge's output (None: nothing), which lets a hard sample pass on gradients of what it did
    not choose. Cells with the same weights share one object.
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
