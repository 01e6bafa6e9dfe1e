"""Evaluation networks: every published cell, any image size, heads, drop path, and what is refused."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from counting_masks import Counting

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import Edge, Genotype, NetworkOptions, entry, genotype, list_genotypes
from paddle_darts.kernels.library import kernels_disabled
from paddle_darts.networks import build_network
from paddle_darts.networks.evaluation import EvaluationCell
from paddle_darts.networks.stems import AuxiliaryHead
from paddle_darts.nn.blocks import Zero
from paddle_darts.nn.layers import trainable
from paddle_darts.spaces import DARTS
from paddle_darts.spaces.darts import reduction_positions

DARTS_CELLS = [name for name in list_genotypes() if entry(name).genotype.space == "darts"]
ONE_NODE = Genotype([("sep_conv_3x3", 0), ("skip_connect", 1)], [2], [("max_pool_3x3", 0), ("skip_connect", 1)], [2])


@pytest.fixture(autouse=True)
def seeded():
    paddle.seed(0)


def images(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def output_sizes(network, x):
    """[channels, height, width] of every cell's output."""
    sizes = []
    hooks = [cell.register_forward_post_hook(lambda _, __, y: sizes.append(y.shape[1:])) for cell in network.cells]
    network(x)
    for hook in hooks:
        hook.remove()
    return sizes


def expected_sizes(arch, channels, layers, size, reductions=None):
    positions = reduction_positions(layers) if reductions is None else reductions
    sizes = []
    for index in range(layers):
        kind = "normal"
        if index in positions:
            channels, size, kind = 2 * channels, -(-size // 2), "reduce"
        sizes.append([len(arch.outputs(kind)) * channels, size, size])
    return sizes


@pytest.mark.parametrize("pixels", [15, 31])
@pytest.mark.parametrize("name", DARTS_CELLS)
def test_every_published_cell_on_small_odd_images(name, pixels):
    arch = genotype(name)
    network = build_network(name, 5, 4, 4, auxiliary=True)
    x = images(2, 3, pixels, pixels)
    network.eval()
    logits, aux = network(x)
    assert logits.shape == [2, 5] and aux is None and np.isfinite(logits.numpy()).all()
    assert output_sizes(network, x) == expected_sizes(arch, 4, 4, pixels)
    network.train()
    logits, aux = network(x)
    assert logits.shape == aux.shape == [2, 5] and np.isfinite(aux.numpy()).all()
    weights = trainable(network)
    found = paddle.grad((logits * logits).sum() + (aux * aux).sum(), list(weights.values()), allow_unused=True)
    assert all(np.isfinite(g.numpy()).all() for g in found if g is not None)
    # where `none` takes every edge from the previous cell, its preprocessing is in vain
    unused = {n for n, g in zip(weights, found, strict=True) if g is None}
    assert all(".preprocess1." in n for n in unused)
    assert bool(unused) == arch.contains_none


@pytest.mark.parametrize("name", DARTS_CELLS)
def test_every_published_cell_on_large_images(name):
    arch = genotype(name)
    network = build_network(name, 7, 4, 3, auxiliary=True, stem="imagenet")
    x = images(2, 3, 65, 65)
    network.train()
    logits, aux = network(x)
    assert logits.shape == aux.shape == [2, 7]
    assert ("auxiliary_head.features.6._mean" in network.state_dict()) == arch.network.aux_bn
    network.eval()
    assert output_sizes(network, x) == expected_sizes(arch, 4, 3, 9)
    assert network(x)[1] is None


@pytest.mark.parametrize("stem, pixels", [("cifar", 9), ("imagenet", 40)])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_few_layers(layers, stem, pixels):
    network = build_network("DARTS_V2", 3, 4, layers, stem=stem)
    x = images(2, 3, pixels, pixels)
    assert network(x)[0].shape == [2, 3]
    start = pixels if stem == "cifar" else 5
    assert output_sizes(network, x) == expected_sizes(genotype("DARTS_V2"), 4, layers, start)


def test_height_and_width_may_differ():
    network = build_network("PC_DARTS_cifar", 3, 4, 3)
    assert network(images(2, 3, 9, 14))[0].shape == [2, 3]
    assert output_sizes(network, images(2, 3, 9, 14))[-1] == [64, 3, 4]


@pytest.mark.parametrize("reductions", [(), (0,), (1, 3), (0, 1, 2)])
def test_a_genotype_may_bring_its_own_reductions(reductions):
    arch = replace(genotype("DARTS_V1"), network=NetworkOptions(reductions=reductions))
    network = build_network(arch, 3, 4, 4)
    x = images(2, 3, 12, 12)
    assert output_sizes(network, x) == expected_sizes(arch, 4, 4, 12, reductions)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_grayscale_and_widths(stem):
    network = build_network(ONE_NODE, 3, 6, 2, stem=stem, in_channels=1)
    assert network(images(2, 1, 24, 24))[0].shape == [2, 3]
    first = network.stem[0] if stem == "cifar" else network.stem0[0]
    assert first.weight.shape == ([18, 1, 3, 3] if stem == "cifar" else [3, 1, 3, 3])
    if stem == "cifar":
        assert build_network(ONE_NODE, 3, 6, 2, stem_multiplier=1).stem[0].weight.shape == [6, 3, 3, 3]


def test_auxiliary_head_only_where_asked_for():
    without, with_head = (build_network(ONE_NODE, 3, 4, 3, auxiliary=aux) for aux in (False, True))
    without.train()
    assert without(images(2, 3, 8, 8))[1] is None
    assert not any("auxiliary" in n for n in without.state_dict())
    assert set(with_head.state_dict()) - set(without.state_dict()) == {
        n for n in with_head.state_dict() if n.startswith("auxiliary_head.")
    }


@pytest.mark.parametrize("layers, position", [(1, 0), (2, 1), (3, 2), (4, 2), (6, 4), (20, 13)])
def test_auxiliary_head_reads_the_cell_at_two_thirds(layers, position):
    arch = replace(ONE_NODE, network=NetworkOptions(reductions=(position,)))
    network = build_network(arch, 3, 2, layers, auxiliary=True)
    seen = {}
    network.auxiliary_head.register_forward_pre_hook(lambda _, inputs: seen.update(head=inputs[0].numpy()))
    network.cells[position].register_forward_post_hook(lambda _, __, y: seen.update(cell=y.numpy().copy()))
    network.train()
    network(images(2, 3, 6, 6))
    np.testing.assert_array_equal(seen["head"], seen["cell"])


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("size", [(2, 2), (3, 7), (7, 7), (8, 8), (12, 12)])
def test_auxiliary_head_on_any_map(stride, size):
    head = AuxiliaryHead(4, 3, stride)
    pooled = []
    head.features[2].register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0].shape))
    assert head(images(2, 4, *size)).shape == [2, 3]
    assert pooled == [[2, 4, 2, 2]]


