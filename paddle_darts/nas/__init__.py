"""PaddleSlim's names and verbs over this library's engine, controllers and search spaces."""

from __future__ import annotations

from paddle_darts.nas.common import AverageMeter, AvgrageMeter, get_logger
from paddle_darts.nas.darts_search import DARTSearch, DARTSResult
from paddle_darts.nas.protocol import count_parameters_in_MB, get_genotype

__all__ = [
    "AverageMeter",
    "AvgrageMeter",
    "DARTSResult",
    "DARTSearch",
    "count_parameters_in_MB",
    "get_genotype",
    "get_logger",
]
