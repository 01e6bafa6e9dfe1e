"""How to replay each kind of golden; everything but the kind comes from its meta."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from golden import Golden, precision, tensor
from paddle import nn

from paddle_darts.analysis.complexity import complexity, count_parameters
from paddle_darts.data.augment import cutout_mask
from paddle_darts.genotypes import (
    FORMATS,
    PRIMITIVES,
    Genotype,
    NetworkOptions,
    format_genotype,
    genotype,
    list_genotypes,
    parse_genotype,
)
from paddle_darts.methods import Batch, Darts, DartsOptions
from paddle_darts.methods.derivation import darts_genotype
from paddle_darts.networks import SupernetSpec, build_network
from paddle_darts.networks.official import load_official, official_name, our_name
from paddle_darts.nn import schedules
from paddle_darts.nn.blocks import DilConv, FactorizedReduce, ReLUConvBN, SepConv
from paddle_darts.nn.drop import RandomSource, drop_path
from paddle_darts.nn.layers import trainable
from paddle_darts.nn.losses import cross_entropy
from paddle_darts.spaces import DARTS

REPLAYS: dict[tuple[str, str], Callable[[Golden], None]] = {}
FAMILIES = ("darts", "pc_darts", "p_darts")


def replays(prefix: str, *folders: str) -> Callable[[Callable[[Golden], None]], Callable[[Golden], None]]:
    def register(function: Callable[[Golden], None]) -> Callable[[Golden], None]:
        for folder in folders:
            REPLAYS[folder, prefix] = function
        return function

    return register


def find_replay(golden: Golden) -> Callable[[Golden], None] | None:
    """By folder and the longest prefix of the kind; a folder of another name counts if the kind is unambiguous."""
    folder, kind = golden.kind
    known = {f for f, _ in REPLAYS}
    fitting = [(f, p) for f, p in REPLAYS if kind.startswith(p) and (f == folder or folder not in known)]
    best = {REPLAYS[key] for key in fitting if len(key[1]) == max(len(p) for _, p in fitting)}
    return best.pop() if len(best) == 1 else None


class RecordedMasks(RandomSource):
    """Hands out the keep masks of an official run in order."""

    def __init__(self, masks: np.ndarray) -> None:
        self._masks = iter(masks)

    def keep_mask(self, keep_prob: float, shape: tuple[int, ...]) -> np.ndarray:
        return next(self._masks).reshape(shape).astype("float64")

    def exhausted(self) -> bool:
        return next(self._masks, None) is None


def weight(golden: Golden, parameters: dict[str, paddle.Tensor], name: str, value: paddle.Tensor) -> np.ndarray:
    """A value that belongs to a parameter, in PyTorch's layout."""
    array = value.numpy()
    is_linear = name.endswith("classifier.weight")
    return array.T if is_linear else array


def read_genotype(document: dict[str, Any], network: NetworkOptions | None = None) -> Genotype:
    fields = {k: document[k] for k in ("normal", "normal_concat", "reduce", "reduce_concat")}
    return Genotype(**fields, network=network or NetworkOptions())


def check_batch_norm(args: dict[str, Any]) -> None:
    assert (args["bn_momentum"], args["bn_eps"]) == (0.1, 1e-5), "our batch norm has one momentum and eps"


# ------------------------------------------------------------------------------------- evaluation networks
def build_evaluation(golden: Golden) -> nn.Layer:
    a = golden.args
    check_batch_norm(a)
    assert a["affine"] and not a["pool_bn"]
    arch = read_genotype(golden.meta["genotype_json"], NetworkOptions(aux_bn=a["aux_bn"], reductions=a["reductions"]))
    options = {"stem_multiplier": a["stem_multiplier"]} if a["stem"] == "cifar" else {}
    network = build_network(
        arch,
        a["num_classes"],
        a["C"],
        a["layers"],
        a["auxiliary"],
        stem=a["stem"],
        drop_path_prob=a["drop_path_prob"],
        in_channels=a["input_shape"][1],
        **options,
    )
    load_official(network, golden.group("param"))
    return network


@replays("eval_cifar_", *FAMILIES)
@replays("eval_imagenet_", *FAMILIES)
def replay_evaluation(golden: Golden) -> None:
    a = golden.args
    with precision("float32"):
        network = build_evaluation(golden)
        network.eval()
        golden.check("eval/logits_f32", network(tensor(golden.input("input")))[0])
    with precision("float64"):
        network = build_evaluation(golden)
        images, labels = tensor(golden.input("input")), tensor(golden.input("target"))
        network.eval()
        logits, logits_aux = network(images)
        assert logits_aux is None
        golden.check("eval/logits", logits)
        golden.check("eval/loss", cross_entropy(logits, labels, a["label_smooth"]))
        network.train()
        if "drop_masks" in golden:
            network.random = RecordedMasks(golden.input("drop_masks"))
        cells = record_cells(network)
        logits, logits_aux = network(images)
        loss = cross_entropy(logits, labels, a["label_smooth"])
        if a["auxiliary"]:
            golden.check("train/logits_aux", logits_aux)
            loss = loss + a["auxiliary_weight"] * cross_entropy(logits_aux, labels, a["label_smooth"])
        if "drop_masks" in golden:
            assert network.random.exhausted()
        golden.check("train/logits", logits)
        golden.check("train/loss", loss)
        check_cells(golden, cells)
        check_gradients(golden, loss, trainable(network))
        check_state(golden, "after", network)
        assert golden.meta["n_params"] == count_parameters(network, auxiliary=True)
        assert golden.meta["n_params_no_aux"] == count_parameters(network)


