"""Hyper-gradients against brute force, and what a search step may touch."""

import numpy as np
import paddle
import pytest
from method_runs import arrays, moved
from method_runs import batch as batch_of

from paddle_darts.methods import Batch, Darts, DartsOptions
from paddle_darts.methods.parts import bilevel
from paddle_darts.methods.parts.bilevel import gradients, second_order
from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.schedules import cosine

SPEC = SupernetSpec(init_channels=2, layers=2, steps=1, multiplier=1, num_classes=3, reductions=(1,))
#: Step of finite differences in float64: so short that no ReLU changes sides on the way.
SMALL = 1e-7


@pytest.fixture
def float64():
    before = paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    yield
    paddle.set_default_dtype(before)


def batch(seed, size=6):
    return batch_of(seed, size, pixels=6)


def build(unrolled=False, seed=0, **options):
    paddle.seed(seed)
    method = Darts(SPEC, DartsOptions(unrolled=unrolled, **options), epochs=4, source=RandomSource(seed))
    method.supernet.train()
    method.begin_epoch(0)
    return method


def losses(method, train, valid):
    return (lambda **how: method.loss(train, **how)[0]), (lambda **how: method.loss(valid, **how)[0])


# ----------------------------------------------------------------------------------- the numbers
def unrolled_loss(method, train_loss, valid_loss, eta, momentum, decay, velocity):
    """L_valid after one SGD step on L_train, straight from the definition; puts the weights back."""
    weights = list(method.weights.values())
    origin = [w.numpy().copy() for w in weights]
    inner = gradients(train_loss(grads="weights"), weights)
    for w, g, v in zip(weights, inner, velocity, strict=True):
        w.set_value(w - eta * (g + decay * w + momentum * v))
    loss = float(valid_loss(track_stats=False))
    for w, value in zip(weights, origin, strict=True):
        w.set_value(value)
    return loss


@pytest.mark.parametrize("with_momentum", [False, True])
def test_second_order_gradient_is_the_derivative_of_the_unrolled_loss(float64, with_momentum):
    method = build(unrolled=True)
    train_loss, valid_loss = losses(method, batch(1), batch(2))
    weights, arch = list(method.weights.values()), list(method.alphas.values())
    rng = np.random.default_rng(5)
    velocity = [paddle.to_tensor(0.05 * rng.normal(size=w.shape)) for w in weights]
    if not with_momentum:
        velocity = [paddle.zeros_like(v) for v in velocity]
    how = {"eta": 0.2, "momentum": 0.9, "weight_decay": 0.01}
    hyper = second_order(
        train_loss, valid_loss, weights, arch, **how, velocity=velocity if with_momentum else None, radius=SMALL
    )
    errors, sizes = [], []
    for alpha, total, direct in zip(arch, hyper.total, hyper.direct, strict=True):
        numeric = np.zeros(alpha.shape)
        for index in np.ndindex(*alpha.shape):
            value, side = alpha.numpy().copy(), []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * SMALL
                alpha.set_value(moved)
                side.append(unrolled_loss(method, train_loss, valid_loss, *how.values(), velocity))
            alpha.set_value(value)
            numeric[index] = (side[0] - side[1]) / (2 * SMALL)
        errors.append(np.abs(total.numpy() - numeric).max() / np.abs(numeric).max())
        # the implicit part is no rounding error here: without it the check would fail
        sizes.append(np.abs(direct.numpy() - numeric).max() / np.abs(numeric).max())
    assert max(errors) < 1e-3 and min(sizes) > 0.05


