"""Evaluation networks that were recorded with few arrays: logits, losses and gradients of one step or none."""

from __future__ import annotations

import numpy as np
import paddle
from checking import check_gradients, check_state
from golden import Golden, precision, tensor
from paddle import nn
from recorded import RecordedMasks
from registry import replays
from replay_networks import build_evaluation

from paddle_darts.analysis.complexity import count_parameters
from paddle_darts.nn.layers import trainable
from paddle_darts.nn.losses import cross_entropy
from paddle_darts.spaces.darts import cell_kinds


@replays("eval_", "fair_darts", "ddsas", "sgas", "dr_nas")
def replay_plain_evaluation(golden: Golden) -> None:
    """The evaluation mode comes first, as training moves running statistics."""
    with precision("float64"):
        network = build_evaluation(golden)
        check_sizes(golden, network)
        replay_mode(golden, network, training=False)
        replay_mode(golden, network, training=True)


def recorded(golden: Golden, training: bool) -> dict[str, str]:
    """The arrays of one mode, by what they are.

    The mode stands in their names, or all of them were made in the mode that meta names, else in training.
    """
    suffix = "_train" if training else "_eval"
    plain = (golden.args.get("mode") == "eval") != training
    names = ("logits", "logits_aux", "loss", "grad", "after")
    keys = {name: name + suffix for name in names if name + suffix in golden}
    for name in names if plain else ():
        if name in golden or golden.keys(name):
            keys.setdefault(name, name)
    return keys


def replay_mode(golden: Golden, network: nn.Layer, training: bool) -> None:
    keys = recorded(golden, training)
    if not keys:
        return
    network.train() if training else network.eval()
    masks = training and "drop_masks" in golden
    if masks:
        network.random = RecordedMasks(golden.input("drop_masks"))
    logits, logits_aux = network(tensor(golden.input("input")))
    assert not masks or network.random.exhausted()
    golden.check(keys["logits"], logits)
    if "logits_aux" in keys:
        golden.check(keys["logits_aux"], logits_aux)
    loss = criterion(golden, logits, logits_aux)
    if "loss" in keys:
        golden.check(keys["loss"], loss)
    if "grad" in keys:
        without = check_gradients(golden, loss, trainable(network), keys["grad"])
        assert "params_without_grad" in golden.meta or not without
    if "after" in keys:
        check_state(golden, keys["after"], network)


def criterion(golden: Golden, logits: paddle.Tensor, logits_aux: paddle.Tensor | None) -> paddle.Tensor | None:
    """The loss, where there are labels."""
    if "target" not in golden:
        return None
    labels, a = tensor(golden.input("target")), golden.args
    loss = cross_entropy(logits, labels, a["label_smooth"])
    if logits_aux is None:
        return loss
    return loss + a["auxiliary_weight"] * cross_entropy(logits_aux, labels, a["label_smooth"])


def check_sizes(golden: Golden, network: nn.Layer) -> None:
    """Widths of the cells and numbers of parameters, as far as they were recorded."""
    a, meta = golden.args, golden.meta
    widths = [cell.out_channels for cell in network.cells]
    reduced = [kind == "reduce" for kind in cell_kinds(a["layers"], a["reductions"])]
    channels = [a["C"] * 2 ** sum(reduced[: i + 1]) for i in range(a["layers"])]
    of_kind = {False: a["multiplier"], True: a.get("multiplier_reduce") or a["multiplier"]}
    multipliers = a.get("cell_multipliers") or [of_kind[reduction] for reduction in reduced]
    assert widths == np.multiply(channels, multipliers).tolist()
    everything, without_head = count_parameters(network, auxiliary=True), count_parameters(network)
    for key, count in (("n_params_total", everything), ("n_params_no_aux", without_head)):
        assert meta.get(key, count) == count, key
    assert meta.get("n_params", everything) in (everything, without_head)
