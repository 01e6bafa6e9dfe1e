"""Runs plans on Paddle tensors, forward and backward."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import paddle
from paddle.autograd import PyLayer

from paddle_darts.kernels.library import library
from paddle_darts.kernels.plan import Plan
from paddle_darts.threads import thread_count

_POINTER, _INTEGER, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double


class _Call(ctypes.Structure):
    """`struct Call` of csrc/run.h."""

    _fields_ = (
        *((name, _POINTER) for name in ("program", "sizes")),
        ("batch", _INTEGER),
        *((name, _POINTER) for name in ("inputs", "params", "coefficients", "scales")),
        *((name, _POINTER) for name in ("running_mean", "running_variance", "tracked")),
        *((name, _INTEGER) for name in ("tracked_count", "training", "track", "threads")),
        *((name, _REAL) for name in ("momentum", "epsilon")),
        *((name, _POINTER) for name in ("out", "maps", "stats")),
        *((name, _POINTER) for name in ("grad_out", "grad_inputs", "grad_params", "grad_coefficients")),
    )


@functools.cache
def _declared(handle: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of its functions."""
    handle.pd_measure.argtypes = [_POINTER, _POINTER, _INTEGER, _INTEGER, _POINTER]
    handle.pd_forward.argtypes = handle.pd_backward.argtypes = [_POINTER, _INTEGER]
    for function in (handle.pd_measure, handle.pd_forward, handle.pd_backward):
        function.restype = ctypes.c_char_p
    return handle


@dataclass(eq=False)
class _Pass:
    """One call's share of what both its passes need. ``kept`` are the buffers that the kernels fill for themselves."""

    plan: Plan
    weighted: bool
    training: bool
    track: bool
    scales: paddle.Tensor | None
    handle: ctypes.CDLL = field(default_factory=lambda: _declared(library()))
    kept: tuple[paddle.Tensor, ...] = ()
    wanted: list[bool] = field(default_factory=list)

    def split(self, tensors: Sequence) -> tuple[Sequence, Sequence, Sequence]:
        """Coefficients (one or none), inputs and parameters."""
        first, second = int(self.weighted), int(self.weighted) + self.plan.inputs
        return tensors[:first], tensors[first:second], tensors[second:]


def run_plan(
    plan: Plan,
    inputs: Sequence[paddle.Tensor],
    coefficients: paddle.Tensor | None = None,
    scales: paddle.Tensor | None = None,
    *,
    training: bool,
    track: bool = True,
) -> paddle.Tensor:
    """The output [B, C, H, W] of ``plan``, differentiable once by inputs, parameters and coefficients.

    ``inputs`` are float32 or float64 CPU tensors [B, C, H, W] of one type, which the parameters have too.
    ``coefficients`` [n] and ``scales`` [rows, B] are numbered by the steps of the plan. In ``training`` norms use the
    statistics of the batch and, with ``track``, move their running ones; else they use the running ones. Parameters
    must not change between the forward and the backward pass.
    """
    work = _Pass(plan, coefficients is not None, training, track, scales)
    weights = [] if coefficients is None else [coefficients]
    return _PlanFunction.apply(work, *weights, *inputs, *(plan.params[i] for i in plan.learning))


