"""FairDARTS' derivations and zero-one losses."""

from __future__ import annotations

from golden import Golden, precision, tensor
from paddle import grad
from reading import parameter
from registry import replays

from paddle_darts.methods.parts.threshold import parse_cell, zero_one_loss
from paddle_darts.nn.losses import cross_entropy

FORMS = {"ConvSeparateLoss": "l2", "TriSeparateLoss": "l1"}


@replays("parse_cases", "fair_darts")
def replay_parse_cases(golden: Golden) -> None:
    a = golden.args
    assert a["node_offset"] == 2
    primitives, steps = tuple(a["primitives"]), a["steps"]
    expected = golden.meta["genes_json"]
    assert len(expected) == len(a["cases"]) > 0
    for case, gene in zip(a["cases"], expected, strict=True):
        weights = golden.input(f"weights_{case['weights']}")
        assert weights.shape == (a["n_edges"], len(primitives))
        found = parse_cell(weights, primitives, steps, case["parse_method"], case["op_threshold"])
        assert gene["edge_fields"] == (["op", "from"] if case["parse_method"] == "darts" else ["op", "to", "from"])
        assert found == [tuple(edge) for edge in gene["gene"]], case
    official = a.get("official")
    if official:  # matrices of a real run, under a key of their own
        (key,) = [k for k in golden.meta if k.startswith("official_matrices_")]
        for kind, name in official["weights"].items():
            weights = golden.input(name)
            found = parse_cell(weights, primitives, steps, official["parse_method"], official["op_threshold"])
            assert found == [tuple(edge) for edge in golden.meta[key][kind]], kind


@replays("losses", "fair_darts")
def replay_losses(golden: Golden) -> None:
    a = golden.args
    assert a["criterion"] == "cross_entropy"
    with precision("float64"):
        for case in a["cases"]:
            i, form = case["case"], case["sep_loss"]
            assert FORMS[case["criterion_class"]] == form
            alphas = parameter(golden.input(f"alphas_{i}"))
            assert alphas.shape == [a["n_edges"], a["n_ops"]]
            logits, target = tensor(golden.input(f"logits_{i}")), tensor(golden.input(f"target_{i}"))
            classification = cross_entropy(logits, target, a["label_smooth"])
            separation = zero_one_loss([alphas], form)
            loss = classification + case["weight"] * separation
            golden.check(f"loss_cls_{i}", classification)
            golden.check(f"loss_sep_{i}", separation)
            golden.check(f"loss_{i}", loss)
            golden.check(f"grad_alphas_{i}", grad(loss, [alphas])[0])
