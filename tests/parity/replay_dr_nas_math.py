"""DrNAS' Dirichlet weights, pruning and widening."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import paddle
from checking import check_arrays
from golden import Golden, precision, tensor
from reading import KINDS, our_key, parameter, read_genotype, read_sgd, read_spec
from recorded import RecordedDraws
from registry import replays
from search_loops import load_momentum

from paddle_darts.methods.parts.derivation import darts_genotype
from paddle_darts.methods.parts.dirichlet import (
    concentration,
    dirichlet_sample,
    dirichlet_weights,
    draw,
    kl_to_uniform,
    pathwise_derivative,
)
from paddle_darts.methods.parts.pruning import masked_softmax, prune
from paddle_darts.methods.parts.widening import WideningPlan, candidates, widen, widening_plan
from paddle_darts.networks import CellMix, Supernet
from paddle_darts.networks.official import load_official
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.optimizers import NamedOptimizer, sgd


@replays("dirichlet_grad", "dr_nas")
def replay_dirichlet_grad(golden: Golden) -> None:
    """The exact values with their tolerance, PyTorch's approximations with theirs."""
    assert golden.args["concentration"] == "elu(alpha)+1"
    with precision("float64"):
        alphas, x = parameter(golden.input("alphas")), golden.input("x")
        conc = concentration(alphas)
        golden.check("conc", conc)
        upstream = tensor(golden.input("v"))
        to_conc, to_alpha = paddle.grad((dirichlet_sample(conc, x) * upstream).sum(), [conc, alphas])
        for suffix in ("exact", "torch"):
            golden.check(f"gamma_{suffix}", pathwise_derivative(conc.numpy(), x))
            golden.check(f"grad_conc_{suffix}", to_conc)
            golden.check(f"grad_alpha_{suffix}", to_alpha)


@replays("kl_and_moments", "dr_nas")
def replay_kl_and_moments(golden: Golden) -> None:
    a = golden.args
    assert a["concentration"] == "elu(alpha)+1" and a["prior"] == "Dir(1)" and a["gradient_of"] == "sum of kl"
    with precision("float64"):
        alphas = parameter(golden.input("alphas"))
        conc = concentration(alphas)
        golden.check("conc", conc)
        kl = kl_to_uniform(conc)
        golden.check("kl", kl)
        golden.check("grad_alphas", paddle.grad(kl.sum(), [alphas])[0])
        check_moments(conc.numpy(), golden.input("mean"), golden.input("var"), a["sampler_test"]["z"])


def check_moments(conc: np.ndarray, mean: np.ndarray, var: np.ndarray, z: float, count: int = 10000) -> None:
    """Mean and variance of ``count`` samples per row, within ``z`` standard errors of the recorded ones.

    The variance of entries with a tiny concentration comes from a few samples, for which an error bound says little.
    """
    samples = draw(np.tile(conc, (count, 1)), RandomSource(1)).reshape(count, *conc.shape)
    assert (np.abs(samples.mean(axis=0) - mean) <= z * np.sqrt(var / count)).all()
    error = var * np.sqrt((2 + excess_kurtosis(conc)) / count)
    assert (np.abs(((samples - mean) ** 2).mean(axis=0) - var) <= z * error)[conc > 0.05].all()


def excess_kurtosis(conc: np.ndarray) -> np.ndarray:
    """Of every entry of a Dirichlet sample, which is Beta(a, b): how uncertain its empirical variance is."""
    a, total = conc, conc.sum(axis=-1, keepdims=True)
    b = total - a
    above = (a - b) ** 2 * (total + 1) - a * b * (total + 2)
    return 6 * above / (a * b * (total + 2) * (total + 3))


