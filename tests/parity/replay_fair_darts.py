"""The supernet of FairDARTS and its search steps, on two levels and on one."""

from __future__ import annotations

from checking import Trace, check_gradients, check_state, norm
from golden import Golden, precision, tensor
from reading import read_batches
from registry import replays
from replay_fair_darts_parse import FORMS
from search_loops import check_supernet_pass, enter_step, load_weights, loop_options, record_gradients, search_spec

from paddle_darts.methods.fair_darts import FairDarts, FairDartsOptions
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.losses import cross_entropy


def build(golden: Golden, alphas: str, **options: object) -> FairDarts:
    """The method as recorded, with initial alphas from the arrays ``alphas``<kind>."""
    a = golden.args
    assert a["arch_activation"] == "sigmoid" and FORMS[a["criterion_class"]] == a["sep_loss"]
    options = FairDartsOptions(
        sep_loss=a["sep_loss"],
        aux_loss_weight=a["aux_loss_weight"],
        parse_method=a["parse_method"],
        op_threshold=a["op_threshold"],
        **options,
    )
    method = FairDarts(search_spec(golden), options, 1, RandomSource())
    load_weights(golden, method)
    for kind, alpha in method.alphas.items():
        alpha.set_value(tensor(golden.input(alphas + kind)))
    return method


@replays("supernet_", "fair_darts")
def replay_supernet(golden: Golden) -> None:
    with precision("float64"):
        method = build(golden, "alphas_")
        loss, logits = check_supernet_pass(golden, method)
        golden.check("loss_cls", cross_entropy(logits, tensor(golden.input("target"))))
        golden.check("loss_sep", method.separation())
        check_gradients(golden, loss, {**method.weights, **method.arch})
        check_state(golden, "after", method.supernet)


@replays("bilevel", "fair_darts")
@replays("single_level", "fair_darts")
def replay_loop(golden: Golden) -> None:
    """The loss of the architecture is that of the validation batch, or on one level that of the training batch."""
    a = golden.args
    assert not a["unrolled"]
    gamma, _ = a["arch_betas"]
    with precision("float64"):
        method = build(
            golden,
            "init_alphas_",
            single_level=a["single_level"],
            arch_lr_gamma=gamma,
            **loop_options(golden, (gamma, 0.999)),
        )
        assert method.arch_betas == (gamma, 0.999)
        gradients = record_gradients(method.weight_optimizer)
        trace = Trace()
        for i in range(a["iterations"]):
            enter_step(golden, method, i)
            trace.add(one_step(golden, method, i))
            trace.add({"gnorm_weights": norm(gradients[-1])})
        trace.check(golden)
        check_state(golden, "final", method.supernet)


def one_step(golden: Golden, method: FairDarts, step: int) -> dict[str, object]:
    """What a step reports and leaves, by the recorded names; zero losses where the architecture rests."""
    separation = float(method.separation())
    result = method.step(*read_batches(golden, step))
    moved = result.arch_loss is not None
    return {
        "loss_train": result.loss,
        "loss_cls": result.arch_loss - method.options.aux_loss_weight * separation if moved else 0.0,
        "loss_sep": separation if moved else 0.0,
        **{f"alphas_after_{kind}": alpha.numpy().copy() for kind, alpha in method.alphas.items()},
    }
