"""A recorded run of an official program: its inputs, its outputs, its tolerances."""

from __future__ import annotations

import contextlib
import fnmatch
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle


class Golden:
    """One file. Inputs are read by :meth:`input`, results compared by :meth:`check`; :meth:`finish` fails if any
    recorded array was neither, so that a replay cannot pass by looking away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix == ".npz":
            with np.load(path) as file:
                self.arrays = {key: file[key] for key in file.files if key != "meta"}
                self.meta: dict[str, Any] = json.loads(str(file["meta"]))
            self.document: dict[str, Any] = {}
        else:
            self.document = json.loads(path.read_text(encoding="utf-8"))
            self.meta = self.document.get("_meta", {})
            self.arrays = {}
        self._left = set(self.arrays)

    @property
    def kind(self) -> tuple[str, str]:
        return self.path.parent.name, self.meta.get("kind") or self.path.stem

    @property
    def args(self) -> dict[str, Any]:
        return self.meta["args"]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def input(self, key: str) -> np.ndarray:
        self._left.discard(key)
        return self.arrays[key]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """The inputs below ``prefix``/, by the rest of their key."""
        return {k[len(prefix) + 1 :]: self.input(k) for k in list(self.arrays) if k.startswith(prefix + "/")}

    def keys(self, prefix: str) -> list[str]:
        return [k for k in self.arrays if k.startswith(prefix + "/")]

    def tolerance(self, key: str) -> tuple[float, float]:
        """(rtol, atol) of a key: its own entry, else the longest matching glob, else the file's."""
        base = self.meta["tolerance"]
        per_key = base.get("per_key", {})
        globs = [pattern for pattern in per_key if fnmatch.fnmatch(key, pattern)]
        chosen = base if not globs else per_key[key if key in per_key else max(globs, key=len)]
        return float(chosen["rtol"]), float(chosen["atol"])

    def check(self, key: str, value: Any) -> None:
        """max|a-b| <= atol + rtol*max|b|; integers, text and, where the file says so, NaN exactly."""
        expected = self.input(key)
        got = value.numpy() if isinstance(value, paddle.Tensor) else np.asarray(value)
        assert got.shape == expected.shape, f"{self.path.name}: {key} has shape {got.shape}, not {expected.shape}"
        if expected.dtype.kind not in "fc":
            assert np.array_equal(got, expected), f"{self.path.name}: {key} differs"
            return
        if self.meta["tolerance"].get("nan_equal"):
            missing = np.isnan(expected)
            assert np.array_equal(np.isnan(got), missing), f"{self.path.name}: {key} is NaN in other places"
            got, expected = got[~missing], expected[~missing]
        rtol, atol = self.tolerance(key)
        error = float(np.max(np.abs(got - expected), initial=0.0))
        bound = atol + rtol * float(np.max(np.abs(expected), initial=0.0))
        assert error <= bound, f"{self.path.name}: {key} is off by {error:.3e}, allowed {bound:.3e}"

    def finish(self) -> None:
        assert not self._left, f"{self.path.name}: not replayed: {', '.join(sorted(self._left)[:8])}"


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    before = paddle.get_default_dtype()
    paddle.set_default_dtype(dtype)
    try:
        yield
    finally:
        paddle.set_default_dtype(before)


def tensor(array: np.ndarray) -> paddle.Tensor:
    """Floats in the default precision, integers as they are."""
    floating = array.dtype.kind == "f"
    return paddle.to_tensor(array, dtype=paddle.get_default_dtype() if floating else str(array.dtype))
