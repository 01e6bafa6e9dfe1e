"""GDAS in its loop: one candidate per edge, its temperature, the order of its updates, who gets a gradient."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from method_runs import KINDS, SPEC, arrays, assert_equal, batch, build, resumed, search, train

from paddle_darts.errors import ConfigError
from paddle_darts.methods.parts.bilevel import gradients_or_none
from paddle_darts.networks.mix import CellMix
from paddle_darts.nn.drop import RandomSource


class Fixed(RandomSource):
    """Exp(1) numbers that make given columns the largest, in turns."""

    def __init__(self, *columns):
        self.draws = [np.where(np.eye(8)[column], 1e-3, 1.0) for column in columns]

    def exponential(self, shape):
        draw = self.draws.pop(0)
        assert draw.shape == shape
        return draw


def test_the_temperature_falls_from_epoch_to_epoch():
    method = build("gdas", tau_max=10.0, tau_min=0.1)
    seen = []
    for epoch in range(4):
        method.begin_epoch(epoch)
        seen.append(method.facts()["temperature"])
    assert seen == pytest.approx([10.0, 6.7, 3.4, 0.1])
    short = build("gdas", epochs=1)
    short.begin_epoch(0)
    assert short.temperature == 10.0


@pytest.mark.parametrize("epoch, tau", [(0, 10.0), (3, 2.0)])
def test_the_temperature_is_that_of_the_draw(epoch, tau):
    """y = softmax((log softmax(alpha) + g) / tau), of which the weights have the gradient."""
    method = build("gdas", tau_max=10.0, tau_min=2.0)
    method.begin_epoch(epoch)
    method.source = Fixed([4] * 5)
    alpha, noise = method.alphas["normal"], -np.log(np.where(np.eye(8)[[4] * 5], 1e-3, 1.0))
    (found,) = paddle.grad(method.cell_mix("normal").ops[:, 4].sum(), [alpha])
    powers = np.exp((alpha.numpy() + noise) / tau)  # log softmax differs from alpha by a constant per row
    y = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), y[:, 4:5] * (np.eye(8)[[4] * 5] - y) / tau, rtol=1e-4, atol=1e-9)


def test_every_pass_draws_one_candidate_per_edge_also_in_evaluation():
    method = build("gdas")
    method.begin_epoch(0)
    drawn = {kind: [] for kind in KINDS}
    method.supernet.eval()
    for _ in range(200):
        mixes = dict(zip(method.spec.kinds, method.mixture(), strict=True))
        for kind, mix in mixes.items():
            assert (mix.active.sum(axis=1) == 1).all()
            np.testing.assert_allclose(mix.ops.numpy(), mix.active, atol=1e-6)
            np.testing.assert_allclose(mix.offset.numpy(), 0, atol=1e-6)
            drawn[kind].append(mix.active)
    for masks in drawn.values():
        # nearly equal alphas: every candidate, `none` too, about as often as the others
        share = np.mean(masks, axis=(0, 1))
        np.testing.assert_allclose(share, 1 / 8, atol=5 * np.sqrt(1 / 8 * 7 / 8 / 1000))
    assert not np.array_equal(drawn["normal"], drawn["reduce"])


def test_all_cells_of_a_kind_share_a_draw():
    mixes = build("gdas", spec=replace(SPEC, layers=5, reductions=(1, 3))).mixture()
    assert len(mixes) == 5 and len({id(mix) for mix in mixes}) == 2
    assert mixes[0] is mixes[2] is mixes[4] and mixes[1] is mixes[3]


def test_the_gradient_reaches_candidates_that_were_not_drawn():
    method = build("gdas")
    method.begin_epoch(0)
    method.source = Fixed([4, 5, 6, 7, 4], [5, 4, 7, 6, 3])
    loss, _ = method.loss(batch(1))
    found = dict(zip(method.arch, gradients_or_none(loss, list(method.arch.values())), strict=True))
    for name, gradient in found.items():
        assert (gradient.abs() > 0).all(), name
        # a softmax hands out what it takes
        np.testing.assert_allclose(gradient.sum(axis=1).numpy(), 0, atol=1e-6 * float(gradient.abs().max()) + 1e-9)


def test_only_drawn_candidates_learn():
    method = build("gdas", weight_decay=0.1)
    method.begin_epoch(0)
    columns = {"normal": [4, 5, 6, 7, 4], "reduce": [5, 4, 7, 6, 3]}
    method.source = Fixed(*columns.values())
    before = arrays(method.weights)
    method.weight_step(batch(1))
    for name, weight in method.weights.items():
        parts = name.split(".")
        candidate = parts[0] == "cells" and parts[2] == "_ops"
        drawn = candidate and columns[method.spec.kinds[int(parts[1])]][int(parts[3])] == int(parts[5])
        assert np.array_equal(before[name], weight.numpy()) == (candidate and not drawn), name


def test_the_value_is_that_of_the_drawn_network():
    method = build("gdas")
    method.source = Fixed([4, 5, 6, 7, 4], [5, 4, 7, 6, 3])
    mixes = method.mixture()
    plain = [CellMix(paddle.to_tensor(mix.active.astype("float32")), mix.active) for mix in mixes]
    method.supernet.eval()
    logits = [method.supernet(batch(1).images, given)[0].numpy() for given in (mixes, plain)]
    np.testing.assert_allclose(*logits, rtol=1e-5, atol=1e-6)


def test_the_weights_move_before_the_architecture():
    method, by_hand = build("gdas"), build("gdas")
    for one in (method, by_hand):
        one.begin_epoch(0)
    result = method.step(batch(1), batch(2))
    assert result.loss == by_hand.weight_step(batch(1)).loss
    assert result.arch_loss == by_hand.arch_step(batch(1), batch(2))
    assert_equal(method, by_hand)

    waiting = build("gdas", arch_start_epoch=1)
    arch = arrays(waiting.arch)
    waiting.begin_epoch(0)
    assert waiting.step(batch(1), batch(2)).arch_loss is None
    assert all(np.array_equal(arch[name], value.numpy()) for name, value in waiting.arch.items())


@pytest.mark.parametrize("nesterov", [True, False])
def test_nesterov_looks_ahead(nesterov):
    method = build("gdas", nesterov=nesterov, weight_decay=5e-4, grad_clip=0.0, learning_rate=0.1)
    method.begin_epoch(0)
    name = "classifier.weight"
    place, w, v = list(method.weights).index(name), method.weights[name].numpy().astype("float64"), 0.0
    for step in range(3):
        gradient = np.random.default_rng(step).normal(size=w.shape)
        gradients = [None] * len(method.weights)
        gradients[place] = paddle.to_tensor(gradient.astype("float32"))
        method.update_weights(gradients)
        gradient = gradient + 5e-4 * w
        v = 0.9 * v + gradient
        w = w - 0.1 * (gradient + 0.9 * v if nesterov else v)
        np.testing.assert_allclose(method.weights[name].numpy(), w, rtol=1e-5, atol=1e-6)


def test_resume_in_the_middle_of_an_epoch():
    original = build("gdas")
    search(original, [0])
    original.begin_epoch(1)
    train(original, 1, [0])
    other = resumed(original)
    other.begin_epoch(1)
    for method in (original, other):
        train(method, 1, [1, 2])
        search(method, [2])
    assert_equal(original, other)


@pytest.mark.parametrize("options", [{"tau_min": 0.0}, {"tau_max": 1.0, "tau_min": 2.0}])
def test_a_temperature_that_cannot_be_is_refused(options):
    with pytest.raises(ConfigError, match=f"tau_min={options['tau_min']}"):
        build("gdas", **options)
