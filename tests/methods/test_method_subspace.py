"""The moving sub-space of DDSAS; the recorded windows of the official program are in tests/parity."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import PRIMITIVES
from paddle_darts.methods.parts.subspace import (
    SPACE_CONFIGS,
    Candidate,
    SpaceConfig,
    SubSpace,
    get_space_config,
    select,
    shrink,
)
from paddle_darts.nn.drop import RandomSource

GOLDENS = Path(__file__).parents[1] / "goldens" / "ddsas"
KINDS = ("normal", "reduce")
OPS = ("none", "skip_connect", "sep_conv_3x3")
TINY = SpaceConfig("tiny", "static", OPS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numbers(seed, shape, kinds=KINDS):
    rng = np.random.default_rng(seed)
    return {kind: rng.normal(size=shape) for kind in kinds}


# --- configurations


def test_published_configurations():
    assert list(SPACE_CONFIGS) == [f"space_config_{name}" for name in ("static", "shrink", "expand", "imagenet")]
    assert [c.type for c in SPACE_CONFIGS.values()] == ["static", "shrink", "expand", "expand"]
    assert [c.none for c in SPACE_CONFIGS.values()] == [0, 0, 0, 4]
    assert all(set(c.primitives) == set(PRIMITIVES) and c.priority is None for c in SPACE_CONFIGS.values())
    sizes, left = [], 112
    for _, count in get_space_config("space_config_shrink").stages:
        left -= count
        sizes.append(left)
    assert sizes == [98, 84, 70, 56, 42]


@pytest.mark.parametrize("name", ["static", "shrink", "expand", "imagenet"])
def test_recorded_configurations(name):
    """Of the official program."""
    with np.load(GOLDENS / f"space_trace_{name}.npz") as file:
        args = json.loads(str(file["meta"]))["args"]
    config, recorded = get_space_config(f"space_config_{name}"), args["space_config"]
    assert [list(stage) for stage in config.stages] == recorded.get("stage", [])
    assert (config.type, list(config.primitives)) == (recorded["type"], recorded["PRIMITIVES"])


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"type": "shrinking"}, "unknown space type 'shrinking'; did you mean 'shrink'"),
        ({"type": "static", "stages": ((0, 1),)}, "a static space with the stages"),
        ({"type": "shrink"}, "a shrink space with the stages"),
        ({"type": "shrink", "stages": ((3, 1), (3, 1))}, "ascending epochs"),
        ({"type": "shrink", "stages": ((3, 0),)}, "positive numbers"),
        ({"type": "expand", "stages": ((1, 2),)}, "starts in epoch 0"),
        ({"type": "expand", "stages": ((0, 2), (1, 2))}, "more and more"),
        ({"type": "expand", "stages": ((0, 2), (1, 4))}, "3 columns"),
        ({"type": "static", "primitives": ("none",)}, "besides 'none'"),
        ({"type": "static", "primitives": ("skip_connect", "skip_connect")}, "different operations"),
        ({"type": "static", "priority": (1.0,)}, "1 priorities for 3 operations"),
    ],
)
def test_impossible_configurations(fields, message):
    with pytest.raises(ConfigError, match=message):
        SpaceConfig(**{"name": "mine", "primitives": OPS, **fields})


def test_unknown_names():
    with pytest.raises(ConfigError, match="did you mean 'space_config_shrink'"):
        get_space_config("space_config_shrnk")
    with pytest.raises(ConfigError, match="unknown saliency type 'simpel'; did you mean 'simple'"):
        SubSpace(TINY, 1, 2, saliency_type="simpel")


# --- selection


def test_every_row_first_then_the_best_of_all():
    score = np.array([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]])
    everything = np.ones((2, 3), bool)
    np.testing.assert_array_equal(select(score, everything, 2, None), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(select(score, everything, 3, None), [[0, 0, 1], [1, 1, 0]])
    np.testing.assert_array_equal(select(score, everything, 5, None), [[0, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(select(score, everything, 99, None), everything)


def test_none_is_free():
    """It comes with whatever ranks below it, but not after the budget is used up."""
    score = np.array([[0.5, 0.6, 0.4], [0.9, 0.8, 0.7], [0.1, 0.3, 0.2]])
    everything = np.ones((3, 3), bool)
    np.testing.assert_array_equal(select(score, everything, 3, 0), [[0, 1, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(select(score, everything, 4, 0), [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    np.testing.assert_array_equal(select(score, everything, 5, 0), [[1, 1, 1], [1, 1, 1], [0, 1, 0]])


def test_what_is_not_available_is_passed_over():
    score = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]])
    available = np.array([[1, 0, 1], [0, 0, 0]], dtype=bool)
    np.testing.assert_array_equal(select(score, available, 2, None), [[1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(select(score, available, 3, 0), [[1, 0, 1], [0, 0, 0]])


def test_equal_scores_in_order():
    np.testing.assert_array_equal(select(np.zeros((2, 3)), np.ones((2, 3), bool), 3, None), [[1, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(select(np.zeros((2, 3)), np.ones((2, 3), bool), 2, 0), [[1, 1, 0], [1, 1, 0]])


def test_a_budget_below_one_per_row():
    with pytest.raises(ConfigError, match=r"a budget of 1 operations is too small.* at least 2"):
        select(np.zeros((2, 3)), np.ones((2, 3), bool), 1, 0)
    with pytest.raises(ConfigError, match=r"a budget of 13 .* at least 14"):
        SubSpace(get_space_config("space_config_static"), budget=13)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 8), st.integers(0, 40), st.booleans())
def test_properties_of_a_selection(seed, rows, columns, extra, with_none):
    rng = np.random.default_rng(seed)
    score, available = rng.integers(0, 9, (rows, columns)) / 9, rng.random((rows, columns)) < 0.7
    none = int(rng.integers(columns)) if with_none else None
    mask = select(score, available, rows + extra, none)
    assert not (mask & ~available).any()
    real = np.array([column != none for column in range(columns)])
    offered, taken = available & real, mask & real
    assert (taken.any(axis=1) == offered.any(axis=1)).all()
    served = int(offered.any(axis=1).sum())
    assert taken.sum() == min(served + extra, offered.sum())
    best = np.where(offered, score, -1).max(axis=1)
    assert all((score[r][taken[r]].max() == best[r]) for r in range(rows) if offered[r].any())
    # what was left out is not better than anything that was taken beyond the best of each row
    beyond = [s for r in range(rows) for s in sorted(score[r][taken[r]])[:-1]]
    left = score[offered & ~taken]
    assert not beyond or not left.size or left.max() <= min(beyond)


# --- shrinking


def test_the_least_salient_go_first():
    saliency = np.array([[0.5, 0.1, 0.3], [0.2, 0.6, 0.4]])
    everything = np.ones((2, 3), bool)
    for safe in (True, False):
        np.testing.assert_array_equal(shrink(saliency, everything, 2, None, safe), [[1, 0, 1], [0, 1, 1]])
    assert everything.all(), "the argument is not changed"
    partly = np.array([[1, 0, 1], [1, 1, 1]], dtype=bool)
    np.testing.assert_array_equal(shrink(saliency, partly, 1, None), [[1, 0, 1], [0, 1, 1]])


def test_a_row_can_be_emptied_by_the_official_rule_only():
    saliency = np.array([[0.1, 0.2, 0.3], [0.9, 0.9, 0.9]])
    everything = np.ones((2, 3), bool)
    np.testing.assert_array_equal(shrink(saliency, everything, 3, 0, safe=False), [[0, 0, 0], [1, 1, 1]])
    np.testing.assert_array_equal(shrink(saliency, everything, 3, 0), [[0, 0, 1], [0, 1, 1]])
    single = np.array([[0, 0, 1], [1, 1, 1]], dtype=bool)
    np.testing.assert_array_equal(shrink(saliency, single, 2, 0, safe=False), [[0, 0, 1], [0, 0, 1]])


def test_the_last_real_operation_stays():
    saliency = np.array([[0.5, 0.1, 0.2]])
    everything = np.ones((1, 3), bool)
    np.testing.assert_array_equal(shrink(saliency, everything, 1, 0), [[1, 0, 1]])
    np.testing.assert_array_equal(shrink(saliency, everything, 2, 0), [[0, 0, 1]])
    np.testing.assert_array_equal(shrink(saliency, everything, 9, 0), [[0, 0, 1]])
    only_none = np.array([[1, 0, 0]], dtype=bool)
    np.testing.assert_array_equal(shrink(saliency, only_none, 9, 0), only_none)


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.booleans())
def test_properties_of_shrinking(seed, count, with_none):
    rng = np.random.default_rng(seed)
    saliency, before = rng.integers(0, 9, (5, 4)) / 9, rng.random((5, 4)) < 0.8
    none = int(rng.integers(4)) if with_none else None
    after = shrink(saliency, before, count, none)
    real = np.array([column != none for column in range(4)])
    assert not (after & ~before).any()
    assert (after.any(axis=1) == before.any(axis=1)).all()
    assert ((after & real).any(axis=1) == (before & real).any(axis=1)).all()
    lowest = np.where((before & real).any(axis=1), 1, before.any(axis=1)).sum()
    assert (before & ~after).sum() == min(count, before.sum() - lowest)


# --- the whole dynamics


def test_windows_by_hand():
    space = SubSpace(TINY, steps=1, budget=2, confidence=2.0)
    alphas = {kind: np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]) for kind in KINDS}
    betas = {"normal": np.array([[-9.0, 1.0, 2.0], [-9.0, 3.0, 2.0]]), "reduce": np.zeros((2, 3))}
    space.update(alphas, betas)
    np.testing.assert_allclose(space.ucb["normal"], sigmoid(betas["normal"]))
    assert not space.saliency["normal"].any() and (space.windows["normal"] == 1).all() and space.total == 2
    change = space.select()
    np.testing.assert_array_equal(space.active["normal"], [[0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(space.active["reduce"], [[1, 1, 0], [1, 1, 0]])
    assert change.removed == () and set(change.added) == {
        Candidate("normal", 0, "sep_conv_3x3"),
        Candidate("normal", 1, "skip_connect"),
        *(Candidate("reduce", edge, op) for edge in (0, 1) for op in ("none", "skip_connect")),
    }

    space.update(alphas, betas)
    half = sigmoid(betas["normal"]) / 2  # p = 1, and the running mean began with a zero
    np.testing.assert_allclose(space.saliency["normal"], np.where(space.active["normal"], half, 0))
    np.testing.assert_array_equal(space.windows["normal"], 1 + space.active["normal"])
    np.testing.assert_allclose(
        space.ucb["normal"], sigmoid(betas["normal"]) + 2 * np.sqrt(np.log(2) / space.windows["normal"])
    )
    p = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    np.testing.assert_allclose(space.saliency["reduce"][0], [*(p / 4), 0])

    change = space.select()
    assert Candidate("normal", 0, "skip_connect") in change.added
    assert Candidate("normal", 0, "sep_conv_3x3") in change.removed
    space.update(alphas, betas)
    np.testing.assert_allclose(space.saliency["normal"][0, 1:], half[0, 1:])
    assert space.total == 4


def test_priority_scales_the_bonus_of_a_column():
    config = SpaceConfig("mine", "static", OPS, priority=(1.0, 3.0, 0.0))
    space = SubSpace(config, steps=1, budget=2, confidence=1.44)
    zeros = {kind: np.zeros((2, 3)) for kind in KINDS}
    space.update(zeros, zeros)
    space.update(zeros, zeros)
    bonus = 1.44 * np.sqrt(np.log(2))
    np.testing.assert_allclose(space.ucb["normal"], [[0.5 + bonus, 0.5 + 3 * bonus, 0.5]] * 2)


def test_an_expanding_space():
    config = SpaceConfig("mine", "expand", OPS, ((0, 1), (4, 3)))
    space = SubSpace(config, steps=2, budget=5)
    assert space.available["reduce"].all()
    change = space.begin_epoch(0)
    assert len(change.removed) == 2 * 5 * 2 and change.added == ()
    assert {c.op for c in change.removed} == {"skip_connect", "sep_conv_3x3"}
    assert [space.begin_epoch(epoch) for epoch in (0, 1, 2, 3)] == [None] * 4
    np.testing.assert_array_equal(space.available["normal"][0], [1, 0, 0])
    space.set_columns([0], False)
    change = space.begin_epoch(4)
    assert len(change.added) == 2 * 5 * 2 and change.removed == ()
    np.testing.assert_array_equal(space.available["normal"][0], [0, 1, 1])  # a stage opens only what is new in it
    assert space.begin_epoch(5) is None


def test_a_shrinking_space():
    config = SpaceConfig("mine", "shrink", OPS, ((2, 3), (3, 2)))
    space = SubSpace(config, steps=1, budget=2)
    space.saliency = {"normal": np.array([[1.0, 2, 3], [6, 5, 4]]), "reduce": np.array([[9.0, 8, 7], [1, 2, 3]])}
    assert space.begin_epoch(0) is None and space.begin_epoch(1) is None
    change = space.begin_epoch(2)
    assert change.added == () and len(change.removed) == 6
    np.testing.assert_array_equal(space.available["normal"], [[0, 0, 1], [1, 1, 0]])
    np.testing.assert_array_equal(space.available["reduce"], [[1, 1, 0], [0, 0, 1]])
    assert space.begin_epoch(2) is None, "asked again after a restart"
    assert len(space.begin_epoch(3).removed) == 2, "the safe rule keeps an operation on every edge"
    np.testing.assert_array_equal(space.available["normal"], [[0, 0, 1], [0, 1, 0]])
    official = SubSpace(config, steps=1, budget=2, safe_shrink=False)
    official.saliency = space.saliency
    official.begin_epoch(2)
    np.testing.assert_array_equal(official.available["normal"], [[0, 0, 0], [1, 1, 1]])
    official.update(numbers(1, (2, 3)), numbers(2, (2, 3)))
    official.select()
    assert not official.active["normal"][0].any()


def test_columns_are_opened_and_closed_by_hand():
    space = SubSpace(TINY, steps=1, budget=2)
    assert len(space.set_columns([0, 2], False).removed) == 8
    np.testing.assert_array_equal(space.available["reduce"], [[0, 1, 0]] * 2)
    assert len(space.set_columns([1, 2], True).added) == 4


def test_a_random_sub_space():
    first, second = (SubSpace(get_space_config("space_config_static"), budget=30) for _ in range(2))
    first.select_random(RandomSource(1))
    source = RandomSource(1)
    expected = {kind: select(source.uniform((14, 8)), np.ones((14, 8), bool), 30, 0) for kind in KINDS}
    for kind in KINDS:
        np.testing.assert_array_equal(first.active[kind], expected[kind])
    second.select_random(RandomSource(2))
    assert not np.array_equal(first.active["normal"], second.active["normal"])


def test_the_genotype_follows_saliency_and_availability():
    space = SubSpace(TINY, steps=2, budget=5)
    space.saliency = {kind: np.full((5, 3), 0.1) for kind in KINDS}
    space.saliency["normal"][:, 0] = 9
    space.saliency["normal"][3] = [9, 0.2, 0.8]
    space.saliency["normal"][4] = [9, 0.7, 0.3]
    assert [tuple(e) for e in space.derive(2).normal[2:]] == [("sep_conv_3x3", 1), ("skip_connect", 2)]
    space.available["normal"][3, 2] = False
    found = space.derive(1)
    assert [tuple(e) for e in found.normal[2:]] == [("skip_connect", 2), ("skip_connect", 1)]
    assert found.normal_concat == (3,)


def run(space, epochs, source):
    shape = space.ucb["normal"].shape
    for epoch in epochs:
        space.begin_epoch(epoch)
        for window in range(3):
            tables = [numbers(100 * epoch + 10 * window + k, shape) for k in range(2)]
            space.update(*tables)
            space.select_random(source) if window == 1 else space.select()


@pytest.mark.parametrize("kind", ["simple", "all"])
@pytest.mark.parametrize(
    "config",
    [
        SpaceConfig("a", "shrink", PRIMITIVES, ((1, 4), (3, 9))),
        SpaceConfig("b", "expand", ("sep_conv_3x3", "skip_connect", "none"), ((0, 1), (2, 3))),
        SpaceConfig("c", "static", ("sep_conv_3x3", "skip_connect"), priority=(1.0, 2.0)),
    ],
    ids=lambda c: c.type,
)
def test_a_saved_space_continues_bit_by_bit(config, kind):
    whole = SubSpace(config, 3, 12, saliency_type=kind)
    source = RandomSource(5)
    run(whole, range(2), source)
    saved = json.dumps([whole.state_dict(), source.state_dict()])
    run(whole, range(2, 5), source)

    resumed, source = SubSpace(config, 3, 12, saliency_type=kind), RandomSource(6)
    state, drawn = json.loads(saved)
    resumed.load_state_dict(state)
    source.load_state_dict(drawn)
    assert resumed.begin_epoch(1) is None
    run(resumed, range(2, 5), source)
    assert resumed.state_dict() == whole.state_dict()
    assert resumed.derive(3) == whole.derive(3)
    assert json.loads(saved)[0] != whole.state_dict()


def test_tables_are_replaced_not_changed():
    """A log may keep them."""
    space = SubSpace(SpaceConfig("mine", "expand", OPS, ((0, 1), (1, 3))), steps=1, budget=2)
    run(space, [0], RandomSource())
    names = ("available", "active", "saliency", "windows", "ucb")
    kept = {name: getattr(space, name)["normal"] for name in names}
    copies = {name: table.copy() for name, table in kept.items()}
    run(space, [1], RandomSource())
    space.shrink(1)
    for name in names:
        np.testing.assert_array_equal(kept[name], copies[name])
        assert not np.array_equal(getattr(space, name)["normal"], copies[name]), name


def test_a_state_of_another_size():
    state = SubSpace(TINY, steps=2, budget=5).state_dict()
    space = SubSpace(TINY, steps=1, budget=2)
    with pytest.raises(ConfigError, match=r"available of the normal cell is \(5, 3\), this space is \(2, 3\)"):
        space.load_state_dict(state)
