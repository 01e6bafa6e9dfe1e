"""Networks of NAS-Bench-201 that are trained: the benchmark's sizes, kernels against operators, names, errors."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from paddle_darts.analysis.complexity import complexity
from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import NasBench201Genotype, genotype
from paddle_darts.kernels.library import kernels_disabled, library
from paddle_darts.networks import NasBench201Network, SizeNetwork, build_network, fused, network_size
from paddle_darts.networks.official import load_official, official_name
from paddle_darts.nn.layers import BatchNorm, running_statistics, trainable
from paddle_darts.spaces.nas_bench_201 import SIZE_CELL, architectures

GOLDENS = Path(__file__).parents[1] / "goldens" / "nas_bench_201"
#: Every operation on an edge from the input and on one between nodes.
MIXED = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|avg_pool_3x3~1|nor_conv_3x3~2|"
POOLS = "|avg_pool_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
DEAD_END = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|none~2|"
NOTHING = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|avg_pool_3x3~2|"
CELLS = {"mixed": MIXED, "pools": POOLS, "dead end": DEAD_END, "nothing": NOTHING, "benchmark's": SIZE_CELL}


@pytest.fixture(autouse=True)
def seeded() -> None:
    paddle.seed(0)


def images(*shape: int, seed: int = 0, dtype: str = "float32") -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(seed).normal(size=shape), dtype)


# ---- sizes
def records() -> list[tuple[str, str, str, dict[str, Any]]]:
    """(table, architecture, data set, a run of it) of the recorded part of the benchmark."""
    sample = json.loads((GOLDENS / "benchmark_sample.json").read_text())
    found = {}
    for table in ("tss", "sss"):
        for one in sample[table].values():
            for trainings in one.values():
                for name, run in trainings["runs"].items():
                    dataset = name.partition("/")[0].removesuffix("-valid")
                    previous = found.setdefault((table, trainings["arch_str"], dataset), run)
                    assert (previous["flops_M"], previous["params_M"]) == (run["flops_M"], run["params_M"])
    return [(*key, run) for key, run in found.items()]


@pytest.mark.parametrize("table, arch, dataset, run", records(), ids=lambda value: value if value is str else None)
def test_sizes_are_those_of_the_benchmark(table: str, arch: str, dataset: str, run: dict[str, Any]) -> None:
    """The benchmark counts the biases of the classifier as multiply-adds too."""
    config = run["config"]
    if table == "tss":
        network = build_network(arch, config["class_num"])
        assert (config["channel"], 3 * config["num_cells"] + 2) == network_size("nas_bench_201")
    else:
        network = build_network(config["genotype"], config["class_num"], channels=config["channels"])
    pixels = 16 if dataset == "ImageNet16-120" else 32
    counted = complexity(network, [3, pixels, pixels])
    assert counted.params == counted.params_with_aux == round(1e6 * run["params_M"])
    assert counted.macs + config["class_num"] == round(1e6 * run["flops_M"])


def test_the_sample_has_both_tables() -> None:
    assert {table: sum(one[0] == table for one in records()) for table in ("tss", "sss")} == {"tss": 9, "sss": 9}


@pytest.mark.parametrize(
    "index, classes, params, mega_macs",
    [(0, 10, 129306, 15.64737), (0, 100, 135156, 15.65322), (11, 10, 802426, 113.95137), (284, 10, 101306, 11.71521)],
)
def test_published_sizes(index: int, classes: int, params: int, mega_macs: float) -> None:
    counted = complexity(build_network(architectures()[index], classes), [3, 32, 32])
    assert (counted.params, counted.macs + classes) == (params, round(1e6 * mega_macs))


def test_default_sizes_are_those_of_the_space() -> None:
    network = build_network("CDARTS_NATS_1")
    assert len(network.cells) == 17 and network.stem[0].weight.shape == [16, 3, 3, 3]
    darts = build_network("DARTS_V2")
    assert len(darts.cells) == 20 and darts.cells[0].preprocess1.op[1].weight.shape[0] == 36
    assert len(build_network("DARTS_V2", 10, 4, 3).cells) == 3


# ---- outputs
@pytest.mark.parametrize("arch", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("size", [(32, 32), (16, 16), (9, 13)])
def test_outputs(arch: str, size: tuple[int, int]) -> None:
    network = build_network(arch, 7, 3, 5, in_channels=2)
    x = images(4, 2, *size)
    logits, auxiliary = network(x)
    assert logits.shape == [4, 7] and auxiliary is None
    network.eval()
    features = network.features(x)
    assert features.shape == [4, 12] and float(features.min()) >= 0
    np.testing.assert_array_equal(network.classifier(features).numpy(), network(x)[0].numpy())


def test_a_cell_by_hand() -> None:
    """Node by node, as the text says: |pool~0|+|1x1~0|skip~1|+|3x3~0|pool~1|3x3~2|."""
    cell = build_network(MIXED, 10, 4, 5).cells[0]
    x = images(2, 4, 6, 6)
    ops = cell.layers
    with kernels_disabled():
        one = ops[0](x)
        two = ops[1](x) + ops[2](one)
        expected = ops[3](x) + ops[4](one) + ops[5](two)
        np.testing.assert_allclose(cell(x).numpy(), expected.numpy(), atol=1e-6)


def test_invalid_cells_are_built_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        network = build_network(NOTHING, 5, 4, 5)
    assert "nothing of the input reaches the output of the cell |nor_conv_3x3~0|" in caplog.text
    network.eval()
    logits = network(images(3, 3, 8, 8))[0].numpy()
    np.testing.assert_array_equal(logits, np.broadcast_to(logits[:1], logits.shape))
    caplog.clear()
    build_network(DEAD_END, 5, 4, 5)
    assert not caplog.records, "`none` is an operation like others here"


# ---- kernels
def computed(network: nn.Layer, x: paddle.Tensor) -> dict[str, np.ndarray]:
    """Outputs, gradients of images and parameters, running statistics after the pass."""
    x.stop_gradient = False
    logits = network(x)[0]
    wanted = {"image": x, **trainable(network)}
    gradients = paddle.grad((logits**2).sum(), list(wanted.values()), allow_unused=True)
    found = {f"gradient {name}": g.numpy() for name, g in zip(wanted, gradients, strict=True) if g is not None}
    state = {f"state {name}": value.numpy().copy() for name, value in network.state_dict().items()}
    return {"logits": logits.numpy(), **found, **state}


def shaken(network: nn.Layer) -> nn.Layer:
    """In double precision, with norms whose values are not round."""
    network.to(dtype="float64")
    rng = np.random.default_rng(1)
    for norm in (layer for layer in network.sublayers() if isinstance(layer, BatchNorm)):
        for values in (norm._mean, norm.weight, norm.bias):
            values.set_value(rng.normal(size=values.shape))
        norm._variance.set_value(rng.uniform(0.5, 2, norm._variance.shape))
    return network


def copied(network: nn.Layer, made: nn.Layer) -> nn.Layer:
    made.to(dtype="float64")
    made.set_state_dict(network.state_dict())
    return made


@pytest.mark.skipif(library() is None, reason="there are no kernels on this machine")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("size", [(8, 8), (9, 13)])
@pytest.mark.parametrize("channels", [None, "8:16:8:24:16", (3, 5, 4, 4, 6)], ids=str)
@pytest.mark.parametrize("arch", CELLS.values(), ids=CELLS)
def test_kernels_compute_what_operators_do(
    arch: str, channels: Any, size: tuple[int, int], training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> nn.Layer:
        shape = {"channels": channels} if channels else {"init_channels": 4, "layers": 8}
        return build_network(arch, 5, **shape)

    plans, real = [], fused.run_plan
    monkeypatch.setattr(
        fused, "run_plan", lambda plan, *args, **kwargs: plans.append(plan) or real(plan, *args, **kwargs)
    )
    network = shaken(make())
    other = copied(network, make())
    for one in (network, other):
        one.train() if training else one.eval()
    x = images(3, 3, *size, dtype="float64")
    found = computed(network, x.clone())
    assert len(plans) == 1 + len(network.cells), "the stem and every cell"
    with kernels_disabled():
        expected = computed(other, x.clone())
    assert len(plans) == 1 + len(network.cells) and found.keys() == expected.keys()
    for name, value in expected.items():
        # the norms of the last group see twelve values per channel: what is rounded differently is magnified
        bound = 1e-7 * max(1.0, float(np.abs(value).max(initial=0)))
        np.testing.assert_allclose(found[name], value, rtol=0, atol=bound, err_msg=name)


def test_running_statistics_can_be_left_alone() -> None:
    network = build_network(MIXED, 5, 4, 5)
    before = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    with running_statistics(False):
        network(images(2, 3, 8, 8))
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    network(images(2, 3, 8, 8))
    assert (network.lastact[0]._mean.numpy() != before["lastact.0._mean"]).any()


# ---- the size space
def test_widths_of_a_size_network() -> None:
    """The k-th width is that of the k-th layer, the stem has the first."""
    network = SizeNetwork("8:16:24:32:40", num_classes=3)
    assert [cell.out_channels for cell in network.cells] == [8, 16, 24, 32, 40]
    assert network.stem[0].weight.shape[0] == 8 and network.classifier.weight.shape == [40, 3]
    skip = official_name("cells.2.layers.3.conv.weight")
    assert {skip, "cells.2.layers.3.bn.running_var"} <= {official_name(n) for n in network.state_dict()}
    assert network.state_dict()["cells.2.layers.1.op.1.weight"].shape == [24, 16, 3, 3]
    assert network.state_dict()["cells.2.layers.2.op.1.weight"].shape == [24, 24, 3, 3]


def test_equal_widths_give_the_other_network() -> None:
    size = SizeNetwork((4, 4, 8, 8, 8, 16, 16, 16), genotype(MIXED))
    plain = build_network(MIXED, init_channels=4, layers=8)
    assert isinstance(plain, NasBench201Network)
    shapes = [{name: value.shape for name, value in one.state_dict().items()} for one in (size, plain)]
    assert shapes[0] == shapes[1]


def test_the_cell_of_the_size_space_is_the_default() -> None:
    default, named = SizeNetwork([4, 4, 8, 8, 8]), build_network(SIZE_CELL, channels=[4, 4, 8, 8, 8])
    assert isinstance(named, SizeNetwork) and default.state_dict().keys() == named.state_dict().keys()
    assert default.state_dict().keys() != build_network(MIXED, channels=[4, 4, 8, 8, 8]).state_dict().keys()


# ---- names
@pytest.mark.parametrize("name", ["infer_full_arch11", "size_space_net"])
def test_official_weights_load_by_name(name: str) -> None:
    with np.load(GOLDENS / f"{name}.npz") as golden:
        meta = json.loads(str(golden["meta"]))
    shapes, a = meta["tensor_names_shapes"], meta["args"]
    rng = np.random.default_rng(0)
    state = {f"module.{key}": rng.random(shape) for key, shape in shapes.items()}
    size = {"channels": a["channels"]} if "channels" in a else {"init_channels": a["C"], "layers": 3 * a["N"] + 2}
    network = build_network(meta["arch"], a["num_classes"], **size)
    load_official(network, state)
    ours = {official_name(key): value.numpy() for key, value in network.state_dict().items()}
    assert ours.keys() == {key for key in shapes if not key.endswith("num_batches_tracked")}
    for key, value in ours.items():
        given = state[f"module.{key}"]
        np.testing.assert_array_equal(value, (given.T if key == "classifier.weight" else given).astype("float32"))
    del state["module.lastact.0.bias"]
    with pytest.raises(ConfigError, match=r"missing lastact\.0\.bias"):
        load_official(network, state)


# ---- what cannot be
@pytest.mark.parametrize(
    "arch, settings, words",
    [
        (MIXED, {"layers": 20, "init_channels": 4}, None),
        (MIXED, {"layers": 18}, r"3N \+ 2, such as 17 or 20 .*got 18"),
        (MIXED, {"layers": 0}, r"3N \+ 2.*got 0"),
        (MIXED, {"init_channels": 0}, "init_channels must be at least 1, got 0"),
        (MIXED, {"auxiliary": True}, "have no auxiliary: it must be False or left out, got True"),
        (MIXED, {"drop_path_prob": 0.2}, "have no drop_path_prob: it must be 0.0 or left out, got 0.2"),
        (MIXED, {"drop_path_prob": 0, "auxiliary": False, "layers": 5}, None),
        (MIXED, {"stem": "imagenet"}, "have no stem: it must be 'cifar' or left out, got 'imagenet'"),
        (MIXED, {"stem": "nothing"}, "unknown stem 'nothing'"),
        (MIXED, {"stem_multiplier": 3}, "unknown option of a NAS-Bench-201 network 'stem_multiplier'"),
        (MIXED, {"in_channel": 1}, "did you mean 'in_channels'"),
        (MIXED, {"channels": "8:8:8:8:8", "layers": 17}, "say that layers is 5, got 17"),
        (MIXED, {"channels": "8:8:8:8:8", "init_channels": 16}, "say that init_channels is 8, got 16"),
        (MIXED, {"channels": "8:8:8:8:8", "init_channels": 8, "layers": 5}, None),
        (MIXED, {"channels": "8:8:8:8:9"}, "got 9"),
        (MIXED, {"channels": [8, 8, 8, 8]}, r"3N \+ 2.*got 4"),
        (MIXED, {"channels": [8, 8, 8, 0, 8]}, r"at least 1, got \[8, 8, 8, 0, 8\]"),
        (MIXED, {"channels": []}, "got 0"),
        ("DARTS_V2", {"channels": "8:8:8:8:8"}, "for cells of nas_bench_201 only; this one is of darts"),
        ("DARTS_V2", {"layers": 0}, "layers must be at least 1, got 0"),
    ],
)
def test_wrong_settings(arch: str, settings: dict[str, Any], words: str | None) -> None:
    if words is None:
        assert build_network(arch, **settings).cells
        return
    with pytest.raises((ConfigError, GenotypeError), match=words):
        build_network(arch, **settings)


def test_anything_that_names_a_cell_is_taken(tmp_path: Path) -> None:
    (tmp_path / "cell.txt").write_text(MIXED)
    for arch in (MIXED, NasBench201Genotype.parse(MIXED), tmp_path / "cell.txt", str(tmp_path / "cell.txt")):
        assert [type(op).__name__ for op in build_network(arch, 3, 2, 5).cells[0].layers] == [
            *("AvgPool", "ReLUConvBN", "Identity", "ReLUConvBN", "AvgPool", "ReLUConvBN")
        ]
