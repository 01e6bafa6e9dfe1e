"""A step of a supernet, against the same step as its definition reads."""

from __future__ import annotations

import numpy as np
import paddle
from op_by_op import OpByOp

from paddle_darts.networks import CellMix
from paddle_darts.networks.supernets import build_supernet
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import BatchNorm


def leaf(values):
    return paddle.to_tensor(values, dtype=paddle.get_default_dtype(), stop_gradient=False)


def build(spec, rng=None, epsilon=1e-5):
    """A supernet; norms with a large ``epsilon`` do not magnify what two ways of computing round differently."""
    paddle.seed(3)
    network = build_supernet(spec)
    network.train()
    for norm in (layer for layer in network.sublayers() if isinstance(layer, BatchNorm)):
        norm._epsilon = epsilon
    if rng is not None:  # scales and shifts do not stay at 1 and 0
        for weight in network.weights().values():
            if weight.ndim == 1:
                weight.set_value(rng.normal(1, 0.5, weight.shape))
    return network


def random_mix(spec, rng, parts=""):
    """Weights for one cell; ``parts``: with a mask (m), with edge weights (e), with offsets (o)."""
    edges, ops = spec.num_edges, len(spec.primitives)
    return CellMix(
        leaf(rng.uniform(0.1, 1, (edges, ops))),
        rng.random((edges, ops)) < rng.choice([0.15, 0.5, 0.8]) if "m" in parts else None,
        leaf(rng.uniform(0.1, 1, edges)) if "e" in parts else None,
        leaf(rng.normal(size=edges)) if "o" in parts else None,
    )


def leaves(mix):
    return [t for m in {id(m): m for m in mix}.values() for t in (m.ops, m.edges, m.offset) if t is not None]


def assert_equal(name, a, b, atol=1e-12):
    if a is None or b is None:
        assert a is None and b is None, f"{name}: only one of both is None"
        return
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=atol, err_msg=name)


def assert_same_pass(network, reference, x, mix, grads="both", seed=5):
    """Outputs, gradients, running statistics and random numbers; ``reference`` is a copy of ``network``.

    Gradients of sums of large parts that cancel are as exact as the largest gradient.
    """
    named = network.weights()
    results = []
    for own, forward in ((network, lambda x, mix: network(x, mix, grads=grads)), (reference, OpByOp(reference))):
        own.random = RandomSource(seed)
        logits = forward(x, mix)[0]
        wanted = [*own.weights().values(), *leaves(mix)]
        results.append((logits, paddle.grad((logits**2).sum(), wanted, allow_unused=True)))
    assert network.random.state_dict() == reference.random.state_dict()
    (logits, found), (expected_logits, expected) = results
    assert_equal("logits", logits, expected_logits, atol=1e-11 * float(expected_logits.abs().max()))
    largest = max(float(g.abs().max()) for g in expected if g is not None)
    names = [*named, *(f"mix {i}" for i in range(len(leaves(mix))))]
    for name, a, b in zip(names, found, expected, strict=True):
        if grads != "both" and (name in named) == (grads == "arch"):
            assert a is None, name
        elif name not in named and (a is None) != (b is None):
            assert not (b if a is None else a).numpy().any(), name  # a part of the mix that nothing depends on
        else:
            assert_equal(name, a, b, atol=1e-11 * largest)
    for (name, a), b in zip(network.state_dict().items(), reference.state_dict().values(), strict=True):
        assert_equal(name, a, b)
