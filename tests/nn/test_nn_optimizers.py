"""Optimizers over named parameters, against the formulas written out in NumPy."""

import numpy as np
import paddle
import pytest
from paddle import nn

from paddle_darts.io.tensors import load_tensors, save_tensors
from paddle_darts.nn.layers import BatchNorm, conv2d, linear, trainable
from paddle_darts.nn.optimizers import adam, sgd

OPTIMIZERS = {
    "sgd": (lambda named: sgd(named, 0.1, 0.9, 0.01), ("velocity",)),
    "adam": (lambda named: adam(named, 0.1, 0.01), ("moment1", "moment2")),
}


def parameters(*shapes, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    named = {}
    for i, shape in enumerate(shapes):
        values = nn.initializer.Assign(rng.normal(size=shape).astype(dtype))
        named[f"layer{i}.weight"] = paddle.create_parameter(list(shape), dtype, default_initializer=values)
    return named


def gradients(named, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return [paddle.to_tensor((scale * rng.normal(size=p.shape)).astype(p.numpy().dtype)) for p in named.values()]


@pytest.mark.parametrize("clip_norm", [5.0, 0.5, None])
def test_sgd_clips_then_decays_then_adds_momentum(clip_norm):
    named = parameters((3, 4), (5,))
    lr, momentum, decay = 0.1, 0.9, 0.02
    optimizer = sgd(named, lr, momentum, decay)
    expected = [p.numpy().copy() for p in named.values()]
    velocity = [np.zeros_like(w) for w in expected]
    for step in range(3):
        grads = gradients(named, step, scale=3.0)
        plain = [g.numpy().copy() for g in grads]
        norm = np.sqrt(sum((g**2).sum() for g in plain))
        assert norm > 0.5
        factor = 1.0 if clip_norm is None else min(1.0, clip_norm / (norm + 1e-6))
        for i, g in enumerate(plain):
            velocity[i] = momentum * velocity[i] + (factor * g + decay * expected[i])
            expected[i] = expected[i] - lr * velocity[i]
        optimizer.step(grads, clip_norm)
        for p, w, v, slot in zip(named.values(), expected, velocity, optimizer.slots("velocity"), strict=True):
            np.testing.assert_allclose(p.numpy(), w, rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(slot.numpy(), v, rtol=1e-6, atol=1e-8)


def test_adam_decays_through_the_gradient():
    named = parameters((3, 4))
    optimizer = adam(named, 0.05, 0.01, betas=(0.5, 0.999))
    w = named["layer0.weight"].numpy().copy()
    m = v = 0.0
    for step in range(1, 4):
        (grad,) = gradients(named, step)
        g = grad.numpy() + 0.01 * w
        m, v = 0.5 * m + 0.5 * g, 0.999 * v + 0.001 * g**2
        w = w - 0.05 * (m / (1 - 0.5**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        optimizer.step([grad])
        np.testing.assert_allclose(named["layer0.weight"].numpy(), w, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_gradient_means_no_change_not_even_decay(name):
    named = parameters((3, 4), (5,))
    optimizer = OPTIMIZERS[name][0](named)
    optimizer.step(gradients(named, 0))
    before = [p.numpy().copy() for p in named.values()]
    optimizer.step([None, gradients(named, 1)[1]], 5.0)
    first, second = (p.numpy() for p in named.values())
    np.testing.assert_array_equal(first, before[0])
    assert (second != before[1]).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_nothing_is_left_behind_in_the_gradients(name, clip_norm):
    named = parameters((3, 4), (5,))
    optimizer = OPTIMIZERS[name][0](named)
    # what an earlier backward pass left must not get into the step either
    twin = parameters((3, 4), (5,))
    (named["layer0.weight"].sum() * 7).backward()
    optimizer.step([None, gradients(named, 1)[1]], clip_norm)
    OPTIMIZERS[name][0](twin).step([None, gradients(twin, 1)[1]], clip_norm)
    for p, q in zip(named.values(), twin.values(), strict=True):
        assert p.grad is None
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_one_gradient_per_parameter():
    named = parameters((3, 4), (5,))
    with pytest.raises(ValueError):
        sgd(named, 0.1, 0.9, 0.0).step(gradients(named, 0)[:1])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slots_are_zero_before_the_first_step(name):
    named = parameters((3, 4), (5,))
    make, slots = OPTIMIZERS[name]
    optimizer = make(named)
    keys = set(optimizer.state_dict())
    for slot in slots:
        assert not any(t.numpy().any() for t in optimizer.slots(slot))
    optimizer.step(gradients(named, 0))
    assert set(optimizer.state_dict()) == keys
    for slot in slots:
        assert all(t.numpy().any() for t in optimizer.slots(slot))
        assert [t.shape for t in optimizer.slots(slot)] == [p.shape for p in named.values()]
        assert all(f"{n}/{slot}_0" in optimizer.state_dict() for n in named)


def test_learning_rate_can_be_set():
    named = parameters((3,))
    optimizer = sgd(named, 0.1, 0.0, 0.0)
    optimizer.lr = 0.25
    assert optimizer.lr == 0.25
    before = named["layer0.weight"].numpy().copy()
    optimizer.step([paddle.ones([3], dtype="float64")])
    np.testing.assert_allclose(before - named["layer0.weight"].numpy(), 0.25, rtol=1e-6)


def network():
    return nn.Sequential(conv2d(3, 4, 3), BatchNorm(4), conv2d(4, 4, 3, groups=4), BatchNorm(4, False), linear(4, 2))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_moves_to_a_freshly_built_network(name, tmp_path):
    """Paddle's own state is keyed by parameter names that count what was built before."""
    make = OPTIMIZERS[name][0]
    first = network()
    one = make(trainable(first))
    for step in range(2):
        one.step(gradients(trainable(first), step), 5.0)
    save_tensors(tmp_path / "weights.safetensors", first.state_dict())
    save_tensors(tmp_path / "optimizer.safetensors", one.state_dict())

    network()
    second = network()
    assert not {p.name for p in first.parameters()} & {p.name for p in second.parameters()}
    for key, tensor in load_tensors(tmp_path / "weights.safetensors").items():
        second.state_dict()[key].set_value(tensor)
    other = make(trainable(second))
    other.load_state_dict(load_tensors(tmp_path / "optimizer.safetensors"))
    for slot in OPTIMIZERS[name][1]:
        for a, b in zip(one.slots(slot), other.slots(slot), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    for step in range(2, 4):
        one.step(gradients(trainable(first), step), 5.0)
        other.step(gradients(trainable(second), step), 5.0)
    for a, b in zip(trainable(first).values(), trainable(second).values(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert one.state_dict().keys() == other.state_dict().keys()
    for key, tensor in one.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), other.state_dict()[key].numpy(), err_msg=key)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_loaded_state_is_a_copy_and_survives_saving_at_once(name):
    make = OPTIMIZERS[name][0]
    named, twin = parameters((3, 4)), parameters((3, 4))
    one, other = make(named), make(twin)
    one.step(gradients(named, 0))
    other.load_state_dict(one.state_dict())
    saved = {k: t.numpy().copy() for k, t in other.state_dict().items()}
    assert saved.keys() == one.state_dict().keys()
    one.step(gradients(named, 1))
    for key, tensor in other.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), saved[key])


def test_state_of_an_unknown_parameter_is_refused():
    named = parameters((3,))
    with pytest.raises(KeyError):
        sgd(named, 0.1, 0.9, 0.0).load_state_dict({"other/velocity_0": paddle.zeros([3])})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_of_a_parameter_that_rests_is_kept(name):
    """One parameter moves before the first checkpoint and the other only after the second: both go on exactly."""
    make, _ = OPTIMIZERS[name]
    named = parameters((3, 4), (5,))
    optimizer = make(named)
    first, second = gradients(named, 0)
    optimizer.step([first, None])
    for _ in range(2):
        again = {n: paddle.create_parameter(p.shape, p.dtype) for n, p in named.items()}
        for n, p in named.items():
            again[n].set_value(p)
        resumed = make(again)
        resumed.load_state_dict(optimizer.state_dict())
        optimizer, named = resumed, again
    reference = parameters((3, 4), (5,))
    straight = make(reference)
    straight.step([first, None])
    for one in (optimizer, straight):
        one.step([None, second])
        one.step([first, second])
    for n in named:
        np.testing.assert_array_equal(named[n].numpy(), reference[n].numpy())
