"""Published genotypes and counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from golden import Golden
from reading import read_genotype
from registry import FAMILIES, replays

from paddle_darts.analysis.complexity import complexity
from paddle_darts.errors import GenotypeError
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


@replays("genotypes", *FAMILIES, "fair_darts", "sgas", "dr_nas", "ddsas")
def replay_genotypes(golden: Golden) -> None:
    table = cells_of(golden)
    parsed = {name: read_genotype(value) for name, value in table.items()}
    for name, expected in parsed.items():
        if name in known():  # that all published cells are in the registry is tested beside it
            assert genotype(name) == expected, name
        check_arity(golden, table[name], expected)
        for size in table[name].get("full_size", ()):
            check_full_size(name, expected, size)
    for alias, name in aliases_of(golden).items():
        assert alias not in known() or genotype(alias) == parsed[name]
        assert alias not in parsed or parsed[alias] == parsed[name]
    cards = golden.document.get(golden.args.get("model_card_table", ""), [])
    for card in cards:
        flat = read_genotype(card["flat"])
        concat = {"normal_concat": flat.normal_concat, "reduce_concat": flat.reduce_concat}
        nested = {"normal": card["normal_nested"], "reduce": card["reduce_nested"], **concat}
        assert Genotype.from_dict(nested) == flat
        assert any(genotype(name) == flat for name in list_genotypes()), card["random_seed"]
        parsed[f"card {card['random_seed']}"] = flat
    if "primitives" in golden.args:
        assert tuple(golden.args["primitives"]) == tuple(PRIMITIVES)
    for expected in parsed.values():
        check_formats(expected)


@replays("genotypes_analysis", "fair_darts")
def replay_weighted_genotypes(golden: Golden) -> None:
    """Cells with a weight per edge are no genotypes; without the weights they are those of DARTS."""
    triple = golden.args["edge_fields_by_length"]["3"]
    assert triple == ["op", "from", "weight"]
    for name, cells in cells_of(golden).items():
        weighted = [kind for kind in ("normal", "reduce") if len(cells[kind][0]) == len(triple)]
        for kind in weighted:
            assert all(0 < weight < 1 for *_, weight in cells[kind])
            with pytest.raises(GenotypeError):
                read_genotype(cells)
        plain = {**cells, **{kind: [edge[:2] for edge in cells[kind]] for kind in weighted}}
        expected = read_genotype(plain)
        if name in known():
            assert not weighted and genotype(name) == expected, name
        check_formats(expected)


def cells_of(golden: Golden) -> dict[str, Any]:
    """The genotypes by name: a table of the document, or what stands in it at top level."""
    document = golden.document
    if golden.args["table"] in document:
        return document[golden.args["table"]]
    assert golden.args["table"].startswith("top level")
    return {name: cells for name, cells in document.items() if not name.startswith("_")}


def aliases_of(golden: Golden) -> dict[str, str]:
    """Other names of the genotypes; an alias of an alias means the same cell."""
    aliases = {**golden.document.get("aliases", {}), **golden.document.get("_aliases", {})}
    return {alias: final_name(alias, aliases) for alias in aliases}


def final_name(name: str, aliases: dict[str, str]) -> str:
    return final_name(aliases[name], aliases) if name in aliases else name


def known() -> set[str]:
    return {key for name in list_genotypes() for key in (name, *entry(name).aliases)}


def check_arity(golden: Golden, cells: dict[str, Any], parsed: Genotype) -> None:
    """The meaning of an edge follows from its length, as the file says."""
    fields = golden.args.get("edge_fields_by_length", {}).get(str(len(cells["normal"][0])))
    assert fields in (None, ["op", "to", "from"] if parsed.sparse else ["op", "from"])


def check_formats(expected: Genotype) -> None:
    for style in FORMATS:
        if expected.sparse and style == "nested":
            with pytest.raises(GenotypeError, match="nested style"):
                format_genotype(expected, style)
        else:
            assert parse_genotype(format_genotype(expected, style)) == expected


def check_full_size(name: str, arch: Genotype, size: dict[str, Any]) -> None:
    """The registry's size of the network (tested where the registry is), or that of the network itself."""
    data = size["dataset"] if size["dataset"] == "imagenet" else f"cifar{size['num_classes']}"
    key = f"{data}_C{size['init_channels']}_L{size['layers']}"
    if name in known() and key in entry(name).params:
        counted = (entry(name).params[key].no_aux, entry(name).macs[key].conv_linear)
    else:
        stem, pixels = ("imagenet", 224) if data == "imagenet" else ("cifar", 32)
        network = build_network(arch, size["num_classes"], size["init_channels"], size["layers"], stem=stem)
        found = complexity(network, [3, pixels, pixels])
        counted = (found.params, found.macs)
    assert counted == (size["n_params_no_aux"], size["macs_conv_linear"]), (name, key)


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
