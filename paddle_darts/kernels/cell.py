"""Runs plans on Paddle tensors, forward and backward."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import numpy as np
import paddle
from paddle import _C_ops
from paddle.autograd import PyLayer

from paddle_darts.kernels.library import library
from paddle_darts.kernels.plan import Plan
from paddle_darts.threads import thread_count

#: paddle.empty takes three times as long, and a cell needs hundreds
_empty = _C_ops.empty
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

    What the output does not depend on has no gradient, and masks have none.

    ``inputs`` are float32 or float64 CPU tensors [B, C, H, W] of one type, which the parameters have too.
    ``coefficients`` [n] and ``scales`` [rows, B] are numbered by the steps of the plan. In ``training`` norms use the
    statistics of the batch and, with ``track``, move their running ones; else they use the running ones. Parameters
    must not change between the forward and the backward pass. ValueError for arguments that do not fit the plan.
    """
    _check_arguments(plan, inputs, coefficients, scales)
    weights = () if coefficients is None else (coefficients,)
    pointed_at = [
        [t.contiguous() for t in tensors] for tensors in (weights, inputs, () if scales is None else (scales,))
    ]
    arguments = _Arguments(plan, *pointed_at, training, track)
    tensors = [*weights, *inputs, *(plan.params[i] for i in plan.learning)]
    idle = {len(weights) + i for i in range(len(inputs)) if i not in plan.leading}
    wanted = [i for i, t in enumerate(tensors) if not t.stop_gradient and i not in idle]
    wanted = wanted if paddle.is_grad_enabled() else []
    return _PlanFunction.apply(arguments, wanted, [tensors[i] for i in wanted]) if wanted else arguments.forward()


def _check_arguments(
    plan: Plan, inputs: Sequence[paddle.Tensor], coefficients: paddle.Tensor | None, scales: paddle.Tensor | None
) -> None:
    """The kernels trust their arguments, so what they are given is checked here."""
    dtype, batch = inputs[0].dtype, inputs[0].shape[0]
    given = [*inputs, *plan.params, *(t for t in (coefficients, scales) if t is not None)]
    if dtype not in (paddle.float32, paddle.float64) or any(t.dtype != dtype for t in given):
        raise ValueError(f"the kernels take float32 or float64 throughout, got {sorted({str(t.dtype) for t in given})}")
    if not all(t.place.is_cpu_place() for t in inputs):
        raise ValueError(f"the kernels take tensors on the CPU, got {inputs[0].place}")
    shapes = [x.shape for x in inputs]
    fit = len(shapes) == len(plan.inputs) and all(
        len(s) == 4 and s[0] == batch and s[1] == c for s, c in zip(shapes, plan.inputs, strict=True)
    )
    if not fit or min(min(s) for s in shapes) < 1:
        raise ValueError(f"the plan takes inputs [B, C, H, W] of one batch with C = {plan.inputs}, got {shapes}")
    if plan.coefficients and (coefficients is None or coefficients.ndim != 1 or len(coefficients) < plan.coefficients):
        raise ValueError(f"the plan takes {plan.coefficients} coefficients")
    if plan.scales and (scales is None or scales.ndim != 2 or len(scales) < plan.scales or scales.shape[1] != batch):
        got = None if scales is None else scales.shape
        raise ValueError(f"the plan takes scales [{plan.scales}, {batch}], got {got}")


class _PlanFunction(PyLayer):
    """The two passes; the tensors are those of coefficients, inputs and parameters that want a gradient.

    They come as one list, because `paddle.grad` with respect to some tensors refuses a gradient for an argument that
    does not lead to any of them: one argument for all is always on the way.
    """

    @staticmethod
    def forward(ctx, arguments: _Arguments, wanted: list[int], tensors: list[paddle.Tensor]) -> paddle.Tensor:
        ctx.arguments, ctx.wanted = arguments, wanted
        return arguments.forward()

    @staticmethod
    def backward(ctx, grad: paddle.Tensor) -> list[paddle.Tensor]:
        return ctx.arguments.backward(grad.contiguous(), ctx.wanted)


class _Arguments:
    """The arguments of both passes, with all that their pointers point to."""

    def __init__(
        self,
        plan: Plan,
        weights: Sequence[paddle.Tensor],
        inputs: Sequence[paddle.Tensor],
        scales: Sequence[paddle.Tensor],
        training: bool,
        track: bool,
    ) -> None:
        layers = [layer for _, layer in plan.tracked]
        self._plan, self._weights, self._inputs, self._scales = plan, weights, inputs, scales
        self._dtype, self._wide = inputs[0].dtype, inputs[0].dtype == paddle.float64
        self._library, self._arrays = _declared(library()), []
        self._call = _Call(
            program=self._array(plan.program),
            sizes=self._array(np.array([x.shape[2:] for x in inputs], dtype=np.int64)),
            batch=inputs[0].shape[0],
            inputs=self._pointers(inputs),
            params=self._pointers(plan.params),
            coefficients=weights[0].data_ptr() if weights else None,
            scales=scales[0].data_ptr() if scales else None,
            running_mean=self._pointers([layer._parameters["_mean"] for layer in layers]),
            running_variance=self._pointers([layer._parameters["_variance"] for layer in layers]),
            tracked=self._array(np.array([number for number, _ in plan.tracked], dtype=np.int64)),
            tracked_count=len(layers),
            training=training,
            track=track,
            threads=thread_count(),
            momentum=layers[0]._momentum if layers else 0.0,
            epsilon=layers[0]._epsilon if layers else 0.0,
        )

    def forward(self) -> paddle.Tensor:
        call, sizes = self._call, np.zeros(5, dtype=np.int64)
        _check(self._library.pd_measure(call.program, call.sizes, call.batch, self._wide, _at(sizes)))
        channels, height, width, maps, statistics = sizes.tolist()
        # what the kernels keep for their backward pass
        self._kept = paddle.empty([maps], self._dtype), paddle.empty([statistics], self._dtype)
        call.maps, call.stats = (t.data_ptr() for t in self._kept)
        out = paddle.empty([call.batch, channels, height, width], self._dtype)
        call.out = out.data_ptr()
        _check(self._library.pd_forward(ctypes.byref(call), self._wide))
        return out

    def backward(self, grad: paddle.Tensor, wanted: Sequence[int]) -> list[paddle.Tensor]:
        """The gradients of the tensors number ``wanted`` among coefficients, inputs and learning parameters."""
        call, plan = self._call, self._plan
        tensors = [*self._weights, *self._inputs, *(plan.params[i] for i in plan.learning)]
        grads: list[paddle.Tensor | None] = [None] * len(tensors)
        for i in wanted:
            grads[i] = _empty(tensors[i].shape, self._dtype, tensors[i].place)
        if self._weights and grads[0] is not None:
            # a coefficient that no step reaches keeps its zero; all other gradients are written in full
            call.grad_coefficients = grads[0].zero_().data_ptr()
        first = len(self._weights) + len(self._inputs)
        by_number: list[paddle.Tensor | None] = [None] * len(plan.params)
        for number, gradient in zip(plan.learning, grads[first:], strict=True):
            by_number[number] = gradient
        call.grad_out = grad.data_ptr()
        call.grad_inputs = self._pointers(grads[len(self._weights) : first])
        call.grad_params = self._pointers(by_number)
        _check(self._library.pd_backward(ctypes.byref(call), self._wide))
        return [grads[i] for i in wanted]

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
