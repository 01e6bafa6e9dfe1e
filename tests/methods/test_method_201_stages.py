"""The methods in the NAS-Bench-201 space: what is of their own there, besides the contract of all methods."""

import math
from dataclasses import replace

import numpy as np
import paddle
import pytest
from method_runs import SPEC_201, arrays, assert_equal, batch, build, moved, resumed, search, softmax

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.genotypes.nas_bench_201 import OPS
from paddle_darts.methods.parts.bilevel import gradients_or_none
from paddle_darts.methods.parts.progressive import drop_weakest

NONE, SKIP, CONV1, CONV3, POOL = range(5)
NODES = ([0], [1, 2], [3, 4, 5])  # the edges into the nodes 1, 2 and 3
SMALL = replace(SPEC_201, init_channels=4)


def new(name, **options):
    return build(name, spec=options.pop("spec", SMALL), **options)


def set_alphas(method, values, name="alphas_cell"):
    method.arch[name].set_value(np.asarray(values, dtype="float32"))


def preferring(*columns, ops=5):
    """Alphas with one clear winner per edge."""
    return 3.0 * np.eye(ops)[list(columns)]


def cell(*columns):
    return NasBench201Genotype(tuple(OPS[column] for column in columns))


# ------------------------------------------------------------------------------------------- P-DARTS
STAGES = {
    "arch_start_epoch": 0,
    "add_layers": [0, 3],
    "add_width": [0, 0],
    "dropout_rate": [0.2, 0.4],
    "num_to_drop": [2],
}


def test_p_darts_grows_by_a_cell_in_every_group_and_drops_candidates():
    method = new("p_darts", **{**STAGES, "add_layers": [3, 6], "dropout_rate": [0.1] * 3, "num_to_drop": [2, 1]})
    method.epochs, method.stage_epochs = 12, 4
    seen = []
    for stage in range(3):
        before, tables = method.switches["cell"].copy(), method.probabilities()
        method.begin_epoch(4 * stage)
        if stage:
            count = (2, 1)[stage - 1]
            np.testing.assert_array_equal(method.switches["cell"], drop_weakest(tables["cell"], before, count))
        on = method.facts()["candidates_per_edge"]
        assert method.alphas["cell"].shape == [6, on] and method.supernet.spec.layers == len(method.supernet.cells)
        seen.append((method.supernet.spec.layers, len(method.supernet.searched_cells), on))
        assert math.isfinite(method.step(batch(stage), batch(stage + 9)).arch_loss)
    assert seen == [(5, 3, 5), (8, 6, 3), (11, 9, 2)]


@pytest.mark.parametrize("derive", ["official", "with_none"])
def test_p_darts_keeps_none_as_a_candidate_and_may_choose_it(derive):
    method = new("p_darts", **STAGES, derive=derive)
    set_alphas(method, preferring(NONE, SKIP, NONE, CONV3, POOL, CONV1))
    method.begin_epoch(2)
    switches = method.switches["cell"]
    assert switches[[0, 2], NONE].all() and (switches.sum(axis=1) == 3).all()
    assert switches[np.arange(6), [NONE, SKIP, NONE, CONV3, POOL, CONV1]].all()
    alphas = np.zeros((6, 3))
    for row, on in enumerate(map(np.flatnonzero, switches)):
        alphas[row, list(on).index([NONE, SKIP, NONE, CONV3, POOL, CONV1][row])] = 1.0
    set_alphas(method, alphas)
    assert method.derive() == cell(NONE, SKIP, NONE, CONV3, POOL, CONV1) and method.derive().valid


