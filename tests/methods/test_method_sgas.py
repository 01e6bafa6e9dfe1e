"""SGAS as a method; recorded passes, search loops and decisions of the official program are in tests/parity."""

import json
from dataclasses import replace

import numpy as np
import paddle
import pytest
from method_runs import KINDS, SPEC, arrays, batch, moved

from paddle_darts.errors import ConfigError
from paddle_darts.methods.parts.greedy import PRUNED
from paddle_darts.methods.sgas import Sgas, SgasOptions
from paddle_darts.nn.drop import RandomSource

SPEC = replace(SPEC, init_channels=2)
SKIP, SEP, DIL = (SPEC.primitives.index(op) for op in ("skip_connect", "sep_conv_3x3", "dil_conv_3x3"))


def build(epochs=10, seed=0, **options):
    paddle.seed(seed)
    method = Sgas(
        SPEC, SgasOptions(**{"warmup_dec_epoch": 1, "decision_freq": 2, **options}), epochs, RandomSource(seed)
    )
    method.supernet.train()
    method.begin_epoch(0)
    return method


def search(method, epochs):
    for epoch in epochs:
        method.begin_epoch(epoch)
        method.step(batch(2 * epoch), batch(2 * epoch + 1))
        method.end_epoch(epoch)
    return method


# --- settled edges


@pytest.mark.parametrize("unrolled", [False, True])
def test_alphas_of_settled_edges_are_left_alone_by_adam(unrolled):
    """By its decay and by moments from before, too; and the moments rest with them."""
    method = build(unrolled=unrolled, arch_weight_decay=0.5, arch_learning_rate=0.1)
    method.step(batch(1), batch(2))
    assert method.decisions["normal"].settle(2, SEP) == () and method.decisions["normal"].settle(4, DIL) == (3,)
    alphas, moments = arrays(method.arch), arrays(method.arch_optimizer.state_dict())
    for _ in range(2):
        method.step(batch(3), batch(4))
    still = {f"alphas_normal.{row}" for row in (2, 3, 4)}
    assert moved(alphas, method.arch) == set(method.arch) - still
    resting = {key for key in moments if key.rsplit("/", 1)[0] in still}
    assert any(np.abs(moments[key]).max() > 0 for key in resting if "moment" in key)
    assert not moved(moments, method.arch_optimizer.state_dict()) & resting


def test_a_decided_operation_counts_fully_and_a_pruned_edge_not_at_all():
    method = build()
    softmax = method.probabilities()["normal"]
    method.decisions["normal"].settle(2, SEP)
    method.decisions["normal"].settle(4, SKIP)
    weights, active = method.mixture()[0].ops.numpy(), method.mixture()[0].active
    expected = softmax.copy()
    expected[2:] = 0
    expected[2, SEP] = expected[4, SKIP] = 1
    np.testing.assert_array_equal(weights, expected)
    np.testing.assert_array_equal(active, expected > 0)
    np.testing.assert_array_equal(method.probabilities()["normal"], expected)
    np.testing.assert_array_equal(method.strengths()["normal"], softmax)
    np.testing.assert_array_equal(method.mixture()[1].ops.numpy(), method.strengths()["reduce"])


def candidate(method, row, column):
    """The weights of one candidate of the normal cell."""
    return {n: w for n, w in method.weights.items() if n.startswith(f"cells.0._ops.{row}._ops.{column}.")}


@pytest.mark.parametrize("stale, used, moves", [(False, True, False), (True, True, True), (True, False, False)])
def test_cut_operations_rest_or_decay(stale, used, moves):
    """With stale gradients those go on moving that have been used before they were cut."""
    method = build(stale_gradients=stale, weight_decay=0.1)
    if used:
        method.step(batch(1), batch(2))
    method.decisions["normal"].settle(0, SEP)
    cut, kept = candidate(method, 0, DIL), candidate(method, 0, SEP)
    before = arrays({**cut, **kept})
    method.step(batch(3), batch(4))
    assert moved(before, kept) == set(kept)
    assert moved(before, cut) == (set(cut) if moves else set())


def test_official_momentum_waits_until_all_weights_have_been_used():
    clean, official = build(), build(stale_gradients=True)
    for method in (clean, official):
        assert method.decisions["normal"].settle(0, SEP) == ()
        method.step(batch(1), batch(2))
    assert len(clean.momentum_buffers()) == len(clean.weights) and official.momentum_buffers() is None
    official.decisions["normal"].choice[:] = -1
    official.step(batch(1), batch(2))
    assert len(official.momentum_buffers()) == len(official.weights)


# --- the course of a search


