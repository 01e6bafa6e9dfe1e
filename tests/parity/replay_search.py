"""The supernet, the architecture gradient and whole search steps of DARTS and PC-DARTS."""

from __future__ import annotations

from typing import Any

import numpy as np
from checking import check_arrays, check_gradients, check_state, norm
from golden import Golden, precision, tensor
from reading import ALPHAS, BETAS, check_criterion, read_batch, read_genotype, read_optimizers, read_spec
from registry import replays
from replay_pc_darts import evaluate_edges_again
from search_loops import check_modes, load_momentum, record_gradients

from paddle_darts.methods.darts import Darts
from paddle_darts.methods.gradient import GradientMethod
from paddle_darts.methods.pc_darts import PcDarts
from paddle_darts.networks.official import load_official
from paddle_darts.nn.drop import RandomSource


def method_of(a: dict[str, Any]) -> tuple[type[GradientMethod], dict[str, Any]]:
    """DARTS, or PC-DARTS where edges have weights of their own, and the settings of the recorded network."""
    if a["arch_names"] == ALPHAS:
        return Darts, {}
    assert a["arch_names"] == ALPHAS + BETAS
    assert a["edge_normalization"] and a["channel_shuffle_groups"] == a["K"]
    return PcDarts, {"partial_channels": a["K"], "arch_start_epoch": 0}


def build_search(golden: Golden, unrolled: bool = False) -> GradientMethod:
    a = golden.args
    check_criterion(a)
    method_class, settings = method_of(a)
    optimizers = read_optimizers(a) if "optimizer_weights" in a else {}
    options = method_class.options_class(unrolled=unrolled, **settings, **optimizers)
    method = method_class(read_spec(a), options, epochs=1, source=RandomSource())
    load_official(method.supernet, golden.group("param"))
    assert list(method.arch) == a["arch_names"]
    for name, parameter in method.arch.items():
        parameter.set_value(tensor(golden.input(f"arch/{name}")))
    if (times := a.get("mixed_op_evaluations_per_edge", 1)) > 1:
        evaluate_edges_again(method.supernet, times)
    assert sum(w.size for w in method.weights.values()) == golden.meta["n_params"]
    method.supernet.train()
    return method


@replays("supernet_", "darts", "pc_darts")
def replay_supernet(golden: Golden) -> None:
    assert golden.args["softmax_alphas"]
    with precision("float64"):
        method = build_search(golden)
        loss = check_modes(golden, method)
        check_gradients(golden, loss, method.weights)
        check_state(golden, "after", method.supernet)
        assert method.derive() == read_genotype(golden.meta["genotype_json"])


@replays("architect_step", "darts", "pc_darts")
def replay_architect(golden: Golden) -> None:
    a = golden.args
    with precision("float64"):
        for variant in a["variants"]:
            tag = variant["tag"]
            method = build_search(golden, variant["unrolled"])
            method.weight_optimizer.lr = a["eta"]
            if variant["momentum_buffers"]:
                momentum = load_momentum(method.weight_optimizer, golden.group("momentum_buffer"))
                shapes = {name: list(buffer.shape) for name, buffer in momentum.items()}
                assert shapes == {name: weight.shape for name, weight in method.weights.items()}
            before = {n: w.numpy().copy() for n, w in method.weights.items()}
            train, valid = read_batch(golden, "_train"), read_batch(golden, "_valid")
            hyper = method.arch_gradient(train, valid)
            assert all(np.array_equal(before[n], w.numpy()) for n, w in method.weights.items()), "weights moved"
            for i, name in enumerate(method.arch):
                golden.check(f"{tag}/grad/arch/{name}", hyper.total[i])
                if variant["unrolled"]:
                    golden.check(f"{tag}/direct/{name}", hyper.direct[i])
                    golden.check(f"{tag}/hvp/{name}", hyper.implicit[i])
            if variant["unrolled"]:
                golden.check(f"{tag}/R", hyper.radius)
                golden.check(f"{tag}/vector_norm", hyper.norm)
                check_arrays(golden, f"{tag}/unrolled", dict(zip(method.weights, hyper.unrolled, strict=True)))
            check_state(golden, f"{tag}/after", method.supernet)
            method.update_arch(hyper.total)
            for name, parameter in method.arch.items():
                golden.check(f"{tag}/after_adam/{name}", parameter)


@replays("search_steps", "darts", "pc_darts")
def replay_search(golden: Golden) -> None:
    a = golden.args
    assert a["lr_schedule"] == "constant" and a["hvp_r"] == 0.01
    with precision("float64"):
        for variant in a["variants"]:
            tag = variant["tag"]
            method = build_search(golden, variant["unrolled"])
            arch_gradients = record_gradients(method.arch_optimizer)
            weight_gradients = record_gradients(method.weight_optimizer)
            losses, norms = [], []
            for i in range(a["iterations"]):
                train, valid = (read_batch(golden, part, i) for part in ("_train", "_valid"))
                losses.append(method.step(train, valid).loss)
                norms.append(norm(weight_gradients[-1]))
                for k, (name, parameter) in enumerate(method.arch.items()):
                    golden.check(f"{tag}/iter{i}/grad_arch/{name}", arch_gradients[-1][k])
                    golden.check(f"{tag}/iter{i}/arch/{name}", parameter)
            golden.check(f"{tag}/losses", np.array(losses))
            golden.check(f"{tag}/grad_norms_before_clip", np.array(norms))
            check_state(golden, f"{tag}/final", method.supernet)
            golden.check(f"{tag}/final_weight_norm", norm(list(method.weights.values())))
            method.supernet.eval()
            logits, _ = method.supernet(tensor(golden.input("final_eval_input")), method.mixture())
            golden.check(f"{tag}/final_eval_logits", logits)
            assert method.derive() == read_genotype(golden.meta["genotype_json"][tag])