class _PlanFunction(PyLayer):
    """The two passes; tensors are those of ``_Pass.split``, the parameters being the learning ones."""

    @staticmethod
    def forward(ctx, work: _Pass, *tensors: paddle.Tensor) -> paddle.Tensor:
        weights, inputs, _ = work.split(tensors)
        inputs = [x if x.is_contiguous() else x.contiguous() for x in inputs]
        arguments = _Arguments(work, weights, inputs)
        out, work.kept = arguments.measure()
        work.wanted = [not t.stop_gradient for t in tensors]
        arguments.call.out = out.data_ptr()
        arguments.execute(work.handle.pd_forward)
        ctx.work = work
        ctx.save_for_backward(*weights, *inputs)
        return out

    @staticmethod
    def backward(ctx, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        work, saved = ctx.work, ctx.saved_tensor()
        weights, inputs, _ = work.split(saved)
        grad = grad if grad.is_contiguous() else grad.contiguous()
        # what no step of a coefficient reaches stays zero; all else is written in full
        tensors = [*saved, *(work.plan.params[i] for i in work.plan.learning)]
        make = [paddle.zeros_like] * len(weights) + [paddle.empty_like] * (len(tensors) - len(weights))
        grads = [f(t) if wanted else None for f, t, wanted in zip(make, tensors, work.wanted, strict=True)]
        arguments = _Arguments(work, weights, inputs)
        arguments.backward(grad, *work.split(grads))
        arguments.execute(work.handle.pd_backward)
        return tuple(grads)


class _Arguments:
    """The arguments of a pass, and the arrays behind their pointers."""

    def __init__(self, work: _Pass, weights: Sequence[paddle.Tensor], inputs: Sequence[paddle.Tensor]) -> None:
        self._work, self._arrays, self._input = work, [], inputs[0]
        plan, layers = work.plan, [layer for _, layer in work.plan.tracked]
        self.call = _Call(
            program=self._array(plan.program),
            sizes=self._array(np.array([x.shape[2:] for x in inputs], dtype=np.int64)),
            batch=inputs[0].shape[0],
            inputs=self._pointers(inputs),
            params=self._pointers(plan.params),
            coefficients=weights[0].data_ptr() if weights else None,
            scales=None if work.scales is None else work.scales.data_ptr(),
            running_mean=self._pointers([layer._mean for layer in layers]),
            running_variance=self._pointers([layer._variance for layer in layers]),
            tracked=self._array(np.array([number for number, _ in plan.tracked], dtype=np.int64)),
            tracked_count=len(layers),
            training=work.training,
            track=work.track,
            threads=thread_count(),
            momentum=layers[0]._momentum if layers else 0.0,
            epsilon=layers[0]._epsilon if layers else 0.0,
        )
        self._keep()

    def measure(self) -> tuple[paddle.Tensor, tuple[paddle.Tensor, ...]]:
        """Memory for the output, and for what is kept until the backward pass."""
        sizes, call = np.zeros(5, dtype=np.int64), self.call
        _check(self._work.handle.pd_measure(call.program, call.sizes, call.batch, self._wide, _at(sizes)))
        channels, height, width, maps, statistics = sizes.tolist()
        dtype = self._input.dtype
        self._work.kept = (paddle.empty([maps], dtype), paddle.empty([statistics], dtype))
        self._keep()
        return paddle.empty([call.batch, channels, height, width], dtype), self._work.kept

    def backward(self, grad: paddle.Tensor, weights: Sequence, inputs: Sequence, params: Sequence) -> None:
        """Where the gradients are to be written; None where none is wanted."""
        every: list[paddle.Tensor | None] = [None] * len(self._work.plan.params)
        for number, gradient in zip(self._work.plan.learning, params, strict=True):
            every[number] = gradient
        self.call.grad_out = grad.data_ptr()
        self.call.grad_inputs, self.call.grad_params = self._pointers(inputs), self._pointers(every)
        if weights and weights[0] is not None:
            self.call.grad_coefficients = weights[0].data_ptr()

    def execute(self, function: ctypes._CFuncPtr) -> None:
        _check(function(ctypes.byref(self.call), self._wide))

    @property
    def _wide(self) -> bool:
        return self._input.dtype == paddle.float64

    def _keep(self) -> None:
        if self._work.kept:
            self.call.maps, self.call.stats = (t.data_ptr() for t in self._work.kept)

    def _pointers(self, tensors: Sequence[paddle.Tensor | None]) -> int:
        return self._array(np.array([0 if t is None else t.data_ptr() for t in tensors], dtype=np.uint64))

    def _array(self, array: np.ndarray) -> int:
        self._arrays.append(array)
        return _at(array)


def _at(array: np.ndarray) -> int:
    return array.ctypes.data


def _check(message: bytes | None) -> None:
    if message:
        raise MemoryError(message.decode()) if message == b"out of memory" else ValueError(message.decode())
