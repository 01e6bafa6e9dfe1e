"""Operations, derivations, small functions, schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from golden import Golden, precision, tensor
from paddle import nn
from reading import KINDS, check_batch_norm, parameter, read_genotype
from recorded import RecordedMasks
from registry import replays

from paddle_darts.data.augment import cutout_mask
from paddle_darts.methods import Darts, DartsOptions
from paddle_darts.methods.pc_darts import PcDarts, PcDartsOptions
from paddle_darts.networks import SupernetSpec
from paddle_darts.networks.official import load_official
from paddle_darts.nn import schedules
from paddle_darts.nn.blocks import DilConv, FactorizedReduce, ReLUConvBN, SepConv
from paddle_darts.nn.drop import RandomSource, drop_path_factors, scale_samples
from paddle_darts.nn.losses import cross_entropy
from paddle_darts.spaces import DARTS


@replays("ops_", "darts")
def replay_ops(golden: Golden) -> None:
    a = golden.args
    check_batch_norm(a)
    with precision("float64"):
        for case in a["cases"]:
            run_op(golden, case["key"], DARTS.build(case["op"], a["C"], case["stride"], case["affine"]))
        for module in a["modules"]:
            run_op(golden, module["key"], build_module(module["cls"], module["args"], module["affine"]))


def build_module(cls: str, args: list[int], affine: bool) -> nn.Layer:
    """A block by the name and the positional arguments of the official class."""
    if cls in ("FactorizedReduce", "ReLUConvBN"):
        return {"FactorizedReduce": FactorizedReduce, "ReLUConvBN": ReLUConvBN}[cls](*args, affine=affine)
    assert cls in ("SepConv", "DilConv"), f"no module {cls}"
    c_in, c_out, kernel, stride, padding, *dilation = args
    assert c_in == c_out, f"our {cls} keeps the number of channels"
    assert padding == (dilation[0] if dilation else 1) * (kernel // 2)
    block = SepConv if cls == "SepConv" else DilConv
    return block(c_in, kernel, stride, affine, *dilation)


def run_op(golden: Golden, key: str, op: nn.Layer) -> None:
    load_official(op, golden.group(f"{key}/param"))
    x = parameter(golden.input("input"))
    op.eval()
    golden.check(f"{key}/eval", op(x))
    op.train()
    y = op(x)
    golden.check(f"{key}/train", y)
    if f"{key}/grad_input" not in golden:
        return
    factors = np.random.RandomState(golden.args["grad_weight_seed"]).randint(-2, 3, y.shape)
    total = (y * tensor(factors.astype("float64"))).sum()
    grad = paddle.zeros_like(x) if total.stop_gradient else paddle.grad(total, [x], allow_unused=True)[0]
    golden.check(f"{key}/grad_input", grad)


@replays("genotype_cases", "darts", "pc_darts")
def replay_genotype_cases(golden: Golden) -> None:
    """Derived by the method that learns what was recorded: betas are those of PC-DARTS."""
    a = golden.args
    spec = SupernetSpec(
        init_channels=4, layers=2, steps=a["steps"], multiplier=a["multiplier"], ops=tuple(a["primitives"])
    )
    with precision("float32"):
        methods = [Darts(spec, DartsOptions(), 1, RandomSource()), PcDarts(spec, PcDartsOptions(), 1, RandomSource())]
        for i, expected in enumerate(golden.meta["genotype_json"]):
            method = methods[f"case{i:02d}/betas_{KINDS[0]}" in golden]
            for name, value in method.arch.items():
                value.set_value(tensor(golden.input(f"case{i:02d}/{name}")))
            assert method.derive() == read_genotype(expected), f"case {i}"


@replays("drop_path", "darts")
def replay_drop_path(golden: Golden) -> None:
    with precision("float64"):
        source = RecordedMasks(golden.input("mask")[None])
        x = tensor(golden.input("input"))
        golden.check("out", scale_samples(x, drop_path_factors(x.shape[0], golden.args["drop_prob"], source)))


@replays("cutout", "darts")
def replay_cutout(golden: Golden) -> None:
    assert golden.args["n_holes"] == 1
    for case in golden.args["cases"]:
        mask = cutout_mask(case["h"], case["w"], case["length"], case["y"], case["x"])
        golden.check(case["key"], mask)
        assert int((mask == 0).sum()) == case["zeros"]


@replays("label_smooth", "darts")
def replay_label_smooth(golden: Golden) -> None:
    with precision("float64"):
        for case in golden.args["cases"]:
            logits = parameter(golden.input("logits"))
            loss = cross_entropy(logits, tensor(golden.input("target")), case["epsilon"])
            golden.check(case["loss"], loss)
            golden.check(case["grad"], paddle.grad(loss, [logits])[0])


@replays("schedules", "darts")
def replay_schedules(golden: Golden) -> None:
    for case in golden.args["cases"]:
        expected = np.array(golden.document[case["key"]][case["array"]])
        got = np.array([schedule_value(case, e) for e in range(case["epochs"])])
        golden.arrays[case["key"]] = expected
        golden.check(case["key"], got)


def schedule_value(case: dict[str, Any], epoch: int) -> float:
    if case["schedule"] == "linear drop path":
        return schedules.drop_path_prob(epoch, case["epochs"], case["drop_path_prob"])
    name = case["schedule"].split()[0]
    base = case["base_lr"]
    value = schedules.learning_rate(
        name,
        epoch,
        case["epochs"],
        base,
        case.get("min_lr", 0.0),
        case.get("gamma", 0.97),
        case.get("period", 1),
    )
    if not case.get("warmup"):
        return value
    rule = "override" if "base" in str(case["warmup"]) and "current" not in str(case["warmup"]).lower() else "scale"
    return schedules.warm_up(epoch, value, base, rule)
