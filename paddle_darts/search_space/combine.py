"""Several search spaces as one list of tokens, and PaddleSlim's factory for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import AnyGenotype
from paddle_darts.search_space.base import SEARCHSPACE, Arch, SearchSpaceBase
from paddle_darts.spaces.tokens import RangeTable, generator

log = logging.getLogger(__name__)

#: What PaddleSlim gives to every space; only spaces made of blocks use it.
BLOCK_ARGUMENTS = ("input_size", "output_size", "block_num", "block_mask")


class CombineSearchSpace:
    """The tokens of several spaces one after another.

    ``configs`` is a list whose entries are a name of ``SEARCHSPACE``, a pair of a name and the arguments of the class,
    or a `SearchSpaceBase`. Source: paddleslim/nas/search_space/combine_search_space.py (2.6.0).
    """

    def __init__(self, configs: Sequence[Any]) -> None:
        if isinstance(configs, str) or not isinstance(configs, Sequence) or not configs:
            raise ConfigError(f"configs is a list of search spaces such as [('NB201Space', {{}})], got {configs!r}")
        self.spaces: list[SearchSpaceBase] = [_space(config) for config in configs]

    def init_tokens(self, tokens: list[int] | None = None) -> list[int]:
        """All initial tokens; ``tokens`` are only checked."""
        return self._joined(space.init_tokens() for space in self.spaces) if tokens is None else self.validate(tokens)

    def range_table(self) -> list[int]:
        """All ranges."""
        return self._joined(space.range_table() for space in self.spaces)

    def token2arch(self, tokens: list[int] | None = None) -> list[Arch]:
        """One builder of networks per space."""
        parts = self.split(self.init_tokens(tokens))
        return [space.token2arch(part) for space, part in zip(self.spaces, parts, strict=True)]

    def tokens2genotype(self, tokens: list[int]) -> list[AnyGenotype]:
        """One genotype per space."""
        return [space.tokens2genotype(part) for space, part in zip(self.spaces, self.split(tokens), strict=True)]

    def genotype2tokens(self, genotypes: Sequence[Any]) -> list[int]:
        """The tokens of one genotype per space."""
        if len(genotypes) != len(self.spaces):
            raise ConfigError(f"expected {len(self.spaces)} genotypes, one per space, got {len(genotypes)}")
        return self._joined(space.genotype2tokens(g) for space, g in zip(self.spaces, genotypes, strict=True))

    def split(self, tokens: list[int]) -> list[list[int]]:
        """The tokens of each space; ConfigError for a wrong number of them."""
        table, parts, begin = RangeTable.of(self.range_table()), [], 0
        tokens = table.check(tokens)
        for space in self.spaces:
            parts.append(tokens[begin : begin + len(space)])
            begin += len(space)
        return parts

    def validate(self, tokens: Any) -> list[int]:
        """``tokens`` as a new list, each part as its space wants it."""
        parts = self.split(tokens)
        return self._joined(space.validate(part) for space, part in zip(self.spaces, parts, strict=True))

    def random_tokens(self, rng: Any = None) -> list[int]:
        """Random tokens of every space; a seed is used for all of them together."""
        rng = generator(rng)
        return self._joined(space.random_tokens(rng) for space in self.spaces)

    def size(self) -> int:
        """How many valid token lists there are."""
        found = 1
        for space in self.spaces:
            found *= space.size()
        return found

    def __len__(self) -> int:
        return len(self.range_table())

    @staticmethod
    def _joined(parts: Any) -> list[int]:
        return [token for part in parts for token in part]


class SearchSpaceFactory:
    """PaddleSlim's way to a combined space: ``SearchSpaceFactory().get_search_space(configs)``."""

    def get_search_space(self, config_lists: Sequence[Any]) -> CombineSearchSpace:
        """The spaces of ``config_lists`` combined."""
        return CombineSearchSpace(config_lists)


def _space(config: Any) -> SearchSpaceBase:
    if isinstance(config, SearchSpaceBase):
        return config
    name, given = (config, None) if isinstance(config, str) else _pair(config)
    options = dict(given or {})
    blocks = [options.pop(key, None) for key in BLOCK_ARGUMENTS]
    if "Block" not in name and any(value is not None for value in blocks):
        log.warning("%s is not made of blocks: %s have no effect", name, ", ".join(BLOCK_ARGUMENTS))
    # as PaddleSlim calls its own classes, so that they can be registered here
    return SEARCHSPACE[name](*blocks[:3], block_mask=blocks[3], **options)


def _pair(config: Any) -> tuple[str, Mapping[str, Any] | None]:
    if isinstance(config, Sequence) and len(config) == 2:
        name, options = config
        if isinstance(name, str) and isinstance(options, Mapping | None):
            return name, options
    raise ConfigError(f"a search space is a name or a pair (name, arguments), got {config!r}")
