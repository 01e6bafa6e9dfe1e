"""Parameter names and layouts of the official PyTorch programs, and ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import paddle
from paddle import nn

from paddle_darts.errors import ConfigError

_TO_OURS = {"running_mean": "_mean", "running_var": "_variance"}
_TO_THEIRS = {ours: theirs for theirs, ours in _TO_OURS.items()}


def our_name(official: str) -> str:
    """`cells.0._ops.1.op.3.running_var` -> `cells.0._ops.1.op.3._variance`; a DataParallel prefix is dropped."""
    stem, _, last = official.removeprefix("module.").rpartition(".")
    last = _TO_OURS.get(last, last)
    return f"{stem}.{last}" if stem else last


def official_name(ours: str) -> str:
    """The inverse of :func:`our_name`."""
    stem, _, last = ours.rpartition(".")
    last = _TO_THEIRS.get(last, last)
    return f"{stem}.{last}" if stem else last


def linear_weights(network: nn.Layer) -> set[str]:
    """Names of the weights that PyTorch stores transposed."""
    return {f"{name}.weight" for name, layer in network.named_sublayers() if isinstance(layer, nn.Linear)}


def load_official(network: nn.Layer, state: Mapping[str, np.ndarray], optional: Iterable[str] = ()) -> None:
    """Copies a PyTorch state dict (arrays by official name) into ``network``.

    `num_batches_tracked` is dropped. Names that begin with an entry of ``optional`` (say "auxiliary_head.") may be
    missing or left over; any other difference in names or shapes is a ConfigError that lists them.
    """
    transposed = linear_weights(network)
    own = network.state_dict()
    given = {our_name(k): np.asarray(v) for k, v in state.items() if not k.endswith("num_batches_tracked")}
    given = {k: v.T if k in transposed else v for k, v in given.items()}
    allowed = tuple(optional)
    wrong = [f"missing {k}" for k in own if k not in given and not k.startswith(allowed)]
    wrong += [f"unexpected {k}" for k in given if k not in own and not k.startswith(allowed)]
    wrong += [
        f"{k}: shape {list(given[k].shape)}, expected {list(own[k].shape)}"
        for k in own
        if k in given and list(given[k].shape) != list(own[k].shape)
    ]
    if wrong:
        more = f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise ConfigError("the checkpoint does not fit the network: " + "; ".join(wrong[:8]) + more)
    for name, tensor in own.items():
        if name in given:
            tensor.set_value(paddle.to_tensor(np.ascontiguousarray(given[name]), dtype=tensor.dtype))
