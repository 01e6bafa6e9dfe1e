"""DrNAS between its stages: what is pruned, widened and kept, the learning rate, the regularisers, resume."""

import math
from dataclasses import replace

import numpy as np
import paddle
import pytest
from method_runs import KINDS, SPEC, arrays, assert_equal, batch, build, resumed, search
from scipy.special import digamma, gammaln

from paddle_darts.errors import ConfigError
from paddle_darts.methods.dr_nas import DrNas, DrNasOptions
from paddle_darts.methods.parts.widening import candidates
from paddle_darts.networks.supernet import CellMix
from paddle_darts.nn.drop import RandomSource

OPTIONS = {"arch_start_epoch": 0, "ks": [4, 2], "keeps": [7, 3]}


def at_the_end_of_stage_one(**options):
    """After two epochs of four, so that momentum and moments are not zero."""
    method = build("dr_nas", **{**OPTIONS, **options})
    search(method, [0, 1])
    return method


def momentum(method):
    return {name.split("/")[0]: value for name, value in arrays(method.weight_optimizer.state_dict()).items()}


def running(name):
    return name.endswith(("_mean", "_variance"))


# ---------------------------------------------------------------------------------------------- the change of stage
def test_a_stage_keeps_the_strongest_candidates():
    method = at_the_end_of_stage_one()
    before, moments = arrays(method.arch), arrays(method.arch_optimizer.state_dict())
    method.begin_epoch(2)
    assert method.stage == 1 and method.facts() == {"candidates_per_edge": 3, "partial_channels": 2}
    for kind, alpha in method.alphas.items():
        old, mask = before[f"alphas_{kind}"], method.masks[kind]
        assert (mask.sum(axis=1) == 3).all()
        assert (np.where(mask, old, np.inf).min(axis=1) > np.where(mask, -np.inf, old).max(axis=1)).all()
        np.testing.assert_array_equal(alpha.numpy(), np.where(mask, old, 0))
        weights = method.mixture()[method.spec.kinds.index(kind)].ops.numpy()
        assert ((weights > 0) == mask).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
        assert ((method.probabilities()[kind] > 0) == mask).all()
    for name, value in arrays(method.arch_optimizer.state_dict()).items():
        np.testing.assert_array_equal(value, moments[name], err_msg="the moments of Adam are not reset")


def test_pruned_candidates_are_gone():
    method = at_the_end_of_stage_one()
    method.begin_epoch(2)
    for name, layer in candidates(method.supernet).items():
        _, cell, _, edge, _, column = name.split(".")
        kept = method.masks[method.spec.kinds[int(cell)]][int(edge), int(column)]
        assert kept or not layer.state_dict(), name
    assert set(momentum(method)) <= set(method.weights) == set(method.supernet.weights())


def test_what_is_no_candidate_stays_as_it_was():
    method = at_the_end_of_stage_one()
    weights, buffers = arrays(method.supernet.state_dict()), momentum(method)
    method.begin_epoch(2)
    widened = tuple(candidates(method.supernet))
    names = [n for n in method.supernet.state_dict() if not n.startswith(tuple(f"{c}." for c in widened))]
    assert any(running(n) for n in names) and "classifier.weight" in names
    for name in names:
        np.testing.assert_array_equal(method.supernet.state_dict()[name].numpy(), weights[name])
        if name in buffers:
            assert np.abs(buffers[name]).max() > 0
            np.testing.assert_array_equal(momentum(method)[name], buffers[name])


def test_widened_weights_and_momentum_are_copies_of_the_same_channels():
    method = at_the_end_of_stage_one()
    weights, buffers = arrays(method.supernet.state_dict()), momentum(method)
    method.begin_epoch(2)
    checked = 0
    for name, new in momentum(method).items():
        if "._ops." not in name:
            continue
        wide, old = method.weights[name].numpy(), weights[name]
        outputs, inputs = (sources(wide, old, axis) for axis in (0, 1))
        assert wide.shape[0] == 2 * old.shape[0]
        assert outputs[: old.shape[0]] == list(range(old.shape[0])), "the old channels come first"
        np.testing.assert_array_equal(wide, old[np.ix_(outputs, inputs)])
        np.testing.assert_array_equal(new, buffers[name][np.ix_(outputs, inputs)])
        checked += bool(np.abs(buffers[name]).max() > 0)
    assert checked > 10


