"""Loading official state dicts: names, layouts, and what is refused."""

import numpy as np
import paddle
import pytest
from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.networks import Supernet, SupernetSpec, build_network
from paddle_darts.networks.official import load_official, official_name, our_name


def build(auxiliary=True):
    return build_network("PDARTS", 3, 4, 3, auxiliary)


def official_state(network, seed=0):
    """What torch.save would have held for this network: its names, its layouts, its counters."""
    rng = np.random.default_rng(seed)
    state = {}
    linear = {n for n, layer in network.named_sublayers() if isinstance(layer, nn.Linear)}
    for name, tensor in network.state_dict().items():
        shape = tensor.shape
        if name.rpartition(".")[0] in linear and name.endswith(".weight"):
            shape = shape[::-1]
        state[official_name(name)] = rng.uniform(0.5, 1.5, shape).astype("float32")
        if name.endswith("._mean"):
            state[name.replace("._mean", ".num_batches_tracked")] = np.array(7)
    return state


def test_everything_arrives_where_it_belongs():
    network = build()
    state = official_state(network)
    load_official(network, state)
    own = network.state_dict()
    np.testing.assert_array_equal(own["classifier.weight"].numpy(), state["classifier.weight"].T)
    np.testing.assert_array_equal(
        own["auxiliary_head.classifier.bias"].numpy(), state["auxiliary_head.classifier.bias"]
    )
    np.testing.assert_array_equal(own["stem.1._variance"].numpy(), state["stem.1.running_var"])
    for name, tensor in own.items():
        expected = state[official_name(name)]
        np.testing.assert_array_equal(tensor.numpy(), expected.T if "classifier.weight" in name else expected)


def test_a_square_classifier_is_transposed_too():
    network = nn.Sequential(nn.Linear(3, 3))
    weight = np.arange(9, dtype="float32").reshape(3, 3)
    load_official(network, {"0.weight": weight, "0.bias": np.zeros(3, "float32")})
    np.testing.assert_array_equal(network[0].weight.numpy(), weight.T)


def test_prefix_of_data_parallel_is_dropped():
    network = build()
    state = {f"module.{k}": v for k, v in official_state(network).items()}
    load_official(network, state)
    np.testing.assert_array_equal(network.state_dict()["stem.0.weight"].numpy(), state["module.stem.0.weight"])


def test_precision_of_the_network_is_kept():
    network = build()
    load_official(network, {k: v.astype("float64") for k, v in official_state(network).items()})
    assert {t.dtype for t in network.state_dict().values()} == {paddle.float32}


@pytest.mark.parametrize("trained_with", [True, False])
def test_auxiliary_head_is_optional_on_request_only(trained_with):
    network, state = build(not trained_with), official_state(build(trained_with))
    word = "unexpected" if trained_with else "missing"
    with pytest.raises(ConfigError, match=f"does not fit the network: {word} auxiliary_head"):
        load_official(network, state)
    load_official(network, state, optional=["auxiliary_head."])
    np.testing.assert_array_equal(network.state_dict()["stem.0.weight"].numpy(), state["stem.0.weight"])


def test_missing_unexpected_and_misshapen_are_all_named():
    network = build()
    state = official_state(network)
    del state["cells.0.preprocess0.op.1.weight"]
    state["cells.9.extra.weight"] = np.zeros(3)
    state["classifier.bias"] = np.zeros(10, "float32")
    before = {k: t.numpy().copy() for k, t in network.state_dict().items()}
    with pytest.raises(ConfigError) as caught:
        load_official(network, state, optional=["auxiliary_head."])
    text = str(caught.value)
    assert "missing cells.0.preprocess0.op.1.weight" in text
    assert "unexpected cells.9.extra.weight" in text
    assert "classifier.bias: shape [10], expected [3]" in text
    for key, tensor in network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[key])


def test_a_wrong_shape_is_not_excused_as_optional():
    network = build()
    state = official_state(network)
    state["auxiliary_head.classifier.bias"] = np.zeros(10, "float32")
    with pytest.raises(ConfigError, match=r"auxiliary_head.classifier.bias: shape \[10\], expected \[3\]"):
        load_official(network, state, optional=["auxiliary_head."])


def test_a_long_list_is_cut():
    with pytest.raises(ConfigError, match=r"and \d+ more"):
        load_official(build(), {})


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("stem.1.running_mean", "stem.1._mean"),
        ("cells.0._ops.1.op.3.running_var", "cells.0._ops.1.op.3._variance"),
        ("classifier.weight", "classifier.weight"),
        ("weight", "weight"),
        ("running_var", "_variance"),
    ],
)
def test_names_both_ways(theirs, ours):
    assert our_name(theirs) == our_name(f"module.{theirs}") == ours
    assert official_name(ours) == theirs


@pytest.mark.parametrize(
    "network, names",
    [
        (
            lambda: build_network("NASNet", 3, 4, 3, auxiliary=True),
            {
                "stem.0.weight",
                "stem.1.running_var",
                "cells.0.preprocess0.op.1.weight",
                "cells.0.preprocess1.op.2.running_mean",
                "cells.2.preprocess0.conv_1.weight",
                "cells.2.preprocess0.bn.weight",
                "cells.0._ops.0.op.7.bias",
                "auxiliary_head.features.2.weight",
                "auxiliary_head.features.6.running_mean",
                "auxiliary_head.classifier.bias",
                "classifier.weight",
            },
        ),
        (
            lambda: build_network("AmoebaNet", 3, 4, 3, stem="imagenet"),
            {"stem0.3.weight", "stem0.4.bias", "stem1.1.weight", "cells.1._ops.8.1.weight", "cells.1._ops.8.3.weight"},
        ),
        (
            lambda: Supernet(SupernetSpec(init_channels=2, layers=3)),
            {
                "stem.1.weight",
                "cells.0._ops.13._ops.5.op.7.running_mean",
                "cells.0._ops.0._ops.1.1.running_mean",
                "cells.1._ops.0._ops.3.conv_2.weight",
                "cells.2._ops.4._ops.7.op.2.weight",
                "classifier.bias",
            },
        ),
    ],
    ids=["cifar", "imagenet", "supernet"],
)
def test_names_are_the_official_ones(network, names):
    assert names <= {official_name(n) for n in network().state_dict()}
