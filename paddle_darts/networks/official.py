"""Parameter names and layouts of the official PyTorch programs, and ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import paddle
from paddle import nn

from paddle_darts.errors import ConfigError
from paddle_darts.networks.spec import SupernetSpec, Switches

_TO_OURS = {"running_mean": "_mean", "running_var": "_variance"}
_TO_THEIRS = {ours: theirs for theirs, ours in _TO_OURS.items()}
_CANDIDATE = re.compile(r"(cells\.(\d+))\._ops\.(\d+)\._ops\.(\d+)\.(.+)")


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


def p_darts_names(names: Iterable[str], spec: SupernetSpec) -> dict[str, str]:
    """The names of P-DARTS for ``names`` of ours in the supernet of ``spec``.

    Its candidates are counted among those that are switched on: where only columns 0, 3 and 6 of edge 1 are,
    `cells.0._ops.1._ops.6.op.3._mean` is `cells.0.cell_ops.1.m_ops.2.op.3.running_mean`. ConfigError for a candidate
    that is off.
    """
    tables = [spec.switched_on(kind) for kind in spec.kinds]
    return {name: _p_darts_name(name, tables) for name in names}


def _p_darts_name(name: str, tables: Sequence[Switches]) -> str:
    found = _CANDIDATE.fullmatch(name)
    if found is None:
        return official_name(name)
    cell, edge, column = (int(found[i]) for i in (2, 3, 4))
    on = tables[cell][edge]
    if not on[column]:
        raise ConfigError(f"{name}: this candidate is switched off")
    return official_name(f"{found[1]}.cell_ops.{edge}.m_ops.{sum(on[:column])}.{found[5]}")


def linear_weights(network: nn.Layer) -> set[str]:
    """Names of the weights that PyTorch stores transposed."""
    return {f"{name}.weight" for name, layer in network.named_sublayers() if isinstance(layer, nn.Linear)}


def load_official(
    network: nn.Layer,
    state: Mapping[str, np.ndarray],
    optional: Iterable[str] = (),
    names: Mapping[str, str] | None = None,
) -> None:
    """Copies a PyTorch state dict (arrays by official name) into ``network``.

    ``names`` are the official names of all parameters by ours, where a program spells them differently from DARTS.
    `num_batches_tracked` is dropped. Names that begin with an entry of ``optional`` (say "auxiliary_head.") may be
    missing or left over; any other difference in names or shapes is a ConfigError that lists them.
    """
    transposed = linear_weights(network)
    own = network.state_dict()
    ours = {our_name(theirs): name for name, theirs in (names or {}).items()}
    given = {our_name(k): np.asarray(v) for k, v in state.items() if not k.endswith("num_batches_tracked")}
    given = {ours.get(k, k): v for k, v in given.items()}
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
