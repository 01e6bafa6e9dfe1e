"""DrNAS on the DARTS space: supernets mixed by recorded Dirichlet samples, and its loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from golden import Golden, precision, tensor
from registry import check_batch_norm, read_genotype, replays, torch_layout
from replay_dr_nas_math import KINDS, RecordedDraws, our_key, parameter

from paddle_darts.methods import Batch
from paddle_darts.methods.dr_nas import DrNas, DrNasOptions
from paddle_darts.methods.pruning import renormalised
from paddle_darts.networks import CellMix, SupernetSpec
from paddle_darts.networks.official import load_official
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.losses import cross_entropy
from paddle_darts.nn.optimizers import NamedOptimizer


def read_spec(a: dict[str, Any]) -> SupernetSpec:
    """The recorded network with whole channels; what a method decides is left to it."""
    check_batch_norm(a)
    return SupernetSpec(
        in_channels=a["input_shape"][1],
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


def read_optimizers(a: dict[str, Any]) -> dict[str, float]:
    """The recorded settings of both optimizers by the names of ours; what we have no setting for must be ours."""
    weights, arch = a["optimizer_weights"], a["optimizer_arch"]
    assert weights["type"] == "SGD" and not weights["nesterov"] and weights["dampening"] == 0.0
    assert arch["type"] == "Adam" and arch["betas"] == [0.5, 0.999] and arch["eps"] == 1e-8
    assert a["lr_schedule"] == "constant" and not a["unrolled"] and a["zero_grad"] in ("zeros", "none")
    return {
        "learning_rate": weights["lr"],
        "learning_rate_min": weights["lr"],
        "momentum": weights["momentum"],
        "weight_decay": weights["weight_decay"],
        "grad_clip": a["grad_clip"] or 0.0,
        "arch_learning_rate": arch["lr"],
        "arch_grad_clip": a.get("arch_grad_clip") or 0.0,
        "stale_gradients": a["zero_grad"] == "zeros",
    }


def spy(optimizer: NamedOptimizer) -> list[list[paddle.Tensor | None]]:
    """Records the gradients handed to an optimizer, before it clips or decays them."""
    seen: list[list[paddle.Tensor | None]] = []
    step = optimizer.step

    def recording(gradients: list[paddle.Tensor | None], *rest: Any) -> None:
        seen.append([None if g is None else g.clone() for g in gradients])
        step(gradients, *rest)

    optimizer.step = recording
    return seen


def norm(gradients: list[paddle.Tensor | None]) -> float:
    return float(np.sqrt(sum(float((g * g).sum()) for g in gradients if g is not None)))


def build_dr_nas(golden: Golden, alphas: dict[str, np.ndarray], **settings: Any) -> DrNas:
    """The recorded network in the first epoch of its stage: the second one where candidates were pruned, whose width is
    that of the first. Stages are two epochs long."""
    a = golden.args
    assert a["concentration"] == "elu(alpha)+1" and a["samples_injected"] and a["K"] == a["k"]
    assert a["criterion"] == "cross_entropy" and a["label_smooth"] == 0.0
    keeps = [len(a["primitives"])] + ([a["num_keep"]] if a["num_keep"] else [])
    options = DrNasOptions(
        ks=[a["k"]] * len(keeps), keeps=keeps, reg_type=a["reg_type"], reg_scale=a["reg_scale"], **settings
    )
    method = DrNas(read_spec(a), options, epochs=2 * len(keeps), source=RandomSource())
    for kind in KINDS:
        method.alphas[kind].set_value(tensor(alphas[kind]))
    method.begin_epoch(method.begins[-1])
    load_built(method, golden.group("param"))
    method.supernet.train()
    return method


def load_built(method: DrNas, state: dict[str, np.ndarray]) -> None:
    """The official network keeps pruned candidates and never runs them; ours has none."""
    own = method.supernet.state_dict()
    pruned = [name for name in state if our_key(name) not in own]
    assert all(is_pruned(method, name) for name in pruned), "parameters that we do not know"
    load_official(method.supernet, {our_key(name): state[name] for name in state if name not in pruned})


def is_pruned(method: DrNas, official: str) -> bool:
    """Whether a name such as `cells.1._ops.4._ops.0.op.1.running_var` belongs to a candidate that was pruned."""
    part = official.split(".")
    mask = method.masks[method.spec.kinds[int(part[1])]] if part[0] == "cells" and part[2] == "_ops" else None
    return mask is not None and not mask[int(part[3]), int(part[5])]


def check_dr_nas_state(golden: Golden, prefix: str, method: DrNas) -> None:
    """Weights and running statistics recorded below ``prefix``; pruned candidates have those they began with."""
    state = method.supernet.state_dict()
    for key in golden.keys(prefix):
        name = key.removeprefix(f"{prefix}/")
        if is_pruned(method, name):
            golden.check(key, golden.input(f"param/{name}"))
        else:
            golden.check(key, torch_layout(name, state[our_key(name)]))


@replays("supernet_darts_", "dr_nas")
def replay_dr_nas_supernet(golden: Golden) -> None:
    a = golden.args
    assert a["mode"] == "train"
    with precision("float64"):
        method = build_dr_nas(golden, {kind: golden.input(f"alphas_{kind}") for kind in KINDS})
        for kind, alpha in method.alphas.items():
            golden.check(f"alphas_{kind}_used", alpha)
            if f"mask_{kind}" in golden:
                golden.check(f"mask_{kind}", method.masks[kind])
        assert method.derive().normal == read_genotype(golden.meta["genotype_json"]).normal
        assert method.derive().reduce == read_genotype(golden.meta["genotype_json"]).reduce
        images, labels = tensor(golden.input("input")), tensor(golden.input("target"))
        samples = [golden.input(f"sample_{kind}") for kind in KINDS]
        check_sample_gradients(golden, method, images, labels, samples)
        method.source = RecordedDraws([], samples)
        logits, penalty = method.supernet(images, method.mixture())[0], method.penalty()
        assert method.source.exhausted()
        loss = cross_entropy(logits, labels)
        assert (penalty is not None) == ("kl_reg" in golden) == (a["reg_type"] == "kl")
        if penalty is not None:
            golden.check("kl_reg", penalty)
            loss = loss + penalty
        golden.check("logits", logits)
        golden.check("loss", loss)
        check_dr_nas_gradients(golden, method, loss)
        check_dr_nas_state(golden, "after", method)


def check_sample_gradients(
    golden: Golden, method: DrNas, images: paddle.Tensor, labels: paddle.Tensor, samples: list[np.ndarray]
) -> None:
    """dL/dx of the samples x before pruned candidates are taken out, in a pass that leaves no trace."""
    x = dict(zip(KINDS, map(parameter, samples), strict=True))
    mixes = {kind: CellMix(renormalised(x[kind], method.masks[kind]), active=method.masks[kind]) for kind in KINDS}
    logits, _ = method.supernet(images, [mixes[kind] for kind in method.spec.kinds], track_stats=False)
    found = paddle.grad(cross_entropy(logits, labels), list(x.values()))
    for kind, gradient in zip(KINDS, found, strict=True):
        golden.check(f"grad/sample_{kind}", gradient)


def check_dr_nas_gradients(golden: Golden, method: DrNas, loss: paddle.Tensor) -> None:
    named = {**method.weights, **method.arch}
    by_name = dict(zip(named, paddle.grad(loss, list(named.values()), allow_unused=True), strict=True))
    for key in golden.keys("grad"):
        name = key.removeprefix("grad/")
        if not name.startswith("sample_"):
            golden.check(key, torch_layout(name, by_name[our_key(name)]))


@replays("bilevel_", "dr_nas")
def replay_dr_nas_loop(golden: Golden) -> None:
    """The first epoch of the replay is the warm-up, in which only the weights learn."""
    a = golden.args
    assert golden.meta["network_class"] == "Network", "no replay of loops on the space of NAS-Bench-201"
    assert a["row_order"] == "rows 0..E-1 normal, E..2E-1 reduce"
    decay = a["reg_scale"] if a["reg_type"] == "l2" else 0.0
    assert a["optimizer_arch"]["weight_decay"] == decay
    with precision("float64"):
        initial = {kind: golden.input(f"init_alphas_{kind}") for kind in KINDS}
        method = build_dr_nas(golden, initial, arch_start_epoch=1, **read_optimizers(a))
        seen = {"arch": spy(method.arch_optimizer), "weights": spy(method.weight_optimizer)}
        trace: dict[str, list[Any]] = {}
        for i in range(a["iterations"]):
            method.begin_epoch(method.begins[-1] + (i >= a["warmup_steps"]))
            for key, value in dr_nas_step(golden, method, i, seen).items():
                trace.setdefault(key, []).append(value)
        for key, values in trace.items():
            golden.check(key, np.array(values))
        check_dr_nas_state(golden, "final", method)


def dr_nas_step(golden: Golden, method: DrNas, i: int, seen: dict[str, list[Any]]) -> dict[str, Any]:
    """One iteration with its recorded samples: those of the architecture step first, if there is one."""
    warm_up, role = i < golden.args["warmup_steps"], golden.args["batch_roles"]
    images, labels = tensor(golden.input("inputs")[i]), tensor(golden.input("targets")[i])
    train, valid = (Batch(images[role[r]], labels[role[r]]) for r in ("train", "valid"))
    recorded = [golden.input(key)[i] for key in ("sample_arch", "sample_train")]
    samples = [half for rows in recorded[warm_up:] for half in np.split(rows, 2)]
    method.source = RecordedDraws([], samples)
    penalty = method.penalty()
    result = method.step(train, valid)
    assert method.source.exhausted() and (result.arch_loss is None) == warm_up
    moved = [g.numpy() for g in seen["arch"][-1]] if not warm_up else [np.zeros(a.shape) for a in samples]
    return {
        "alphas_after": np.concatenate([alpha.numpy() for alpha in method.alphas.values()]),
        "arch_grad": np.concatenate(moved),
        "gnorm_weights": norm(seen["weights"][-1]),
        "loss_train": result.loss,
        "loss_valid_ce": 0.0 if warm_up else result.arch_loss - (0.0 if penalty is None else float(penalty)),
    }
