"""The greedy decisions of SGAS where every edge keeps an operation and `none` may be chosen, as in NAS-Bench-201."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import Edge, NasBench201Genotype
from paddle_darts.genotypes.nas_bench_201 import OPS
from paddle_darts.methods.parts.greedy import UNDECIDED, GreedyDecisions, edge_scores, greedy_genotype

NONE, SKIP, CONV1, CONV3, POOL = range(5)
#: (node, source state) of the rows: the nodes 1, 2 and 3 of the cell count from 0 here.
EDGES = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]


def cell(primitives=OPS, **options):
    return GreedyDecisions(primitives, 3, **options, inputs=1, every_edge=True)


def probabilities(seed, spread=1.0, ops=5):
    values = np.exp(spread * np.random.default_rng(seed).normal(size=(6, ops)))
    return (values / values.sum(axis=1, keepdims=True)).astype("float32")


def surest(**certain):
    """Every edge undivided, but for ``r2=(column, probability)``: the larger, the surer."""
    table = np.full((6, 5), 0.2)
    for row, (column, value) in certain.items():
        table[int(row[1:])] = (1 - value) / 4
        table[int(row[1:]), column] = value
    return table


def test_the_edges_of_a_cell_with_one_input():
    found = cell()
    assert found.edges == EDGES and found.decisions == 6
    assert found.choice.tolist() == [UNDECIDED] * 6 and found.active().all()


def test_the_surest_edge_first_and_no_edge_is_pruned():
    table = surest(r5=(CONV3, 0.9), r1=(SKIP, 0.8), r3=(POOL, 0.7), r0=(CONV1, 0.6), r4=(SKIP, 0.5), r2=(CONV3, 0.4))
    found, taken = cell(), []
    for left in range(6, 0, -1):
        assert found.undecided.sum() == left and not found.complete
        _, decision = found.end_epoch(table, due=True)
        assert decision.pruned == ()
        taken.append((decision.edge, decision.node, decision.source, decision.op))
    assert [entry[0] for entry in taken] == [5, 1, 3, 0, 4, 2]
    assert [entry[1:3] for entry in taken] == [EDGES[entry[0]] for entry in taken]
    assert [entry[3] for entry in taken] == [OPS[c] for c in (CONV3, SKIP, POOL, CONV1, SKIP, CONV3)]
    assert found.complete and (found.active().sum(axis=1) == 1).all()
    assert found.end_epoch(table, due=True)[1] is None
    assert greedy_genotype({"cell": found}).ops == tuple(OPS[c] for c in (CONV1, SKIP, CONV3, POOL, SKIP, CONV3))


def test_an_edge_without_importance_comes_last_and_may_get_none():
    """Its real operations matter little, so it is never urgent; but what it has most of is what it gets."""
    table = surest(r0=(CONV3, 0.9), r1=(SKIP, 0.5), r2=(POOL, 0.6), r3=(NONE, 0.95), r4=(CONV1, 0.4), r5=(CONV3, 0.7))
    found = cell()
    order = [found.end_epoch(table, due=True)[1] for _ in range(6)]
    assert [decision.edge for decision in order] == [0, 5, 2, 1, 4, 3]
    assert order[-1].op == "none" and order[-1].score == 0
    assert order[-1].importance == pytest.approx(0.05) and order[0].importance == pytest.approx(0.975)
    assert greedy_genotype({"cell": found}).ops == tuple(OPS[c] for c in (CONV3, SKIP, POOL, NONE, CONV1, CONV3))


def test_none_is_weighed_by_its_probability_not_by_the_real_operations_alone():
    table = np.full((6, 5), 0.2)
    table[2] = 0.46, 0.01, 0.01, 0.51, 0.01
    table[4] = 0.51, 0.01, 0.01, 0.46, 0.01
    found = cell()
    for row in (2, 4):
        found.settle(row, found._best_op(table, row))
    assert found.choice.tolist() == [-1, -1, CONV3, -1, NONE, -1]
    assert not found.active()[4, 1:].any() and found.active()[4, NONE]


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]), st.sampled_from([0.0, 0.01, 1.0]), st.booleans())
def test_six_decisions_complete_a_cell(seed, criterion, spread, with_none):
    ops = OPS if with_none else OPS[1:]
    found = cell(ops, criterion=criterion)
    for epoch in range(6):
        table = probabilities([seed, epoch], spread, len(ops))
        before, forced = found.choice.copy(), greedy_genotype({"cell": found}, 1, {"cell": table})
        scores = edge_scores(table, 0 if with_none else None, criterion, found.history)
        _, decision = found.end_epoch(table, due=True)
        undecided = np.flatnonzero(before == UNDECIDED)
        assert decision.edge == undecided[scores.score[undecided].argmax()]
        assert found.choice[decision.edge] == table[decision.edge].argmax() == ops.index(decision.op)
        settled = before != UNDECIDED
        assert (found.choice[settled] == before[settled]).all() and found.undecided.sum() == 5 - epoch
        assert isinstance(forced, NasBench201Genotype)
        assert forced.ops == tuple(ops[k] for k in np.where(settled, before, table.argmax(axis=1)))
    assert found.complete
    assert greedy_genotype({"cell": found}).ops == tuple(ops[k] for k in found.choice)
    assert greedy_genotype({"cell": found}, 1, {"cell": table}) == greedy_genotype({"cell": found})


def test_undecided_edges_have_no_final_genotype():
    found = cell()
    found.settle(1, NONE)
    with pytest.raises(GenotypeError, match=r"the edges \[0, 2, 3, 4, 5\] are undecided"):
        greedy_genotype({"cell": found})


def test_forced_edges_keep_decisions_as_long_as_they_have_strength():
    found, table = cell(), surest(r0=(CONV3, 0.9), r1=(NONE, 0.9), r2=(POOL, 0.9))
    found.settle(0, SKIP)
    found.settle(3, SKIP)
    table[3, SKIP] = 0  # as under a limit of skip connections
    table[3, POOL] = 0.3
    assert found.forced_edges(table) == [
        Edge("skip_connect", 0),
        Edge("none", 0),
        Edge("avg_pool_3x3", 1),
        Edge("avg_pool_3x3", 0),
        Edge("none", 1),
        Edge("none", 2),
    ]


@pytest.mark.parametrize("criterion", [1, 2])
def test_a_saved_search_continues_bit_by_bit(criterion):
    def run(found, epochs):
        return [found.end_epoch(probabilities(epoch), due=epoch % 2 == 1)[1] for epoch in epochs]

    whole = cell(criterion=criterion)
    run(whole, range(5))
    saved = json.dumps(whole.state_dict())
    decisions = run(whole, range(5, 13))
    resumed = cell(criterion=criterion)
    resumed.load_state_dict(json.loads(saved))
    assert resumed.undecided.sum() == 4
    assert run(resumed, range(5, 13)) == decisions
    assert sum(decision is not None for decision in decisions) == 4
    assert resumed.state_dict() == whole.state_dict() and whole.complete