def record_cells(network: nn.Layer) -> list[np.ndarray]:
    outputs: list[np.ndarray] = []
    for cell in network.cells:
        cell.register_forward_post_hook(lambda layer, inputs, y: outputs.append(y.numpy().copy()))
    return outputs


def check_cells(golden: Golden, cells: list[np.ndarray]) -> None:
    golden.check("train/cell_mean", np.array([c.mean() for c in cells]))
    golden.check("train/cell_std", np.array([c.std() for c in cells]))
    for key, cell in (("train/cell0_out", cells[0]), ("train/last_cell_out", cells[-1])):
        if key in golden:
            golden.check(key, cell)


def check_gradients(golden: Golden, loss: paddle.Tensor, parameters: dict[str, paddle.Tensor]) -> None:
    found = paddle.grad(loss, list(parameters.values()), allow_unused=True, retain_graph=True)
    by_name = dict(zip(parameters, found, strict=True))
    order = [our_name(n) for n in golden.meta["param_names_in_order"]]
    assert set(order) == set(parameters)
    norms = np.array([0.0 if by_name[n] is None else float(by_name[n].norm()) for n in order])
    golden.check("train/grad_norms", norms)
    golden.check("train/grad_norm", np.sqrt((norms**2).sum()))
    for key in golden.keys("grad"):
        name = our_name(key.removeprefix("grad/"))
        if name in by_name:
            golden.check(key, weight(golden, parameters, name, by_name[name]))


def check_state(golden: Golden, prefix: str, network: nn.Layer) -> None:
    """Weights and running statistics recorded below ``prefix``."""
    state = network.state_dict()
    for key in golden.keys(prefix):
        name = our_name(key.removeprefix(prefix + "/"))
        golden.check(key, weight(golden, state, name, state[name]))


# ------------------------------------------------------------------------------------- supernet and search
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
                    golden.check(key, weight(golden, unrolled, name, unrolled[name]))
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


# ------------------------------------------------------------------------------------- small functions
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
    x = tensor(golden.input("input"))
    x.stop_gradient = False
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
    a = golden.args
    with precision("float32"):
        for i, expected in enumerate(golden.meta["genotype_json"]):
            strengths = {
                kind: edge_strengths(golden, f"case{i:02d}", kind, a["steps"]) for kind in ("normal", "reduce")
            }
            derived = darts_genotype(strengths, tuple(a["primitives"]), a["steps"], a["multiplier"])
            assert derived == read_genotype(expected), f"case {i}"


def edge_strengths(golden: Golden, case: str, kind: str, steps: int) -> np.ndarray:
    strengths = nn.functional.softmax(tensor(golden.input(f"{case}/alphas_{kind}")), axis=-1)
    if f"{case}/betas_{kind}" in golden:
        betas, start, per_node = tensor(golden.input(f"{case}/betas_{kind}")), 0, []
        for node in range(steps):
            per_node.append(nn.functional.softmax(betas[start : start + node + 2], axis=-1))
            start += node + 2
        strengths = strengths * paddle.concat(per_node).unsqueeze(1)
    return strengths.numpy()


@replays("drop_path", "darts")
def replay_drop_path(golden: Golden) -> None:
    with precision("float64"):
        source = RecordedMasks(golden.input("mask")[None])
        golden.check("out", drop_path(tensor(golden.input("input")), golden.args["drop_prob"], source))


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
            logits = tensor(golden.input("logits"))
            logits.stop_gradient = False
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


@replays("genotypes", *FAMILIES)
def replay_genotypes(golden: Golden) -> None:
    table = golden.document[golden.args["table"]]
    parsed = {name: read_genotype(value) for name, value in table.items()}
    known = {name.rpartition("/")[2] for name in list_genotypes()}
    for name, expected in parsed.items():
        assert name in known, f"{name} is not in the registry"
        assert genotype(name) == expected, name
    for alias, name in golden.document.get("aliases", {}).items():
        assert genotype(alias) == parsed[name]
    cards = golden.document.get(golden.args.get("model_card_table", ""), [])
    for card in cards:
        flat = read_genotype(card["flat"])
        concat = {"normal_concat": flat.normal_concat, "reduce_concat": flat.reduce_concat}
        nested = {"normal": card["normal_nested"], "reduce": card["reduce_nested"], **concat}
        assert Genotype.from_dict(nested) == flat
        assert any(genotype(name) == flat for name in list_genotypes()), card["random_seed"]
        parsed[f"card {card['random_seed']}"] = flat
    assert tuple(golden.args["primitives"]) == tuple(PRIMITIVES)
    for expected in parsed.values():
        for style in FORMATS:
            assert parse_genotype(format_genotype(expected, style)) == expected


@replays("counts", "darts")
def replay_counts(golden: Golden) -> None:
    cases = {case["key"]: case for case in golden.args["cases"]}
    aux_bn = golden.args["aux_bn_imagenet"]
    assert golden.args["macs_exclude_auxiliary"]
    for name, counts in golden.document["counts"].items():
        for key, expected in counts.items():
            case = cases[key]
            stem = "imagenet" if case["cls"] == "NetworkImageNet" else "cifar"
            arch = genotype(name)
            assert stem == "cifar" or arch.network.aux_bn == aux_bn[name]
            network = build_network(arch, case["num_classes"], case["C"], case["layers"], True, stem=stem)
            got = complexity(network, [3, case["input_size"], case["input_size"]])
            assert got.params == expected["params_no_aux"], (name, key)
            assert got.params_with_aux == expected["params_with_aux"], (name, key)
            assert got.macs == expected["macs_conv_linear"], (name, key)
            assert got.macs_paper == expected["macs_paper"], (name, key)
