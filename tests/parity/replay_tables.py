"""Published genotypes and counts."""

from __future__ import annotations

from dataclasses import replace

from golden import Golden
from registry import FAMILIES, read_genotype, replays

from paddle_darts.analysis.complexity import complexity
from paddle_darts.genotypes import (
    FORMATS,
    PRIMITIVES,
    Genotype,
    NetworkOptions,
    entry,
    format_genotype,
    genotype,
    list_genotypes,
    parse_genotype,
)
from paddle_darts.networks import build_network


@replays("genotypes", *FAMILIES)
def replay_genotypes(golden: Golden) -> None:
    table = golden.document[golden.args["table"]]
    parsed = {name: read_genotype(value) for name, value in table.items()}
    known = {key for name in list_genotypes() for key in (name, *entry(name).aliases)}
    for name, expected in parsed.items():
        if name in known:  # that all published cells are in the registry is tested beside it
            assert genotype(name) == expected, name
    for alias, name in golden.document.get("aliases", {}).items():
        if alias in known:
            assert genotype(alias) == parsed[name]
    cards = golden.document.get(golden.args.get("model_card_table", ""), [])
    for card in cards:
        flat = read_genotype(card["flat"])
        concat = {"normal_concat": flat.normal_concat, "reduce_concat": flat.reduce_concat}
        nested = {"normal": card["normal_nested"], "reduce": card["reduce_nested"], **concat}
        assert Genotype.from_dict(nested) == flat
        assert any(genotype(name) == flat for name in list_genotypes()), card["random_seed"]
        parsed[f"card {card['random_seed']}"] = flat
    assert tuple(golden.args["primitives"]) == tuple(PRIMITIVES)
    for expected in parsed.values():
        for style in FORMATS:
            assert parse_genotype(format_genotype(expected, style)) == expected


@replays("counts", "darts")
def replay_counts(golden: Golden) -> None:
    cases = {case["key"]: case for case in golden.args["cases"]}
    aux_bn = golden.args["aux_bn_imagenet"]
    assert golden.args["macs_exclude_auxiliary"]
    for name, counts in golden.document["counts"].items():
        for key, expected in counts.items():
            case = cases[key]
            stem = "imagenet" if case["cls"] == "NetworkImageNet" else "cifar"
            arch = replace(genotype(name), network=NetworkOptions(aux_bn=aux_bn[name]))
            network = build_network(arch, case["num_classes"], case["C"], case["layers"], True, stem=stem)
            got = complexity(network, [3, case["input_size"], case["input_size"]])
            assert got.params == expected["params_no_aux"], (name, key)
            assert got.params_with_aux == expected["params_with_aux"], (name, key)
            assert got.macs == expected["macs_conv_linear"], (name, key)
            assert got.macs_paper == expected["macs_paper"], (name, key)
