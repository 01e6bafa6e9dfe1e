"""Run an iterator in a background thread, a few items ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
_END = object()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetched(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """Yield ``items`` in order, with up to ``depth`` of them made ahead in a thread (0: no thread).

    An exception of the producer is raised here, at the position where it happened. When the consumer stops
    early (break, close, exception) the thread is told, and has ended before the generator is closed.
    """
    if depth < 1:
        yield from items
        return
    ready: queue.Queue = queue.Queue(maxsize=depth)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, ready, stop), name="paddle_darts-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        stop.set()
        # The producer may wait for a free place: one round of emptying is enough, because it looks at
        # ``stop`` before every further item.
        while not ready.empty():
            ready.get_nowait()
        thread.join()


def _produce(items: Iterable[T], ready: queue.Queue, stop: threading.Event) -> None:
    last: object = _END
    try:
        for item in items:
            if stop.is_set():
                return
            ready.put(item)
            if stop.is_set():
                return
    except BaseException as error:  # handed over, not swallowed: the consumer raises it
        last = _Failure(error)
    if not stop.is_set():
        ready.put(last)
