"""DrNAS: supernets mixed by recorded Dirichlet samples, and its loop, in both spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from checking import Gradients, Trace, check_arrays, check_gradients, norm
from golden import Golden, precision, tensor
from reading import (
    KINDS,
    check_criterion,
    our_key,
    parameter,
    read_batch,
    read_batches,
    read_genotype,
    read_optimizers,
    read_spec_201,
)
from recorded import RecordedDraws
from registry import replays
from search_loops import record_gradients, recorded_clipping, search_spec

from paddle_darts.methods.base import Batch
from paddle_darts.methods.dr_nas import DrNas, DrNasOptions
from paddle_darts.methods.parts.pruning import renormalised
from paddle_darts.networks import CellMix, SupernetSpec
from paddle_darts.networks.official import load_official
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.losses import cross_entropy


def build_dr_nas(golden: Golden, spec: SupernetSpec, alphas: list[np.ndarray], **settings: Any) -> DrNas:
    """The recorded network in the first epoch of its stage: the second one where candidates were pruned, whose width is
    that of the first. Stages are two epochs long."""
    a = golden.args
    assert a["K"] == a["k"]
    k, reg_type = a["k"] or 1, a["reg_type"] or "l2"
    keeps = [len(a["primitives"])] + ([a["num_keep"]] if a["num_keep"] else [])
    options = DrNasOptions(
        ks=[k] * len(keeps), keeps=keeps, reg_type=reg_type, reg_scale=a["reg_scale"] or 0.0, **settings
    )
    method = DrNas(spec, options, epochs=2 * len(keeps), source=RandomSource())
    for alpha, recorded in zip(method.alphas.values(), alphas, strict=True):
        alpha.set_value(tensor(recorded))
    method.begin_epoch(method.begins[-1])
    load_built(method, golden.group("param"))
    method.supernet.train()
    return method


def check_sampling(args: dict[str, Any]) -> None:
    assert args["concentration"] == "elu(alpha)+1" and args["samples_injected"]


def load_built(method: DrNas, state: dict[str, np.ndarray]) -> None:
    """The official network keeps pruned candidates and never runs them; ours has none."""
    own = method.supernet.state_dict()
    pruned = [name for name in state if our_key(name) not in own]
    assert all(is_pruned(method, name) for name in pruned), "parameters that we do not know"
    load_official(method.supernet, {our_key(name): state[name] for name in state if name not in pruned})


def is_pruned(method: DrNas, official: str) -> bool:
    """Whether a name such as `cells.1._ops.4._ops.0.op.1.running_var` or `cells.2.edges.3<-1.0.op.2.running_var`
    belongs to a candidate that was pruned."""
    part = official.split(".")
    if part[0] != "cells" or part[2] not in ("_ops", "edges"):
        return False
    if part[2] == "_ops":
        kind, row, column = method.spec.kinds[int(part[1])], int(part[3]), int(part[5])
    else:
        target, source = map(int, part[3].split("<-"))
        (kind,), row, column = method.spec.kind_names, method.spec.edges.index((target - 1, source)), int(part[4])
    mask = method.masks[kind]
    return mask is not None and not mask[row, column]


def check_dr_nas_state(golden: Golden, prefix: str, method: DrNas) -> None:
    """Weights and running statistics recorded below ``prefix``; pruned candidates have those they began with."""
    for key in golden.keys(prefix):
        name = key.removeprefix(f"{prefix}/")
        if is_pruned(method, name):
            golden.check(key, golden.input(f"param/{name}"))
    check_arrays(golden, prefix, method.supernet.state_dict(), our_key)


def check_dr_nas_gradients(golden: Golden, loss: paddle.Tensor, method: DrNas, arch: dict[str, paddle.Tensor]) -> None:
    """Gradients of the weights, none of pruned candidates, and those of ``arch`` by their recorded names."""
    for key in golden.keys("grad"):
        name = key.removeprefix("grad/")
        if is_pruned(method, name):
            golden.check(key, np.zeros(golden.input(f"param/{name}").shape))
    check_gradients(golden, loss, {**method.weights, **arch}, ours=our_key)


# ---- supernets
@replays("supernet_darts_", "dr_nas")
def replay_dr_nas_supernet(golden: Golden) -> None:
    a = golden.args
    check_sampling(a)
    assert a["mode"] == "train"
    with precision("float64"):
        method = build_dr_nas(golden, search_spec(golden), [golden.input(f"alphas_{kind}") for kind in KINDS])
        for kind, alpha in method.alphas.items():
            golden.check(f"alphas_{kind}_used", alpha)
            if f"mask_{kind}" in golden:
                golden.check(f"mask_{kind}", method.masks[kind])
        assert method.derive().normal == read_genotype(golden.meta["genotype_json"]).normal
        assert method.derive().reduce == read_genotype(golden.meta["genotype_json"]).reduce
        check_sampled_pass(golden, method, {kind: f"sample_{kind}" for kind in KINDS}, method.arch)
        check_dr_nas_state(golden, "after", method)


def check_sampled_pass(golden: Golden, method: DrNas, samples: dict[str, str], arch: dict[str, paddle.Tensor]) -> None:
    """A pass mixed by Dirichlet samples, recorded under the names ``samples`` by kind: all outputs and gradients, those
    of ``arch`` by their recorded names."""
    batch = read_batch(golden)
    check_sample_gradients(golden, method, batch, samples)
    method.source = RecordedDraws(dirichlet=[golden.input(name) for name in samples.values()])
    mix, penalty = method.mixture(), method.penalty()
    assert method.source.exhausted()
    check_pass(golden, method, batch, mix, penalty, arch)


def check_pass(
    golden: Golden,
    method: DrNas,
    batch: Batch,
    mix: list[CellMix],
    penalty: paddle.Tensor | None,
    arch: dict[str, paddle.Tensor],
) -> None:
    """Logits, loss and gradients of a pass mixed by ``mix``; the ``penalty`` is part of the loss."""
    logits = method.supernet(batch.images, mix)[0]
    loss = cross_entropy(logits, batch.labels)
    assert (penalty is not None) == ("kl_reg" in golden) == (golden.args["reg_type"] == "kl")
    if penalty is not None:
        golden.check("kl_reg", penalty)
        loss = loss + penalty
    golden.check("logits", logits)
    golden.check("loss", loss)
    check_dr_nas_gradients(golden, loss, method, arch)


def check_sample_gradients(golden: Golden, method: DrNas, batch: Batch, samples: dict[str, str]) -> None:
    """dL/dx of the samples x before pruned candidates are taken out, in a pass that leaves no trace."""
    x = {kind: parameter(golden.input(name)) for kind, name in samples.items()}
    mixes = {kind: CellMix(renormalised(x[kind], method.masks[kind]), active=method.masks[kind]) for kind in x}
    logits, _ = method.supernet(batch.images, [mixes[kind] for kind in method.spec.kinds], track_stats=False)
    found = paddle.grad(cross_entropy(logits, batch.labels), list(x.values()))
    for name, gradient in zip(samples.values(), found, strict=True):
        golden.check(f"grad/{name}", gradient)


# ---- the loop
@replays("bilevel_", "dr_nas")
def replay_dr_nas_loop(golden: Golden) -> None:
    """The first epoch of the replay is the warm-up, in which only the weights learn."""
    a = golden.args
    check_sampling(a)
    spec, initial, names = LOOPS[golden.meta["network_class"]](golden)
    assert [step.split(" step ")[0] for step in a["order"]] == ["arch", "SGD"] and not a["unrolled"]
    optimizers = read_optimizers(a)
    decay = a["reg_scale"] if a["reg_type"] == "l2" else 0.0
    assert optimizers.pop("arch_weight_decay") == decay, "the regulariser that the method itself sets"
    together = "architecture" in a.get("clip_parameters", "")
    with precision("float64"), recorded_clipping() as clipped:
        method = build_dr_nas(golden, spec, initial, arch_start_epoch=1, clip_with_arch=together, **optimizers)
        seen = {name: record_gradients(getattr(method, f"{name}_optimizer")) for name in ("arch", "weight")}
        trace = Trace()
        for i in range(a["iterations"]):
            method.begin_epoch(method.begins[-1] + (i >= a["warmup_steps"]))
            values = dr_nas_step(golden, method, i, seen)
            gradient_norm = {"gnorm_all": clipped[-1]} if together else {"gnorm_weights": norm(seen["weight"][-1])}
            trace.add({names.get(key, key): value for key, value in {**values, **gradient_norm}.items()})
        trace.check(golden, optional=("loss_valid_ce",))
        check_dr_nas_state(golden, "final", method)


def darts_loop(golden: Golden) -> tuple[SupernetSpec, list[np.ndarray], dict[str, str]]:
    assert golden.args["row_order"] == "rows 0..E-1 normal, E..2E-1 reduce"
    return search_spec(golden), [golden.input(f"init_alphas_{kind}") for kind in KINDS], {}


def loop_201(golden: Golden) -> tuple[SupernetSpec, list[np.ndarray], dict[str, str]]:
    assert golden.args["species"] == "dirichlet" and golden.args["arch_names"] == ["arch"]
    check_criterion(golden.args)
    return read_spec_201(golden.args), [golden.input("init_arch")], {"alphas_after": "arch_after"}


#: By the class of the network: the supernet, the initial architecture, and where recorded names are other than on the
#: DARTS space.
LOOPS = {"Network": darts_loop, "TinyNetwork": loop_201}


def dr_nas_step(golden: Golden, method: DrNas, i: int, seen: dict[str, list[Gradients]]) -> dict[str, Any]:
    """One iteration with its recorded samples: those of the architecture step first, if there is one."""
    warm_up = i < golden.args["warmup_steps"]
    recorded = [golden.input(key)[i] for key in ("sample_arch", "sample_train")]
    samples = [part for rows in recorded[warm_up:] for part in np.split(rows, len(method.alphas))]
    method.source = RecordedDraws(dirichlet=samples)
    penalty = method.penalty()
    result = method.step(*read_batches(golden, i))
    assert method.source.exhausted() and (result.arch_loss is None) == warm_up
    moved = [g.numpy() for g in seen["arch"][-1]] if not warm_up else [np.zeros(a.shape) for a in samples]
    return {
        "alphas_after": np.concatenate([alpha.numpy() for alpha in method.alphas.values()]),
        "arch_grad": np.concatenate(moved),
        "loss_train": result.loss,
        "loss_valid_ce": 0.0 if warm_up else result.arch_loss - (0.0 if penalty is None else float(penalty)),
    }
