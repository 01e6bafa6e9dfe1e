"""What replays of searches share: their settings, spies on gradients, weights to begin with, passes in both modes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import paddle
from checking import Gradients, check_cells, norm, record_cells
from golden import Golden, tensor
from reading import ALPHAS, check_criterion, read_batch, read_optimizers, read_spec, transposed

from paddle_darts.methods import gradient
from paddle_darts.networks import SupernetSpec
from paddle_darts.networks.official import load_official, our_name
from paddle_darts.nn.optimizers import NamedOptimizer, clip_gradients


def search_spec(golden: Golden) -> SupernetSpec:
    """The supernet of a search in which only alphas are learned."""
    assert golden.args["arch_names"] == ALPHAS
    check_criterion(golden.args)
    return read_spec(golden.args)


def loop_options(golden: Golden, arch_betas: tuple[float, float]) -> dict[str, Any]:
    """The settings of a recorded loop, official quirks included; ``arch_betas`` are those the method has."""
    a = golden.args
    assert a.get("eta") in (None, a["optimizer_weights"]["lr"])
    return {**read_optimizers(a, arch_betas), "arch_start_epoch": 1}  # see enter_step


def enter_step(golden: Golden, method: Any, step: int) -> None:
    """The iterations of a warm-up, in which only the weights learn, are those of the epoch before the first."""
    method.epoch = int(step >= (golden.args["warmup_steps"] or 0))


def load_weights(golden: Golden, method: Any) -> None:
    """The recorded initial weights, in a supernet that trains."""
    load_official(method.supernet, golden.group("param"))
    method.supernet.train()
    recorded = golden.meta.get("n_params")
    assert recorded in (None, sum(w.size for w in method.weights.values()))


def load_momentum(
    optimizer: NamedOptimizer, buffers: dict[str, np.ndarray], ours: Callable[[str], str] = our_name
) -> dict[str, np.ndarray]:
    """Gives recorded momentum (by official names) to an SGD; returns it by our names, in our layout."""
    named = {ours(name): array.T if transposed(name) else array for name, array in buffers.items()}
    optimizer.load_state_dict({f"{name}/velocity_0": tensor(array) for name, array in named.items()})
    return named


def record_gradients(optimizer: NamedOptimizer) -> list[Gradients]:
    """The gradients that are handed to an optimizer from now on, before it clips or decays them."""
    seen: list[Gradients] = []
    step = optimizer.step

    def recording(gradients: Gradients, *rest: Any) -> None:
        seen.append([None if g is None else g.clone() for g in gradients])
        step(gradients, *rest)

    optimizer.step = recording
    return seen


@contextlib.contextmanager
def recorded_clipping() -> Iterator[list[float]]:
    """The norms of what methods clip together with the architecture's gradient, before they do."""
    seen: list[float] = []

    def recording(gradients: Gradients, limit: float) -> None:
        seen.append(norm(gradients))
        clip_gradients(gradients, limit)

    with mock.patch.object(gradient, "clip_gradients", recording):
        yield seen


def check_supernet_pass(golden: Golden, method: Any) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Logits in both modes and the loss in training; returns the loss of a batch and its logits, with their graph."""
    batch = read_batch(golden)
    method.supernet.eval()
    golden.check("logits_eval", method.loss(batch)[1])
    method.supernet.train()
    loss, logits = method.loss(batch)
    golden.check("logits", logits)
    golden.check("loss", loss)
    return loss, logits


def check_modes(golden: Golden, method: Any) -> paddle.Tensor:
    """Logits and losses of an evaluation and of a training pass, the cells and the gradients of the architecture in
    the latter; returns its loss with its graph."""
    batch = read_batch(golden)
    method.supernet.eval()
    check_outputs(golden, "eval", *method.loss(batch))
    method.supernet.train()
    cells = record_cells(method.supernet)
    loss, logits = method.loss(batch)
    check_outputs(golden, "train", loss, logits)
    check_cells(golden, cells)
    for name, parameter in method.arch.items():
        golden.check(f"grad/arch/{name}", paddle.grad(loss, [parameter], retain_graph=True)[0])
    return loss


def check_outputs(golden: Golden, mode: str, loss: paddle.Tensor, logits: paddle.Tensor) -> None:
    golden.check(f"{mode}/logits", logits)
    golden.check(f"{mode}/loss", loss)
