"""Token views of search spaces, with PaddleSlim's names and verbs: architectures as lists of small integers."""

from paddle_darts.search_space.base import SEARCHSPACE, SearchSpaceBase
from paddle_darts.search_space.combine import CombineSearchSpace, SearchSpaceFactory
from paddle_darts.search_space.darts_cells import DartsCellSpace
from paddle_darts.search_space.darts_channels import DartsSpace
from paddle_darts.search_space.nas_bench_201 import NB201Space

__all__ = [
    "SEARCHSPACE",
    "CombineSearchSpace",
    "DartsCellSpace",
    "DartsSpace",
    "NB201Space",
    "SearchSpaceBase",
    "SearchSpaceFactory",
]
