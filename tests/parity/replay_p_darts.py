"""The supernet of a stage of P-DARTS: the candidates that are left, dropout after skip connections."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from checking import check_arrays, check_gradients
from golden import Golden, precision, tensor
from reading import KINDS
from registry import replays
from search_loops import check_modes, search_spec

from paddle_darts.methods.p_darts import PDarts, PDartsOptions
from paddle_darts.networks.official import load_official, p_darts_names
from paddle_darts.nn.drop import RandomSource


class RecordedDropout(RandomSource):
    """Hands out the dropout masks of an official run in order."""

    def __init__(self, golden: Golden) -> None:
        super().__init__()
        self.drop_prob = golden.args["p_current"]
        shapes = golden.group("dropout_shape")
        self.masks = [
            np.unpackbits(bits, count=shapes[key].prod()).reshape(shapes[key])
            for key, bits in sorted(golden.group("dropout_mask").items())
        ]
        assert len(self.masks) == golden.args["n_dropout_calls"] == len(shapes)

    def keep_mask(self, keep_prob: float, shape: tuple[int, ...]) -> np.ndarray:
        assert keep_prob == 1 - self.drop_prob
        mask = self.masks.pop(0)
        assert mask.shape == tuple(shape)
        return mask.astype("float64")


def build_stage(golden: Golden) -> PDarts:
    """A search that stands in a stage with the recorded switches, under the recorded weights."""
    a = golden.args
    stage = a.get("stage") or 0
    rates = [0.0] * stage + [a["p_at_construction"]]
    none_more = [0] * (stage + 1)
    options = PDartsOptions(add_layers=none_more, add_width=none_more, dropout_rate=rates, num_to_drop=[0] * stage)
    method = PDarts(search_spec(golden), options, epochs=len(rates), source=RandomSource())
    switches = {kind: golden.input(f"switches_{kind}").astype(bool) for kind in KINDS}
    assert all((table.sum(axis=1) == a["n_ops_on"]).all() for table in switches.values())
    method.load_state({**method.state(), "stage": stage, "switches": {k: t.tolist() for k, t in switches.items()}})
    load_weights(golden, method)
    assert a["dropout_module_exists"] == method.spec.skip_dropout == (a["p_at_construction"] > 0)
    method.supernet.skip_dropout_prob = a["p_current"] if a["dropout_module_exists"] else 0.0
    return method


def load_weights(golden: Golden, method: PDarts) -> None:
    """Alphas are parameters of the official network."""
    names, recorded = p_darts_names(method.supernet.state_dict(), method.spec), golden.group("param")
    for name, alpha in method.arch.items():
        alpha.set_value(tensor(golden.input(f"arch/{name}")))
        if name in recorded:
            assert np.allclose(recorded.pop(name), golden.input(f"arch/{name}"), rtol=1e-6, atol=0)
    load_official(method.supernet, recorded, names=names)
    weights, alphas = (sum(w.size for w in table.values()) for table in (method.weights, method.arch))
    assert golden.meta["n_params"] == weights + alphas
    assert golden.meta["n_params_without_alphas"] == weights


def by_official_name(method: PDarts, tensors: dict[str, paddle.Tensor]) -> dict[str, Any]:
    names = p_darts_names(tensors, method.spec)
    return {names[name]: value for name, value in tensors.items()}


@replays("supernet_stage", "p_darts")
def replay_stage(golden: Golden) -> None:
    assert golden.args["dropout_scaling"] == "output = input*mask/(1-p)"
    with precision("float64"):
        method = build_stage(golden)
        source = method.supernet.random = RecordedDropout(golden)
        loss = check_modes(golden, method)
        check_all_drawn(method, source)
        check_gradients(golden, loss, by_official_name(method, method.weights), ours=str)
        check_arrays(golden, "after", by_official_name(method, method.supernet.state_dict()), ours=str)


def check_all_drawn(method: PDarts, source: RecordedDropout) -> None:
    """Without dropout in force nothing is drawn; the official masks then keep everything."""
    assert not source.masks or (method.supernet.skip_dropout_prob == 0.0 and all(m.all() for m in source.masks))