@replays("prune_cases", "dr_nas")
def replay_prune_cases(golden: Golden) -> None:
    a = golden.args
    assert a["pruned_value"] == 0.0
    for case, genotypes in zip(a["cases"], golden.meta["genotype_json"], strict=True):
        initial, *later = case["keys"]
        alphas = {kind: golden.input(initial["initial"].replace("<array>", f"alphas_{kind}")) for kind in KINDS}
        masks: dict[str, Any] = dict.fromkeys(KINDS)
        for keep, keys, expected in zip(case["num_keep"], later, genotypes, strict=True):
            for kind in KINDS:
                if keys["before"]:
                    alphas[kind] = golden.input(keys["before"].replace("<array>", f"alphas_{kind}"))
                alphas[kind], masks[kind] = prune(alphas[kind], keep, masks[kind])
                golden.check(keys["after"].replace("<array>", f"alphas_{kind}"), alphas[kind])
                golden.check(keys["after"].replace("<array>", f"mask_{kind}"), masks[kind])
            with precision("float64"):
                weights = {kind: masked_softmax(tensor(alphas[kind]), masks[kind]) for kind in KINDS}
            for kind in KINDS:
                golden.check(keys["after"].replace("<array>", f"softmax_{kind}"), weights[kind])
            strengths = {kind: weights[kind].numpy().astype("float32") for kind in KINDS}
            found = darts_genotype(strengths, tuple(a["primitives"]), a["steps"], a["multiplier"])
            assert found == read_genotype(expected)


def build_partial(a: dict[str, Any]) -> Supernet:
    assert a["K"] == a["k0"]
    return Supernet(replace(read_spec(a), partial_channels=a["k0"]))


def recorded_channels(golden: Golden, network: Supernet) -> list[np.ndarray]:
    """The recorded draws in our order: candidate by candidate."""
    drawn = golden.group("index")
    ordered = []
    for name in candidates(network):
        count = sum(key.rpartition("/")[0] == name for key in drawn)
        ordered += [drawn.pop(f"{name}/{n}") for n in range(count)]
    assert not drawn
    return ordered


def optimizer_of(network: Supernet, a: dict[str, Any]) -> NamedOptimizer:
    o = read_sgd(a)
    return sgd(network.weights(), o["learning_rate"], o["momentum"], o["weight_decay"])


def check_widened(golden: Golden, prefix: str, tensors: dict[str, paddle.Tensor], plan: WideningPlan) -> None:
    """Exactly the recorded ones of ``tensors`` (by our name) are in the plan, and have the recorded values."""
    recorded = {our_key(key.removeprefix(f"{prefix}/")) for key in golden.keys(prefix)}
    assert recorded == set(tensors) & set(plan)
    check_arrays(golden, prefix, tensors, our_key)


@replays("progressive_widen", "dr_nas")
def replay_widening(golden: Golden) -> None:
    a = golden.args
    assert a["order"] == ["prune(num_keep)", "wider(k1)", "train-mode forward of input2"] and a["mode"] == "train"
    with precision("float64"):
        old = build_partial(a)
        load_official(old, {our_key(key): value for key, value in golden.group("param").items()})
        samples = [golden.input(f"sample_{kind}") for kind in KINDS]
        source = RecordedDraws(integers=recorded_channels(golden, old), dirichlet=samples)
        mixes = {}
        for kind in KINDS:
            alphas, mask = prune(golden.input(f"alphas_{kind}"), a["num_keep"])
            golden.check(f"mask_{kind}", mask)
            mixes[kind] = CellMix(dirichlet_weights(tensor(alphas), source, mask), active=mask)
        plan = widening_plan(old, a["k0"], a["k1"], source)
        assert source.exhausted()
        network = Supernet(replace(old.spec, partial_channels=a["k1"]))
        state = widen(old.state_dict(), plan)
        network.set_state_dict(state)
        check_widened(golden, "wide", state, plan)
        check_momentum(golden, old, network, plan)
        network.train()
        logits, _ = network(tensor(golden.input("input2")), [mixes[kind] for kind in network.spec.kinds])
        golden.check("logits", logits)


def check_momentum(golden: Golden, old: Supernet, network: Supernet, plan: WideningPlan) -> None:
    """The buffers go from the optimizer of the old network to that of the new one, by name."""
    before = optimizer_of(old, golden.args)
    recorded = load_momentum(before, golden.group("mom"), our_key)
    after = optimizer_of(network, golden.args)
    after.load_state_dict(widen(before.state_dict(), plan))
    velocity = {name.removesuffix("/velocity_0"): value for name, value in after.state_dict().items()}
    assert set(velocity) == set(recorded) <= set(network.weights())
    check_widened(golden, "mom_wide", velocity, plan)
    for name in set(velocity) - set(plan):
        np.testing.assert_array_equal(velocity[name].numpy(), recorded[name])
