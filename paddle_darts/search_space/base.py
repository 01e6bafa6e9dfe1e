"""What a token view of a search space can do, and the registry of such views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from paddle import nn

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import AnyGenotype
from paddle_darts.networks.supernet import SearchNetwork
from paddle_darts.registry import Registry
from paddle_darts.spaces.tokens import RangeTable

#: Token views by class name; a user's own class is added by ``@SEARCHSPACE.register``.
SEARCHSPACE = Registry("SEARCHSPACE")

#: Builds a network: ``arch()`` or ``arch(num_classes=100, ...)``.
Arch = Callable[..., nn.Layer]


class SearchSpaceBase(ABC):
    """Architectures as lists of small integers (tokens), for controllers and for PaddleSlim's searches.

    A subclass gives ``init_tokens``, ``range_table`` and ``token2arch``, as in PaddleSlim; where tokens mean cells
    also ``tokens2genotype`` and ``genotype2tokens``. ``len(space)`` is the number of tokens.

    Args:
        input_size, output_size, block_num, block_mask: PaddleSlim's, for spaces that are made of blocks. The spaces of
            this package have no use for them and only take them so that PaddleSlim can build these classes.
        options: passed on to what builds the networks (``init_channels``, ``layers``, ...), whose defaults they
            replace.

    Source: paddleslim/nas/search_space/search_space_base.py (2.6.0). Deviation: ``token2arch`` gives a function that
    returns an ``nn.Layer`` instead of one that adds to a static program.
    """

    def __init__(
        self,
        input_size: int | None = None,
        output_size: int | None = None,
        block_num: int | None = None,
        block_mask: list[int] | None = None,
        *args: Any,
        **options: Any,
    ) -> None:
        self.input_size, self.output_size = input_size, output_size
        self.block_num, self.block_mask = block_num, block_mask
        self.options = options

    @abstractmethod
    def init_tokens(self, tokens: list[int] | None = None) -> list[int]:
        """Where a search starts: ``tokens`` if given (checked), else the space's own."""

    @abstractmethod
    def range_table(self) -> list[int]:
        """For every token the number of its values, which count from 0."""

    @abstractmethod
    def token2arch(self, tokens: list[int] | None = None) -> Arch:
        """A function that builds the network of ``tokens`` (None: the initial ones) each time it is called."""

    def super_net(self, **options: Any) -> SearchNetwork:
        """The network that shares weights between all architectures, where there is one."""
        raise NotImplementedError(f"{type(self).__name__} has no network that shares weights")

    def tokens2genotype(self, tokens: list[int]) -> AnyGenotype:
        """The cells that ``tokens`` stand for."""
        raise NotImplementedError(f"the tokens of {type(self).__name__} stand for no genotype")

    def genotype2tokens(self, genotype: Any) -> list[int]:
        """The tokens of a genotype (or of what means one); GenotypeError for one that the space does not hold."""
        raise GenotypeError(f"a genotype does not say what the tokens of {type(self).__name__} are")

    def validate(self, tokens: Any) -> list[int]:
        """``tokens`` as a new list; ConfigError (a ValueError) naming the position and range of a wrong one."""
        return self._table().check(tokens)

    def random_tokens(self, rng: Any = None) -> list[int]:
        """Tokens of an architecture drawn uniformly; ``rng``: a RandomSource, a NumPy generator, a seed or None."""
        return self._table().random(rng)

    def size(self) -> int:
        """How many valid token lists there are."""
        return self._table().size()

    def __len__(self) -> int:
        return len(self.range_table())

    def _table(self) -> RangeTable:
        return RangeTable.of(list(self.range_table()))