def test_implicit_term_is_the_mixed_second_derivative_times_the_vector(float64):
    method = build(unrolled=True)
    train_loss, valid_loss = losses(method, batch(1), batch(2))
    weights, arch = list(method.weights.values()), list(method.alphas.values())
    how = {"eta": 0.1, "momentum": 0.0, "weight_decay": 0.0, "velocity": None}
    hyper = second_order(train_loss, valid_loss, weights, arch, **how, radius=SMALL)
    origin = [w.numpy().copy() for w in weights]
    for w, unrolled in zip(weights, hyper.unrolled, strict=True):
        w.set_value(unrolled)
    vector = [g.numpy() for g in gradients(valid_loss(), weights)]
    for w, value in zip(weights, origin, strict=True):
        w.set_value(value)
    np.testing.assert_allclose(float(hyper.norm), np.sqrt(sum((v**2).sum() for v in vector)), rtol=1e-10)
    np.testing.assert_allclose(float(hyper.radius), SMALL / float(hyper.norm), rtol=1e-10)

    def projected():
        found = gradients(train_loss(), weights)
        return sum(float((g.numpy() * v).sum()) for g, v in zip(found, vector, strict=True))

    for alpha, implicit in zip(arch, hyper.implicit, strict=True):
        value, numeric = alpha.numpy().copy(), np.zeros(alpha.shape)
        for index in np.ndindex(*alpha.shape):
            side = []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * SMALL
                alpha.set_value(moved)
                side.append(projected())
            numeric[index] = (side[0] - side[1]) / (2 * SMALL)
        alpha.set_value(value)
        assert np.abs(numeric).max() > 1e-4
        assert np.abs(implicit.numpy() - numeric).max() < 1e-3 * np.abs(numeric).max()


def test_the_two_sides_of_the_finite_difference_differ(monkeypatch):
    """In a well-known port the moved weights were never read, so that both sides were equal bit by bit."""
    sides, real = [], bilevel._arch_gradient_at

    def spying(*args):
        sides.append(real(*args))
        return sides[-1]

    monkeypatch.setattr(bilevel, "_arch_gradient_at", spying)
    hyper = build(unrolled=True).arch_gradient(batch(1), batch(2))
    plus, minus = sides
    for p, m, implicit, total, direct in zip(plus, minus, hyper.implicit, hyper.total, hyper.direct, strict=True):
        assert not np.array_equal(p.numpy(), m.numpy())
        assert np.abs(implicit.numpy()).max() > 0
        assert not np.array_equal(total.numpy(), direct.numpy())


def test_first_step_has_no_momentum():
    method = build(unrolled=True, weight_decay=0.01)
    train_loss, _ = losses(method, batch(1), batch(2))
    before = arrays(method.weights)
    inner = [g.numpy() for g in gradients(train_loss(), list(method.weights.values()))]
    assert not any(v.numpy().any() for v in method.weight_optimizer.slots("velocity"))
    hyper = method.arch_gradient(batch(1), batch(2))
    for w, g, unrolled in zip(before.values(), inner, hyper.unrolled, strict=True):
        np.testing.assert_allclose(unrolled.numpy(), w - method.lr * (g + 0.01 * w), rtol=1e-5, atol=1e-7)