def sources(wide, old, axis):
    """Which slice of ``old`` every slice of ``wide`` begins with, along an axis."""
    rest = tuple(slice(size) for size in np.delete(old.shape, axis))
    slices = np.moveaxis(wide, axis, 0)[(slice(None), *rest)]
    known = np.moveaxis(old, axis, 0)
    found = [[i for i, own in enumerate(known) if np.array_equal(part, own)] for part in slices]
    assert all(len(places) == 1 for places in found)
    return [places[0] for places in found]


def test_pruning_alone_changes_no_function():
    """Over the candidates that stay, the smaller network computes what the larger one did."""
    method = at_the_end_of_stage_one(ks=[2, 2])
    first, images = method.supernet, batch(9).images
    method.begin_epoch(2)
    assert method.supernet is not first
    generator = np.random.default_rng(0)
    mixes = {k: CellMix(paddle.to_tensor(m * generator.random(m.shape, "float32")), m) for k, m in method.masks.items()}
    logits = []
    for network in (first, method.supernet):
        network.eval()
        logits.append(network(images, [mixes[kind] for kind in method.spec.kinds])[0].numpy())
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-5, atol=1e-6)


def test_candidates_that_were_pruned_never_return():
    method = build("dr_nas", **{**OPTIONS, "ks": [4, 2, 2], "keeps": [7, 3, 2], "stage_epochs": [1, 1, 2]})
    search(method, [0, 1])
    second = method.masks
    for kind, alpha in method.alphas.items():  # now the pruned ones are the largest
        alpha.set_value(paddle.to_tensor((alpha.numpy() - second[kind]).astype("float32")))
    search(method, [2, 3])
    for kind in KINDS:
        assert (method.masks[kind].sum(axis=1) == 2).all() and not (method.masks[kind] & ~second[kind]).any()
        ops = {method.spec.primitives[k] for k in np.flatnonzero(method.masks[kind].any(axis=0))}
        assert {edge.op for edge in getattr(method.derive(), kind)} <= ops
    assert method.derive().network.pool_bn


# -------------------------------------------------------------------------------------------------------- schedules
def test_the_learning_rate_over_the_stages():
    expected = [0.1 * (1 + math.cos(math.pi * e / 50)) / 2 for e in range(50)]
    rates = learning_rates(50)
    np.testing.assert_allclose(rates, expected, rtol=1e-7)
    official = learning_rates(50, stage_lr="official")
    np.testing.assert_allclose(official, expected[:25] + [2 * rate for rate in expected[25:]], rtol=1e-7)
    # stages of different lengths start at the given rate too, and above a least rate everything is in proportion
    uneven = learning_rates(10, stage_lr="official", stage_epochs=[3, 7], learning_rate_min=0.02)
    np.testing.assert_allclose([uneven[0], uneven[3]], 0.1, rtol=1e-7)
    clean = learning_rates(10, stage_epochs=[3, 7], learning_rate_min=0.02)
    ratios = (np.array(uneven[3:]) - 0.02) / (np.array(clean[3:]) - 0.02)
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)


def learning_rates(epochs, **options):
    spec = replace(SPEC, init_channels=4, layers=1, reductions=(), steps=1, multiplier=1)
    options = DrNasOptions(**{"ks": [2, 2], "keeps": [7, 3], **options})
    method = DrNas(spec, options, epochs, RandomSource())
    rates = []
    for epoch in range(epochs):
        method.begin_epoch(epoch)
        rates.append(method.lr)
    return rates