@pytest.mark.parametrize("size", [(1, 1), (1, 6)])
def test_auxiliary_head_refuses_maps_that_are_too_small(size):
    with pytest.raises(ConfigError, match=f"at least 2x2, got {size[0]}x{size[1]}.*--no_auxiliary"):
        AuxiliaryHead(4, 3, 3)(images(2, 4, *size))


def test_too_small_images_only_matter_while_the_head_runs():
    network = build_network(ONE_NODE, 3, 4, 3, auxiliary=True)
    network.eval()
    assert network(images(2, 3, 4, 4))[0].shape == [2, 3]
    network.train()
    with pytest.raises(ConfigError, match="auxiliary head"):
        network(images(2, 3, 4, 4))


def test_last_batch_norm_of_the_head_is_an_option():
    names = {last_bn: set(AuxiliaryHead(4, 3, 2, last_bn).state_dict()) for last_bn in (True, False)}
    assert names[True] - names[False] == {f"features.6.{n}" for n in ("weight", "bias", "_mean", "_variance")}


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"layers": -3}, "layers must be at least 1, got -3"),
        ({"init_channels": 0}, "even number of at least 2, got 0"),
        ({"init_channels": 5}, "even number of at least 2, got 5"),
        ({"stem": "cifra"}, "unknown stem 'cifra'; did you mean 'cifar'"),
    ],
)
def test_impossible_sizes(settings, words):
    with pytest.raises(ConfigError, match=words):
        build_network("DARTS_V2", **{"num_classes": 3, "init_channels": 4, "layers": 3, **settings})


