"""What every registered method must keep: its contract to the engine, and exact continuation."""

import json
import math
from dataclasses import fields

import numpy as np
import paddle
import pytest
from method_runs import EPOCHS, SPEC_201, assert_equal_tensors, batch, build, search

from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import GENOTYPES, parse_genotype
from paddle_darts.io import rng
from paddle_darts.io.tensors import load_tensors, save_tensors
from paddle_darts.methods import GRADIENT_BASED, METHODS, MethodOptions, get_method, list_methods
from paddle_darts.methods.sampled import SampledMethod
from paddle_darts.networks import SupernetSpec, build_network

#: Candidates of sample-based methods are whole cells, with the four nodes of the space.
SPEC_4 = SupernetSpec(init_channels=2, layers=3, num_classes=3)
#: Settings that make the schedule of a method fit into EPOCHS, and with which it takes other paths through its code.
STAGED = {"add_layers": [0, 1], "add_width": [0, 0], "dropout_rate": [0.2, 0.4], "num_to_drop": [3]}
VARIANTS = {
    "darts": ({}, {"unrolled": True}),
    "pc_darts": (
        {"arch_start_epoch": 0},
        {"arch_start_epoch": 1, "unrolled": True, "channel_sampling": "shift"},
        {"arch_start_epoch": 0, "channel_sampling": "random"},
    ),
    "p_darts": (
        {"arch_start_epoch": 0, **STAGED},
        {"arch_start_epoch": 1, "derive": "with_none", **STAGED, "dropout_rate": [0.0, 0.4]},
    ),
    "fair_darts": (
        {"op_threshold": 0.4},
        {"op_threshold": 0.4, "single_level": True, "sep_loss": "l1", "parse_method": "threshold_edge"},
        {"parse_method": "darts", "aux_loss_weight": 0.0},
    ),
    "sgas": (
        {"warmup_dec_epoch": 0, "decision_freq": 1},
        {"warmup_dec_epoch": 0, "decision_freq": 1, "use_history": True, "unrolled": True, "stale_gradients": True},
    ),
    "dr_nas": (
        {"arch_start_epoch": 0, "ks": [4, 2]},
        {"arch_start_epoch": 1, "ks": [2, 2], "keeps": [5, 3], "reg_type": "kl", "stage_lr": "official"},
    ),
    "ddsas": (
        {"dss_max_ops": 7, "dss_freq": 2},
        {"dss_max_ops": 7, "dss_freq": 1, "space_config": "space_config_expand", "stage_epochs": [0, 1, 2, 3, 4, 5]},
        {"dss_max_ops": 5, "dss_freq": 1, "space_config": "space_config_shrink", "stage_epochs": [1, 2, 3, 4, 5]},
        {"dss_max_ops": 7, "dss_freq": 1, "gumbel": True, "rdss_prob": 0.5, "arch_start_epoch": 1},
    ),
    "gdas": ({},),
    "random_search": ({"spec": SPEC_4},),
    "regularized_evolution": ({"spec": SPEC_4, "population_size": 2, "sample_size": 2},),
    "simulated_annealing": ({"spec": SPEC_4},),
}
#: The same in the space of NAS-Bench-201.
VARIANTS_201 = {
    "darts": ({}, {"unrolled": True, "nesterov": True}),
    "pc_darts": ({"arch_start_epoch": 0, "unrolled": True}, {"arch_start_epoch": 1, "channel_sampling": "random"}),
    "p_darts": (
        {
            "arch_start_epoch": 0,
            "add_layers": [0, 3],
            "add_width": [0, 0],
            "dropout_rate": [0.2, 0.4],
            "num_to_drop": [2],
        },
    ),
    "fair_darts": ({"op_threshold": 0.4}, {"single_level": True, "parse_method": "darts"}),
    "sgas": ({"warmup_dec_epoch": 0, "decision_freq": 1, "use_history": True, "epochs": 6},),
    "dr_nas": (
        {"arch_start_epoch": 0, "ks": [1], "keeps": [5], "clip_with_arch": True},
        {"arch_start_epoch": 0, "ks": [4, 2], "keeps": [5, 3], "reg_type": "kl"},
    ),
    "ddsas": (
        {"dss_max_ops": 7, "dss_freq": 1, "gumbel": True, "rdss_prob": 0.5},
        {"dss_max_ops": 7, "dss_freq": 1, "space_config": "space_config_shrink", "stage_epochs": [1, 2, 3, 4, 5]},
    ),
}
CASES = [(name, options) for name in METHODS for options in VARIANTS.get(name, ({},))]
CASES += [(name, {"spec": SPEC_201, **o}) for name in METHODS for o in VARIANTS_201.get(name, ({},))]


def case_name(value):
    if isinstance(value, str):
        return value
    names = [name for name in value if name != "spec"]
    return ("201: " if value.get("spec") is SPEC_201 else "") + (",".join(names) or "default")


