"""Supernets of all methods: other candidates, partial channels, dropout; by the kernels and without."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import paddle
import pytest
from op_by_op import random_switches
from same_pass import assert_same_pass, build, leaf, random_mix

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import PRIMITIVES
from paddle_darts.kernels.library import kernels_disabled, library
from paddle_darts.networks import CellMix, Supernet, SupernetSpec, fused
from paddle_darts.networks.partial import channel_shuffle
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import trainable

TINY = SupernetSpec(init_channels=2, layers=2, steps=2, multiplier=2, num_classes=3, reductions=(1,))
NAS_BENCH_201 = SupernetSpec(space="nas_bench_201", init_channels=4, layers=5, num_classes=3)
WITHOUT_NONE = tuple(PRIMITIVES[1:])
EXPAND = (
    *("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"),
    *("dil_conv_3x3", "avg_pool_3x3", "sep_conv_5x5", "dil_conv_5x5"),
)
EPSILON = 0.125  # in single precision too: Paddle rounds it


@pytest.fixture(autouse=True)
def float64():
    before = paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    yield
    paddle.set_default_dtype(before)


@pytest.fixture(params=["kernels", "batched"])
def implementation(request):
    """Both ways to compute a cell on a CPU (the first falls back on the second where there is no compiler)."""
    with kernels_disabled() if request.param == "batched" else contextlib.nullcontext():
        yield


def switched(spec, seed=0):
    return random_switches(spec, np.random.default_rng(seed))


HALF = replace(TINY, init_channels=4, partial_channels=2)
QUARTER = replace(TINY, init_channels=8, partial_channels=4)
DEEP = replace(QUARTER, steps=4, multiplier=4, layers=3, reductions=None)
SPECS = {
    "without none": replace(TINY, ops=WITHOUT_NONE),
    "another order": replace(TINY, ops=EXPAND, reductions=(0, 1)),
    "four of them": replace(TINY, ops=EXPAND[:4], steps=3, multiplier=1),
    "switches": switched(replace(TINY, steps=3)),
    "few switches": random_switches(replace(TINY, ops=WITHOUT_NONE, affine=True), np.random.default_rng(1), 0.2),
    "half": HALF,
    "quarter": QUARTER,
    "quarter, deep": DEEP,
    "half, shift": replace(HALF, channel_sampling="shift", affine=True),
    "quarter, shift": replace(QUARTER, channel_sampling="shift", steps=3, multiplier=2, reductions=(0, 1)),
    "half, random": replace(HALF, channel_sampling="random"),
    "quarter, random": switched(replace(QUARTER, channel_sampling="random", steps=3, multiplier=2, pool_bn=False)),
    "half, imagenet stem": replace(HALF, stem="imagenet", ops=WITHOUT_NONE),
    "quarter, not all joined": replace(QUARTER, steps=3, multiplier=1, affine=True, pool_bn=False),
    "quarter, switches": switched(replace(QUARTER, steps=3)),
    "dropout": replace(TINY, skip_dropout=True, steps=3),
    "dropout, switches": switched(replace(TINY, skip_dropout=True, reductions=(0, 1), steps=3)),
    "dropout, half": replace(HALF, skip_dropout=True, steps=3, multiplier=2),
    "dropout, half, random": replace(HALF, skip_dropout=True, steps=3, channel_sampling="random"),
    "nas_bench_201": NAS_BENCH_201,
    "nas_bench_201, affine, tracked": replace(NAS_BENCH_201, affine=True, track_running_stats=True),
    "nas_bench_201, switches": switched(NAS_BENCH_201),
    "nas_bench_201, half": replace(NAS_BENCH_201, partial_channels=2, layers=8),
    "nas_bench_201, half, random": replace(NAS_BENCH_201, partial_channels=2, channel_sampling="random"),
    "nas_bench_201, dropout, half": replace(NAS_BENCH_201, partial_channels=2, skip_dropout=True),
}


@pytest.mark.parametrize("parts", ["", "m", "eo", "meo"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_numbers_are_those_of_op_by_op(spec, parts, implementation):
    """In training and, with what that left, in evaluation."""
    rng = np.random.default_rng([len(parts), spec.steps, spec.multiplier])
    network, reference = build(spec, rng, EPSILON), build(spec, epsilon=EPSILON)
    reference.set_state_dict(network.state_dict())
    size = [4, 3, 8, 8] if len(parts) % 2 else [4, 3, 9, 11]
    if spec.stem == "imagenet":
        size[2:] = 8 * size[2], 8 * size[3] - 7
    if spec.skip_dropout:
        network.skip_dropout_prob = reference.skip_dropout_prob = 0.4
    for training in (True, False):
        for one in (network, reference):
            one.train() if training else one.eval()
        mix = [random_mix(spec, rng, parts) for _ in spec.kinds]
        assert_same_pass(network, reference, paddle.to_tensor(rng.normal(size=size)), mix)


@pytest.mark.parametrize("grads", ["weights", "arch"])
@pytest.mark.parametrize("name", ["switches", "quarter", "quarter, random", "dropout, half"])
def test_partial_gradients(name, grads, implementation):
    spec, rng = SPECS[name], np.random.default_rng(3)
    network, reference = build(spec, rng, EPSILON), build(spec, epsilon=EPSILON)
    reference.set_state_dict(network.state_dict())
    if spec.skip_dropout:
        network.skip_dropout_prob = reference.skip_dropout_prob = 0.4
    mix = [random_mix(spec, rng, "meo") for _ in spec.kinds]
    assert_same_pass(network, reference, paddle.to_tensor(rng.normal(size=[4, 3, 8, 10])), mix, grads)


@pytest.fixture
def plans(monkeypatch):
    """The plans that were run by the kernels."""
    if library() is None:
        pytest.skip("there are no kernels on this machine")
    seen, real = [], fused.run_plan
    monkeypatch.setattr(
        fused, "run_plan", lambda plan, *args, **kwargs: seen.append(plan) or real(plan, *args, **kwargs)
    )
    return seen


@pytest.mark.parametrize("name", SPECS)
def test_a_cell_is_one_call_of_the_kernels(name, plans):
    spec = SPECS[name]
    network = build(spec)
    if spec.skip_dropout:
        network.skip_dropout_prob = 0.4
    mix = [random_mix(spec, np.random.default_rng(0), "eo")] * len(spec.kinds)
    network(paddle.ones([2, 3, 32, 32]), mix)
    cells = 0 if spec.channel_sampling == "random" else len(spec.kinds)
    blocks = 2 if spec.space == "nas_bench_201" else 0
    assert len(plans) == cells + blocks + (2 if spec.stem == "imagenet" else 1)


# ------------------------------------------------------------------------------------------ candidates
def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_defaults_are_the_network_of_darts():
    assert shapes(build(TINY)) == shapes(build(replace(TINY, ops=PRIMITIVES, switches=[[[1] * 8] * 5] * 2)))
    assert SupernetSpec().primitives == tuple(PRIMITIVES)


def test_columns_follow_ops():
    """The same candidates under other numbers."""
    spec = replace(TINY, ops=EXPAND)
    place = {PRIMITIVES.index(name): column for column, name in enumerate(EXPAND)}
    expected = {}
    for name, shape in shapes(build(TINY)).items():
        parts = name.split(".")
        if parts[0] == "cells" and parts[2] == "_ops":
            parts[5] = str(place[int(parts[5])])
        expected[".".join(parts)] = shape
    assert shapes(build(spec)) == expected


def test_switched_off_candidates_have_no_parameters_and_others_keep_their_names():
    rng = np.random.default_rng(0)
    spec = random_switches(replace(TINY, layers=3, reductions=(1,)), rng)
    everything = shapes(build(replace(spec, switches=None)))
    on = {}
    for name, shape in everything.items():
        parts = name.split(".")
        kind = spec.kinds[int(parts[1])] if parts[0] == "cells" else None
        if not name.startswith("cells") or parts[2] != "_ops" or spec.switched_on(kind)[int(parts[3])][int(parts[5])]:
            on[name] = shape
    assert shapes(build(spec)) == on != everything
    assert len(trainable(build(spec))) < len(trainable(build(replace(spec, switches=None))))


def test_what_is_switched_off_counts_as_inactive(implementation):
    """Whatever the mix says; its weights have no part in the output, nor in gradients of edges."""
    rng = np.random.default_rng(0)
    spec = random_switches(replace(TINY, reductions=()), rng)
    network, on = build(spec), np.array(spec.switched_on("normal"))
    x, values = paddle.to_tensor(rng.normal(size=[2, 3, 8, 8])), rng.uniform(0.1, 1, on.shape)
    results = []
    for weights, active in ((np.where(on, values, np.nan), None), (values, on), (values, np.ones_like(on))):
        mix = CellMix(leaf(weights), active, leaf(np.ones(len(on))))
        logits = network(x, [mix] * 2, track_stats=False)[0]
        results.append([t.numpy() for t in (logits, *paddle.grad(logits.sum(), [mix.ops, mix.edges]))])
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(a, b)
    assert (results[0][1][~on] == 0).all() and results[0][1].any()


# ------------------------------------------------------------------------------------------ partial channels
def test_published_sizes():
    """Weights of the supernets of PC-DARTS for ImageNet and CIFAR-10."""
    imagenet = SupernetSpec(stem="imagenet", num_classes=1000, partial_channels=2)
    assert sum(np.prod(p.shape) for p in build(imagenet).weights().values()) == 956_512
    assert [cell.channels for cell in build(SupernetSpec(partial_channels=4)).cells] == [16, 16, 32, 32, 32, 64, 64, 64]


def test_the_shuffle_takes_groups_in_turns():
    x = paddle.arange(12, dtype="float64").reshape([1, 6, 1, 2])
    assert channel_shuffle(x, 3)[0, :, 0, 0].tolist() == [0, 4, 8, 2, 6, 10]
    assert channel_shuffle(x, 2)[0, :, 0, 1].tolist() == [1, 7, 3, 9, 5, 11]


@pytest.mark.parametrize("sampling, order", [("shuffle", [None, 2, None, 3]), ("shift", [2, 3, None, None])])
@pytest.mark.parametrize("active", ["none", "nothing"])
def test_what_passes_by(sampling, order, active, implementation):
    """The channels beyond the first ones, unless the edge has nothing active at all; `none` is enough."""
    spec = replace(HALF, channel_sampling=sampling, steps=1, multiplier=1, layers=1, reductions=())
    network, mask = build(spec), np.zeros((2, 8), dtype=bool)
    mask[1, 0] = active == "none"
    edges = leaf([0.25, 0.5])
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=[2, 3, 5, 5]))
    feature = network(x, [CellMix(leaf(np.ones((2, 8))), mask, edges)], taps=[0])[1][0]
    state = network.cells[0].preprocess1(network.stem(x))
    # of the channels 0 1 | 2 3 of an edge's output the first two are mixed
    expected = [paddle.zeros([2, 5, 5]) if c is None else 0.5 * state[:, c] for c in order]
    expected = paddle.stack(expected, axis=1) * float(active == "none")
    np.testing.assert_allclose(feature.numpy(), expected.numpy(), rtol=1e-10)
    gradient = paddle.grad(feature.abs().sum(), [edges], allow_unused=True)[0]
    assert gradient is None or (gradient.numpy() != 0).tolist() == [False, active == "none"]


@pytest.mark.parametrize(
    "parts, reductions, ops, multiple",
    [
        (4, (1,), None, 4),
        (3, (), None, 6),
        (3, (0,), None, 6),
        (8, (0,), None, 8),
        (8, (0, 1), ("sep_conv_3x3", "none"), 4),
        (8, (1,), ("sep_conv_3x3", "none"), 8),
    ],
)
def test_channels_that_fit(parts, reductions, ops, multiple):
    """Every cell has whole parts, and two halves of a part for a skip connection of stride 2."""
    fits = []
    for channels in range(2, 49, 2):
        spec = replace(TINY, reductions=reductions, ops=ops)
        try:
            spec = replace(spec, partial_channels=parts, init_channels=channels)
        except ConfigError as error:
            assert f"multiple of {multiple}, got {channels}" in str(error)
            continue
        fits.append(channels)
        Supernet(spec)
    assert fits == [c for c in range(2, 49, 2) if c % multiple == 0]


def test_random_channels_are_drawn_per_edge_and_pass():
    """In evaluation too; edges without anything active draw none."""
    spec = replace(HALF, channel_sampling="random", layers=1, reductions=())
    network, mask = build(spec), np.ones((5, 8), dtype=bool)
    mask[2] = False
    network.eval()
    drawn, real = [], network.random.permutation
    network.random.permutation = lambda count: drawn.append(real(count)) or drawn[-1]
    mix = [CellMix(leaf(np.ones((5, 8))), mask)]
    first, second = (network(paddle.ones([1, 3, 8, 8]), mix)[0].numpy() for _ in range(2))
    assert [sorted(order) for order in drawn] == [[0, 1, 2, 3]] * 8
    assert (first != second).any()


# ------------------------------------------------------------------------------------------ dropout
def skips_only(edges=5):
    mask = np.zeros((edges, 8), dtype=bool)
    mask[:, PRIMITIVES.index("skip_connect")] = True
    return mask


@pytest.mark.parametrize("parts", [1, 2])
def test_what_dropout_draws(parts, implementation):
    """A mask per skip connection of stride 1 that is active, of the size of its output, while training."""
    spec = replace(TINY, init_channels=4, skip_dropout=True, partial_channels=parts)
    network, mask = build(spec), skips_only()
    mask[1] = False
    drawn, real = [], network.random.keep_mask
    network.random.keep_mask = lambda keep, shape: drawn.append((keep, shape)) or real(keep, shape)
    mix = [CellMix(leaf(np.ones((5, 8))), mask)] * 2

    def forward():
        return network(paddle.ones([3, 3, 8, 7]), mix)[0]

    network.skip_dropout_prob = 0.25
    forward()
    # four edges of the normal cell; of the reduction cell the one from its first node
    assert drawn == [(0.75, (3, 4 // parts, 8, 7))] * 4 + [(0.75, (3, 8 // parts, 4, 4))]
    del drawn[:]
    network.skip_dropout_prob = 0.0
    forward()
    network.skip_dropout_prob = 0.9
    network.eval()
    forward()
    assert not drawn


def test_dropped_elements(implementation):
    """Each is zero or divided by the probability to keep it, and its gradient likewise."""
    spec = replace(TINY, skip_dropout=True, steps=1, multiplier=1, layers=1, reductions=())
    network = build(spec)
    network.skip_dropout_prob = 0.4
    mask = skips_only(2)
    mask[0] = False
    x = leaf(np.random.default_rng(0).normal(size=[2, 3, 8, 8]))
    feature = network(x, [CellMix(leaf(np.ones((2, 8))), mask)], taps=[0])[1][0]
    plain = network.cells[0].preprocess1(network.stem(x))
    keep = RandomSource().keep_mask(0.6, (2, 2, 8, 8))
    np.testing.assert_allclose(feature.numpy(), plain.numpy() * keep / 0.6, rtol=1e-10, atol=1e-12)
    assert 0.4 < keep.mean() < 0.8
    upstream = paddle.to_tensor(np.random.default_rng(1).normal(size=feature.shape))
    found = paddle.grad((feature * upstream).sum(), [x])[0]
    expected = paddle.grad((plain * upstream * paddle.to_tensor(keep / 0.6)).sum(), [x])[0]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-8, atol=1e-10)


def test_the_probability_is_settable_where_there_is_dropout():
    network = build(replace(TINY, skip_dropout=True))
    assert network.skip_dropout_prob == 0.0
    for wrong in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match=f"at least 0 and below 1, got {wrong}"):
            network.skip_dropout_prob = wrong
    plain = build(TINY)
    plain.skip_dropout_prob = 0.0
    with pytest.raises(ConfigError, match=r"built without skip_dropout, got skip_dropout_prob=0\.3"):
        plain.skip_dropout_prob = 0.3
    assert shapes(plain) == shapes(network)


# ------------------------------------------------------------------------------------------ what cannot be
@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"ops": ("skip_connect", "sep_conv_33")}, "unknown operation 'sep_conv_33'; did you mean 'sep_conv_3x3'"),
        ({"ops": ()}, "one or more different operations, got an empty list"),
        ({"ops": ("none", "none")}, "different operations, got none, none"),
        (
            {"switches": [[[True] * 8] * 5]},
            "5 edges x 8 candidates for each kind of cell .normal, reduce., got 5 rows of 8$",
        ),
        ({"switches": [[[True] * 8] * 5, [[True] * 7] * 5]}, "got 5 rows of 8 and 5 rows of 7"),
        ({"switches": [[[True] * 8] * 5, [[True] * 8] * 4]}, "got 5 rows of 8 and 4 rows of 8"),
        ({"partial_channels": 0}, "at least 1, got 0"),
        ({"partial_channels": 2.0}, "whole number of at least 1, got 2.0"),
        ({"partial_channels": 4}, "init_channels must be a multiple of 4, got 2"),
        ({"channel_sampling": "shufle"}, "unknown channel_sampling 'shufle'; did you mean 'shuffle'"),
    ],
)
def test_impossible_specs(wrong, words):
    with pytest.raises(ConfigError, match=words):
        replace(TINY, **wrong)


def test_specs_from_lists_and_arrays_are_equal_and_hashable():
    table = np.random.default_rng(0).random((2, 5, 4)) < 0.5
    one = replace(TINY, ops=list(EXPAND[:4]), switches=table)
    two = replace(TINY, ops=EXPAND[:4], switches=tuple(tuple(map(tuple, t)) for t in table.tolist()))
    assert one == two and hash(one) == hash(two) != hash(replace(two, switches=None))


@pytest.mark.parametrize(
    "part, shape", [("ops", [4, 8]), ("ops", [5, 7]), ("active", [5]), ("edges", [4]), ("offset", [5, 1])], ids=str
)
def test_mixes_of_another_shape(part, shape, implementation):
    values = np.ones(shape, dtype=bool) if part == "active" else leaf(np.ones(shape))
    mix = CellMix(**{"ops": leaf(np.ones((5, 8))), part: values})
    with pytest.raises(ValueError, match=rf"the {part} of a mix must be \[5.* got \[{shape[0]}"):
        build(TINY)(paddle.ones([2, 3, 8, 8]), [mix] * 2)
