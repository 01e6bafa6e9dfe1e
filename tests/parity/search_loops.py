"""What replays of whole searches share: the supernet of a recording, its settings, its batches, its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from golden import Golden, tensor
from registry import check_batch_norm, torch_layout

from paddle_darts.methods import Batch
from paddle_darts.networks import SupernetSpec
from paddle_darts.networks.official import load_official, our_name

Gradients = list[paddle.Tensor | None]


def search_spec(golden: Golden) -> SupernetSpec:
    """The supernet; its candidates are the recorded ones, in their order."""
    a = golden.args
    check_batch_norm(a)
    assert a["arch_names"] == ["alphas_normal", "alphas_reduce"]
    assert a["criterion"] == "cross_entropy" and a["label_smooth"] == 0.0
    return SupernetSpec(
        in_channels=a["input_shape"][-3],
        num_classes=a["num_classes"],
        init_channels=a["C"],
        layers=a["layers"],
        steps=a["steps"],
        multiplier=a["multiplier"],
        stem_multiplier=a["stem_multiplier"],
        stem=a["stem"],
        reductions=None if a["reductions"] is None else tuple(a["reductions"]),
        pool_bn=a["pool_bn"],
        affine=a["affine"],
        ops=tuple(a["primitives"]),
    )


def loop_options(golden: Golden, arch_betas: tuple[float, float]) -> dict[str, Any]:
    """The settings of a recorded loop, official quirks included; ``arch_betas`` are those the method has."""
    a = golden.args
    weights, arch = a["optimizer_weights"], a["optimizer_arch"]
    assert weights["type"] == "SGD" and not a["nesterov"] and weights["dampening"] == 0.0
    assert arch["type"] == "Adam" and a["adam_eps"] == 1e-8 and a["arch_betas"] == list(arch_betas)
    assert a["lr_schedule"] == "constant" and a.get("hvp_r") in (None, 0.01) and a.get("eta") in (None, a["lr"])
    assert a["zero_grad"] in ("zeros", "none")
    return {
        "learning_rate": a["lr"],
        "momentum": a["momentum"],
        "weight_decay": a["weight_decay"],
        "grad_clip": a["grad_clip"] or 0.0,
        "arch_learning_rate": a["arch_lr"],
        "arch_weight_decay": a["arch_weight_decay"],
        "arch_grad_clip": arch.get("grad_clip") or 0.0,
        "stale_gradients": a["zero_grad"] == "zeros",
        "arch_start_epoch": 1,  # see enter_step
    }


def enter_step(golden: Golden, method: Any, step: int) -> None:
    """The iterations of a warm-up, in which only the weights learn, are those of the epoch before the first."""
    method.epoch = int(step >= (golden.args["warmup_steps"] or 0))


def load_weights(golden: Golden, method: Any) -> None:
    """The recorded initial weights, in a supernet that trains."""
    load_official(method.supernet, golden.group("param"))
    method.supernet.train()
    recorded = golden.meta.get("n_params")
    assert recorded in (None, sum(w.size for w in method.weights.values()))


def batches(golden: Golden, step: int) -> tuple[Batch, Batch]:
    """Training and validation batch of an iteration."""
    images, labels = tensor(golden.input("inputs")[step]), tensor(golden.input("targets")[step])
    roles = golden.args["batch_roles"]
    return tuple(Batch(images[roles[name]], labels[roles[name]]) for name in ("train", "valid"))


def record_gradients(optimizer: Any) -> list[Gradients]:
    """The gradients that are handed to an optimizer from now on, before it clips or decays them."""
    seen: list[Gradients] = []
    step = optimizer.step

    def recording(gradients: Gradients, *rest: Any) -> None:
        seen.append([None if g is None else g.clone() for g in gradients])
        step(gradients, *rest)

    optimizer.step = recording
    return seen


def norm(gradients: Gradients) -> float:
    """Of all entries together."""
    return float(np.sqrt(sum(float((g * g).sum()) for g in gradients if g is not None)))


def check_supernet_pass(golden: Golden, method: Any) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Logits in both modes and the loss in training; returns the loss of a batch and its logits, with their graph."""
    batch = Batch(tensor(golden.input("input")), tensor(golden.input("target")))
    method.supernet.eval()
    golden.check("logits_eval", method.loss(batch)[1])
    method.supernet.train()
    loss, logits = method.loss(batch)
    golden.check("logits", logits)
    golden.check("loss", loss)
    return loss, logits


def check_weight_gradients(golden: Golden, method: Any, loss: paddle.Tensor) -> None:
    """Recorded gradients of weights, and how many weights have none."""
    found = paddle.grad(loss, list(method.weights.values()), allow_unused=True, retain_graph=True)
    by_name = dict(zip(method.weights, found, strict=True))
    for key in golden.keys("grad"):
        name = our_name(key.removeprefix("grad/"))
        if not name.startswith("alphas_"):
            gradient = method.weights[name] * 0 if by_name[name] is None else by_name[name]
            golden.check(key, torch_layout(name, gradient))
    if "params_without_grad_count" in golden:
        golden.check("params_without_grad_count", sum(g is None for g in found))
