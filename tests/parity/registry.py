"""Which replay a golden needs, and what replays share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from golden import Golden
from paddle import nn

from paddle_darts.genotypes import Genotype, NetworkOptions
from paddle_darts.networks.official import our_name
from paddle_darts.nn.drop import RandomSource

REPLAYS: dict[tuple[str, str], Callable[[Golden], None]] = {}
FAMILIES = ("darts", "pc_darts", "p_darts")


def replays(prefix: str, *folders: str) -> Callable[[Callable[[Golden], None]], Callable[[Golden], None]]:
    def register(function: Callable[[Golden], None]) -> Callable[[Golden], None]:
        for folder in folders:
            REPLAYS[folder, prefix] = function
        return function

    return register


def find_replay(golden: Golden) -> Callable[[Golden], None] | None:
    """By folder and the longest prefix of the kind; a folder of another name counts if the kind is unambiguous."""
    folder, kind = golden.kind
    known = {f for f, _ in REPLAYS}
    fitting = [(f, p) for f, p in REPLAYS if kind.startswith(p) and (f == folder or folder not in known)]
    best = {REPLAYS[key] for key in fitting if len(key[1]) == max(len(p) for _, p in fitting)}
    return best.pop() if len(best) == 1 else None


class RecordedMasks(RandomSource):
    """Hands out the keep masks of an official run in order."""

    def __init__(self, masks: np.ndarray) -> None:
        self._masks = iter(masks)

    def keep_mask(self, keep_prob: float, shape: tuple[int, ...]) -> np.ndarray:
        return next(self._masks).reshape(shape).astype("float64")

    def exhausted(self) -> bool:
        return next(self._masks, None) is None


def torch_layout(name: str, value: paddle.Tensor) -> np.ndarray:
    """A value that belongs to the parameter ``name``, in PyTorch's layout."""
    array = value.numpy()
    return array.T if name.endswith("classifier.weight") else array


def read_genotype(document: dict[str, Any], network: NetworkOptions | None = None) -> Genotype:
    fields = {k: document[k] for k in ("normal", "normal_concat", "reduce", "reduce_concat")}
    return Genotype(**fields, network=network or NetworkOptions())


def check_batch_norm(args: dict[str, Any]) -> None:
    assert (args["bn_momentum"], args["bn_eps"]) == (0.1, 1e-5), "our batch norm has one momentum and eps"


def record_cells(network: nn.Layer) -> list[np.ndarray]:
    outputs: list[np.ndarray] = []
    for cell in network.cells:
        cell.register_forward_post_hook(lambda layer, inputs, y: outputs.append(y.numpy().copy()))
    return outputs


def check_cells(golden: Golden, cells: list[np.ndarray]) -> None:
    golden.check("train/cell_mean", np.array([c.mean() for c in cells]))
    golden.check("train/cell_std", np.array([c.std() for c in cells]))
    for key, cell in (("train/cell0_out", cells[0]), ("train/last_cell_out", cells[-1])):
        if key in golden:
            golden.check(key, cell)


def check_gradients(golden: Golden, loss: paddle.Tensor, parameters: dict[str, paddle.Tensor]) -> None:
    found = paddle.grad(loss, list(parameters.values()), allow_unused=True, retain_graph=True)
    by_name = dict(zip(parameters, found, strict=True))
    order = [our_name(n) for n in golden.meta["param_names_in_order"]]
    assert set(order) == set(parameters)
    norms = np.array([0.0 if by_name[n] is None else float(by_name[n].norm()) for n in order])
    golden.check("train/grad_norms", norms)
    golden.check("train/grad_norm", np.sqrt((norms**2).sum()))
    for key in golden.keys("grad"):
        name = our_name(key.removeprefix("grad/"))
        if name in by_name:
            golden.check(key, torch_layout(name, by_name[name]))


def check_state(golden: Golden, prefix: str, network: nn.Layer) -> None:
    """Weights and running statistics recorded below ``prefix``."""
    state = network.state_dict()
    for key in golden.keys(prefix):
        name = our_name(key.removeprefix(prefix + "/"))
        golden.check(key, torch_layout(name, state[name]))
