"""PaddleSlim's names and verbs over this library's engine, controllers and search spaces.

Who searched with ``paddleslim.nas`` changes the import and leaves ``paddle.enable_static()`` out.
"""

from __future__ import annotations

from paddle_darts.controllers.remote import FileLock, lock, unlock
from paddle_darts.nas.common import AverageMeter, AvgrageMeter, get_logger
from paddle_darts.nas.darts_search import DARTSearch, DARTSResult
from paddle_darts.nas.early_stop import EarlyStopBase, MedianStop
from paddle_darts.nas.protocol import count_parameters_in_MB, get_genotype
from paddle_darts.nas.rl_nas import RLNAS
from paddle_darts.nas.sa_nas import SANAS

__all__ = [
    "RLNAS",
    "SANAS",
    "AverageMeter",
    "AvgrageMeter",
    "DARTSResult",
    "DARTSearch",
    "EarlyStopBase",
    "FileLock",
    "MedianStop",
    "count_parameters_in_MB",
    "get_genotype",
    "get_logger",
    "lock",
    "unlock",
]
