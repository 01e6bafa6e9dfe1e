"""P-DARTS: its stages, schedules and settings. Its numbers are those of the recorded runs in tests/parity."""

import math

import numpy as np
import paddle
import pytest

from paddle_darts.engine.config import SearchConfig
from paddle_darts.engine.parsing import read_flags
from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import PRIMITIVES
from paddle_darts.methods import Batch
from paddle_darts.methods.p_darts import PDarts, PDartsOptions
from paddle_darts.methods.parts.progressive import drop_weakest
from paddle_darts.networks import SupernetSpec
from paddle_darts.networks.official import p_darts_names
from paddle_darts.nn.drop import RandomSource

SPEC = SupernetSpec(init_channels=2, layers=2, steps=2, multiplier=2, num_classes=3)
STAGES = {"add_layers": [0, 1, 3], "add_width": [0, 0, 2], "dropout_rate": [0.0, 0.4, 0.7], "num_to_drop": [3, 2]}
COLUMN = {name: k for k, name in enumerate(PRIMITIVES)}
KINDS = ("normal", "reduce")


def build(epochs=4, **options):
    """A search with ``epochs`` per stage."""
    options = PDartsOptions(**{**STAGES, "arch_start_epoch": 1, **options})
    paddle.seed(0)
    return PDarts(SPEC, options, PDarts.total_epochs(options, epochs), RandomSource(0))


def step(method, epoch):
    rng = np.random.default_rng(epoch)
    images = paddle.to_tensor(rng.normal(size=(8, 3, 4, 4)).astype("float32"))
    method.begin_epoch(epoch)
    method.supernet.train()
    result = method.step(*(Batch(i, paddle.to_tensor(rng.integers(0, 3, 4))) for i in paddle.split(images, 2)))
    method.end_epoch(epoch)
    return result


def last_stage(seed=0, **options):
    """A search in its last stage with random alphas."""
    method, rng = build(**options), np.random.default_rng(seed)
    for stage in range(3):
        method.begin_epoch(4 * stage)
        for alpha in method.alphas.values():
            alpha.set_value(rng.normal(size=alpha.shape).astype("float32"))
    return method


# ------------------------------------------------------------------------------------------------ stages
def test_each_stage_is_deeper_and_has_fewer_candidates():
    method = build()
    seen = []
    for stage in range(3):
        before = {kind: table.copy() for kind, table in method.switches.items()}
        tables = method.probabilities()
        method.begin_epoch(4 * stage)
        assert method.stage == stage
        if stage:
            count = STAGES["num_to_drop"][stage - 1]
            for kind in KINDS:
                assert np.array_equal(method.switches[kind], drop_weakest(tables[kind], before[kind], count))
        spec, on = method.supernet.spec, method.facts()["candidates_per_edge"]
        seen.append((spec.layers, spec.init_channels, on, len(method.supernet.cells), spec.skip_dropout))
        assert all((table.sum(axis=1) == on).all() for table in method.switches.values())
        assert [alpha.shape for alpha in method.alphas.values()] == [[5, on]] * 2
        for e in range(4):
            step(method, 4 * stage + e)
    assert seen == [(2, 2, 8, 2, False), (3, 2, 5, 3, True), (5, 4, 3, 5, True)]


def test_a_stage_begins_from_nothing_but_the_switches():
    method = build()
    for epoch in range(4):
        step(method, epoch)
    old, weights = method.supernet, {n: w.numpy().copy() for n, w in method.weights.items()}
    for alpha in method.alphas.values():
        alpha.set_value(alpha + 1.0)
    method.begin_epoch(3)
    assert method.supernet is old  # still the same stage
    method.begin_epoch(4)
    assert method.supernet is not old and method.supernet.random is method.source
    assert all(0 < float(alpha.abs().max()) < 0.01 for alpha in method.alphas.values())
    assert "stem.0.weight" in weights
    convolutions = [n for n, w in weights.items() if n in method.weights and w.ndim == 4]
    assert not any(np.array_equal(method.weights[n].numpy(), weights[n]) for n in convolutions)
    slots = method.weight_optimizer.slots("velocity") + method.arch_optimizer.slots("moment1")
    assert all(float(slot.abs().max()) == 0 for slot in slots)
    assert method.weight_optimizer.parameters == list(method.supernet.weights().values())


