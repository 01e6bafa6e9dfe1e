"""What fixes the shape of a supernet."""

from __future__ import annotations

import math
from dataclasses import dataclass

from paddle_darts.errors import ConfigError, unknown
from paddle_darts.networks.evaluation import check_size
from paddle_darts.spaces import get_space
from paddle_darts.spaces.darts import edge_stride

CHANNEL_SAMPLINGS = ("shuffle", "shift", "random")

#: Which candidates of a kind of cell are built: per edge, per column.
Switches = tuple[tuple[bool, ...], ...]


@dataclass(frozen=True)
class SupernetSpec:
    """Everything that fixes the shape of a supernet; two equal specs build the same network.

    ``ops`` are the candidates in the order of the columns of a mix (None: the primitives of the space). ``switches``,
    one table for each kind of cell, say which of them are built (None: all): the others have neither parameters nor
    maps, but keep their column and are inactive whatever a mix says.

    ``partial_channels`` K > 1: only C/K channels of an edge go through its candidates, the others pass by, halved by
    2x2 max pooling where the edge has stride 2. ``channel_sampling`` says which: "shuffle" takes the first ones and
    interleaves the K groups at the end of every edge; "shift" takes the first ones and puts them last; "random" draws
    one permutation per edge and forward pass, and the channels stay in its order. With K = 1 there is nothing to
    choose. Source: PC-DARTS (arXiv 1907.05737), model_search.py; deviations: maps of odd size are pooled too, and
    "random" does what the official "random sampling" says (it forgets the permutation).

    ``skip_dropout``: skip connections of stride 1 have element-wise dropout while training, with
    ``Supernet.skip_dropout_prob``. Source: P-DARTS (arXiv 1904.12760), model_search.py.

    ``layers`` are the cells, in the NAS-Bench-201 space with the residual blocks between them. ``pool_bn``: a batch
    norm after every pooling; ``affine``: norms of candidates have scale and shift; ``track_running_stats``: they have
    running statistics to be evaluated with (else always those of the batch). What is None is the space's own choice.
    """

    space: str = "darts"
    in_channels: int = 3
    num_classes: int = 10
    init_channels: int = 16
    layers: int | None = None
    steps: int | None = None
    multiplier: int | None = None
    stem_multiplier: int | None = None
    stem: str = "cifar"
    reductions: tuple[int, ...] | None = None
    pool_bn: bool | None = None
    affine: bool = False
    track_running_stats: bool | None = None
    ops: tuple[str, ...] | None = None
    switches: tuple[Switches, ...] | None = None
    partial_channels: int = 1
    channel_sampling: str = "shuffle"
    skip_dropout: bool = False

    def __post_init__(self) -> None:
        for name in ("layers", "steps", "multiplier", "stem_multiplier", "pool_bn", "track_running_stats"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(get_space(self.space), name))
        check_size(self.layers, self.init_channels, odd=not self._halves_maps)
        _ = self.kinds  # a depth that the space does not have is an error now
        if self.steps < 1 or not 1 <= self.multiplier <= self.steps:
            raise ConfigError(
                f"steps must be at least 1 and multiplier between 1 and steps, got steps={self.steps}, "
                f"multiplier={self.multiplier}"
            )
        if self.stem not in ("cifar", "imagenet"):
            raise ConfigError(f"stem must be 'cifar' or 'imagenet', got {self.stem!r}")
        if self.ops is not None:
            self._set_ops()
        if self.switches is not None:
            self._set_switches()
        self._check_partial_channels()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each searched cell, such as "normal" or "reduce"."""
        return get_space(self.space).layout(self.layers, self.reductions)

    @property
    def kind_names(self) -> tuple[str, ...]:
        """The kinds that there are, in the order of ``switches``."""
        return get_space(self.space).kinds

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The (node, source state) of each edge of a cell."""
        return get_space(self.space).edges(self.steps)

    @property
    def node_rows(self) -> list[range]:
        """The rows of the edges into each node."""
        return get_space(self.space).node_rows(self.steps)

    @property
    def every_edge(self) -> bool:
        """Whether a genotype of the space has one operation on every edge, `none` included."""
        return get_space(self.space).every_edge

    @property
    def num_edges(self) -> int:
        return len(self.edges)

    @property
    def primitives(self) -> tuple[str, ...]:
        """The candidates of an edge, in the order of the columns of a mix."""
        return get_space(self.space).primitives if self.ops is None else self.ops

    def switched_on(self, kind: str) -> Switches:
        """Which candidates the cells of a kind have: per edge, per column."""
        if self.switches is None:
            return ((True,) * len(self.primitives),) * self.num_edges
        return self.switches[self.kind_names.index(kind)]

    def _set_ops(self) -> None:
        names, known = tuple(self.ops), get_space(self.space).ops
        for name in names:
            if name not in known:
                raise ConfigError(unknown("operation", name, known))
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"ops must be one or more different operations, got {', '.join(names) or 'an empty list'}"
            )
        object.__setattr__(self, "ops", names)

    def _set_switches(self) -> None:
        rows, columns = self.num_edges, len(self.primitives)
        # tuples of plain bools whatever was given, for specs are compared and hashed
        tables = tuple(tuple(tuple(bool(on) for on in row) for row in table) for table in self.switches)
        names = self.kind_names
        fit = len(tables) == len(names) and all(len(t) == rows and all(len(r) == columns for r in t) for t in tables)
        if not fit:
            got = " and ".join(f"{len(t)} rows of {'/'.join(map(str, sorted({len(r) for r in t})))}" for t in tables)
            raise ConfigError(
                f"switches must be a table of {rows} edges x {columns} candidates for each kind of cell "
                f"({', '.join(names)}), got {got}"
            )
        object.__setattr__(self, "switches", tables)

    def _check_partial_channels(self) -> None:
        parts = self.partial_channels
        if self.channel_sampling not in CHANNEL_SAMPLINGS:
            raise ConfigError(unknown("channel_sampling", str(self.channel_sampling), CHANNEL_SAMPLINGS))
        if isinstance(parts, bool) or not isinstance(parts, int) or parts < 1:
            raise ConfigError(f"partial_channels must be a whole number of at least 1, got {parts!r}")
        if parts == 1:
            return
        multiple, wider = 2 if self._halves_maps else 1, 1
        for kind in self.kinds:
            wider *= 2 if kind == "reduce" else 1
            needed = 2 * parts if self._halves_a_skip(kind) else parts
            multiple = math.lcm(multiple, needed // math.gcd(needed, wider))
        if self.init_channels % multiple:
            raise ConfigError(
                f"with partial_channels={parts} init_channels must be a multiple of {multiple}, "
                f"got {self.init_channels}"
            )

    @property
    def _halves_maps(self) -> bool:
        """Whether there are cells that halve their maps, and with them layers that join two halves of channels."""
        return "reduce" in self.kind_names

    def _halves_a_skip(self, kind: str) -> bool:
        """Whether a cell of the kind has a skip connection of stride 2, which joins two halves of its channels."""
        if "skip_connect" not in self.primitives:
            return False
        column = self.primitives.index("skip_connect")
        strides = [edge_stride(kind == "reduce", source) for _, source in self.edges]
        return any(stride == 2 and on[column] for stride, on in zip(strides, self.switched_on(kind), strict=True))