def test_p_darts_keeps_the_cells_under_all_limits_of_skips():
    method = new("p_darts", **STAGES)
    set_alphas(method, preferring(*[SKIP] * 6) + preferring(CONV3, CONV1, POOL, CONV3, NONE, CONV3) / 2)
    strengths = method.strengths()["cell"]
    strengths[:, SKIP] -= [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    method.strengths = lambda: {"cell": strengths}
    variants = method.variants()
    assert list(variants) == [f"max_skip_{limit}" for limit in range(6, -1, -1)]
    assert variants["max_skip_6"] == method.derive() == cell(*[SKIP] * 6)
    assert variants["max_skip_4"] == method.derive(max_skips=4) == cell(*[SKIP] * 4, NONE, CONV3)
    assert variants["max_skip_0"] == method.derive(max_skips=0) == cell(CONV3, CONV1, POOL, CONV3, NONE, CONV3)
    assert [variant.count("skip_connect") for variant in variants.values()] == [6, 5, 4, 3, 2, 1, 0]


def test_p_darts_drops_out_after_every_skip_connection():
    """All edges have stride 1 in this space."""
    method = new("p_darts", **STAGES)
    method.begin_epoch(0)
    assert method.supernet.skip_dropout_prob == method.facts()["skip_dropout"] == 0.2
    set_alphas(method, 30 * preferring(*[SKIP] * 6))
    images = batch(0).images
    one, other = (method.supernet(images, method.mixture())[0].numpy() for _ in range(2))
    assert not np.array_equal(one, other)
    method.supernet.skip_dropout_prob = 0.0
    one, other = (method.supernet(images, method.mixture())[0].numpy() for _ in range(2))
    np.testing.assert_array_equal(one, other)


# ------------------------------------------------------------------------------------------- DrNAS
def test_dr_nas_has_none_among_its_candidates_here():
    method = new("dr_nas", arch_start_epoch=0, ks=[1], keeps=[5])
    assert method.supernet.spec.primitives == OPS and method.alphas["cell"].shape == [6, 5]
    set_alphas(method, preferring(NONE, CONV3, SKIP, NONE, CONV1, POOL))
    found = method.derive()
    assert found == cell(NONE, CONV3, SKIP, NONE, CONV1, POOL) and found.valid
    weights = method.mixture()[0].ops.numpy()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert (weights[:, NONE] > 0).all(), "what `none` has is missing from the other operations"
    assert (
        new("dr_nas", spec=replace(SPEC_201, space="darts", init_channels=24, layers=2)).alphas["normal"].shape[1] == 7
    )


def test_dr_nas_prunes_to_the_strongest_three_and_none_may_stay():
    method = new("dr_nas", spec=SPEC_201, arch_start_epoch=0, ks=[4, 2], keeps=[5, 3])
    search(method, [0, 1])
    alphas = preferring(NONE, CONV3, SKIP, NONE, CONV1, POOL) + 0.1 * np.arange(5)
    set_alphas(method, alphas)
    method.begin_epoch(2)
    expected = np.argsort(-alphas, axis=1)[:, :3]
    mask = method.masks["cell"]
    assert [sorted(row) for row in expected.tolist()] == [np.flatnonzero(row).tolist() for row in mask]
    assert method.facts() == {"candidates_per_edge": 3, "partial_channels": 2}
    assert method.derive() == cell(NONE, CONV3, SKIP, NONE, CONV1, POOL)
    train = method.step(batch(0), batch(1))
    assert math.isfinite(train.loss) and math.isfinite(train.arch_loss)


@pytest.mark.parametrize("together", [False, True])
def test_the_norm_that_clips_may_count_the_architecture(together):
    """As in the authors' program for this space, where the architecture is among the parameters of the network."""
    method = new("dr_nas", arch_start_epoch=0, ks=[1], keeps=[5], clip_with_arch=together, weight_decay=0.0)
    method.begin_epoch(0)
    drawn = method.source.state_dict()
    found = gradients_or_none(method.loss(batch(0))[0], [*method.weights.values(), *method.arch.values()])
    own, whole = (norm(part) for part in (found[:-1], found))
    assert whole > 1.0003 * own
    method.source.load_state_dict(drawn)
    method.options.grad_clip = limit = own / 2
    method.weight_optimizer.lr = 1.0
    before = arrays(method.weights)
    method.weight_step(batch(0))
    step = [paddle.to_tensor(before[name]) - weight for name, weight in method.weights.items()]
    assert norm(step) == pytest.approx(limit * own / (whole if together else own), rel=1e-4)


def norm(tensors):
    return math.sqrt(sum(float((t.astype("float64") ** 2).sum()) for t in tensors if t is not None))


# ------------------------------------------------------------------------------------------- PC-DARTS
def test_pc_darts_weighs_the_edges_into_each_node():
    method = new("pc_darts", arch_start_epoch=0, partial_channels=2)
    betas = np.array([5.0, 1.0, -1.0, 0.0, 2.0, -2.0])
    set_alphas(method, betas, "betas_cell")
    expected = np.concatenate([softmax(betas[rows]) for rows in NODES])
    for mix in method.mixture():
        np.testing.assert_allclose(mix.edges.numpy(), expected, rtol=1e-5)
    assert expected[0] == 1, "the only edge into a node has all the weight, and its beta learns nothing"
    table = method.strengths()["cell"]
    np.testing.assert_allclose(table, expected[:, None] * method.probabilities()["cell"], rtol=1e-6)
    before = arrays(method.arch)
    for _ in range(2):
        method.step(batch(1), batch(2))
    change = method.arch["betas_cell"].numpy() - before["betas_cell"]
    assert (np.abs(change[1:]) > 1e-5).all()


def test_the_beta_of_a_single_edge_gets_no_gradient():
    method = new("pc_darts", arch_start_epoch=0, partial_channels=2)
    method.begin_epoch(0)
    found = dict(zip(method.arch, method.arch_gradient(batch(1), batch(2)).total, strict=True))["betas_cell"].numpy()
    assert abs(found[0]) < 1e-3 * np.abs(found[1:]).min()
    for rows in NODES[1:]:
        assert abs(found[rows].sum()) < 1e-3 * np.abs(found[rows]).max(), "what one edge gains the others lose"


def test_betas_choose_no_edge_where_all_are_kept():
    """They teach the alphas what to weigh, and leave the choice of operations to them."""
    method = new("pc_darts", arch_start_epoch=0, partial_channels=2)
    set_alphas(method, preferring(CONV3, NONE, SKIP, CONV1, POOL, NONE))
    for betas in (np.zeros(6), [0, 9, -9, -9, 9, 0]):
        set_alphas(method, betas, "betas_cell")
        assert method.derive() == cell(CONV3, NONE, SKIP, CONV1, POOL, NONE)


# ------------------------------------------------------------------------------------------- DDSAS
def test_ddsas_has_a_budget_over_six_edges():
    method = new("ddsas", dss_max_ops=7, dss_freq=2)
    assert method.space.kinds == ("cell",) and method.supernet.spec.primitives == OPS
    assert set(method.arch) == {"alphas_cell", "betas_cell"}
    method.begin_epoch(0)
    for step in range(4):
        method.step(batch(step), batch(step + 9))
        active = method.space.active["cell"]
        assert active[:, 1:].sum() == 7 and active.any(axis=1).all(), "`none` is free, and no edge is left out"
        assert [mix.active.sum() for mix in method.mixture()] == [active.sum()] * 3
    assert method.space.total == 3
    for budget in (6, 24, 99):
        assert new("ddsas", dss_max_ops=budget).space.budget == budget
    with pytest.raises(ConfigError, match=r"a budget of 5 .* at least 6"):
        new("ddsas", dss_max_ops=5)


def test_ddsas_reads_the_cell_from_saliencies_and_none_counts():
    method = new("ddsas", dss_max_ops=7)
    set_alphas(method, preferring(*[POOL] * 6))
    method.space.saliency["cell"] = preferring(CONV3, NONE, SKIP, CONV1, NONE, CONV3)
    assert method.derive() == cell(CONV3, NONE, SKIP, CONV1, NONE, CONV3)
    method.space.set_columns([CONV1], False)
    method.space.saliency["cell"][3, SKIP] = 0.1
    assert method.derive() == cell(CONV3, NONE, SKIP, SKIP, NONE, CONV3), "what has left the space is not chosen"
    assert method.derive(max_skips=1).count("skip_connect") == 1


def test_ddsas_opens_the_operations_of_its_own_space_only():
    with pytest.raises(ConfigError, match=r"space_config_expand opens the operations of the DARTS space, got .*201"):
        new("ddsas", space_config="space_config_expand")
    with pytest.raises(ConfigError, match="space_config_imagenet opens"):
        new("ddsas", space_config="space_config_imagenet")


def test_ddsas_shrinks_but_leaves_an_operation_on_every_edge():
    method = new("ddsas", dss_max_ops=12, dss_freq=1, space_config="space_config_shrink", stage_epochs=[1, 2, 3, 4, 5])
    sizes = []
    for epoch in range(4):
        method.begin_epoch(epoch)
        for step in range(2):
            method.step(batch(step), batch(step + 9))
        sizes.append(method.facts()["available_cell"])
    # 14 at a time as far as every edge keeps a real operation
    assert sizes[:2] == [30, 16] and 6 <= sizes[2] <= 12 and sizes[3] == sizes[2]
    assert method.space.available["cell"][:, 1:].any(axis=1).all()
    columns = [OPS.index(op) for op in method.derive().ops]
    assert method.space.available["cell"][range(6), columns].all()


# ------------------------------------------------------------------------------------------- SGAS
def test_sgas_settles_six_edges_and_the_cell_is_discrete():
    options = {"warmup_dec_epoch": 0, "decision_freq": 1, "batch_increase": 4}
    method = new("sgas", epochs=6, **options)
    sizes = []
    for epoch in range(6):
        sizes.append(method.batch_size(32))
        search(method, [epoch], 1)
        assert method.facts()["undecided_cell"] == 5 - epoch
    assert sizes == [32, 36, 40, 44, 48, 52]
    decisions, (mix, *_) = method.decisions["cell"], method.mixture()
    assert decisions.complete and mix.active.sum() == 6
    assert set(np.unique(mix.ops.numpy())) == {0, 1}
    assert method.derive().ops == tuple(OPS[column] for column in decisions.choice)
    with pytest.raises(ConfigError, match="at least 6 epochs for 6 decisions, got 5"):
        new("sgas", epochs=5, **options)


def test_sgas_that_has_settled_for_none_learns_without_that_edge():
    method = new("sgas", epochs=6, warmup_dec_epoch=0, decision_freq=1)
    method.begin_epoch(0)
    method.decisions["cell"].settle(1, NONE)
    alphas, weights = arrays(method.arch), arrays(method.weights)
    method.step(batch(1), batch(2))
    assert moved(alphas, method.arch) == set(method.arch) - {"alphas_cell.1"}
    idle = {name for name in weights if ".edges.2<-0." in name}
    assert idle and not moved(weights, method.weights) & idle
    assert method.derive().ops[1] == "none"


def test_sgas_resumes_between_two_decisions():
    options = {"spec": SMALL, "warmup_dec_epoch": 0, "decision_freq": 2, "use_history": True}
    method = build("sgas", epochs=11, **options)
    search(method, range(4), 1)
    assert method.facts()["undecided_cell"] == 4
    other = resumed(method, **options)
    for one in (method, other):
        search(one, range(4, 11), 1)
    assert method.decisions["cell"].complete
    assert_equal(method, other)


# ------------------------------------------------------------------------------------------- FairDARTS
def test_fair_darts_has_no_none_but_may_leave_edges_empty():
    method = new("fair_darts", op_threshold=0.7)
    assert method.supernet.spec.primitives == OPS[1:]
    with pytest.raises(GenotypeError, match=r"threshold 0\.7"):
        method.derive()
    assert method.variants()["threshold_sparse"] is method.variants()["threshold_edge"] is None
    set_alphas(method, 2 * preferring(2, 0, 0, 3, 1, 2, ops=4) - 3)
    method.arch["alphas_cell"].set_value(
        method.arch["alphas_cell"] * np.array([[1], [-1], [0], [1], [0], [1]], "float32")
    )
    assert method.derive() == cell(CONV3, CONV1, NONE, POOL, NONE, CONV3)
    assert method.derive() == method.variants()["threshold_edge"]
    assert "none" not in method.variants()["darts"].ops


# ------------------------------------------------------------------------------------------- GDAS
def test_gdas_runs_one_operation_per_edge_in_all_cells():
    method = new("gdas")
    method.begin_epoch(0)
    mixes = method.mixture()
    assert len(mixes) == 3 and all(mix is mixes[0] for mix in mixes)
    assert (mixes[0].active.sum(axis=1) == 1).all() and mixes[0].offset is not None
    drawn = {tuple(method.mixture()[0].active.argmax(axis=1)) for _ in range(20)}
    assert len(drawn) > 10 and any(NONE in columns for columns in drawn), "`none` can be drawn"
