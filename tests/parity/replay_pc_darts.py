"""What is PC-DARTS' own; its network and its steps are replayed with those of DARTS."""

from __future__ import annotations

import re
from typing import Any

import paddle
from golden import Golden, tensor
from paddle import nn
from registry import replays

from paddle_darts.networks.partial import channel_shuffle
from paddle_darts.nn.layers import MOMENTUM


@replays("channel_shuffle", "pc_darts")
def replay_channel_shuffle(golden: Golden) -> None:
    x = tensor(golden.input("input"))
    for case in golden.args["cases"]:
        golden.check(case["output"], channel_shuffle(x, case["groups"]))


def evaluate_edges_again(network: nn.Layer, times: int) -> None:
    """Lets the running statistics inside mixed ops move ``times`` times in every training pass.

    The official ImageNet network evaluates each edge twice on the same batch. We do it once: statistics r then become
    m*r + (1-m)*b for those of the batch b, which with the r before tells b; the official ones become
    m^times*r + (1-m^times)*b. Nothing else differs, for a pass in training mode does not read them.
    """
    once = network.forward
    statistics = {
        name: value
        for name, value in network.state_dict().items()
        if re.fullmatch(r"cells\.\d+\._ops\..*\.(_mean|_variance)", name)
    }
    assert statistics
    kept = MOMENTUM**times

    def repeated(*args: Any, track_stats: bool = True, **options: Any) -> Any:
        before = {name: value.clone() for name, value in statistics.items()}
        result = once(*args, track_stats=track_stats, **options)
        if network.training and track_stats:
            with paddle.no_grad():
                for name, value in statistics.items():
                    batch = (value - MOMENTUM * before[name]) / (1 - MOMENTUM)
                    value.set_value(kept * before[name] + (1 - kept) * batch)
        return result

    network.forward = repeated
