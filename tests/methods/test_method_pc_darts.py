"""PC-DARTS: schedules, edge weights, clipping. Its numbers are those of the recorded runs in tests/parity."""

import math

import numpy as np
import paddle
import pytest
from method_runs import SPEC, arrays, moved, softmax
from method_runs import batch as batch_of
from method_runs import build as build_method

from paddle_darts.errors import ConfigError
from paddle_darts.methods.pc_darts import softmax_per_node
from paddle_darts.spaces import DARTS

ARCH = ["alphas_normal", "alphas_reduce", "betas_normal", "betas_reduce"]
NODES = ([0, 1], [2, 3, 4])  # the edges into each of two nodes


def build(**options):
    return build_method("pc_darts", **{"epochs": 50, **options})


def batch(seed):
    return batch_of(seed, size=4)


def test_the_architecture_rests_until_its_first_epoch():
    method = build(arch_start_epoch=3)
    assert list(method.arch) == ARCH
    start = arrays(method.arch)
    for epoch in (0, 2):
        method.begin_epoch(epoch)
        assert method.step(batch(epoch), batch(9)).arch_loss is None
    assert not moved(start, method.arch)
    method.begin_epoch(3)
    assert math.isfinite(method.step(batch(3), batch(9)).arch_loss)
    assert moved(start, method.arch) == set(ARCH)


def test_the_published_schedule_on_cifar():
    method = build()
    rates = []
    for epoch in (0, 14, 15, 25, 49):
        method.begin_epoch(epoch)
        rates.append(method.lr)
        assert method.learns_architecture == (epoch >= 15)
    expected = [0.05 * (1 + math.cos(math.pi * e / 50)) for e in (0, 14, 15, 25, 49)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert method.arch_optimizer.lr == pytest.approx(6e-4)


def test_the_warm_up_on_imagenet_takes_the_place_of_the_cosine():
    method = build(learning_rate=0.5, warmup_epochs=5)
    rates = []
    for epoch in range(6):
        method.begin_epoch(epoch)
        rates.append(method.lr)
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4, 0.5, 0.25 * (1 + math.cos(math.pi / 10))], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_betas_are_normalised_per_node_and_weigh_the_alphas(seed):
    method, rng = build(), np.random.default_rng(seed)
    for value in method.arch.values():
        value.set_value(rng.normal(size=value.shape).astype("float32"))
    mixes = dict(zip(SPEC.kinds, method.mixture(), strict=True))
    for kind, table in method.strengths().items():
        betas, alphas = (method.arch[f"{name}_{kind}"].numpy() for name in ("betas", "alphas"))
        edges = np.concatenate([softmax(betas[rows]) for rows in NODES])
        np.testing.assert_allclose(mixes[kind].edges.numpy(), edges, rtol=1e-5)
        np.testing.assert_allclose(mixes[kind].ops.numpy(), softmax(alphas), rtol=1e-5)
        np.testing.assert_allclose(table, edges[:, None] * softmax(alphas), rtol=1e-5)
        assert table.dtype == np.float32


def test_large_betas_stay_finite():
    weights = softmax_per_node(paddle.to_tensor([500.0, -500.0, 500.0, 500.0, -500.0]), DARTS.node_rows(2)).numpy()
    np.testing.assert_allclose(weights, [1, 0, 0.5, 0.5, 0], atol=1e-12)


def test_betas_choose_the_edges_and_alphas_the_operations():
    method = build()
    column = {name: k for k, name in enumerate(SPEC.primitives)}
    alphas = np.zeros((5, 8), dtype="float32")
    for row, op in enumerate(["max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "dil_conv_3x3", "dil_conv_5x5"]):
        alphas[row, column[op]] = 1.0
    alphas[:, column["none"]] = 2.0  # never chosen
    alphas[2, column["sep_conv_3x3"]] = 3.0  # by alphas alone the strongest edge of its node
    method.alphas["normal"].set_value(alphas)
    method.arch["betas_normal"].set_value(np.array([0, 1, -4, 0, 1], dtype="float32"))
    assert [tuple(edge) for edge in method.derive().normal] == [
        ("avg_pool_3x3", 1),
        ("max_pool_3x3", 0),
        ("dil_conv_5x5", 2),
        ("dil_conv_3x3", 1),
    ]
    method.arch["betas_normal"].set_value(np.zeros(5, dtype="float32"))
    assert tuple(method.derive().normal[2]) == ("sep_conv_3x3", 0)


@pytest.mark.parametrize("clip, expected", [(1e-4, 0.5e-4), (0.0, None)])
def test_the_gradients_of_all_four_are_clipped_together(clip, expected):
    """Adam's first moment is (1 - 0.5) times the gradient that it was given."""
    method = build(arch_start_epoch=0, arch_grad_clip=clip, arch_weight_decay=0.0)
    method.begin_epoch(0)
    gradient = method.arch_gradient(batch(0), batch(1)).total
    full = np.sqrt(sum(float((g * g).sum()) for g in gradient))
    assert len(gradient) == 4 and full > 10 * 1e-4
    method.update_arch(gradient)
    moment = np.sqrt(sum(float((m * m).sum()) for m in method.arch_optimizer.slots("moment1")))
    assert moment == pytest.approx(full / 2 if expected is None else expected, rel=1e-2)


def test_the_method_decides_how_many_channels_are_searched():
    assert build().supernet.spec.partial_channels == 4
    method = build(partial_channels=2, channel_sampling="shift")
    assert (method.supernet.spec.partial_channels, method.supernet.spec.channel_sampling) == (2, "shift")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"partial_channels": 3}, "partial_channels=3 .*multiple of 6, got 8"),
        ({"partial_channels": 0}, "partial_channels must be a whole number of at least 1, got 0"),
        ({"channel_sampling": "shufle"}, "unknown channel_sampling 'shufle'; did you mean 'shuffle'"),
    ],
)
def test_channels_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)
