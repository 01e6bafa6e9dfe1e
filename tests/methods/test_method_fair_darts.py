"""FairDARTS as a method; recorded passes and search loops of the official program are in tests/parity."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from method_runs import KINDS, SPEC, arrays, batch, moved

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.methods import Batch
from paddle_darts.methods.fair_darts import FairDarts, FairDartsOptions
from paddle_darts.methods.parts.threshold import PARSE_METHODS
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.losses import cross_entropy

SPEC = replace(SPEC, init_channels=2)


#: Whoever looks at it gets NaN everywhere.
POISON = Batch(paddle.full([6, 3, 4, 4], float("nan")), paddle.zeros([6], dtype="int64"))


def build(alphas=None, **options):
    """With alphas of N(0, 1) times ``alphas``, or as the method starts."""
    paddle.seed(0)
    method = FairDarts(SPEC, FairDartsOptions(**options), 4, RandomSource(0))
    rng = np.random.default_rng(3)
    for alpha in method.alphas.values() if alphas else ():
        alpha.set_value((alphas * rng.normal(size=alpha.shape)).astype("float32"))
    method.supernet.train()
    method.begin_epoch(0)
    return method


# --- the beginning


def test_candidates_start_at_one_half_without_none():
    method = build()
    assert method.spec.primitives == SPEC.primitives[1:] and "none" in SPEC.primitives
    for table in method.probabilities().values():
        np.testing.assert_array_equal(table, np.full((5, 7), 0.5, dtype="float32"))


def test_weights_of_an_edge_are_independent():
    method = build(alphas=2.0)
    for mix, kind in zip(method.mixture(), KINDS, strict=True):
        expected = 1 / (1 + np.exp(-method.alphas[kind].numpy()))
        np.testing.assert_allclose(mix.ops.numpy(), expected, rtol=1e-6)
        assert np.abs(mix.ops.numpy().sum(axis=1) - 1).min() > 0.1


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 85.0])
def test_a_threshold_that_no_sigmoid_can_cross(threshold):
    with pytest.raises(ConfigError, match=f"op_threshold must be between 0 and 1, got {threshold}"):
        build(op_threshold=threshold)


# --- the zero-one loss


def separation(alphas, form):
    """The loss and its gradients from the formulas, in float64."""
    sigmoids = {k: 1 / (1 + np.exp(-a.numpy().astype("float64"))) for k, a in alphas.items()}
    count = sum(s.size for s in sigmoids.values())
    distance = {k: s - 0.5 for k, s in sigmoids.items()}
    if form == "l2":
        value = -sum((d**2).sum() for d in distance.values()) / count
        outer = {k: -2 * d / count for k, d in distance.items()}
    else:
        value = -sum(np.abs(d).sum() for d in distance.values()) / count
        outer = {k: -np.sign(d) / count for k, d in distance.items()}
    return value, {k: outer[k] * s * (1 - s) for k, s in sigmoids.items()}


@pytest.mark.parametrize("form", ["l1", "l2"])
def test_both_losses_contain_it_but_only_the_architecture_feels_it(form):
    plain, method = (build(alphas=2.0, sep_loss=form, aux_loss_weight=weight) for weight in (0.0, 10.0))
    value, expected = separation(method.alphas, form)
    assert value < -0.05
    gradients = {m: m.arch_gradient(batch(1), batch(2)).total for m in (plain, method)}
    for kind, got, without in zip(KINDS, gradients[method], gradients[plain], strict=True):
        np.testing.assert_allclose((got - without).numpy(), 10 * expected[kind], atol=1e-6)
    results = [m.step(batch(1), batch(2)) for m in (plain, method)]
    assert results[1].arch_loss - results[0].arch_loss == pytest.approx(10 * value, rel=1e-4)
    # the loss of the weights sees the alphas after their step
    after, _ = separation(method.alphas, form)
    logits_loss = float(cross_entropy(results[1].logits, batch(1).labels))
    assert after != value and results[1].loss == pytest.approx(logits_loss + 10 * after, rel=1e-4)


def test_the_weights_do_not_feel_it():
    methods = [build(alphas=2.0, aux_loss_weight=weight, arch_start_epoch=1) for weight in (0.0, 10.0)]
    losses = [m.step(batch(1), POISON).loss for m in methods]
    assert abs(losses[0] - losses[1]) > 0.5
    assert not moved(arrays(methods[0].weights), methods[1].weights)


# --- one level


def test_one_pass_over_the_training_batch_moves_both():
    method, twin = (build(alphas=1.0, single_level=True, arch_weight_decay=0.0) for _ in range(2))
    loss, _ = twin.loss(batch(1))
    gradients = dict(zip(KINDS, paddle.grad(loss, list(twin.alphas.values()), retain_graph=True), strict=True))
    weights, alphas = arrays(method.weights), arrays(method.alphas)
    result = method.step(batch(1), POISON)
    assert result.loss == result.arch_loss == pytest.approx(float(loss), rel=1e-6)
    assert moved(weights, method.weights) == set(weights)
    for kind, gradient in gradients.items():  # Adam's first step goes by the sign
        sure = np.abs(gradient.numpy()) > 1e-4
        step = (method.alphas[kind].numpy() - alphas[kind])[sure]
        np.testing.assert_allclose(step, -3e-3 * np.sign(gradient.numpy()[sure]), rtol=1e-3)


@pytest.mark.parametrize("single_level, beta", [(True, 0.9), (False, 0.5)])
def test_the_setting_of_adam_counts_on_two_levels(single_level, beta):
    method = build(alphas=1.0, single_level=single_level, arch_lr_gamma=0.5)
    method.step(batch(1), batch(2))
    powers = [t for name, t in method.arch_optimizer.state_dict().items() if "beta1_pow" in name]
    assert powers and all(p.item() == pytest.approx(beta**2) for p in powers)  # Paddle's power is one ahead


@pytest.mark.parametrize("single_level", [False, True])
def test_the_architecture_rests_before_its_first_epoch(single_level):
    method = build(alphas=1.0, single_level=single_level, arch_start_epoch=1)
    weights, alphas = arrays(method.weights), arrays(method.alphas)
    assert method.step(batch(1), POISON).arch_loss is None
    assert moved(weights, method.weights) and not moved(alphas, method.alphas)
    method.begin_epoch(1)
    assert method.step(batch(1), batch(2)).arch_loss is not None
    assert moved(alphas, method.alphas) == set(KINDS)


# --- what has been found


def decided(method, **ops):
    """Sigmoids of 0.1 everywhere; entries like ``normal_2_skip_connect=0.9`` set one."""
    tables = {kind: np.full(alpha.shape, 0.1) for kind, alpha in method.alphas.items()}
    for key, value in ops.items():
        kind, row, op = key.split("_", 2)
        tables[kind][int(row), method.spec.primitives.index(op)] = value
    for kind, alpha in method.alphas.items():
        alpha.set_value(np.log(tables[kind] / (1 - tables[kind])).astype("float32"))
    return method


CELLS = {
    "normal_0_skip_connect": 0.95,
    "normal_0_sep_conv_3x3": 0.9,
    "normal_3_dil_conv_3x3": 0.99,
    "reduce_1_max_pool_3x3": 0.99,
}


def test_the_cells_of_all_three_rules_are_kept():
    method = decided(build(), **CELLS)
    found = method.variants()
    assert set(found) == set(PARSE_METHODS) and len(set(found.values())) == 3
    assert [tuple(e) for e in found["threshold_sparse"].normal] == [("skip_connect", 2, 0), ("dil_conv_3x3", 3, 1)]
    both = [("sep_conv_3x3", 2, 0), ("skip_connect", 2, 0), ("dil_conv_3x3", 3, 1)]
    assert [tuple(e) for e in found["threshold_edge"].normal] == both
    assert len(found["darts"].normal) == 4
    for rule in PARSE_METHODS:
        assert decided(build(parse_method=rule), **CELLS).derive() == found[rule]


def test_a_limit_of_skips_takes_the_next_operation_above_the_threshold():
    found = decided(build(), **CELLS).derive(max_skips=0)
    assert [tuple(e) for e in found.normal] == [("sep_conv_3x3", 2, 0), ("dil_conv_3x3", 3, 1)]


def test_no_cell_before_an_operation_reaches_the_threshold():
    method = build()
    with pytest.raises(GenotypeError, match=r"reaches the threshold 0.85 in the normal cell \(highest: 0.5\); lower"):
        method.derive()
    found = method.variants()
    assert found["darts"] is not None and found["threshold_sparse"] is found["threshold_edge"] is None


def test_the_empty_cell_alone_falls_back():
    method = decided(build(fallback="darts"), **{k: v for k, v in CELLS.items() if k.startswith("normal")})
    found = method.derive()
    assert len(found.normal) == 2 and len(found.reduce) == 4
    assert set(method.variants()) == set(PARSE_METHODS)