def test_registry():
    assert list_methods() == sorted(METHODS) and "darts" in METHODS
    for name, method in METHODS.items():
        assert method.name == name and get_method(name) is method
        assert issubclass(method.options_class, MethodOptions)
    with pytest.raises(ConfigError, match="unknown method 'dart'; did you mean 'darts'"):
        get_method("dart")


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_is_documented(name):
    """By the class that declares it, or one that it inherits from, as the help of the command line collects them."""
    options = METHODS[name].options_class
    for field in fields(options):
        assert any(f"        {field.name}: " in (cls.__doc__ or "") for cls in options.__mro__), field.name


@pytest.mark.parametrize("name, options", CASES, ids=case_name)
def test_what_the_engine_asks_for(name, options):
    method = build(name, **options)
    ops = len(method.supernet.spec.primitives)
    search(method, [0], 1)
    result = method.step(batch(1), batch(2))
    assert isinstance(result.loss, float) and math.isfinite(result.loss)
    assert result.logits.shape == [6, 3]
    assert result.arch_loss is None or math.isfinite(result.arch_loss)
    assert 0 < method.lr <= method.options.learning_rate

    method.supernet.eval()
    with paddle.no_grad():
        mix = method.mixture()
        assert method.supernet(batch(3).images, mix)[0].shape == [6, 3]
    spec = method.supernet.spec
    edges = spec.num_edges
    assert len(mix) == (0 if isinstance(method, SampledMethod) else len(spec.kinds))
    assert all(m.ops.shape == [edges, ops] for m in mix)

    probabilities = method.probabilities()
    assert set(probabilities) == set(GENOTYPES[spec.space].kinds) == set(spec.kinds)
    for table in probabilities.values():
        assert table.shape == (edges, ops) and table.dtype == np.float32
        assert (table >= 0).all() and (table <= 1).all()
    found = method.derive()
    assert isinstance(found, GENOTYPES[spec.space]) and found.space == spec.space
    assert max(link.target for link in found.links(found.kinds[0])) == spec.steps + found.inputs - 1
    assert not found.contains_none or spec.every_edge or options.get("derive") == "with_none"
    assert parse_genotype(str(found)) == found
    assert build_network(found, 3, 2, 5)(batch(1).images)[0].shape == [6, 3]


@pytest.mark.parametrize("name, options", CASES, ids=case_name)
def test_a_step_moves_weights_and_architecture(name, options):
    method = build(name, **options)
    before = {k: {n: t.numpy().copy() for n, t in v.items()} for k, v in method.tensors().items()}
    search(method, [0, 1])
    for group in ("weights", "arch"):
        after = method.tensors()[group]
        assert any(not np.array_equal(before[group][n], t.numpy()) for n, t in after.items()), group


@pytest.mark.parametrize("name, options", CASES, ids=case_name)
def test_a_saved_search_continues_bit_by_bit(name, options, tmp_path):
    original = build(name, **options)
    search(original, [0, 1])
    for group, tensors in original.tensors().items():
        save_tensors(tmp_path / f"{group}.safetensors", tensors)
    state, drawn = json.dumps(original.state()), rng.capture()
    search(original, [2, 3])

    # another object, other initial numbers, and other names inside Paddle
    resumed = build(name, seed=7, **options)
    assert {p.name for p in original.supernet.parameters()}.isdisjoint(p.name for p in resumed.supernet.parameters())
    resumed.load_state(json.loads(state))
    resumed.load_tensors({path.stem: load_tensors(path) for path in tmp_path.iterdir()})
    rng.restore(drawn)  # initial weights of later stages come from Paddle's generator
    search(resumed, [2, 3])

    assert_equal_tensors(original, resumed)
    assert original.state() == resumed.state()
    assert original.derive() == resumed.derive()
    for kind, table in original.probabilities().items():
        np.testing.assert_array_equal(table, resumed.probabilities()[kind])


@pytest.mark.parametrize("name, options", CASES, ids=case_name)
def test_saving_between_two_steps_changes_nothing(name, options):
    methods = [build(name, **options) for _ in range(2)]
    for method in methods:
        search(method, [0])
    first, second = methods
    second.load_state(second.state())
    second.load_tensors(second.tensors())
    for method in methods:
        search(method, [1])
    assert_equal_tensors(first, second)


@pytest.mark.parametrize("name, options", CASES, ids=case_name)
def test_the_seed_decides_everything(name, options):
    one, same, other = build(name, **options), build(name, **options), build(name, seed=1, **options)
    for method in (one, same, other):
        search(method, [0, 1])
    assert_equal_tensors(one, same)
    assert any(not np.array_equal(table, other.probabilities()[kind]) for kind, table in one.probabilities().items())


@pytest.mark.parametrize("name", [method.name for method in GRADIENT_BASED])
def test_an_architecture_that_never_learns_is_told(name, caplog):
    options = {**VARIANTS[name][0], "arch_start_epoch": EPOCHS}
    build(name, **options)
    assert "the genotype will be random" in caplog.text
    caplog.clear()
    build(name, **{**options, "arch_start_epoch": 0})
    assert not caplog.records
