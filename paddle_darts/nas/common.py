"""PaddleSlim's small helpers under its names."""

from __future__ import annotations

import logging
import sys

import numpy as np

FORMAT = "%(asctime)s-%(levelname)s: %(message)s"


class AverageMeter:
    """A running mean; PaddleSlim spells it AvgrageMeter.

    ``avg`` and ``sum`` are plain numbers. Deviation: PaddleSlim hands on whatever array the loss was, so that the mean
    of a 0-D loss cannot be indexed as its own log line does.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.avg, self.sum, self.cnt = 0.0, 0.0, 0

    def update(self, val: object, n: int = 1) -> None:
        """Adds a value that stands for ``n`` samples: a number, or an array or tensor of one value."""
        value = np.asarray(val, dtype=np.float64)
        if value.size != 1:
            raise ValueError(f"a meter takes one value at a time, got an array of {list(value.shape)}")
        self.sum += float(value.reshape(())) * n
        self.cnt += n
        self.avg = self.sum / self.cnt if self.cnt else 0.0


AvgrageMeter = AverageMeter


def get_logger(name: str, level: int = logging.INFO, fmt: str = FORMAT) -> logging.Logger:
    """The logger ``name`` with one handler that writes to the standard error.

    Asked again it changes level and format of that handler; PaddleSlim adds another one, and every line comes twice.
    """
    logger = logging.getLogger(name)
    logger.setLevel(level)
    logger.propagate = False  # or a root logger that has a handler writes the line once more
    handler = next((h for h in logger.handlers if getattr(h, "_paddle_darts", False)), None)
    if handler is None:
        handler = logging.StreamHandler(sys.stderr)
        handler._paddle_darts = True
        logger.addHandler(handler)
    handler.setFormatter(logging.Formatter(fmt))
    return logger
