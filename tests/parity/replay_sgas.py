"""The supernet of SGAS with edges that are decided, pruned and open, and its search steps with decisions in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from checking import Gradients, Trace, check_gradients, check_state, norm
from golden import Golden, precision, tensor
from reading import KINDS, read_batches
from registry import replays
from search_loops import check_supernet_pass, enter_step, load_weights, loop_options, record_gradients, search_spec

from paddle_darts.methods.parts.greedy import official_indices
from paddle_darts.methods.sgas import Sgas, SgasOptions
from paddle_darts.nn.drop import RandomSource


def build(golden: Golden, alphas: str, **options: Any) -> Sgas:
    """The method as recorded, with initial alphas from the arrays ``alphas``<kind>; nothing is decided."""
    assert golden.args["primitives"][0] == "none", "the recorded decisions count from it"
    spec, options = search_spec(golden), SgasOptions(**options)
    method = Sgas(spec, options, 10**3, RandomSource())
    load_weights(golden, method)
    for kind in KINDS:
        for row, values in enumerate(golden.input(alphas + kind)):
            method.arch[f"alphas_{kind}.{row}"].set_value(tensor(values))
    return method


@replays("supernet_", "sgas")
def replay_supernet(golden: Golden) -> None:
    with precision("float64"):
        method = build(golden, "alphas_")
        for kind, decisions in method.decisions.items():
            for edge, op in golden.args[f"decisions_{kind}"] or ():
                decisions.settle(edge, op)
            golden.check(f"selected_idxs_{kind}", official_indices(decisions.choice))
            golden.check(f"candidate_flags_{kind}", decisions.undecided)
        loss, _ = check_supernet_pass(golden, method)
        check_state(golden, "after", method.supernet)
        check_gradients(golden, loss, method.weights)
        check_arch_gradients(golden, method, loss)


def check_arch_gradients(golden: Golden, method: Sgas, loss: paddle.Tensor) -> None:
    """Which edges have a gradient is what Adam is told; without one zeros were recorded."""
    told = record_gradients(method.arch_optimizer)
    method.update_arch(paddle.grad(loss, list(method.arch.values()), allow_unused=True))
    for kind, rows in by_kind(method, told[-1]).items():
        golden.check(f"alphas_{kind}_has_grad", np.array([g is not None for g in rows]))
        golden.check(f"grad/alphas_{kind}", table(method, rows, 0.0))


@replays("bilevel_first_order", "sgas")
@replays("bilevel_second_order", "sgas")
def replay_loop(golden: Golden) -> None:
    a = golden.args
    with precision("float64"):
        method = build(golden, "init_alphas_", unrolled=a["unrolled"], **loop_options(golden, (0.5, 0.999)))
        assert method.arch_betas == (0.5, 0.999)
        told = {name: record_gradients(getattr(method, f"{name}_optimizer")) for name in ("arch", "weight")}
        trace = Trace()
        for i in range(a["iterations"]):
            enter_step(golden, method, i)
            for entry in a["decisions_before_step"] or ():
                for edge, op in entry["decisions"] if entry["before_step"] == i else ():
                    method.decisions[entry["cell"]].settle(edge, op)
            trace.add(one_step(golden, method, i, told))
        # at second order without the loss of validation
        trace.check(golden, optional=("loss_valid",) if a["unrolled"] else ())
        check_state(golden, "final", method.supernet)


def one_step(golden: Golden, method: Sgas, step: int, told: dict[str, list[Gradients]]) -> dict[str, Any]:
    """What a step reports and leaves, by the recorded names; a validation loss of 0 where the architecture rests.

    ``told`` collects the gradients that the optimizers are given.
    """
    result = method.step(*read_batches(golden, step))
    arch = by_kind(method, [None] * len(method.arch) if result.arch_loss is None else told["arch"][-1])
    return {
        "loss_train": result.loss,
        "loss_valid": result.arch_loss or 0.0,
        "gnorm_weights": norm(told["weight"][-1]),
        **{f"arch_grad_{kind}": table(method, arch[kind], np.nan) for kind in KINDS},
        **{f"alphas_after_{kind}": method.alphas[kind].numpy() for kind in KINDS},
        **{f"selected_idxs_{kind}": official_indices(method.decisions[kind].choice) for kind in KINDS},
    }


def by_kind(method: Sgas, gradients: Gradients) -> dict[str, Gradients]:
    """Gradients of all alphas by cell kind, in the order of the edges."""
    named, rows = dict(zip(method.arch, gradients, strict=True)), range(method.spec.num_edges)
    return {kind: [named[f"alphas_{kind}.{row}"] for row in rows] for kind in KINDS}


def table(method: Sgas, rows: Gradients, missing: float) -> np.ndarray:
    """Gradients [edges, ops], with ``missing`` where there are none."""
    empty = np.full(len(method.spec.primitives), missing)
    return np.stack([empty if g is None else g.numpy() for g in rows])
