"""Evaluation networks: logits, losses, gradients, running statistics."""

from __future__ import annotations

from checking import check_cells, check_gradients, check_state, record_cells
from golden import Golden, precision, tensor
from paddle import nn
from reading import check_batch_norm, read_batch, read_genotype
from recorded import RecordedMasks
from registry import FAMILIES, replays

from paddle_darts.analysis.complexity import count_parameters
from paddle_darts.genotypes import NetworkOptions
from paddle_darts.networks import build_network
from paddle_darts.networks.official import load_official
from paddle_darts.nn.layers import trainable
from paddle_darts.nn.losses import cross_entropy


def build_evaluation(golden: Golden) -> nn.Layer:
    a = golden.args
    check_batch_norm(a)
    assert a["affine"] and not a.get("pool_bn_affine", False)
    assert a["criterion"] == "cross_entropy"
    traits = NetworkOptions(aux_bn=a["aux_bn"], reductions=a["reductions"], pool_bn=a["pool_bn"])
    arch = read_genotype(golden.meta["genotype_json"], traits)
    options = {"stem_multiplier": a["stem_multiplier"]} if a["stem"] == "cifar" else {}
    network = build_network(
        arch,
        a["num_classes"],
        a["C"],
        a["layers"],
        a["auxiliary"],
        stem=a["stem"],
        drop_path_prob=a["drop_path_prob"],
        in_channels=a["input_shape"][1],
        **options,
    )
    load_official(network, golden.group("param"))
    return network


@replays("eval_cifar_", *FAMILIES)
@replays("eval_imagenet_", *FAMILIES)
def replay_evaluation(golden: Golden) -> None:
    a = golden.args
    with precision("float32"):
        network = build_evaluation(golden)
        network.eval()
        golden.check("eval/logits_f32", network(tensor(golden.input("input")))[0])
    with precision("float64"):
        network = build_evaluation(golden)
        images, labels = read_batch(golden)
        network.eval()
        logits, logits_aux = network(images)
        assert logits_aux is None
        golden.check("eval/logits", logits)
        golden.check("eval/loss", cross_entropy(logits, labels))  # validation is never smoothed
        network.train()
        if "drop_masks" in golden:
            network.random = RecordedMasks(golden.input("drop_masks"))
        cells = record_cells(network)
        logits, logits_aux = network(images)
        loss = cross_entropy(logits, labels, a["label_smooth"])
        if a["auxiliary"]:
            golden.check("train/logits_aux", logits_aux)
            loss = loss + a["auxiliary_weight"] * cross_entropy(logits_aux, labels, a["label_smooth"])
        if "drop_masks" in golden:
            assert network.random.exhausted()
        golden.check("train/logits", logits)
        golden.check("train/loss", loss)
        check_cells(golden, cells)
        check_gradients(golden, loss, trainable(network))
        check_state(golden, "after", network)
        assert golden.meta["n_params"] == count_parameters(network, auxiliary=True)
        assert golden.meta["n_params_no_aux"] == count_parameters(network)