def test_a_node_of_two_nones_is_all_zeros():
    arch = Genotype(
        [("none", 0), ("none", 1), ("sep_conv_3x3", 0), ("none", 2)],
        [2, 3],
        [("none", 1), ("none", 0), ("none", 0), ("max_pool_3x3", 1)],
        [2, 3],
    )
    network = build_network(arch, 3, 4, 3)
    outputs, x = [], images(2, 3, 7, 7)
    for cell in network.cells:
        cell.register_forward_post_hook(lambda _, __, y: outputs.append(y.numpy().copy()))
    logits, _ = network(x)
    assert np.isfinite(logits.numpy()).all()
    for y in outputs:
        half = y.shape[1] // 2
        assert (y[:, :half] == 0).all() and (y[:, half:] != 0).any()


def test_a_cell_of_nones_alone_trains():
    nothing = Genotype([("none", 0), ("none", 1)], [2], [("none", 0), ("none", 1)], [2])
    network = build_network(nothing, 3, 4, 3, auxiliary=True, drop_path_prob=0.2)
    network.train()
    logits, aux = network(images(2, 3, 9, 9))
    np.testing.assert_array_equal(logits.numpy(), np.tile(network.classifier.bias.numpy(), (2, 1)))
    assert aux.shape == [2, 3]


def test_same_parameters_whatever_the_image_size():
    small, large = (build_network("DARTS_V2", 10, 4, 3) for _ in range(2))
    small(images(1, 3, 8, 8)), large(images(1, 3, 33, 33))
    assert {n: p.shape for n, p in trainable(small).items()} == {n: p.shape for n, p in trainable(large).items()}


# ------------------------------------------------------------------------------------------ drop path
EDGES = (
    Edge("skip_connect", 0),
    Edge("sep_conv_3x3", 1),
    Edge("none", 0),
    Edge("max_pool_3x3", 2),
    Edge("skip_connect", 3),
    Edge("skip_connect", 1),
)


@pytest.mark.parametrize(
    "reduction, dropped",
    [(False, [1, 2, 3]), (True, [0, 1, 2, 3, 5])],  # a skip of stride 1 is an identity, of stride 2 it is not
)
def test_what_is_dropped_and_in_which_order(reduction, dropped):
    cell = EvaluationCell(DARTS, EDGES, (2, 3, 4), 4, 4, 4, reduction, False)
    results = {}
    for k, op in enumerate(cell._ops):
        op.register_forward_post_hook(lambda _, __, y, k=k: results.__setitem__(k, y.numpy().copy()))
    source = Counting()
    x = images(3, 4, 8, 8)
    with kernels_disabled():
        y = cell(x, images(3, 4, 8, 8, seed=1), 0.2, source).numpy()
    assert len(source.masks) == len(dropped)
    draws = dict(zip(dropped, source.masks, strict=True))
    for node in range(3):
        total = sum(
            results[k] / 0.8 * draws[k].reshape(-1, 1, 1, 1) if k in draws else results[k]
            for k in (2 * node, 2 * node + 1)
            if EDGES[k].op != "none"
        )
        np.testing.assert_allclose(y[:, 4 * node : 4 * node + 4], total, rtol=1e-5, atol=1e-6)


def test_drop_path_cell_by_cell():
    network = build_network(ONE_NODE, 3, 4, 3, drop_path_prob=0.5)
    drawn = []
    network.random = source = Counting()
    for cell in network.cells:
        cell.register_forward_post_hook(lambda _, __, y: drawn.append(len(source.masks)))
    network.train()
    network(images(2, 3, 8, 8))
    # the normal cell has one convolution and an identity; a reduction cell has a pool and a strided skip
    assert drawn == [1, 3, 5]


def test_drop_path_only_in_training_and_only_above_zero():
    network = build_network(ONE_NODE, 3, 4, 3, drop_path_prob=0.5)
    network.random = source = Counting()
    x = images(2, 3, 8, 8)
    network.eval()
    network(x)
    network.train()
    network.drop_path_prob = 0.0
    network(x)
    assert source.masks == []
    network.drop_path_prob = 0.1
    network(x)
    assert len(source.masks) == 5


def test_none_adds_nothing_but_is_still_drawn_for():
    """As in the official code, so that recorded masks fit."""
    cell = EvaluationCell(DARTS, EDGES, (2, 3, 4), 4, 4, 4, False, False)
    assert isinstance(cell._ops[2], Zero)
    source = Counting()
    cell(images(3, 4, 4, 4), images(3, 4, 4, 4), 0.5, source)
    assert len(source.masks) == 3
