"""How many times a step calls an operator of the framework: the overhead that no kernel can make faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle.autograd import PyLayer
from paddle.profiler import Profiler, ProfilerTarget, RecordEvent, TracerEventType

#: PythonOp is the kind of the events that we add; those of the framework's own functions have the others.
_CALLS = (TracerEventType.Operator, TracerEventType.DygraphKernelLaunch, TracerEventType.PythonOp)
#: In the names of the events of a PyLayer, forward and backward.
_FUNCTION = "PyLayer"


def count_op_calls(run: Callable[[], Any]) -> int:
    """Operator calls of ``run``, forward and backward, on all threads.

    Paddle's profiler records an event for every call. Counted are those inside no other: one for a function of the
    framework, however many kernels it launches; one for a node of the backward graph; one for a custom operator. A
    PyLayer (our kernels are such) counts as one forward and one backward, and what it calls counts besides. Not
    counted are the sums of gradients that meet at one tensor (Paddle records no event for them) and copies between
    NumPy and tensors.
    """
    profiler = Profiler(targets=[ProfilerTarget.CPU], on_trace_ready=lambda _: None)
    with _everything_recorded():
        profiler.start()
        try:
            run()
        finally:
            profiler.stop()
    return sum(_count(root) for root in profiler.profiler_result.get_data().values())


def _count(event: Any) -> int:
    # nodes that accumulate only keep a gradient
    called = int(event.type in _CALLS and "GradNodeAccumulation" not in event.name)
    if called and _FUNCTION not in event.name:
        return called
    return called + sum(_count(inner) for inner in event.children_node)


@contextmanager
def _everything_recorded() -> Iterator[None]:
    """Gives the forward calls of custom operators and PyLayers the event that Paddle (3.3) forgets."""
    call = paddle._C_ops._run_custom_op

    def custom(name: str, *args: Any) -> Any:
        with RecordEvent(name, TracerEventType.PythonOp):
            return call(name, *args)

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        with RecordEvent(f"{_FUNCTION} {cls.__name__}", TracerEventType.PythonOp):
            return super(PyLayer, cls).apply(*args, **kwargs)

    paddle._C_ops._run_custom_op = custom
    PyLayer.apply = classmethod(apply)
    try:
        yield
    finally:
        paddle._C_ops._run_custom_op = call
        del PyLayer.apply  # it was inherited
