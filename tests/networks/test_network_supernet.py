"""The supernet: what is fed in is all that decides, and a pass leaves only the traces that it was asked for."""

import contextlib
from dataclasses import replace

import numpy as np
import paddle
import pytest
from op_by_op import OpByOp

from paddle_darts.analysis.complexity import complexity
from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import PRIMITIVES
from paddle_darts.kernels.library import kernels_disabled
from paddle_darts.networks import CellMix, Supernet, SupernetSpec
from paddle_darts.nn.layers import frozen, trainable

TINY = SupernetSpec(init_channels=2, layers=2, steps=2, multiplier=2, num_classes=3, reductions=(1,))
OPS = len(PRIMITIVES)


@pytest.fixture(autouse=True, params=["kernels", "batched"])
def implementation(request):
    """Both ways to compute a cell on a CPU (the first falls back on the second where there is no compiler)."""
    with kernels_disabled() if request.param == "batched" else contextlib.nullcontext():
        yield


def images(*shape, seed=0):
    return paddle.to_tensor(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def weights(spec, seed=0):
    """Positive weights [edges, ops] that take gradients."""
    tensor = paddle.to_tensor(np.random.default_rng(seed).uniform(0.1, 1, (spec.num_edges, OPS)).astype("float32"))
    tensor.stop_gradient = False
    return tensor


def mixes(spec, **parts):
    return [CellMix(weights(spec, seed=index), **parts) for index in range(spec.layers)]


def state(network):
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def build(spec=TINY, seed=3):
    paddle.seed(seed)
    network = Supernet(spec)
    network.train()
    return network


def gradients(outputs, wanted):
    return paddle.grad((outputs * outputs).sum(), list(wanted), allow_unused=True)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes, count", [(10, 1930618), (100, 1953748)])
def test_published_size(classes, count):
    network = Supernet(SupernetSpec(num_classes=classes))
    assert sum(int(np.prod(p.shape)) for p in network.weights().values()) == count


def test_published_multiply_adds():
    spec = SupernetSpec()
    mix = [CellMix(paddle.ones([spec.num_edges, OPS]))] * spec.layers
    assert round(complexity(OpByOp(Supernet(spec)), [3, 32, 32], mix).macs / 1e6, 2) == 300.26


def test_shapes_and_taps():
    network, mix, x = build(), mixes(TINY), images(4, 3, 9, 9)
    logits, features = network(x, mix, taps=(0, 1))
    assert logits.shape == [4, 3]
    assert {k: f.shape for k, f in features.items()} == {0: [4, 4, 9, 9], 1: [4, 8, 5, 5]}
    pooled = features[1].mean(axis=[2, 3])
    close(network.classifier(pooled).numpy(), logits.numpy())
    assert network(x, mix)[1] == {} and set(network(x, mix, taps=[1])[1]) == {1}


def test_features_carry_gradients():
    network, mix = build(), mixes(TINY)
    feature = network(images(2, 3, 8, 8), mix, taps=[0])[1][0]
    first, second, classifier = gradients(feature, [mix[0].ops, mix[1].ops, network.classifier.weight])
    assert first is not None and second is None and classifier is None


@pytest.mark.parametrize("pixels", [8, 9])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_stems_and_odd_sizes(stem, pixels):
    spec = replace(TINY, stem=stem)
    network = build(spec)
    size = pixels if stem == "cifar" else 8 * pixels - 7
    logits, features = network(images(2, 3, size, size), mixes(spec), taps=[0, 1])
    assert logits.shape == [2, 3]
    assert [f.shape[2:] for f in features.values()] == [[pixels] * 2, [-(-pixels // 2)] * 2]


def test_grayscale_and_affine():
    spec = replace(TINY, in_channels=1, affine=True, pool_bn=False)
    network = build(spec)
    assert network(images(2, 1, 8, 8), mixes(spec))[0].shape == [2, 3]
    assert len(trainable(network)) > len(trainable(build()))
    assert not any("_ops.1.1." in name for name in network.state_dict())


# -------------------------------------------------------------------------------------- active mask
def random_mask(spec, seed=1):
    mask = np.random.default_rng(seed).random((spec.num_edges, OPS)) < 0.5
    mask[:, 4] = True  # no edge is without any operation
    return mask


@pytest.mark.parametrize("training", [True, False])
def test_active_is_the_sum_of_what_is_on(training):
    network, mask, x = build(), random_mask(TINY), images(4, 3, 8, 8)
    network.train() if training else network.eval()
    logits, _ = network(x, mixes(TINY, active=mask))
    zeroed = [CellMix(m.ops * paddle.to_tensor(mask.astype("float32"))) for m in mixes(TINY)]
    expected, _ = network(x, zeroed)
    close(logits.numpy(), expected.numpy())
    assert np.abs(logits.numpy() - network(x, mixes(TINY))[0].numpy()).max() > 1e-3


def test_what_is_off_is_neither_tracked_nor_trained():
    network, mask = build(), random_mask(TINY)
    before, mix = state(network), mixes(TINY, active=mask)
    logits, _ = network(images(4, 3, 8, 8), mix)
    off = [f"cells.{c}._ops.{e}._ops.{k}." for c in range(2) for e, k in zip(*np.nonzero(~mask), strict=True)]
    after = state(network)
    moved = {name for name in after if not np.array_equal(before[name], after[name])}
    assert moved and not any(name.startswith(prefix) for name in moved for prefix in off)
    statistics = {name for name in after if name.endswith(("._mean", "._variance"))}
    assert statistics - moved == {n for n in statistics if any(n.startswith(prefix) for prefix in off)}

    named = trainable(network)
    found = dict(zip(named, gradients(logits, named.values()), strict=True))
    for name, gradient in found.items():
        assert (gradient is None) == any(name.startswith(prefix) for prefix in off), name


def test_weights_of_what_is_off_get_no_gradient():
    network, mask = build(), random_mask(TINY)
    mix = mixes(TINY, active=mask)
    logits, _ = network(images(4, 3, 8, 8), mix)
    for gradient in gradients(logits, [m.ops for m in mix]):
        values = gradient.numpy()
        assert (values[~mask] == 0).all()
        used = mask.copy()
        used[:, PRIMITIVES.index("none")] = False
        assert (values[used] != 0).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stem, pixels", [("cifar", 7), ("imagenet", 33)])
def test_nothing_but_none_gives_zeros(training, stem, pixels):
    spec = replace(TINY, stem=stem)
    network = build(spec)
    network.train() if training else network.eval()
    mask = np.zeros((spec.num_edges, OPS), dtype=bool)
    mask[:, PRIMITIVES.index("none")] = True
    logits, features = network(images(2, 3, pixels, pixels), mixes(spec, active=mask), taps=[0, 1])
    size = 7 if stem == "cifar" else 5
    assert [f.shape for f in features.values()] == [[2, 4, size, size], [2, 8, -(-size // 2), -(-size // 2)]]
    assert all((f.numpy() == 0).all() for f in features.values())
    np.testing.assert_array_equal(logits.numpy(), np.tile(network.classifier.bias.numpy(), (2, 1)))


# -------------------------------------------------------------------------------------- edges and offset
def test_edge_weights_scale_all_operations_of_an_edge():
    network, x = build(), images(4, 3, 8, 8)
    edges = weights(TINY, seed=9)[:, 0].detach()
    edges.stop_gradient = False
    mix = mixes(TINY, edges=edges)
    logits, _ = network(x, mix)
    scaled = [CellMix(m.ops * edges.unsqueeze(1)) for m in mixes(TINY)]
    expected, _ = network(x, scaled)
    close(logits.numpy(), expected.numpy())
    close(gradients(logits, [edges])[0].numpy(), gradients(expected, [edges])[0].numpy())


def offset_of(values):
    tensor = paddle.to_tensor(np.asarray(values, dtype="float32"))
    tensor.stop_gradient = False
    return tensor


def test_offsets_are_added_to_the_output_of_their_edge():
    spec = replace(TINY, steps=1, multiplier=1)
    network, x = build(spec), images(4, 3, 8, 8)
    plain = network(x, mixes(spec), taps=[0])[1][0]
    offset = offset_of([0.5, -2.0])
    feature = network(x, mixes(spec, offset=offset), taps=[0])[1][0]
    close(feature.numpy(), plain.numpy() - 1.5)
    gradient = paddle.grad(feature.sum(), [offset])[0].numpy()
    np.testing.assert_array_equal(gradient, [feature.size] * 2)
    # an edge weight scales the operations, not the offset
    halved = network(x, mixes(spec, offset=offset, edges=paddle.full([2], 0.5)), taps=[0])[1][0]
    close(halved.numpy(), 0.5 * plain.numpy() - 1.5)


@pytest.mark.parametrize("cell", [0, 1])
def test_offsets_of_an_edge_where_none_was_chosen(cell):
    """A hard sample may draw `none`; the gradient of what it did not draw must still pass."""
    spec = replace(TINY, steps=1, multiplier=1)
    mask = np.zeros((2, OPS), dtype=bool)
    mask[:, PRIMITIVES.index("none")] = True
    offset = offset_of([0.25, 1.0])
    feature = build(spec)(images(4, 3, 7, 7), mixes(spec, active=mask, offset=offset), taps=[cell])[1][cell]
    assert feature.shape == ([4, 2, 7, 7] if cell == 0 else [4, 4, 4, 4])
    assert (feature.numpy() == 1.25).all()
    gradient = paddle.grad(feature[:, :, :2].sum(), [offset])[0].numpy()
    assert (gradient > 0).all()


# -------------------------------------------------------------------------------------- what a pass leaves behind
def test_partial_gradients_have_the_same_numbers_and_none_of_the_others():
    network, x = build(), images(4, 3, 8, 8)
    named = list(network.weights().values())
    results = {}
    for grads in ("both", "weights", "arch"):
        edges, offset = offset_of([0.5, 1.0, 1.5, 1.0, 0.7]), offset_of([0.0, 0.1, 0.2, 0.3, 0.4])
        mix = mixes(TINY, edges=edges, offset=offset)
        logits, _ = network(x, mix, grads=grads)
        arch = [m.ops for m in mix] + [edges, offset]
        found = gradients(logits, [*named, *arch])
        results[grads] = logits.numpy(), found[: len(named)], found[len(named) :]
        assert not any(p.stop_gradient for p in named)
    logits, both_weights, both_arch = results["both"]
    assert all(g is not None for g in both_weights + both_arch)
    for grads, mine, others in (("weights", 1, 2), ("arch", 2, 1)):
        np.testing.assert_array_equal(results[grads][0], logits)
        assert all(g is None for g in results[grads][others])
        for a, b in zip(results[grads][mine], results["both"][mine], strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_weights_take_gradients_again_after_a_failed_pass():
    network = build()
    with pytest.raises(ValueError):
        network(images(2, 5, 8, 8), mixes(TINY), grads="arch")
    assert not any(p.stop_gradient for p in network.weights().values())


def test_statistics_move_only_where_wanted():
    network, x = build(), images(4, 3, 8, 8)
    before = state(network)
    untracked, _ = network(x, mixes(TINY), track_stats=False)
    for name, value in state(network).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    tracked, _ = network(x, mixes(TINY))
    np.testing.assert_array_equal(tracked.numpy(), untracked.numpy())
    moved = {n for n, v in state(network).items() if not np.array_equal(v, before[n])}
    assert moved == {n for n in before if n.endswith(("._mean", "._variance"))}


def test_eval_mode_moves_nothing():
    network = build()
    network.eval()
    before = state(network)
    network(images(4, 3, 8, 8), mixes(TINY))
    for name, value in state(network).items():
        np.testing.assert_array_equal(value, before[name])


def test_cells_that_share_a_mix_add_up_their_gradients():
    spec = replace(TINY, reductions=())
    network, x = build(spec), images(4, 3, 8, 8)
    shared = weights(spec)
    logits, _ = network(x, [CellMix(shared)] * 2)
    apart = [weights(spec), weights(spec)]
    same, _ = network(x, [CellMix(w) for w in apart])
    np.testing.assert_array_equal(logits.numpy(), same.numpy())
    total = sum(g.numpy() for g in gradients(same, apart))
    close(gradients(logits, [shared])[0].numpy(), total)


# -------------------------------------------------------------------------------------- other shapes
def test_three_steps_of_which_two_are_joined():
    spec = replace(TINY, steps=3, multiplier=2, layers=1, reductions=())
    assert spec.num_edges == 9
    network, x, mix = build(spec), images(2, 3, 8, 8), mixes(spec)
    feature = network(x, mix, taps=[0])[1][0]
    assert feature.shape == [2, 4, 8, 8]
    close(feature.numpy(), OpByOp(network)(x, mix)[1][0].numpy())
    assert network.classifier.weight.shape == [4, 3]


def test_kinds_of_cells():
    assert SupernetSpec(layers=8).kinds == tuple("reduce" if i in (2, 5) else "normal" for i in range(8))
    assert SupernetSpec(layers=3, reductions=(0,)).kinds == ("reduce", "normal", "normal")
    assert SupernetSpec(layers=2, reductions=()).kinds == ("normal", "normal")
    assert SupernetSpec(layers=1).kinds == ("reduce",)


def test_equal_specs_build_equal_networks():
    assert replace(TINY) == TINY and hash(replace(TINY)) == hash(TINY)
    first, second = state(build(replace(TINY))), state(build())
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"layers": 0}, "layers must be at least 1"),
        ({"init_channels": 3}, "even number"),
        ({"steps": 0, "multiplier": 0}, "steps=0, multiplier=0"),
        ({"multiplier": 3}, "steps=2, multiplier=3"),
        ({"multiplier": 0}, "multiplier=0"),
        ({"stem": "large"}, "stem must be 'cifar' or 'imagenet', got 'large'"),
    ],
)
def test_impossible_specs(wrong, words):
    with pytest.raises(ConfigError, match=words):
        replace(TINY, **wrong)


def test_unknown_space():
    with pytest.raises(ConfigError, match="unknown search space 'dart'; did you mean 'darts'"):
        Supernet(replace(TINY, space="dart"))


@pytest.mark.parametrize("length", [1, 3])
def test_one_mix_per_cell(length):
    with pytest.raises(ConfigError, match=f"the mix has {length} cells, the supernet 2"):
        build()(images(2, 3, 8, 8), mixes(TINY)[:1] * length)


def test_unknown_gradients():
    with pytest.raises(ConfigError, match="both, weights, arch, got 'alpha'"):
        build()(images(2, 3, 8, 8), mixes(TINY), grads="alpha")


def test_the_weights_are_known_while_they_are_held_still():
    network = Supernet(SupernetSpec(init_channels=2, layers=2, steps=2, multiplier=2))
    names = list(network.weights())
    with frozen(list(network.weights().values())):
        assert list(network.weights()) == names
