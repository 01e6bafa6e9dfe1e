"""The supernet, the architecture gradient and whole search steps."""

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

from paddle_darts.methods import Batch, Darts, DartsOptions
from paddle_darts.networks import SupernetSpec
from paddle_darts.networks.official import load_official, official_name, our_name
from paddle_darts.nn.drop import RandomSource
from paddle_darts.spaces import DARTS


def build_search(golden: Golden, unrolled: bool = False) -> Darts:
    a = golden.args
    check_batch_norm(a)
    assert tuple(a["primitives"]) == DARTS.primitives
    assert a["arch_names"] == ["alphas_normal", "alphas_reduce"]
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
    options = DartsOptions(unrolled=unrolled)
    if "optimizer_weights" in a:
        assert a["optimizer_weights"]["type"] == "SGD" and not a["nesterov"]
        assert a["optimizer_arch"]["type"] == "Adam" and a["arch_betas"] == [0.5, 0.999] and a["adam_eps"] == 1e-8
        assert a["hvp_r"] == 0.01 and a["optimizer_weights"]["dampening"] == 0.0
        options = DartsOptions(
            learning_rate=a["lr"],
            momentum=a["momentum"],
            weight_decay=a["weight_decay"],
            grad_clip=a["grad_clip"] or 0.0,
            arch_learning_rate=a["arch_lr"],
            arch_weight_decay=a["arch_weight_decay"],
            unrolled=unrolled,
        )
    method = Darts(spec, options, epochs=1, source=RandomSource())
    load_official(method.supernet, golden.group("param"))
    for kind, alpha in method.alphas.items():
        alpha.set_value(tensor(golden.input(f"arch/alphas_{kind}")))
    method.supernet.train()
    return method


@replays("supernet_", "darts")
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
        for kind, alpha in method.alphas.items():
            golden.check(f"grad/arch/alphas_{kind}", paddle.grad(loss, [alpha], retain_graph=True)[0])
        check_gradients(golden, loss, method.weights)
        check_state(golden, "after", method.supernet)
        assert method.derive() == read_genotype(golden.meta["genotype_json"])


@replays("architect_step", "darts")
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
            for i, kind in enumerate(method.alphas):
                golden.check(f"{tag}/grad/arch/alphas_{kind}", hyper.total[i])
                if variant["unrolled"]:
                    golden.check(f"{tag}/direct/alphas_{kind}", hyper.direct[i])
                    golden.check(f"{tag}/hvp/alphas_{kind}", hyper.implicit[i])
            if variant["unrolled"]:
                golden.check(f"{tag}/R", hyper.radius)
                golden.check(f"{tag}/vector_norm", hyper.norm)
                unrolled = dict(zip(method.weights, hyper.unrolled, strict=True))
                for key in golden.keys(f"{tag}/unrolled"):
                    name = our_name(key.removeprefix(f"{tag}/unrolled/"))
                    golden.check(key, torch_layout(name, unrolled[name]))
            check_state(golden, f"{tag}/after", method.supernet)
            method.arch_optimizer.step(hyper.total)
            for kind, alpha in method.alphas.items():
                golden.check(f"{tag}/after_adam/alphas_{kind}", alpha)


def load_momentum(method: Darts, buffers: dict[str, np.ndarray]) -> None:
    saved = {}
    for name, w in method.weights.items():
        array = buffers[official_name(name)]
        saved[f"{name}/velocity_0"] = tensor(array.T if name.endswith("classifier.weight") else array)
        assert saved[f"{name}/velocity_0"].shape == w.shape
    method.weight_optimizer.load_state_dict(saved)


@replays("search_steps", "darts")
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
                for k, (kind, alpha) in enumerate(method.alphas.items()):
                    golden.check(f"{tag}/iter{i}/grad_arch/alphas_{kind}", arch_gradients[-1][k])
                    golden.check(f"{tag}/iter{i}/arch/alphas_{kind}", alpha)
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
