"""A restricted unpickler for data files of others: it reads values and never runs code.

CIFAR batches and the NAS benchmarks' image files are pickles, and a pickle can name any function of any
module. Here every name that a genuine data pickle may contain is answered by a stand-in of ours, and every
other name ends the reading. Not even NumPy's own constructors are called with values from the file: arrays
are noted down as plain records and built afterwards from checked fields.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import numpy as np

from paddle_darts.errors import DataError

_DTYPE = re.compile(r"[biufc][1-9][0-9]?|[SU][1-9][0-9]{0,5}")
_SCALARS = (bytes, str, int, float, bool, type(None))


def load(source: bytes | BinaryIO, *, name: str = "pickle", encoding: str = "bytes") -> Any:
    """Read one pickled value made of arrays, bytes, text, lists, tuples, dicts, numbers, bool and None.

    ``source`` is the pickle or an open binary file; all protocols and the pickles of Python 2 are read.
    ``encoding`` is the one of `pickle.load`: what Python 2's ``str`` becomes ("bytes" keeps it as it is,
    "latin1" makes text). Arrays may hold booleans, numbers, byte strings or text, never Python objects.
    Raises DataError, which begins with ``name``, for everything else and for damaged data.
    """
    try:
        content = source if isinstance(source, (bytes, bytearray, memoryview)) else source.read()
        value = _Unpickler(io.BytesIO(content), fix_imports=False, encoding=encoding).load()
        return _plain(value, {}, set())
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # a damaged pickle can raise nearly anything, MemoryError included
        raise DataError(
            f"{name}: not a readable pickle ({type(error).__name__}: {error}); the file is damaged or of another kind"
        ) from error


class _Unpickler(pickle._Unpickler):
    """The standard unpickler, every name answered by `_STAND_INS`.

    Its Python form, because the C form reserves memory by numbers in the file: ten bytes can ask for 64 GB.
    """

    def _load_bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(min(length, sys.maxsize)))

    dispatch: ClassVar = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: _load_bytearray}

    def get_extension(self, code: int) -> Any:
        raise DataError(f"refused: it asks for the registered extension {code}")

    def find_class(self, module: str, name: str) -> _StandIn:
        try:
            return _StandIn(_STAND_INS[module, name])
        except KeyError:
            raise DataError(
                f"refused: it asks for {module}.{name}; only arrays, bytes, text, lists, dicts and numbers are read"
            ) from None


class _StandIn:
    """What a name in the pickle becomes. No attributes and no state, so that a pickle cannot change it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setattr__(self, key: str, value: Any) -> None:
        raise DataError("refused: it tries to change a function")

    def __setstate__(self, state: Any) -> None:
        raise DataError("refused: it tries to change a function")


class _Dtype:
    """Record of a pickled ``numpy.dtype``: its code now, its byte order when the state follows."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = _text(code), "|"
        if not _DTYPE.fullmatch(self.code):
            raise DataError(f"refused: an array of type {self.code!r}; numbers, bytes or text are read")

    def __setstate__(self, state: Any) -> None:
        # (version, order, subarray, names, fields, size, alignment, flags): only plain types have no fields
        if any(part is not None for part in state[2:5]):
            raise DataError("refused: an array with fields")
        self.order = _text(state[1])
        if self.order not in ("<", ">", "=", "|"):
            raise DataError(f"refused: byte order {self.order!r}")

    def build(self) -> np.dtype:
        return np.dtype(("" if self.order == "|" else self.order) + self.code)


class _Array:
    """Record of a pickled array: filled by its state (or at once), turned into an array by `build`."""

    __slots__ = ("dtype", "fortran", "raw", "shape")

    def __init__(self, shape: Any = None, dtype: Any = None, fortran: bool = False, raw: Any = None) -> None:
        self.shape, self.dtype, self.fortran, self.raw = shape, dtype, fortran, raw

    def __setstate__(self, state: Any) -> None:
        # the oldest pickles have no version number in front
        self.shape, self.dtype, self.fortran, self.raw = state[-4:]

    def build(self) -> np.ndarray:
        if not isinstance(self.dtype, _Dtype):
            raise DataError("an array without type")
        dtype = self.dtype.build()
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw
        shape = tuple(self.shape)
        sizes_ok = all(type(size) is int and size >= 0 for size in shape)
        if not isinstance(raw, bytes) or not sizes_ok:
            raise DataError("an array without shape or content")
        if len(raw) != math.prod(shape) * dtype.itemsize:
            raise DataError(f"an array of shape {shape} and type {dtype} with {len(raw)} bytes")
        order = "F" if self.fortran else "C"
        return np.ndarray(shape, dtype, buffer=raw, order=order).copy(order=order)


class _Scalar:
    """Record of a pickled NumPy number."""

    __slots__ = ("record",)

    def __init__(self, dtype: Any, raw: Any) -> None:
        self.record = _Array((), dtype, False, raw)


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _encode(text: Any, codec: Any = "latin1") -> bytes:
    """``_codecs.encode``, by which Python 3 writes bytes in protocols 0 to 2: that one use only."""
    if not isinstance(text, str) or _text(codec) != "latin1":
        raise DataError("refused: an encoding other than latin1")
    return text.encode("latin1")


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if not isinstance(kind, _StandIn):
        raise DataError("refused: an array of an unknown class")
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    return _Array(shape, dtype, _text(order) == "F", raw)


def _refuse(*_: Any) -> Any:
    raise DataError("refused: it calls a class that is only a label")


def _no_bytes() -> bytes:
    return b""


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    """``collections.OrderedDict``; a plain dict keeps the order as well."""
    if type(pairs) not in (list, tuple):
        raise DataError("refused: an ordered dictionary made of something else than pairs")
    return dict(pairs)


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,  # how protocol 2 writes b""
    ("builtins", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): _ordered,
    ("numpy", "ndarray"): _refuse,
    ("numpy", "dtype"): _Dtype,
}
for _package in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    _STAND_INS[f"{_package}.multiarray", "_reconstruct"] = _reconstruct
    _STAND_INS[f"{_package}.multiarray", "scalar"] = _Scalar
    _STAND_INS[f"{_package}.numeric", "_frombuffer"] = _from_buffer


def _plain(value: Any, done: dict[int, Any], open_: set[int]) -> Any:
    """The value with all records built. ``done`` keeps shared parts shared; ``open_`` finds circles."""
    if type(value) in _SCALARS:
        return value
    key = id(value)
    if key in done:
        return done[key]
    if key in open_:
        raise DataError("refused: a value that contains itself")
    open_.add(key)
    if isinstance(value, _Array):
        result: Any = value.build()
    elif isinstance(value, _Scalar):
        result = value.record.build()[()]
    elif type(value) in (list, tuple):
        result = type(value)(_plain(item, done, open_) for item in value)
    elif type(value) is dict:
        result = {_plain(k, done, open_): _plain(item, done, open_) for k, item in value.items()}
    else:
        raise DataError(f"refused: a value of type {type(value).__name__}")
    open_.discard(key)
    done[key] = result
    return result
