"""What a recording says of itself, in our terms: networks, optimizers, batches, genotypes, names and layouts.

What we have no setting for must be as it is with us.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import paddle
from golden import Golden, tensor

from paddle_darts.genotypes import Genotype, NetworkOptions
from paddle_darts.methods import Batch
from paddle_darts.networks import SupernetSpec
from paddle_darts.networks.official import our_name

KINDS = ("normal", "reduce")
ALPHAS = ["alphas_normal", "alphas_reduce"]
BETAS = ["betas_normal", "betas_reduce"]


def check_batch_norm(args: dict[str, Any]) -> None:
    assert (args["bn_momentum"], args["bn_eps"]) == (0.1, 1e-5), "our batch norm has one momentum and eps"


def check_criterion(args: dict[str, Any]) -> None:
    """Searches never smooth labels."""
    assert args["criterion"] == "cross_entropy" and args["label_smooth"] == 0.0


def read_spec(args: dict[str, Any]) -> SupernetSpec:
    """The supernet with the recorded candidates in their order; what a method decides is left to it."""
    check_batch_norm(args)
    return SupernetSpec(
        in_channels=args["input_shape"][-3],
        num_classes=args["num_classes"],
        init_channels=args["C"],
        layers=args["layers"],
        steps=args["steps"],
        multiplier=args["multiplier"],
        stem_multiplier=args["stem_multiplier"],
        stem=args["stem"],
        reductions=None if args["reductions"] is None else tuple(args["reductions"]),
        pool_bn=args["pool_bn"],
        affine=args["affine"],
        ops=tuple(args["primitives"]),
    )


def read_spec_201(args: dict[str, Any]) -> SupernetSpec:
    """The supernet of the space of NAS-Bench-201 with the recorded candidates in their order."""
    check_batch_norm(args)
    spec = SupernetSpec(
        space="nas_bench_201",
        in_channels=args["input_shape"][-3],
        num_classes=args["num_classes"],
        init_channels=args["C"],
        layers=3 * args["N"] + 2,
        steps=args["max_nodes"] - 1,
        affine=args["affine"],
        track_running_stats=args["track_running_stats"],
        ops=tuple(args["primitives"]),
    )
    recorded = args.get("edges")
    assert recorded is None or recorded == [f"{node + 1}<-{source}" for node, source in spec.edges]
    return spec


def read_sgd(args: dict[str, Any]) -> dict[str, float]:
    """The optimizer of the weights, by the names of our options; its rate stays as it is."""
    o = args["optimizer_weights"]
    assert o["type"] == "SGD" and not o["nesterov"] and o["dampening"] == 0.0
    assert args.get("lr_schedule") in (None, "constant")
    return {
        "learning_rate": o["lr"],
        "learning_rate_min": o["lr"],
        "momentum": o["momentum"],
        "weight_decay": o["weight_decay"],
        "grad_clip": o["grad_clip"] or 0.0,
    }


def read_adam(args: dict[str, Any], betas: tuple[float, float] = (0.5, 0.999)) -> dict[str, float]:
    """The optimizer of the architecture, by the names of our options; ``betas`` are those that the method has."""
    o = args["optimizer_arch"]
    assert o["type"] == "Adam" and o["eps"] == 1e-8 and o["betas"] == list(betas)
    return {
        "arch_learning_rate": o["lr"],
        "arch_weight_decay": o["weight_decay"],
        "arch_grad_clip": args.get("arch_grad_clip") or o.get("grad_clip") or 0.0,
    }


def read_optimizers(args: dict[str, Any], arch_betas: tuple[float, float] = (0.5, 0.999)) -> dict[str, Any]:
    """Both optimizers, and whether gradients of steps before are left (officially zeroed, not taken away)."""
    assert args.get("hvp_r") in (None, 0.01) and args.get("zero_grad") in (None, "zeros", "none")
    stale = args.get("zero_grad") == "zeros"
    return {**read_sgd(args), **read_adam(args, arch_betas), "stale_gradients": stale}


def read_batch(golden: Golden, part: str = "", step: int | None = None) -> Batch:
    """The recorded batch, of a ``part`` such as `_train`; of one step where there are several."""
    images, labels = golden.input(f"input{part}"), golden.input(f"target{part}")
    return Batch(tensor(images), tensor(labels)) if step is None else Batch(tensor(images[step]), tensor(labels[step]))


def read_batches(golden: Golden, step: int) -> tuple[Batch, Batch]:
    """Training and validation batch of an iteration, where both stand in one array."""
    images, labels = tensor(golden.input("inputs")[step]), tensor(golden.input("targets")[step])
    roles = golden.args["batch_roles"]
    train, valid = (Batch(images[roles[name]], labels[roles[name]]) for name in ("train", "valid"))
    return train, valid


def read_genotype(document: dict[str, Any], network: NetworkOptions | None = None) -> Genotype:
    fields = {k: document[k] for k in ("normal", "normal_concat", "reduce", "reduce_concat")}
    return Genotype(**fields, network=network or NetworkOptions())


def our_key(official: str) -> str:
    """DrNAS keeps pooling and its batch norm in one block `op`; our supernets have them side by side."""
    return our_name(re.sub(r"(_ops\.\d+)\.op\.1\.(running_)", r"\1.1.\2", official))


def transposed(name: str) -> bool:
    """Whether PyTorch stores the parameter ``name`` the other way round."""
    return name.endswith("classifier.weight")


def torch_layout(name: str, value: paddle.Tensor) -> np.ndarray:
    """A value that belongs to the parameter ``name``, in PyTorch's layout."""
    return value.numpy().T if transposed(name) else value.numpy()


def parameter(array: np.ndarray) -> paddle.Tensor:
    """A tensor that takes gradients."""
    value = tensor(array)
    value.stop_gradient = False
    return value