def test_the_batch_grows_with_every_decision():
    method, sizes, left, told = build(), [], [], []
    for epoch in range(10):
        method.begin_epoch(epoch)
        sizes.append(method.batch_size(64))
        search(method, [epoch])
        left.append(method.facts()["undecided_normal"])
        told.append(method.facts()["decided_reduce"])
    # decisions of both kinds after 1, 3, 5, 7; those of the ninth epoch find nothing left
    assert sizes == [64, 64, 72, 72, 80, 80, 88, 88, 96, 96]
    assert left[0] == 5 and left[-1] == 0 and left == sorted(left, reverse=True)
    assert [text is not None for text in told] == [epoch in (1, 3, 5, 7) for epoch in range(10)]
    sources = {tuple(text.split()[i] for i in (2, 5)) for text in told if text}
    assert len(sources) == 4 and {node for _, node in sources} == {"0", "1"}
    assert all(text.split()[0] in SPEC.primitives[1:] for text in told if text)
    assert json.loads(json.dumps(method.facts())) == method.facts()


@pytest.mark.parametrize("use_history", [False, True])
def test_at_the_end_the_cell_is_discrete(use_history):
    method = search(build(use_history=use_history), range(8))
    found = method.derive()
    for kind, mix in zip(KINDS, method.mixture(), strict=True):
        decisions = method.decisions[kind]
        assert decisions.complete and [tuple(e) for e in getattr(found, kind)] == decisions.final_edges()
        assert (mix.active.sum(axis=1) == (decisions.choice != PRUNED)).all() and mix.active.sum() == 4
        assert set(np.unique(mix.ops.numpy())) == {0, 1}
    assert not found.contains_none


def test_decisions_follow_the_softmax_of_all_edges_not_what_is_mixed():
    """Scores are stretched over all edges; a decided one would be certain if its mixture counted."""
    method = search(build(), range(2))
    seen = []
    real = method.decisions["normal"].end_epoch
    method.decisions["normal"].end_epoch = lambda table, due: (seen.append(table), real(table, due))[1]
    search(method, [2])
    alphas = method.alphas["normal"].numpy()
    np.testing.assert_allclose(seen[0], np.exp(alphas) / np.exp(alphas).sum(axis=1, keepdims=True), rtol=1e-5)


def test_epochs_must_suffice_for_all_decisions():
    assert build(epochs=8).schedule.due(7)
    with pytest.raises(ConfigError, match="1 and decision_freq 2 need at least 8 epochs for 4 decisions, got 7"):
        build(epochs=7)


def test_batches_cannot_shrink():
    with pytest.raises(ConfigError, match="batch_increase must be at least 0, got -8"):
        build(batch_increase=-8)


# --- skip connections


def test_a_limit_of_skips_holds_for_decided_edges_too():
    method = build()
    for row, values in enumerate(([SKIP, DIL], [SEP, SKIP])):
        alpha = method.arch[f"alphas_normal.{row}"].numpy().copy()
        alpha[values] = 3.0, 2.0
        method.arch[f"alphas_normal.{row}"].set_value(alpha)
    decisions = method.decisions["normal"]
    decisions.settle(0, SKIP)
    decisions.settle(1, SEP)
    choice = decisions.choice.copy()
    assert [tuple(e) for e in method.derive().normal[:2]] == [("skip_connect", 0), ("sep_conv_3x3", 1)]
    limited = method.derive(max_skips=0)
    assert [tuple(e) for e in limited.normal[:2]] == [("dil_conv_3x3", 0), ("sep_conv_3x3", 1)]
    assert limited.count("skip_connect", "normal") == 0
    np.testing.assert_array_equal(decisions.choice, choice)


# --- checkpoints


def test_a_search_resumed_between_two_decisions_takes_the_same_ones():
    options = {"use_history": True, "stale_gradients": True}
    original = search(build(**options), range(4))
    original.begin_epoch(4)
    original.step(batch(50), batch(51))
    state, tensors = json.dumps(original.state()), original.tensors()
    resumed = build(seed=7, **options)
    resumed.load_state(json.loads(state))
    resumed.load_tensors({group: {n: t.clone() for n, t in named.items()} for group, named in tensors.items()})
    resumed.begin_epoch(4)
    assert resumed.batch_size(64) == original.batch_size(64) == 80
    frozen = {k: ~resumed.decisions[k].undecided for k in KINDS}
    assert all(rows.sum() >= 2 and not rows.all() for rows in frozen.values())
    for method in (original, resumed):
        search(method, range(5, 8))
    assert not moved(arrays(original.arch), resumed.arch) and not moved(arrays(original.weights), resumed.weights)
    assert original.state() == resumed.state() and original.derive() == resumed.derive()
    assert all(resumed.decisions[k].complete for k in KINDS)
