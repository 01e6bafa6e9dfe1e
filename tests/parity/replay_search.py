"""The supernet, the architecture gradient and whole search steps of DARTS and PC-DARTS."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from golden import Golden, precision, tensor
from registry import (
    check_batch_norm,
    check_cells,
    check_gradients,
    check_state,
    read_genotype,
    record_cells,
    replays,
    torch_layout,
)
from replay_pc_darts import evaluate_edges_again

from paddle_darts.methods import Batch
from paddle_darts.methods.darts import Darts
from paddle_darts.methods.gradient import GradientMethod
from paddle_darts.methods.pc_darts import PcDarts
from paddle_darts.networks import SupernetSpec
from paddle_darts.networks.official import load_official, official_name, our_name
from paddle_darts.nn.drop import RandomSource
from paddle_darts.spaces import DARTS

ALPHAS = ["alphas_normal", "alphas_reduce"]
BETAS = ["betas_normal", "betas_reduce"]


def method_of(a: dict[str, Any]) -> tuple[type[GradientMethod], dict[str, Any]]:
    """DARTS, or PC-DARTS where edges have weights of their own, and the settings of the recorded network."""
    if a["arch_names"] == ALPHAS:
        return Darts, {}
    assert a["arch_names"] == ALPHAS + BETAS
    assert a["edge_normalization"] and a["channel_shuffle_groups"] == a["K"]
    return PcDarts, {"partial_channels": a["K"], "arch_start_epoch": 0}


def optimizer_settings(a: dict[str, Any]) -> dict[str, Any]:
    """The recorded optimizers; nothing where none were."""
    if "optimizer_weights" not in a:
        return {}
    weights, arch = a["optimizer_weights"], a["optimizer_arch"]
    assert weights["type"] == "SGD" and weights["dampening"] == 0.0 and not a["nesterov"]
    assert arch["type"] == "Adam" and a["arch_betas"] == [0.5, 0.999] and a["adam_eps"] == 1e-8
    assert a["hvp_r"] == 0.01
    return {
        "learning_rate": a["lr"],
        "momentum": a["momentum"],
        "weight_decay": a["weight_decay"],
        "grad_clip": a["grad_clip"] or 0.0,
        "arch_learning_rate": a["arch_lr"],
        "arch_weight_decay": a["arch_weight_decay"],
        "arch_grad_clip": arch.get("grad_clip") or 0.0,
    }


def build_search(golden: Golden, unrolled: bool = False) -> GradientMethod:
    a = golden.args
    check_batch_norm(a)
    assert tuple(a["primitives"]) == DARTS.primitives
    shape = a["input_shape"]
    spec = SupernetSpec(
        in_channels=shape[-3],
        num_classes=a["num_classes"],
        init_channels=a["C"],
        layers=a["layers"],
        steps=a["steps"],
        multiplier=a["multiplier"],
        stem_multiplier=a["stem_multiplier"],
        stem=a["stem"],
        reductions=tuple(a["reductions"]),
        pool_bn=a["pool_bn"],
        affine=a["affine"],
    )
    method_class, settings = method_of(a)
    options = method_class.options_class(unrolled=unrolled, **settings, **optimizer_settings(a))
    method = method_class(spec, options, epochs=1, source=RandomSource())
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
    assert golden.args["label_smooth"] == 0.0 and golden.args["softmax_alphas"]
    with precision("float64"):
        method = build_search(golden)
        batch = Batch(tensor(golden.input("input")), tensor(golden.input("target")))
        method.supernet.eval()
        loss, logits = method.loss(batch)
        golden.check("eval/logits", logits)
        golden.check("eval/loss", loss)
        method.supernet.train()
        cells = record_cells(method.supernet)
        loss, logits = method.loss(batch)
        golden.check("train/logits", logits)
        golden.check("train/loss", loss)
        check_cells(golden, cells)
        for name, parameter in method.arch.items():
            golden.check(f"grad/arch/{name}", paddle.grad(loss, [parameter], retain_graph=True)[0])
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
                load_momentum(method, golden.group("momentum_buffer"))
            before = {n: w.numpy().copy() for n, w in method.weights.items()}
            train = Batch(tensor(golden.input("input_train")), tensor(golden.input("target_train")))
            valid = Batch(tensor(golden.input("input_valid")), tensor(golden.input("target_valid")))
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
                unrolled = dict(zip(method.weights, hyper.unrolled, strict=True))
                for key in golden.keys(f"{tag}/unrolled"):
                    name = our_name(key.removeprefix(f"{tag}/unrolled/"))
                    golden.check(key, torch_layout(name, unrolled[name]))
            check_state(golden, f"{tag}/after", method.supernet)
            method.update_arch(hyper.total)
            for name, parameter in method.arch.items():
                golden.check(f"{tag}/after_adam/{name}", parameter)


def load_momentum(method: GradientMethod, buffers: dict[str, np.ndarray]) -> None:
    saved = {}
    for name, w in method.weights.items():
        array = buffers[official_name(name)]
        saved[f"{name}/velocity_0"] = tensor(array.T if name.endswith("classifier.weight") else array)
        assert saved[f"{name}/velocity_0"].shape == w.shape
    method.weight_optimizer.load_state_dict(saved)


@replays("search_steps", "darts", "pc_darts")
def replay_search(golden: Golden) -> None:
    a = golden.args
    assert a["lr_schedule"] == "constant"
    with precision("float64"):
        for variant in a["variants"]:
            tag = variant["tag"]
            method = build_search(golden, variant["unrolled"])
            method.weight_optimizer.lr = a["lr"]
            arch_gradients = spy(method.arch_optimizer)
            weight_gradients = spy(method.weight_optimizer)
            losses, norms = [], []
            for i in range(a["iterations"]):
                train = Batch(tensor(golden.input("input_train")[i]), tensor(golden.input("target_train")[i]))
                valid = Batch(tensor(golden.input("input_valid")[i]), tensor(golden.input("target_valid")[i]))
                losses.append(method.step(train, valid).loss)
                norms.append(np.sqrt(sum(float((g * g).sum()) for g in weight_gradients[-1])))
                for k, (name, parameter) in enumerate(method.arch.items()):
                    golden.check(f"{tag}/iter{i}/grad_arch/{name}", arch_gradients[-1][k])
                    golden.check(f"{tag}/iter{i}/arch/{name}", parameter)
            golden.check(f"{tag}/losses", np.array(losses))
            golden.check(f"{tag}/grad_norms_before_clip", np.array(norms))
            check_state(golden, f"{tag}/final", method.supernet)
            total = sum(float((w * w).sum()) for w in method.weights.values())
            golden.check(f"{tag}/final_weight_norm", np.sqrt(total))
            method.supernet.eval()
            logits, _ = method.supernet(tensor(golden.input("final_eval_input")), method.mixture())
            golden.check(f"{tag}/final_eval_logits", logits)
            assert method.derive() == read_genotype(golden.meta["genotype_json"][tag])


def spy(optimizer: Any) -> list[list[paddle.Tensor]]:
    """Records the gradients handed to an optimizer, before it clips or decays them."""
    seen: list[list[paddle.Tensor]] = []
    step = optimizer.step

    def recording(grads: list[paddle.Tensor], *rest: Any) -> None:
        seen.append([g.clone() for g in grads])
        step(grads, *rest)

    optimizer.step = recording
    return seen
