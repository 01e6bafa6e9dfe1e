"""The greedy decisions of SGAS; the recorded epochs of the official program are in tests/parity."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import PRIMITIVES, Edge
from paddle_darts.methods.parts.greedy import (
    PRUNED,
    UNDECIDED,
    DecisionSchedule,
    EdgeScores,
    GreedyDecisions,
    edge_scores,
    from_official_indices,
    greedy_genotype,
    official_indices,
)

OPS = ("none", "skip_connect", "sep_conv_3x3")
#: Two edges: one undivided between two operations, one nearly sure of the second.
PAIR = np.array([[0.2, 0.4, 0.4], [0.5, 0.05, 0.45]])


def probabilities(seed, edges=14, ops=8, spread=1.0):
    values = np.exp(spread * np.random.default_rng(seed).normal(size=(edges, ops)))
    return (values / values.sum(axis=1, keepdims=True)).astype("float32")


# --- schedule


def test_schedule_of_the_paper():
    schedule = DecisionSchedule()
    assert schedule.epochs() == 50 and DecisionSchedule(frequency=7).epochs() == 64
    assert [e for e in range(50) if schedule.due(e)] == [9, 14, 19, 24, 29, 34, 39, 44, 49]
    assert DecisionSchedule(0, 1, 0).epochs(4) == 4
    assert [DecisionSchedule(0, 1).due(e) for e in range(3)] == [True] * 3


@pytest.mark.parametrize("numbers", [(-1, 5, 5), (9, 0, 5), (9, 5, -1)])
def test_impossible_schedules(numbers):
    with pytest.raises(ConfigError, match=f"got warmup {numbers[0]}, frequency {numbers[1]}, final {numbers[2]}"):
        DecisionSchedule(*numbers)


# --- scores


def test_scores_by_hand():
    scores = edge_scores(PAIR, none=0)
    np.testing.assert_allclose(scores.importance, [0.8, 0.5])
    np.testing.assert_allclose(scores.conditional, [[0, 0.5, 0.5], [0, 0.1, 0.9]])
    entropy = -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    np.testing.assert_allclose(scores.certainty, [0, 1 - entropy / np.log(2)], atol=1e-15)
    np.testing.assert_array_equal(scores.stability, [0, 0])
    np.testing.assert_allclose(scores.score, [0, 0])  # the one is best in importance, the other in certainty


def test_score_is_the_product_of_the_stretched_terms():
    table = probabilities(1)
    history = [edge_scores(probabilities(seed), 0).conditional for seed in (2, 3)]
    scores = edge_scores(table, 0, 2, history)
    overlap = np.mean([np.minimum(h, scores.conditional).sum(axis=1) for h in history], axis=0)
    np.testing.assert_allclose(scores.stability, overlap)

    def stretch(v):
        return (v - v.min()) / (v.max() - v.min())

    both = stretch(scores.importance) * stretch(scores.certainty)
    np.testing.assert_allclose(scores.score, both * stretch(overlap))
    np.testing.assert_allclose(edge_scores(table, 0, 1, history).score, both)
    assert not np.allclose(both, scores.score)


def test_the_same_distribution_is_perfectly_stable():
    own = edge_scores(PAIR, 0).conditional
    np.testing.assert_allclose(edge_scores(PAIR, 0, 2, [own, own]).stability, 1)
    np.testing.assert_allclose(edge_scores(PAIR, 0, 2, [own[::-1], own]).stability, (0.6 + 1) / 2)


def test_criterion_2_without_a_history():
    """Ours falls back to criterion 1; the official program scores zero everywhere."""
    table = probabilities(4)
    np.testing.assert_array_equal(edge_scores(table, 0, 2).score, edge_scores(table, 0, 1).score)
    assert not edge_scores(table, 0, 2, official_start=True).score.any()
    assert edge_scores(table, 0, 1).score.any()


def test_equal_edges_score_zero():
    scores = edge_scores(np.tile(PAIR[1], (5, 1)), 0)
    np.testing.assert_array_equal(scores.score, np.zeros(5))


@pytest.mark.parametrize("none", [1, 2])
def test_none_in_another_column(none):
    order = np.insert(np.array([1, 2]), none, 0)
    usual, moved = edge_scores(PAIR, 0), edge_scores(PAIR[:, order], none)
    for name in ("importance", "certainty", "stability", "score"):
        np.testing.assert_allclose(getattr(moved, name), getattr(usual, name))
    np.testing.assert_allclose(moved.conditional, usual.conditional[:, order])


def test_a_space_without_none_is_scored_by_certainty():
    """Rounding errors of sums that are 1 must not count as importance."""
    table = probabilities(5)
    scores = edge_scores(table, None)
    np.testing.assert_array_equal(scores.importance, np.ones(14))
    stretched = scores.certainty - scores.certainty.min()
    np.testing.assert_allclose(scores.score, stretched / stretched.max())


def test_limits():
    zero_one = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.2, 0.4, 0.4]])
    scores = edge_scores(zero_one, 0)
    np.testing.assert_allclose(scores.certainty, [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(scores.importance, [1, 0, 0.8])
    np.testing.assert_allclose(scores.conditional[1], [0, 0.5, 0.5])
    single = edge_scores(np.array([[0.3, 0.7], [0.6, 0.4]]), 0)
    np.testing.assert_array_equal(single.certainty, [1, 1])
    assert np.isfinite(single.score).all()


# --- decisions


def decided(steps=4, **choices):
    """A cell whose choices are set by row: ``r5=4``."""
    cell = GreedyDecisions(PRIMITIVES, steps)
    for row, column in choices.items():
        cell.choice[int(row[1:])] = column
    return cell


def best_at(edge, op, edges=14):
    """Probabilities that make ``edge`` the first choice, with the operation of column ``op``."""
    table = np.full((edges, 8), 0.1)
    table[:, 0] = 0.3
    table[edge] = 0.01
    table[edge, op] = 0.93
    return table


def test_the_best_undecided_edge_gets_its_best_operation():
    cell = GreedyDecisions(PRIMITIVES)
    scores, decision = cell.end_epoch(best_at(6, 4), due=True)
    assert isinstance(scores, EdgeScores) and scores.score.argmax() == 6
    assert (decision.edge, decision.node, decision.source, decision.op) == (6, 2, 1, "sep_conv_3x3")
    assert decision.pruned == () and decision.score == 1.0 and decision.stability == 0.0
    assert decision.importance == pytest.approx(0.99) and decision.certainty == scores.certainty[6]
    assert cell.choice.tolist() == [UNDECIDED] * 6 + [4] + [UNDECIDED] * 7

    # decided edges are passed over, however high they score
    _, decision = cell.end_epoch(best_at(6, 4), due=True)
    assert decision.edge == 0 and decision.op == "max_pool_3x3", "of equals the first edge and the first operation"


def test_nothing_is_decided_before_it_is_due():
    cell = GreedyDecisions(PRIMITIVES, criterion=2)
    scores, decision = cell.end_epoch(best_at(6, 4), due=False)
    assert decision is None and cell.undecided.all() and not cell.complete
    assert len(cell.history) == 1 and scores.score.argmax() == 6


@pytest.mark.parametrize(
    "rows, edge, pruned",
    [
        ({"r0": 3}, 1, ()),  # the first node has only two edges
        ({"r2": 3}, 4, (3,)),
        ({"r7": 3}, 5, (6, 8)),
        ({"r13": 3}, 10, (9, 11, 12)),
        ({"r2": 3}, 10, ()),  # another node
    ],
)
def test_a_node_with_two_edges_loses_the_others(rows, edge, pruned):
    cell = decided(**rows)
    _, decision = cell.end_epoch(best_at(edge, 7), due=True)
    assert decision.edge == edge and decision.pruned == pruned
    assert np.flatnonzero(cell.choice == PRUNED).tolist() == list(pruned)


def test_none_is_never_decided():
    table = np.full((14, 8), 0.01)
    table[:, 0] = 0.93
    cell = GreedyDecisions(PRIMITIVES)
    cell.end_epoch(table, due=True)
    assert cell.choice[0] == 1


def test_a_cell_without_none():
    cell = GreedyDecisions(("skip_connect", "sep_conv_3x3"), steps=1)
    for _ in range(2):
        cell.end_epoch(np.array([[0.9, 0.1], [0.4, 0.6]]), due=True)
    assert cell.complete and cell.final_edges() == [Edge("skip_connect", 0), Edge("sep_conv_3x3", 1)]


def test_what_is_active():
    cell = GreedyDecisions(OPS, steps=2)
    cell.choice[:] = [UNDECIDED, 2, PRUNED, 1, UNDECIDED]
    np.testing.assert_array_equal(cell.active(), [[1, 1, 1], [0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])


def test_history_is_that_of_the_last_epochs_before():
    cell = GreedyDecisions(PRIMITIVES, criterion=2, history_size=3)
    tables = [probabilities(seed) for seed in range(5)]
    conditionals = [edge_scores(table, 0).conditional for table in tables]
    for epoch, table in enumerate(tables):
        scores, _ = cell.end_epoch(table, due=epoch % 2 == 1)
        expected = edge_scores(table, 0, 2, conditionals[max(0, epoch - 3) : epoch])
        np.testing.assert_array_equal(scores.stability, expected.stability)
        np.testing.assert_array_equal(scores.score, expected.score)
    np.testing.assert_array_equal(cell.history, conditionals[2:])
    first = GreedyDecisions(PRIMITIVES)
    first.end_epoch(tables[0], due=True)
    assert first.history == []


def test_the_first_decision_of_criterion_2_without_a_history():
    ours, official = (GreedyDecisions(PRIMITIVES, criterion=2, official_start=start) for start in (False, True))
    assert ours.end_epoch(best_at(6, 4), due=True)[1].edge == 6
    assert official.end_epoch(best_at(6, 4), due=True)[1].edge == 0


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"criterion": 3}, "criterion must be one of .* got 3"),
        ({"history_size": 0}, "history_size must be at least 1, got 0"),
        ({"primitives": ("none",)}, "an operation besides 'none'"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        GreedyDecisions(**{"primitives": OPS, **settings})


# --- genotypes


def test_undecided_edges_have_no_final_genotype():
    cell = decided(1, r0=3)
    with pytest.raises(GenotypeError, match=r"the edges \[1\] are undecided"):
        cell.final_edges()
    cell.choice[1] = 7
    assert cell.final_edges() == [Edge("skip_connect", 0), Edge("dil_conv_5x5", 1)]


def test_forced_edges():
    """Decided edges stay whatever their importance; the rest goes by importance, all in the order of sources."""
    cell = decided(3, r3=7, r5=PRUNED, r6=1, r7=PRUNED, r8=2)
    table = np.full((9, 8), 0.1)
    table[:, 0] = [0.3] * 9
    table[3, 0] = 0.9
    table[4, [0, 5]] = 0.1, 0.3
    table[2, 4] = 0.15
    table /= table.sum(axis=1, keepdims=True)
    assert table[4, 1:].sum() > table[2, 1:].sum()
    assert cell.forced_edges(table) == [
        *(Edge("max_pool_3x3", source) for source in (0, 1)),
        Edge("dil_conv_5x5", 1),
        Edge("sep_conv_5x5", 2),
        Edge("max_pool_3x3", 1),
        Edge("avg_pool_3x3", 3),
    ]


def test_forced_edges_by_decreasing_importance_stand_in_order():
    table = np.full((5, 8), 0.1)
    table[:, 0] = [0.3, 0.3, 0.4, 0.3, 0.2]
    cell = GreedyDecisions(PRIMITIVES, steps=2)
    assert cell.forced_edges(table / table.sum(axis=1, keepdims=True))[2:] == [
        Edge("max_pool_3x3", 1),
        Edge("max_pool_3x3", 2),
    ]


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([1, 2]), st.sampled_from([0.0, 0.01, 1.0]))
def test_two_decisions_per_node_complete_a_cell(seed, steps, criterion, spread):
    edges = steps * (steps + 3) // 2
    cells = {kind: GreedyDecisions(PRIMITIVES, steps, criterion) for kind in ("normal", "reduce")}
    for epoch in range(2 * steps):
        assert not any(cell.complete for cell in cells.values())
        tables = {kind: probabilities([seed, epoch, k], edges, 8, spread) for k, kind in enumerate(cells)}
        forced = greedy_genotype(cells, steps, tables)
        for kind, cell in cells.items():
            before = cell.choice.copy()
            _, decision = cell.end_epoch(tables[kind], due=True)
            assert before[decision.edge] == UNDECIDED and cell.choice[decision.edge] > 0
            assert (cell.choice[before != UNDECIDED] == before[before != UNDECIDED]).all()
        assert forced.steps == steps and not forced.contains_none
    final = greedy_genotype(cells, steps)
    assert final == greedy_genotype(cells, steps, tables), "nothing is left to be forced"
    assert final.normal_concat == tuple(range(2, steps + 2))
    for kind, cell in cells.items():
        assert cell.complete and cell.end_epoch(tables[kind], due=True)[1] is None
        assert (cell.choice >= 0).sum() == 2 * steps
        np.testing.assert_array_equal(cell.active().sum(axis=1), cell.choice >= 0)


# --- state


@pytest.mark.parametrize("criterion", [1, 2])
def test_a_saved_search_continues_bit_by_bit(criterion):
    def run(cell, epochs):
        return [cell.end_epoch(probabilities(epoch), due=epoch % 2 == 1)[1] for epoch in epochs]

    whole = GreedyDecisions(PRIMITIVES, criterion=criterion)
    run(whole, range(6))
    saved = json.dumps(whole.state_dict())
    decisions = run(whole, range(6, 20))
    resumed = GreedyDecisions(PRIMITIVES, criterion=criterion)
    resumed.load_state_dict(json.loads(saved))
    assert run(resumed, range(6, 20)) == decisions and any(decisions)
    assert resumed.state_dict() == whole.state_dict() != json.loads(saved)
    assert whole.complete


def test_states_of_another_size():
    state = GreedyDecisions(PRIMITIVES, steps=2).state_dict()
    with pytest.raises(ConfigError, match=r"decisions for 14 edges and 8 operations, got \[\(5, 8\)\]"):
        GreedyDecisions(PRIMITIVES).load_state_dict(state)
    cell = GreedyDecisions(OPS, criterion=2, steps=2)
    cell.end_epoch(probabilities(1, 5, 3), due=False)
    with pytest.raises(ConfigError, match=r"got \[\(5, 3\), \(5, 8\)\]"):
        GreedyDecisions(PRIMITIVES, steps=2).load_state_dict(cell.state_dict())


def test_official_indices():
    choice = np.array([UNDECIDED, PRUNED, 1, 7])
    assert official_indices(choice).tolist() == [-1, 0, 1, 7]
    np.testing.assert_array_equal(from_official_indices(official_indices(choice)), choice)
