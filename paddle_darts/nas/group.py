"""Processes that evaluate one proposal together: rank 0 decides, all are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import paddle

T = TypeVar("T")


class Group:
    """The processes of ``paddle.distributed.launch``, or this one alone.

    ``together`` None: all of them if Paddle's parallel environment has several. Every method must be called by all.
    """

    def __init__(self, together: bool | None = None) -> None:
        several = paddle.distributed.get_world_size() > 1
        self._together = several if together is None else together and several
        if self._together and not paddle.distributed.is_initialized():
            paddle.distributed.init_parallel_env()

    @property
    def alone(self) -> bool:
        """Whether this process has nobody to wait for."""
        return not self._together

    @property
    def leads(self) -> bool:
        """Whether this process decides."""
        return not self._together or paddle.distributed.get_rank() == 0

    def tell(self, decide: Callable[[], T]) -> T:
        """What ``decide`` returns in the process that leads; its exception is raised in all of them."""
        if not self._together:
            return decide()
        said: list[Any] = [None, None]
        if self.leads:
            try:
                said[0] = decide()
            except Exception as error:
                said[1] = error
        paddle.distributed.broadcast_object_list(said, src=0)
        if said[1] is not None:
            raise said[1]
        return said[0]

    def mean(self, value: float) -> float:
        """The mean over all processes."""
        if not self._together:
            return value
        total = paddle.to_tensor(value, dtype="float64")
        paddle.distributed.all_reduce(total)
        return float(total) / paddle.distributed.get_world_size()
