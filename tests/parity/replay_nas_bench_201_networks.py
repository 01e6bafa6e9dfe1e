"""The networks of NAS-Bench-201 and NATS-Bench that are trained: features, logits, loss, gradients, sizes."""

from __future__ import annotations

from checking import check_gradients, check_state
from golden import Golden, precision, tensor
from paddle import nn
from reading import check_batch_norm
from recipe_v1 import recipe_state
from registry import replays

from paddle_darts.analysis.complexity import complexity
from paddle_darts.genotypes.nas_bench_201 import EDGES, OPS
from paddle_darts.networks import build_network
from paddle_darts.networks.official import load_official
from paddle_darts.nn.layers import trainable
from paddle_darts.nn.losses import cross_entropy


@replays("infer_", "nas_bench_201")
@replays("size_space_net", "nas_bench_201")
def replay_inference(golden: Golden) -> None:
    """Each mode begins with the recorded weights, as the official run did."""
    a = golden.args
    assert a["affine"] and a["track_running_stats"] and a["refill_between_modes"]
    assert a["primitives"] == list(OPS) and a["edges"] == [f"{target}<-{source}" for target, source in EDGES]
    assert set(a["modes"]) <= {"train", "eval"}
    check_batch_norm(a)
    with precision("float64"):
        check_counts(golden, build(golden))
        for mode in a["modes"]:
            replay_mode(golden, mode)


def build(golden: Golden) -> nn.Layer:
    """The network of the recording, weights included."""
    a = golden.args
    size = {"channels": a["channels"]} if a.get("channels") else {"init_channels": a["C"], "layers": 3 * a["N"] + 2}
    assert len(a.get("channels") or [0] * (3 * a["N"] + 2)) == 3 * a["N"] + 2
    network = build_network(golden.meta["arch"], a["num_classes"], in_channels=a["input_shape"][1], **size)
    load_official(network, recipe_state(golden.meta) if a.get("recipe") else golden.group("param"))
    return network


def check_counts(golden: Golden, network: nn.Layer) -> None:
    """Parameters in millions and multiply-adds in millions; the official counter adds the biases of the classifier."""
    counted = complexity(network, golden.args["input_shape"][1:])
    meta, macs = golden.meta, counted.macs + golden.args["num_classes"]
    found = {"n_params": counted.params, "params_MB": counted.params / 1e6, "flops_M": macs / 1e6}
    recorded = {name: meta[name] for name in found if name in meta}
    assert recorded and recorded == {name: round(found[name], 6) for name in recorded}


def replay_mode(golden: Golden, mode: str) -> None:
    network = build(golden)
    network.train() if mode == "train" else network.eval()
    images = tensor(golden.input("input"))
    if f"{mode}/feature" in golden:
        # by a network of its own, for in training the running statistics move
        other = build(golden)
        other.train() if mode == "train" else other.eval()
        golden.check(f"{mode}/feature", other.features(images))
    logits, auxiliary = network(images)
    assert auxiliary is None
    golden.check(f"{mode}/logits", logits)
    if "target" in golden and (mode == "train" or f"{mode}/loss" in golden):
        a = golden.args
        assert a["criterion"] == "cross_entropy"
        loss = cross_entropy(logits, tensor(golden.input("target")), a["label_smooth"])
        golden.check(f"{mode}/loss", loss)
        if mode == "train":
            check_gradients(golden, loss, trainable(network))
    if mode == "train":
        check_state(golden, "after", network)
