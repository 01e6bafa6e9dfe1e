"""DrNAS on the DARTS space: supernets mixed by recorded Dirichlet samples, and its loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from checking import Gradients, Trace, check_arrays, check_gradients, norm
from golden import Golden, precision, tensor
from reading import KINDS, our_key, parameter, read_batch, read_batches, read_genotype, read_optimizers
from recorded import RecordedDraws
from registry import replays
from search_loops import record_gradients, search_spec

from paddle_darts.methods.dr_nas import DrNas, DrNasOptions
from paddle_darts.methods.parts.pruning import renormalised
from paddle_darts.networks import CellMix
from paddle_darts.networks.official import load_official
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.losses import cross_entropy


def build_dr_nas(golden: Golden, alphas: dict[str, np.ndarray], **settings: Any) -> DrNas:
    """The recorded network in the first epoch of its stage: the second one where candidates were pruned, whose width is
    that of the first. Stages are two epochs long."""
    a = golden.args
    assert a["concentration"] == "elu(alpha)+1" and a["samples_injected"] and a["K"] == a["k"]
    keeps = [len(a["primitives"])] + ([a["num_keep"]] if a["num_keep"] else [])
    options = DrNasOptions(
        ks=[a["k"]] * len(keeps), keeps=keeps, reg_type=a["reg_type"], reg_scale=a["reg_scale"], **settings
    )
    method = DrNas(search_spec(golden), options, epochs=2 * len(keeps), source=RandomSource())
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
    for key in golden.keys(prefix):
        name = key.removeprefix(f"{prefix}/")
        if is_pruned(method, name):
            golden.check(key, golden.input(f"param/{name}"))
    check_arrays(golden, prefix, method.supernet.state_dict(), our_key)


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
        images, labels = read_batch(golden)
        samples = [golden.input(f"sample_{kind}") for kind in KINDS]
        check_sample_gradients(golden, method, images, labels, samples)
        method.source = RecordedDraws(dirichlet=samples)
        logits, penalty = method.supernet(images, method.mixture())[0], method.penalty()
        assert method.source.exhausted()
        loss = cross_entropy(logits, labels)
        assert (penalty is not None) == ("kl_reg" in golden) == (a["reg_type"] == "kl")
        if penalty is not None:
            golden.check("kl_reg", penalty)
            loss = loss + penalty
        golden.check("logits", logits)
        golden.check("loss", loss)
        check_gradients(golden, loss, {**method.weights, **method.arch}, ours=our_key)
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


@replays("bilevel_", "dr_nas")
def replay_dr_nas_loop(golden: Golden) -> None:
    """The first epoch of the replay is the warm-up, in which only the weights learn."""
    a = golden.args
    assert golden.meta["network_class"] == "Network", "no replay of loops on the space of NAS-Bench-201"
    assert a["row_order"] == "rows 0..E-1 normal, E..2E-1 reduce"
    optimizers = read_optimizers(a)
    decay = a["reg_scale"] if a["reg_type"] == "l2" else 0.0
    assert optimizers.pop("arch_weight_decay") == decay, "the regulariser that the method itself sets"
    with precision("float64"):
        initial = {kind: golden.input(f"init_alphas_{kind}") for kind in KINDS}
        method = build_dr_nas(golden, initial, arch_start_epoch=1, **optimizers)
        seen = {name: record_gradients(getattr(method, f"{name}_optimizer")) for name in ("arch", "weight")}
        trace = Trace()
        for i in range(a["iterations"]):
            method.begin_epoch(method.begins[-1] + (i >= a["warmup_steps"]))
            trace.add(dr_nas_step(golden, method, i, seen))
        trace.check(golden)
        check_dr_nas_state(golden, "final", method)


def dr_nas_step(golden: Golden, method: DrNas, i: int, seen: dict[str, list[Gradients]]) -> dict[str, Any]:
    """One iteration with its recorded samples: those of the architecture step first, if there is one."""
    warm_up = i < golden.args["warmup_steps"]
    recorded = [golden.input(key)[i] for key in ("sample_arch", "sample_train")]
    samples = [half for rows in recorded[warm_up:] for half in np.split(rows, 2)]
    method.source = RecordedDraws(dirichlet=samples)
    penalty = method.penalty()
    result = method.step(*read_batches(golden, i))
    assert method.source.exhausted() and (result.arch_loss is None) == warm_up
    moved = [g.numpy() for g in seen["arch"][-1]] if not warm_up else [np.zeros(a.shape) for a in samples]
    return {
        "alphas_after": np.concatenate([alpha.numpy() for alpha in method.alphas.values()]),
        "arch_grad": np.concatenate(moved),
        "gnorm_weights": norm(seen["weight"][-1]),
        "loss_train": result.loss,
        "loss_valid_ce": 0.0 if warm_up else result.arch_loss - (0.0 if penalty is None else float(penalty)),
    }
