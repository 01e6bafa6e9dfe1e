"""DDSAS: supernets whose operations are partly switched off, and its loop over a moving sub-space."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np
import paddle
from checking import Trace, check_gradients, check_state, norm
from golden import Golden, precision, tensor
from reading import ALPHAS, BETAS, KINDS, check_criterion, read_batch, read_batches, read_optimizers, read_spec
from recorded import RecordedDraws
from registry import replays
from replay_ddsas_space import read_config

from paddle_darts.methods import ddsas, gradient
from paddle_darts.methods.ddsas import Ddsas, DdsasOptions
from paddle_darts.methods.parts.subspace import SPACE_CONFIGS, mixing_weights
from paddle_darts.networks.official import load_official
from paddle_darts.nn import optimizers
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.losses import cross_entropy

ARCH = ALPHAS + BETAS


def recorded_scores(masks: list[np.ndarray], none: int | None) -> RecordedDraws:
    """Numbers by which the recorded operations [edges, ops] of both cell kinds are chosen."""
    # `none` is free, and only chosen when it is met before the last of those that count
    return RecordedDraws(uniform=[mask * np.where(np.arange(mask.shape[1]) == none, 2.0, 1.0) for mask in masks])


def build_ddsas(golden: Golden, prefix: str = "", **settings: Any) -> Ddsas:
    """The recorded network; ``prefix`` precedes the keys of its architecture parameters."""
    a = golden.args
    assert a["arch_names"] == ARCH and a["norm_eps"] == 1e-14
    check_criterion(a)
    options = DdsasOptions(
        dss_max_ops=a["dss_max_ops"],
        confidence=a["confidence"],
        saliency_type=a["saliency_type"],
        no_norm=not a["norm"],
        gumbel=a["tau"] is not None,
        tau_max=a["tau"] or 1.0,
        tau_min=a["tau"] or 1.0,
        safe_shrink=False,
        **settings,
    )
    method = Ddsas(read_spec(a), options, epochs=2, source=RandomSource())
    for name in ARCH:
        method.arch[name].set_value(tensor(golden.input(prefix + name)))
    load_official(method.supernet, golden.group("param"))
    method.supernet.train()
    return method


@replays("supernet_", "ddsas")
def replay_ddsas_supernet(golden: Golden) -> None:
    """Evaluation comes first, as training moves running statistics."""
    with precision("float64"):
        method = build_ddsas(golden)
        method.space.active = {kind: golden.input(f"mask_{kind}").astype(bool) for kind in KINDS}
        check_mixing_weights(golden, method)
        check_size(golden, method)
        images, labels = read_batch(golden)
        if "logits_eval" in golden:
            method.supernet.eval()
            golden.check("logits_eval", ddsas_logits(golden, method, images))
            method.supernet.train()
        images.stop_gradient = False
        logits = ddsas_logits(golden, method, images)
        loss = cross_entropy(logits, labels)
        golden.check("logits", logits)
        golden.check("loss", loss)
        to_images = paddle.grad(loss, [images], retain_graph=True)[0]
        golden.check("grad_input", to_images[: golden.args["grad_input_samples"]])
        check_gradients(golden, loss, {**method.weights, **method.arch})
        check_state(golden, "after", method.supernet)


def ddsas_logits(golden: Golden, method: Ddsas, images: paddle.Tensor) -> paddle.Tensor:
    """Of one pass, with the recorded noise where there is any."""
    if "gumbel_exponential" in golden:
        assert golden.args["gumbel"] == "g = -log(gumbel_exponential), one draw [edges, ops] per cell in cell order"
        golden.input("gumbel_note")  # the same in words
        method.source = RecordedDraws(exponential=golden.input("gumbel_exponential"))  # one table per cell
    logits, _ = method.supernet(images, method.mixture())
    assert not isinstance(method.source, RecordedDraws) or method.source.exhausted()
    return logits


def check_mixing_weights(golden: Golden, method: Ddsas) -> None:
    """The weights of a pass, and those that saliencies are made of; not recorded where noise enters."""
    o = method.options
    assert o.gumbel or all(f"mix_weights_{kind}" in golden for kind in KINDS)
    for kind in () if o.gumbel else KINDS:
        golden.check(f"mix_weights_{kind}", method.cell_mix(kind).ops)
        given = method.alphas[kind], method.betas[kind], method.space.active[kind], o.saliency_type
        golden.check(f"mix_weights_unnormed_{kind}", mixing_weights(*given, norm=False))


def check_size(golden: Golden, method: Ddsas) -> None:
    """The official ImageNet network counts alphas and betas with its parameters, or keeps them apart."""
    weights, arch = (sum(int(p.size) for p in group.values()) for group in (method.weights, method.arch))
    assert golden.meta["n_params"] in (weights, weights + arch)


def build_ddsas_loop(golden: Golden) -> Ddsas:
    """Also for configurations of the space that were never published."""
    a = golden.args
    both = a["clip_parameters"] == "all parameters, alphas and betas included"
    assert both or a["clip_parameters"] == "network parameters (alphas and betas excluded)"
    assert a["arch_grad_clip_groups"] == ([ARCH[:2], ARCH[2:]] if a["arch_grad_clip"] else None)
    assert a["grad_clip"], "the norm that was recorded is the one that is clipped"
    assert a["tau"] is None, "noise would have to be recorded"
    settings = {
        "space_config": a["space"],
        "dss_freq": a["dss_freq"],
        "arch_start_epoch": int(a["warmup_steps"] > 0),
        "clip_with_arch": both,
        **read_optimizers(a),
    }
    with mock.patch.dict(SPACE_CONFIGS, {a["space"]: read_config(a["space"], a["space_config"])}):
        return build_ddsas(golden, "init_", **settings)


@contextlib.contextmanager
def recorded_norms() -> Iterator[list[float]]:
    """The norms of all gradients that are clipped meanwhile, before that."""
    norms: list[float] = []
    clip = optimizers.clip_gradients

    def recording(gradients: Sequence[paddle.Tensor], max_norm: float) -> None:
        norms.append(norm(list(gradients)))
        clip(gradients, max_norm)

    with (
        mock.patch.object(ddsas, "clip_gradients", recording),
        mock.patch.object(gradient, "clip_gradients", recording),
        mock.patch.object(optimizers, "clip_gradients", recording),
    ):
        yield norms


@replays("bilevel_", "ddsas")
def replay_ddsas_loop(golden: Golden) -> None:
    """The first epoch of the replay is the warm-up, with random operations and a resting architecture."""
    a = golden.args
    assert a["order"] == [
        "update_dss and generate_dss when iteration % dss_freq == 0",
        "arch step on the valid batch",
        "SGD step on the train batch (clipped)",
        "record",
    ]
    with precision("float64"), recorded_norms() as norms:
        method = build_ddsas_loop(golden)
        method.begin_epoch(0)
        for kind in KINDS:
            assert (np.flatnonzero(method.space.available[kind].all(axis=0)) == a["initial_available_ops"]).all()
        trace = Trace()
        for i in range(a["iterations"]):
            if 0 < a["warmup_steps"] == i:
                method.begin_epoch(1)
            trace.add(ddsas_step(golden, method, i))
            # clipped with the architecture, the weights reach their optimizer, which finds them short enough
            trace.add({"gnorm_weights": norms[-2 if method.options.clip_with_arch else -1]})
        trace.check(golden)
        check_state(golden, "final", method.supernet)


def ddsas_step(golden: Golden, method: Ddsas, i: int) -> dict[str, Any]:
    if not method.learns_architecture:
        masks = [golden.input(f"mask_{kind}")[i] for kind in KINDS]
        method.source = recorded_scores(masks, method.space.config.none)
    result = method.step(*read_batches(golden, i))
    assert (result.arch_loss is None) == (i < golden.args["warmup_steps"])
    tables = {"mask": method.space.active, "saliency": method.space.saliency}
    return {
        "loss_train": result.loss,
        "loss_valid": result.arch_loss or 0.0,
        **{name: value.numpy().copy() for name, value in method.arch.items()},
        **{f"{name}_{kind}": table[kind] for name, table in tables.items() for kind in KINDS},
    }
