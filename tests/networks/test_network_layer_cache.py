"""What is kept for layers: the last few values of each, as long as the layer lives."""

import copy
import gc
import weakref

import numpy as np
import paddle
import pytest
from paddle import nn
from same_pass import build, leaf

from paddle_darts.networks import CellMix, SupernetSpec, fused
from paddle_darts.networks.layer_cache import LayerCache, computed_candidates, described_candidates
from paddle_darts.nn.stages import Nothing

TINY = SupernetSpec(init_channels=2, layers=2, steps=2, multiplier=2, num_classes=3, reductions=(1,))


def counted(cache, layer, keys):
    """Asks for ``keys`` in turn; returns those that had to be made."""
    made = []
    for key in keys:
        assert cache.get(layer, key, lambda key=key: made.append(key) or [key]) == [key]
    return made


def test_the_values_asked_for_last_are_kept():
    cache, layer = LayerCache(limit=3), nn.ReLU()
    assert counted(cache, layer, "abcabc") == ["a", "b", "c"]
    assert counted(cache, layer, "ad") == ["d"], "b was asked for longest ago"
    assert counted(cache, layer, "acdb") == ["b"]
    assert cache.count(layer) == 3


def test_nothing_is_a_value_too():
    cache, layer, made = LayerCache(), nn.ReLU(), []
    for _ in range(2):
        assert cache.get(layer, None, lambda: made.append(1)) is None
    assert made == [1]


def test_layers_have_values_of_their_own():
    cache, layer = LayerCache(), nn.ReLU()
    first = cache.get(layer, "key", object)
    assert cache.get(nn.ReLU(), "key", object) is not first
    assert cache.get(copy.deepcopy(layer), "key", object) is not first
    assert cache.get(layer, "key", object) is first


def test_a_failure_leaves_the_others():
    cache, layer = LayerCache(limit=1), nn.ReLU()
    assert counted(cache, layer, ["good"]) == ["good"]
    with pytest.raises(ZeroDivisionError):
        cache.get(layer, "bad", lambda: 1 / 0)
    assert counted(cache, layer, ["good"]) == [] and cache.count(layer) == 1


def test_networks_are_let_go_of():
    """Those whose pools stand alone too, for a description refers to them."""
    for spec in (TINY, SupernetSpec(init_channels=2, layers=1, pool_bn=False, partial_channels=2)):
        network = build(spec)
        mix = [CellMix(leaf(np.ones((spec.num_edges, 8))), edges=leaf(np.ones(spec.num_edges)))] * spec.layers
        network(paddle.ones([2, 3, 8, 8]), mix)[0].sum().backward()
        gone = [weakref.ref(network.cells[0]), weakref.ref(network.stem)]
        del network
        gc.collect()
        assert [ref() for ref in gone] == [None, None]


def test_candidates_are_described_once():
    cell = build(TINY).cells[0]
    described = described_candidates(cell)
    assert described_candidates(cell) is described
    assert (computed_candidates(cell) == [[not isinstance(what, Nothing) for what in row] for row in described]).all()
    assert not computed_candidates(cell)[:, 0].any() and computed_candidates(cell)[:, 1:].all()


def test_plans_of_changing_masks_are_few():
    network, rng = build(TINY), np.random.default_rng(0)
    for _ in range(12):
        mix = CellMix(leaf(np.ones((5, 8))), rng.random((5, 8)) < 0.3)
        network(paddle.ones([2, 3, 8, 8]), [mix] * 2)
    assert 0 < max(fused._plans.count(cell) for cell in network.cells) <= 8 or fused.library() is None
