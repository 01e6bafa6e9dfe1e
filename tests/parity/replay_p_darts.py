"""The supernet of a stage of P-DARTS: the candidates that are left, dropout after skip connections."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from golden import Golden, precision, tensor
from registry import check_batch_norm, check_cells, record_cells, replays, torch_layout

from paddle_darts.methods import Batch
from paddle_darts.methods.p_darts import PDarts, PDartsOptions
from paddle_darts.networks import SupernetSpec
from paddle_darts.networks.official import load_official, p_darts_names
from paddle_darts.nn.drop import RandomSource
from paddle_darts.spaces import DARTS

KINDS = ("normal", "reduce")


class RecordedDropout(RandomSource):
    """Hands out the dropout masks of an official run in order."""

    def __init__(self, golden: Golden) -> None:
        super().__init__()
        self.drop_prob = golden.args["p_current"]
        shapes = golden.group("dropout_shape")
        self.masks = [
            np.unpackbits(bits, count=shapes[key].prod()).reshape(shapes[key])
            for key, bits in sorted(golden.group("dropout_mask").items())
        ]
        assert len(self.masks) == golden.args["n_dropout_calls"] == len(shapes)

    def keep_mask(self, keep_prob: float, shape: tuple[int, ...]) -> np.ndarray:
        assert keep_prob == 1 - self.drop_prob
        mask = self.masks.pop(0)
        assert mask.shape == tuple(shape)
        return mask.astype("float64")


def build_stage(golden: Golden) -> PDarts:
    """A search that stands in a stage with the recorded switches, under the recorded weights."""
    a = golden.args
    check_batch_norm(a)
    assert tuple(a["primitives"]) == DARTS.primitives and a["arch_names"] == ["alphas_normal", "alphas_reduce"]
    spec = SupernetSpec(
        in_channels=a["input_shape"][1],
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
    stage = a.get("stage") or 0
    rates = [0.0] * stage + [a["p_at_construction"]]
    none_more = [0] * (stage + 1)
    options = PDartsOptions(add_layers=none_more, add_width=none_more, dropout_rate=rates, num_to_drop=[0] * stage)
    method = PDarts(spec, options, epochs=len(rates), source=RandomSource())
    switches = {kind: golden.input(f"switches_{kind}").astype(bool) for kind in KINDS}
    assert all((table.sum(axis=1) == a["n_ops_on"]).all() for table in switches.values())
    method.load_state({**method.state(), "stage": stage, "switches": {k: t.tolist() for k, t in switches.items()}})
    load_weights(golden, method)
    assert a["dropout_module_exists"] == method.spec.skip_dropout == (a["p_at_construction"] > 0)
    method.supernet.skip_dropout_prob = a["p_current"] if a["dropout_module_exists"] else 0.0
    return method


def load_weights(golden: Golden, method: PDarts) -> None:
    """Alphas are parameters of the official network."""
    names, recorded = p_darts_names(method.supernet.state_dict(), method.spec), golden.group("param")
    for name, alpha in method.arch.items():
        alpha.set_value(tensor(golden.input(f"arch/{name}")))
        if name in recorded:
            assert np.allclose(recorded.pop(name), golden.input(f"arch/{name}"), rtol=1e-6, atol=0)
    load_official(method.supernet, recorded, names=names)
    weights, alphas = (sum(w.size for w in table.values()) for table in (method.weights, method.arch))
    assert golden.meta["n_params"] == weights + alphas
    assert golden.meta["n_params_without_alphas"] == weights


def by_official_name(method: PDarts, tensors: dict[str, paddle.Tensor]) -> dict[str, Any]:
    names = p_darts_names(tensors, method.spec)
    return {names[name]: value for name, value in tensors.items()}


@replays("supernet_stage", "p_darts")
def replay_stage(golden: Golden) -> None:
    assert golden.args["criterion"] == "cross_entropy" and golden.args["label_smooth"] == 0.0
    assert golden.args["dropout_scaling"] == "output = input*mask/(1-p)"
    with precision("float64"):
        method = build_stage(golden)
        batch = Batch(tensor(golden.input("input")), tensor(golden.input("target")))
        method.supernet.eval()
        loss, logits = method.loss(batch)
        golden.check("eval/logits", logits)
        golden.check("eval/loss", loss)
        method.supernet.train()
        source = method.supernet.random = RecordedDropout(golden)
        cells = record_cells(method.supernet)
        loss, logits = method.loss(batch)
        check_all_drawn(method, source)
        golden.check("train/logits", logits)
        golden.check("train/loss", loss)
        if "train/cell_mean" in golden:
            check_cells(golden, cells)
        for name, alpha in method.arch.items():
            golden.check(f"grad/arch/{name}", paddle.grad(loss, [alpha], retain_graph=True)[0])
        check_stage_gradients(golden, loss, by_official_name(method, method.weights))
        state = by_official_name(method, method.supernet.state_dict())
        for key in golden.keys("after"):
            name = key.removeprefix("after/")
            golden.check(key, torch_layout(name, state[name]))


def check_stage_gradients(golden: Golden, loss: paddle.Tensor, weights: dict[str, paddle.Tensor]) -> None:
    """The norms of all gradients, and those that were recorded in full."""
    assert set(weights) == set(golden.meta["param_names_in_order"])
    found = paddle.grad(loss, list(weights.values()), allow_unused=True)
    gradients = {
        name: paddle.zeros_like(weight) if gradient is None else gradient
        for (name, weight), gradient in zip(weights.items(), found, strict=True)
    }
    norms = [float(gradients[name].norm()) for name in golden.meta["param_names_in_order"]]
    golden.check("train/grad_norms", np.array(norms))
    if "train/grad_norm" in golden:
        golden.check("train/grad_norm", np.linalg.norm(norms))
    for key in golden.keys("grad"):
        name = key.removeprefix("grad/")
        if name in gradients:
            golden.check(key, torch_layout(name, gradients[name]))


def check_all_drawn(method: PDarts, source: RecordedDropout) -> None:
    """Without dropout in force nothing is drawn; the official masks then keep everything."""
    assert not source.masks or (method.supernet.skip_dropout_prob == 0.0 and all(m.all() for m in source.masks))