def test_weights_of_the_candidates_stand_in_their_columns():
    method = last_stage()
    for kind in KINDS:
        mix, switches = method.cell_mix(kind), method.switches[kind]
        powers = np.exp(method.alphas[kind].numpy())
        expected = np.zeros(switches.shape)
        expected[switches] = (powers / powers.sum(axis=1, keepdims=True)).ravel()
        np.testing.assert_allclose(mix.ops.numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(method.probabilities()[kind], expected, rtol=1e-5)
        assert np.array_equal(mix.active, switches)


def test_a_state_of_the_same_stage_but_other_switches():
    one, other = last_stage(0), last_stage(1)
    assert any((one.switches[kind] != other.switches[kind]).any() for kind in KINDS)
    other.load_state(one.state())
    other.load_tensors(one.tensors())
    assert other.derive() == one.derive() and other.variants() == one.variants()
    assert other.supernet.spec == one.supernet.spec


# ------------------------------------------------------------------------------------------------ schedules
def test_every_stage_has_the_whole_cosine_and_its_own_dropout():
    method = build(epochs=5, arch_start_epoch=2)
    for epoch in range(15):
        stage, e = divmod(epoch, 5)
        method.begin_epoch(epoch)
        assert method.lr == pytest.approx(0.0125 * (1 + math.cos(math.pi * e / 5)))
        assert method.learns_architecture == (e >= 2)
        factor = (4 - e) / 5 if e < 2 else math.exp(-0.2 * (e - 2))
        expected = STAGES["dropout_rate"][stage] * factor
        assert method.supernet.skip_dropout_prob == method.facts()["skip_dropout"] == pytest.approx(expected)
    assert method.arch_optimizer.lr == pytest.approx(6e-4)


def test_the_architecture_rests_at_the_beginning_of_every_stage():
    method = build(epochs=2)
    for epoch in range(6):
        method.begin_epoch(epoch)
        before = {name: alpha.numpy().copy() for name, alpha in method.arch.items()}
        learned = step(method, epoch).arch_loss is not None
        moved = [(before[name] != alpha.numpy()).any() for name, alpha in method.arch.items()]
        assert learned == (epoch % 2 == 1) and moved == [learned] * 2


def test_the_warm_up_is_repeated_per_stage():
    method = build(epochs=4, warmup_epochs=2)
    rates = []
    for epoch in range(8):
        method.begin_epoch(epoch)
        rates.append(method.lr)
    assert rates[:4] == rates[4:] and rates[:2] == pytest.approx([0.0125, 0.025])


# ------------------------------------------------------------------------------------------------ genotypes
@pytest.mark.parametrize("seed", range(4))
def test_variants_are_the_genotypes_under_all_limits(seed):
    method = last_stage(seed)
    variants = method.variants()
    assert list(variants) == [f"max_skip_{limit}" for limit in range(4, -1, -1)]
    for limit in range(5):
        genotype = variants[f"max_skip_{limit}"]
        assert genotype == method.derive(max_skips=limit) and genotype.count("skip_connect", "normal") <= limit
    assert variants["max_skip_4"] == method.derive() and not method.derive().contains_none


def test_none_may_be_chosen_where_it_is_allowed():
    methods = [build(num_to_drop=[0, 0], derive=rule) for rule in ("official", "with_none")]
    alphas = np.zeros((5, 8), dtype="float32")
    alphas[:, COLUMN["none"]], alphas[:, COLUMN["dil_conv_3x3"]] = [1, 3, 0, 3, 3], [2, 1, 1, 0, 2]
    for method in methods:
        method.alphas["normal"].set_value(alphas)
    # by rising row and without counting `none`, which makes an edge weak; by falling strength and counting it
    official, with_none = ([(e.op, e.source) for e in method.derive().normal] for method in methods)
    assert official[:2] == [("dil_conv_3x3", 0), ("dil_conv_3x3", 1)] and official[3] == ("dil_conv_3x3", 2)
    assert with_none == [("none", 1), ("dil_conv_3x3", 0), ("none", 1), ("none", 2)]
    assert methods[0].variants() == methods[1].variants()


# ------------------------------------------------------------------------------------------------ settings
@pytest.mark.parametrize(
    "options, message",
    [
        ({"add_layers": [1, 2, 3, 4]}, r"add_layers needs a number for each of the 3 stages, got \[1, 2, 3, 4\]"),
        ({"add_layers": [6]}, "add_layers needs a number for each"),
        ({"add_width": []}, "add_width needs a number for each"),
        ({"dropout_rate": [0.1, 0.2]}, "num_to_drop needs a number after each of the 2 stages but the last"),
        ({"dropout_rate": [], "num_to_drop": []}, "num_to_drop needs .* 0 stages"),
        ({"num_to_drop": [3, 2, 2]}, r"num_to_drop needs .* 3 stages but the last, got \[3, 2, 2\]"),
        ({"num_to_drop": [6, 2]}, r"at least one of the 8 candidates of an edge, got \[6, 2\]"),
        ({"num_to_drop": [3, -1]}, r"must be 0 or more .* got \[3, -1\]"),
        ({"dropout_rate": [0.0, 0.4, 1.0]}, r"every dropout_rate .* below 1, got \[0.0, 0.4, 1.0\]"),
        ({"add_layers": [0, 1, -2]}, "layers"),
        ({"add_width": [0, 0, -2]}, "init_channels"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_first_stage(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


@pytest.mark.parametrize(
    "flags",
    [
        "--add_layers 6 --add_layers 12 --add_width 0 --add_width 4",  # the first 0 was the official default
        "--add_layers 0,6,12 --add_width 0,0,4",
        "--add_layers=[0,6,12] --add_width=0 --add_width=0 --add_width=4",
    ],
)
def test_the_official_flags(flags):
    rates = "--dropout_rate 0.1 --dropout_rate 0.4 --dropout_rate 0.7"
    given = read_flags(f"{flags} {rates}".split(), [SearchConfig, PDartsOptions], "search")
    options = PDartsOptions(**given)
    assert options.per_stage("add_layers") == [0, 6, 12] and options.per_stage("add_width") == [0, 0, 4]
    assert options.dropout_rate == [0.1, 0.4, 0.7] and PDarts.total_epochs(options, 25) == 75


def test_one_stage():
    method = build(add_layers=[], add_width=[0], dropout_rate=[0.2], num_to_drop=[])
    method.begin_epoch(3)
    assert (method.stage, method.supernet.spec.layers, method.stage_epochs) == (0, 2, 4)


# ------------------------------------------------------------------------------------------------ names
def test_official_names_count_the_candidates_that_are_on():
    method = last_stage()
    names = p_darts_names(method.supernet.state_dict(), method.supernet.spec)
    assert len(set(names.values())) == len(names) and names["stem.1._mean"] == "stem.1.running_mean"
    kinds = method.supernet.spec.kinds
    seen = 0
    for ours, theirs in names.items():
        if "._ops." not in ours:
            continue
        _, cell, _, edge, _, column, rest = ours.split(".", 6)
        place = np.flatnonzero(method.switches[kinds[int(cell)]][int(edge)]).tolist().index(int(column))
        rest = rest.replace("_mean", "running_mean").replace("_variance", "running_var")
        assert theirs == f"cells.{cell}.cell_ops.{edge}.m_ops.{place}.{rest}"
        seen += place != int(column)
    assert seen
    off = int(np.flatnonzero(~method.switches[kinds[0]][0])[0])
    with pytest.raises(ConfigError, match=rf"cells\.0\._ops\.0\._ops\.{off}\.op\.1\.weight: .* switched off"):
        p_darts_names([f"cells.0._ops.0._ops.{off}.op.1.weight"], method.supernet.spec)