def test_the_architecture_rests_when_a_stage_begins():
    method = build("dr_nas", **{**OPTIONS, "arch_start_epoch": 1})
    moved = []
    for epoch in range(4):
        method.begin_epoch(epoch)
        before = arrays(method.arch)
        result = method.step(batch(epoch), batch(epoch + 9))
        moved.append(any(not np.array_equal(before[n], a.numpy()) for n, a in method.arch.items()))
        assert (result.arch_loss is not None) == moved[-1]
    assert moved == [False, True, False, True]


# ----------------------------------------------------------------------------------------------------- regularisers
def test_l2_decays_alphas_and_kl_is_part_of_the_loss():
    l2, kl = (build("dr_nas", **{**OPTIONS, "reg_type": t, "reg_scale": 0.5}) for t in ("l2", "kl"))
    assert l2.penalty() is None
    generator, expected = np.random.default_rng(0), 0.0
    for kind in KINDS:
        values = generator.normal(size=(5, 7)).astype("float32")
        c = np.where(values > 0, values + 1, np.exp(values))
        for method in (l2, kl):
            method.alphas[kind].set_value(paddle.to_tensor(values))
        total = c.sum(axis=1)
        expected += (gammaln(total) - gammaln(c).sum(axis=1) - gammaln(7)).sum()
        expected += ((c - 1) * (digamma(c) - digamma(total)[:, None])).sum()
    assert float(kl.penalty()) == pytest.approx(0.5 * expected, rel=1e-5)

    for method, moves in ((l2, True), (kl, False)):
        before = arrays(method.arch)
        method.update_arch([paddle.zeros_like(alpha) for alpha in method.arch.values()])
        assert all(np.array_equal(before[n], a.numpy()) != moves for n, a in method.arch.items())


def test_the_kl_term_reaches_the_gradient():
    train, valid = batch(1), batch(2)
    strong, weak = (build("dr_nas", **{**OPTIONS, "reg_type": "kl", "reg_scale": scale}) for scale in (2.0, 0.0))
    for method in (strong, weak):
        for alpha in method.alphas.values():
            alpha.set_value(paddle.full_like(alpha, 1.0))
    found, without = strong.arch_gradient(train, valid), weak.arch_gradient(train, valid)
    penalty = strong.penalty()
    assert float(found.loss - without.loss) == pytest.approx(float(penalty), rel=1e-4)
    expected = paddle.grad(penalty, list(strong.arch.values()))
    for with_term, plain, own in zip(found.total, without.total, expected, strict=True):
        np.testing.assert_allclose((with_term - plain).numpy(), own.numpy(), rtol=1e-3, atol=1e-5)
        assert float(own.abs().min()) > 0


# ----------------------------------------------------------------------------------------------- resume, mistakes
@pytest.mark.parametrize("saved_after", [1, 2])
def test_resume_before_and_behind_a_change_of_stage(saved_after):
    original = build("dr_nas", **OPTIONS)
    search(original, range(saved_after + 1))
    other = resumed(original, **OPTIONS)
    assert other.stage == original.stage == saved_after // 2
    for method in (original, other):
        search(method, range(saved_after + 1, 4))
    assert original.stage == 1
    assert_equal(original, other)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"keeps": [7, 8]}, "must not grow"),
        ({"keeps": [9, 8]}, "1 to the 7 candidates of an edge, got \\[9, 8\\]"),
        ({"keeps": [7, 0]}, "1 to the 7 candidates"),
        ({"ks": [4, 3]}, "partial_channels=3"),
        ({"ks": [2, 4]}, "must not grow"),
        ({"ks": [4, 2, 1]}, "for every stage"),
        ({"stage_epochs": [1, 2]}, "do not make up the 4 epochs"),
        ({"arch_weight_decay": 0.1}, "reg_scale"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options, message):
    """Not when the stage begins, hours later."""
    with pytest.raises(ConfigError, match=message):
        build("dr_nas", **{**OPTIONS, **options})