def test_later_steps_use_the_momentum_of_the_weight_optimizer():
    method = build(unrolled=True, weight_decay=0.01, momentum=0.9)
    method.step(batch(1), batch(2))
    velocity = [v.numpy().copy() for v in method.weight_optimizer.slots("velocity")]
    assert any(np.abs(v).max() > 0 for v in velocity)
    train_loss, _ = losses(method, batch(3), batch(4))
    before = arrays(method.weights)
    inner = [g.numpy() for g in gradients(train_loss(), list(method.weights.values()))]
    hyper = method.arch_gradient(batch(3), batch(4))
    for w, g, v, unrolled in zip(before.values(), inner, velocity, hyper.unrolled, strict=True):
        expected = w - method.lr * (g + 0.01 * w + 0.9 * v)
        np.testing.assert_allclose(unrolled.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("unrolled", [False, True])
def test_alpha_of_none_learns_through_the_softmax(unrolled):
    hyper = build(unrolled).arch_gradient(batch(1), batch(2))
    for total in hyper.total:
        assert (np.abs(total.numpy()[:, 0]) > 0).all()
        np.testing.assert_allclose(total.numpy().sum(axis=1), 0, atol=1e-5)


def test_first_order_is_the_gradient_of_the_validation_loss():
    method = build()
    hyper = method.arch_gradient(batch(1), batch(2))
    loss = method.loss(batch(2))[0]
    assert float(hyper.loss) == float(loss)
    assert (hyper.direct, hyper.implicit, hyper.unrolled) == (None, None, None)
    for a, b in zip(hyper.total, gradients(loss, list(method.alphas.values())), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7)


def test_a_flat_validation_loss_has_no_implicit_term(float64):
    method = build(unrolled=True)
    weights, arch = list(method.weights.values()), list(method.alphas.values())
    train_loss, _ = losses(method, batch(1), batch(2))
    before = arrays(method.weights)

    def flat(**how):
        return arch[0].sum() * 2

    hyper = second_order(train_loss, flat, weights, arch, eta=0.1, momentum=0.9, weight_decay=0.0, velocity=None)
    assert float(hyper.norm) == 0 and hyper.radius is None
    assert (hyper.total[0].numpy() == 2).all() and (hyper.total[1].numpy() == 0).all()
    assert all((h.numpy() == 0).all() for h in hyper.implicit)
    assert not moved(before, method.weights)


# ----------------------------------------------------------------------------------- what moves
@pytest.mark.parametrize("unrolled", [False, True])
def test_the_architecture_gradient_moves_neither_weights_nor_alphas(unrolled):
    method = build(unrolled)
    method.step(batch(1), batch(2))
    groups = {k: arrays(v) for k, v in method.tensors().items()}
    method.arch_gradient(batch(3), batch(4))
    for group in ("arch", "optimizer_weights", "optimizer_arch"):
        assert not moved(groups[group], method.tensors()[group]), group
    touched = moved(groups["weights"], method.supernet.state_dict())
    assert touched and all(name.endswith(("._mean", "._variance")) for name in touched)


def test_weights_come_back_bit_by_bit_even_after_an_error(monkeypatch):
    method = build(unrolled=True)
    before = arrays(method.weights)

    def broken(*args):
        raise FloatingPointError("halfway")

    monkeypatch.setattr(bilevel, "_arch_gradient_at", broken)
    with pytest.raises(FloatingPointError):
        method.arch_gradient(batch(1), batch(2))
    assert not moved(before, method.weights)


@pytest.mark.parametrize("unrolled", [False, True])
def test_running_statistics_see_the_passes_of_the_official_program(unrolled):
    """Second order: three passes on the training batch; the pass at the unrolled weights leaves no trace."""
    method = build(unrolled)
    train, valid = (Batch(b.images + shift, b.labels) for b, shift in ((batch(1), 1.0), (batch(2), -3.0)))
    with paddle.no_grad():
        means = [method.supernet.stem[0](b.images).numpy().mean(axis=(0, 2, 3)) for b in (train, valid)]
    method.arch_gradient(train, valid)
    expected = means[0] * (1 - 0.9**3) if unrolled else means[1] * 0.1
    # two of the passes on the training batch are at slightly moved weights
    np.testing.assert_allclose(method.supernet.stem[1]._mean.numpy(), expected, rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize("unrolled", [False, True])
def test_the_weight_step_leaves_the_alphas_alone(unrolled):
    method, seen = build(unrolled), []
    real = method.weight_optimizer.step

    def spying(*args):
        seen.append(arrays(method.alphas))
        real(*args)
        seen.append(arrays(method.alphas))

    method.weight_optimizer.step = spying
    initial = arrays(method.alphas)
    method.step(batch(1), batch(2))
    assert moved(initial, method.alphas)
    assert not moved(seen[0], method.alphas) and not moved(seen[1], method.alphas)


@pytest.mark.parametrize("unrolled", [False, True])
def test_validation_images_never_reach_the_weights(unrolled):
    """PaddleSlim left the validation gradient in place and added it to the weight step."""
    still = {"arch_learning_rate": 0.0, "arch_weight_decay": 0.0}
    methods = [build(unrolled, **still), build(unrolled, **still)]
    for step in range(2):
        for method, valid in zip(methods, (batch(10 + step), batch(20 + step)), strict=True):
            method.step(batch(step), valid)
    one, other = methods
    assert not moved(arrays(one.alphas), other.alphas) and not moved(arrays(one.weights), other.weights)
    assert not moved(arrays(one.weight_optimizer.state_dict()), other.weight_optimizer.state_dict())


@pytest.mark.parametrize("unrolled", [False, True])
@pytest.mark.parametrize("clip", [0.05, 5.0, 0.0])
def test_the_weight_step_recomputed_from_the_training_batch_alone(unrolled, clip):
    options = {"grad_clip": clip, "weight_decay": 0.01, "learning_rate": 0.1}
    method, twin = build(unrolled, **options), build(unrolled, **options)
    result = method.step(batch(1), batch(2))
    for name, alpha in twin.alphas.items():
        alpha.set_value(method.alphas[name])
    loss, _ = twin.loss(batch(1))
    assert result.loss == pytest.approx(float(loss), rel=1e-5)
    found = [g.numpy() for g in gradients(loss, list(twin.weights.values()))]
    norm = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in found))
    assert 0.05 < norm < 5
    factor = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
    for (name, w), g in zip(twin.weights.items(), found, strict=True):
        expected = w.numpy() - 0.1 * (factor * g + 0.01 * w.numpy())
        np.testing.assert_allclose(method.weights[name].numpy(), expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_arch_step_uses_the_weights_before_the_weight_step():
    method, twin = build(), build()
    result = method.step(batch(1), batch(2))
    hyper = twin.arch_gradient(batch(1), batch(2))
    assert result.arch_loss == float(hyper.loss)
    twin.arch_optimizer.step(hyper.total)
    assert not moved(arrays(method.alphas), twin.alphas)


# ----------------------------------------------------------------------------------- rates and starts
def test_learning_rate_follows_the_cosine_and_decays():
    method = build(learning_rate=0.025, learning_rate_min=0.001)
    rates = []
    for epoch in range(4):
        method.begin_epoch(epoch)
        rates.append(method.lr)
        method.step(batch(1, 2), batch(2, 2))
        assert method.lr == rates[-1]
    assert rates == pytest.approx([cosine(e, 4, 0.025, 0.001) for e in range(4)])
    assert rates[0] == pytest.approx(0.025) and rates == sorted(rates, reverse=True) and len(set(rates)) == 4


def test_the_rate_of_the_alphas_is_constant():
    method = build(arch_learning_rate=0.02)
    for epoch in range(4):
        method.begin_epoch(epoch)
        assert method.arch_optimizer.lr == pytest.approx(0.02)


def test_alphas_start_small_and_by_the_seed():
    one, same_seed, other = build(seed=1), build(seed=1), build(seed=2)
    for kind, alpha in one.alphas.items():
        assert alpha.shape == [2, 8] and not alpha.stop_gradient
        assert 0 < np.abs(alpha.numpy()).max() < 6e-3
        np.testing.assert_array_equal(alpha.numpy(), same_seed.alphas[kind].numpy())
        assert not np.array_equal(alpha.numpy(), other.alphas[kind].numpy())
    assert not np.array_equal(one.alphas["normal"].numpy(), one.alphas["reduce"].numpy())


def test_alphas_are_no_weights():
    method = build()
    arch = {id(a) for a in method.alphas.values()}
    assert not arch & {id(w) for w in method.supernet.parameters()}
    assert not any("alpha" in name for name in method.supernet.state_dict())


@pytest.mark.parametrize("unrolled", [False, True])
@pytest.mark.parametrize("weights_first", [False, True])
def test_what_moves_first(weights_first, unrolled, float64):
    """A step is two halves in either order: each sees what the one before it has changed."""
    method, by_hand = (build(unrolled, weights_first=weights_first) for _ in range(2))
    train, valid = batch(1), batch(2)
    result = method.step(train, valid)
    if weights_first:
        loss, arch_loss = by_hand.weight_step(train).loss, by_hand.arch_step(train, valid)
    else:
        arch_loss, loss = by_hand.arch_step(train, valid), by_hand.weight_step(train).loss
    assert (result.loss, result.arch_loss) == (loss, arch_loss)
    for group, tensors in method.tensors().items():
        assert not moved(arrays(by_hand.tensors()[group]), tensors), group
    other = build(unrolled, weights_first=not weights_first)
    other.step(train, valid)
    assert moved(arrays(other.arch), method.arch) and moved(arrays(other.weights), method.weights)
