"""Comparisons that replays share: weights and statistics, gradients, outputs of cells, what steps leave behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle
from golden import Golden
from paddle import nn
from reading import torch_layout

from paddle_darts.networks.official import our_name

Gradients = list[paddle.Tensor | None]


class Trace:
    """What steps leave behind by the recorded names, compared as one array per name."""

    def __init__(self) -> None:
        self._values: dict[str, list[Any]] = {}

    def add(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            self._values.setdefault(key, []).append(value)

    def check(self, golden: Golden, optional: tuple[str, ...] = ()) -> None:
        """``optional`` names need not be recorded."""
        for key, values in self._values.items():
            if key in golden or key not in optional:
                golden.check(key, np.stack(values))


def check_arrays(
    golden: Golden, prefix: str, tensors: Mapping[str, paddle.Tensor], ours: Callable[[str], str] = our_name
) -> None:
    """What was recorded below ``prefix`` of ``tensors`` (by our names); ``ours`` makes them of the official ones.

    Other names are left to other checks: in the end, the golden fails for arrays that none of them compared.
    """
    for key in golden.keys(prefix):
        name = ours(key.removeprefix(f"{prefix}/"))
        if name in tensors:
            golden.check(key, torch_layout(name, tensors[name]))


def check_state(golden: Golden, prefix: str, network: nn.Layer) -> None:
    """Weights and running statistics recorded below ``prefix``."""
    check_arrays(golden, prefix, network.state_dict())


def check_gradients(
    golden: Golden,
    loss: paddle.Tensor,
    parameters: Mapping[str, paddle.Tensor],
    prefix: str = "grad",
    ours: Callable[[str], str] = our_name,
) -> set[str]:
    """All that was recorded of the gradients of ``parameters`` (by our names): in full below ``prefix``, their norms,
    and which or how many parameters have none. Returns the names of these; zeros were recorded for them."""
    found = paddle.grad(loss, list(parameters.values()), allow_unused=True, retain_graph=True)
    by_name = dict(zip(parameters, found, strict=True))
    without = {name for name, gradient in by_name.items() if gradient is None}
    by_name.update({name: paddle.zeros_like(parameters[name]) for name in without})
    check_arrays(golden, prefix, by_name, ours)
    if "train/grad_norms" in golden or "train/grad_norm" in golden:
        check_norms(golden, by_name, ours)
    if "params_without_grad_count" in golden:
        golden.check("params_without_grad_count", len(without))
    names = golden.meta.get("params_without_grad")
    if "params_without_grad" in golden:
        names = golden.input("params_without_grad").tolist()
    assert names is None or without == {ours(name) for name in names}
    return without


def check_norms(golden: Golden, gradients: Mapping[str, paddle.Tensor], ours: Callable[[str], str]) -> None:
    """The norm of each gradient in the official order, and of all together."""
    if "train/grad_norm" in golden:
        golden.check("train/grad_norm", norm(list(gradients.values())))
    if "train/grad_norms" in golden:
        order = [ours(name) for name in golden.meta["param_names_in_order"]]
        assert set(order) == set(gradients)
        golden.check("train/grad_norms", np.array([norm([gradients[name]]) for name in order]))


def norm(tensors: Gradients) -> float:
    """Of all entries together."""
    return float(np.sqrt(sum(float((t * t).sum()) for t in tensors if t is not None)))


def record_cells(network: nn.Layer) -> list[np.ndarray]:
    outputs: list[np.ndarray] = []
    for cell in network.cells:
        cell.register_forward_post_hook(lambda layer, inputs, y: outputs.append(y.numpy().copy()))
    return outputs


def check_cells(golden: Golden, cells: list[np.ndarray]) -> None:
    """As far as they were recorded."""
    for key, value in (
        ("train/cell_mean", [c.mean() for c in cells]),
        ("train/cell_std", [c.std() for c in cells]),
        ("train/cell0_out", cells[0]),
        ("train/last_cell_out", cells[-1]),
    ):
        if key in golden:
            golden.check(key, np.array(value))
