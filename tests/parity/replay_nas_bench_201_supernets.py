"""The supernets of NAS-Bench-201 in all modes in which the official programs run them."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import paddle
from checking import torch_layout
from golden import Golden, precision, tensor
from reading import check_criterion, read_batch, read_spec_201
from recipe_v1 import recipe_state
from recorded import RecordedDraws
from registry import replays

from paddle_darts.genotypes.nas_bench_201 import KIND
from paddle_darts.methods.darts import Darts, DartsOptions
from paddle_darts.methods.gdas import Gdas, GdasOptions
from paddle_darts.methods.gradient import GradientMethod
from paddle_darts.networks import CellMix, SupernetSpec
from paddle_darts.networks.official import load_official, our_name
from paddle_darts.networks.supernet import SearchNetwork
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import BatchNorm
from paddle_darts.nn.losses import cross_entropy

ALPHAS = "arch_parameters"
#: Whether the last batch norm of an official network has scale, shift and running statistics only where candidates do.
LAST_NORM_FOLLOWS = {"TinyNetworkDarts": False, "GenericNAS201Model": True}

State = dict[str, np.ndarray]


@replays("supernet_", "nas_bench_201")
def replay_supernet(golden: Golden) -> None:
    """Every mode begins with the recorded weights, as the official run did."""
    a = golden.args
    assert a["refill_between_modes"] and a["arch_names"] == [ALPHAS]
    check_criterion(a)
    with precision("float64"):
        for mode in a["modes"]:
            replay_mode(golden, mode)
        method, _ = build(golden)
        assert derived(method) == golden.meta["arch"]
        if "log_prob_of_dynamic" in golden:
            places = tuple(zip(*structure(a["dynamic_arch"], method.spec), strict=True))
            log_prob = paddle.nn.functional.log_softmax(method.alphas[KIND], axis=-1).numpy()[places].sum()
            golden.check("log_prob_of_dynamic", log_prob)


def replay_mode(golden: Golden, mode: str) -> None:
    method, biases = build(golden, mode)
    network = method.supernet
    trains = mode != "eval" and golden.args.get("train_mode_for_all_modes", True)
    network.train() if trains else network.eval()
    pooled: list[paddle.Tensor] = []
    network.global_pooling.register_forward_post_hook(lambda layer, x, y: pooled.append(y.flatten(1)))
    images, labels = read_batch(golden)
    logits, _ = network(images, mixture(golden, mode, method))
    loss = cross_entropy(logits, labels)
    golden.check(f"{mode}/logits", logits)
    golden.check(f"{mode}/loss", loss)
    if f"{mode}/feature" in golden:
        golden.check(f"{mode}/feature", pooled[0])
    check_mode_gradients(golden, mode, loss, method, biases)
    if mode == "train":
        check_after(golden, network, biases)


# ---- the network
def build(golden: Golden, mode: str = "joint") -> tuple[GradientMethod, State]:
    """The recorded network in the hands of a method, and the biases of its convolutions; see :func:`without_biases`."""
    a = golden.args
    method = new_method(read_spec_201(a), a["tau"] if mode == "gdas" else None)
    method.alphas[KIND].set_value(tensor(golden.input(ALPHAS)))
    if LAST_NORM_FOLLOWS[golden.meta["class"]]:
        last = method.supernet.lastact[0]
        last.tracked = a["track_running_stats"]
    state, biases = without_biases(recorded_state(golden))
    assert a["conv_bias"] or not biases
    load_official(method.supernet, state, optional=left_out(golden, method.supernet))
    return method, biases


def new_method(spec: SupernetSpec, temperature: float | None) -> GradientMethod:
    if temperature is None:
        return Darts(spec, DartsOptions(), 1, RandomSource())
    return Gdas(spec, GdasOptions(tau_max=temperature, tau_min=temperature), 1, RandomSource())


def recorded_state(golden: Golden) -> State:
    """The weights by official names."""
    state = recipe_state(golden.meta) if golden.args.get("recipe") else golden.group("param")
    return {common_name(name): value for name, value in state.items() if name != ALPHAS}


def common_name(name: str) -> str:
    """The generic network hides its stem and its cells behind a `_`; the others do not."""
    return re.sub(r"^_(stem|cells)\b", r"\1", name)


def without_biases(state: State) -> tuple[State, State]:
    """``state`` for networks whose convolutions have no bias, and the biases by the name of the running mean behind.

    A batch norm takes a bias away again: with batch statistics at once, with running ones by a mean that is as large.
    """
    biases = {
        name.removesuffix("1.bias") + "2.running_mean": value.astype("float64")
        for name, value in state.items()
        if name.endswith(".op.1.bias")
    }
    kept = {name: value for name, value in state.items() if not name.endswith(".op.1.bias")}
    return {name: value - biases.get(name, 0) for name, value in kept.items()}, biases


def left_out(golden: Golden, network: SearchNetwork) -> set[str]:
    """What our network has in its state and the official one has not: all of no effect."""
    norms = {name: layer for name, layer in network.named_sublayers() if isinstance(layer, BatchNorm)}
    names = {f"{name}.{part}" for name, n in norms.items() if not n.tracked for part in ("_mean", "_variance")}
    if LAST_NORM_FOLLOWS[golden.meta["class"]] and not golden.args["affine"]:
        names |= {"lastact.0.weight", "lastact.0.bias"}
    return names


# ---- the modes
def mixture(golden: Golden, mode: str, method: GradientMethod) -> list[CellMix]:
    if mode in ("train", "eval", "joint"):
        return method.mixture()
    if mode == "gdas":
        assert golden.args["gumbel"].startswith("g = -log(")
        method.source = RecordedDraws(exponential=[golden.input("gdas/exponential_draws")])
        mixes = method.mixture()
        assert method.source.exhausted()
        return mixes
    assert mode in ("select", "dynamic"), f"no replay of the mode {mode!r}"
    best = enumerate(method.alphas[KIND].numpy().argmax(axis=1))
    places = best if mode == "select" else structure(golden.args["dynamic_arch"], method.spec)
    return [fixed(places, method.spec)] * len(method.spec.kinds)


def structure(text: str, spec: SupernetSpec) -> list[tuple[int, int]]:
    """The (row, column) of the operations of an architecture; edges that it does not name have none."""
    edges = [
        (node, int(source), op)
        for node, part in enumerate(text.split("+"))
        for op, source in re.findall(r"(\w+)~(\d+)", part)
    ]
    return [(spec.edges.index((node, source)), spec.primitives.index(op)) for node, source, op in edges]


def fixed(places: Iterable[tuple[int, int]], spec: SupernetSpec) -> CellMix:
    """One operation on each of some edges and nothing on the others."""
    active = np.zeros((spec.num_edges, len(spec.primitives)), dtype=bool)
    for place in places:
        active[place] = True
    return CellMix(paddle.to_tensor(active, dtype=paddle.get_default_dtype()), active=active)


def derived(method: GradientMethod) -> str:
    """The text of the best operations; genotypes are of cells with four nodes, supernets of cells with any number."""
    spec = method.spec
    best = [spec.primitives[column] for column in method.strengths()[KIND].argmax(axis=1)]
    nodes = ["".join(f"|{best[row]}~{row - rows[0]}" for row in rows) + "|" for rows in spec.node_rows]
    assert spec.steps != 3 or str(method.derive()) == "+".join(nodes)
    return "+".join(nodes)


# ---- what is compared
def check_mode_gradients(golden: Golden, mode: str, loss: paddle.Tensor, method: GradientMethod, biases: State) -> None:
    """All that was recorded of a mode's gradients. Behind batch statistics those of biases are zero."""
    parameters = {**method.weights, "alpha": method.alphas[KIND]}
    found = paddle.grad(loss, list(parameters.values()), allow_unused=True)
    by_name = dict(zip(parameters, found, strict=True))
    for key in (key for key in golden.keys(mode) if key.startswith(f"{mode}/grad_")):
        official = common_name(key.removeprefix(f"{mode}/grad_"))
        mean = official.removesuffix("1.bias") + "2.running_mean"
        if mean in biases:
            assert method.supernet.searched_cells[0].batch_statistics, f"{key}: no gradient of biases"
            golden.check(key, np.zeros(biases[mean].shape))
            continue
        name = our_name(official)
        gradient = by_name[name]
        golden.check(key, torch_layout(name, paddle.zeros_like(parameters[name]) if gradient is None else gradient))


def check_after(golden: Golden, network: SearchNetwork, biases: State) -> None:
    """The running statistics that a pass in training left behind; officially the means hold the biases too."""
    state = network.state_dict()
    for key in golden.keys("after"):
        official = common_name(key.removeprefix("after/"))
        golden.check(key, state[our_name(official)].numpy() + biases.get(official, 0))
