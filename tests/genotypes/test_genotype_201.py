"""NAS-Bench-201 genotypes: texts, documents, logs, what they say of a cell, and the registered ones."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import (
    FORMATS,
    Link,
    NasBench201Genotype,
    NetworkOptions,
    entry,
    format_genotype,
    genotype,
    genotype_document,
    list_genotypes,
    parse_genotype,
)
from paddle_darts.genotypes.nas_bench_201 import EDGES, OPS

TEXT = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"
CELL = NasBench201Genotype.parse(TEXT)

cells = st.tuples(*[st.sampled_from(OPS)] * len(EDGES)).map(NasBench201Genotype)


# ---- texts
@given(cells)
def test_every_notation_comes_back(cell: NasBench201Genotype) -> None:
    assert NasBench201Genotype.parse(str(cell)) == cell
    for style in FORMATS:
        assert parse_genotype(format_genotype(cell, style)) == cell
    assert genotype(str(cell)) == genotype(genotype_document(cell)) == genotype(cell.to_dict()) == cell
    assert hash(cell) == hash(NasBench201Genotype(cell.ops))


def test_the_text_names_edges_in_the_order_of_alpha() -> None:
    assert EDGES == ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
    assert CELL.ops == ("avg_pool_3x3", "nor_conv_1x1", "skip_connect", "none", "nor_conv_3x3", "skip_connect")
    assert str(CELL) == TEXT
    assert CELL.links()[3:5] == (Link("none", 0, 3), Link("nor_conv_3x3", 1, 3))


@pytest.mark.parametrize(
    "text",
    [
        f"  {TEXT}\n",
        TEXT.replace("+", " + "),
        "|avg_pool_3x3~0|+|skip_connect~1|nor_conv_1x1~0|+|skip_connect~2|nor_conv_3x3~1|",
        TEXT.replace("_", r"\_").replace("|", r"\|").replace("~", r"\~"),
        "\ufeff" + TEXT,
    ],
    ids=["space", "inner space", "other order, none left out", "Markdown", "byte order mark"],
)
def test_other_ways_to_write_it(text: str) -> None:
    assert parse_genotype(text) == CELL


@pytest.mark.parametrize(
    "text, words",
    [
        ("|none~0|+|none~0|none~1|", "three nodes joined by '\\+', got 2"),
        (TEXT + "+|none~0|", "got 4"),
        (TEXT.replace("skip_connect~1", "skip_conect~1"), "edge 1 to 2: unknown operation 'skip_conect'; did you mean"),
        (TEXT.replace("|none~0|", "|none~3|"), "node 3: it reads the nodes 0 to 2, got source 3"),
        ("|none~1|+|none~0|none~1|+|none~0|none~1|none~2|", "node 1: it reads the nodes 0 to 0, got source 1"),
        (TEXT.replace("nor_conv_3x3~1", "nor_conv_3x3~2"), "node 3: the source 2 stands twice"),
        (TEXT.replace("nor_conv_1x1~0", "nor_conv_1x1"), "node 2: expected operation~source, got 'nor_conv_1x1'"),
        (TEXT.replace("nor_conv_1x1~0", "nor_conv_1x1~x"), "node 2: expected operation~source"),
        (TEXT.replace("nor_conv_1x1~0", "nor_conv_1x1~٠"), "node 2: expected operation~source"),
        ("none~0+|none~0|none~1|+|none~0|none~1|none~2|", "node 1: expected \\|operation~source"),
        ("|", "three nodes"),
        ("", "three nodes"),
    ],
)
def test_wrong_texts_name_node_and_edge(text: str, words: str) -> None:
    with pytest.raises(GenotypeError, match=words):
        NasBench201Genotype.parse(text)


@given(st.text(alphabet="|+~0123 nor_conv3x", max_size=80))
def test_garbage_is_a_genotype_error(text: str) -> None:
    try:
        found = NasBench201Genotype.parse(text)
    except GenotypeError:
        return
    assert NasBench201Genotype.parse(str(found)) == found


@pytest.mark.parametrize(
    "ops, words",
    [
        (["none"] * 5, "has 6 operations, got 5"),
        (["none"] * 5 + ["sep_conv_3x3"], "edge 2 to 3: unknown operation 'sep_conv_3x3'"),
        (7, "NAS-Bench-201 cell"),
    ],
)
def test_wrong_operations(ops: object, words: str) -> None:
    with pytest.raises(GenotypeError, match=words):
        NasBench201Genotype(ops)


# ---- documents, files, logs
def test_document() -> None:
    cell = NasBench201Genotype(CELL.ops, network=NetworkOptions(pool_bn=True))
    document = json.loads(json.dumps(genotype_document(cell)))
    assert (document["space"], document["genotype"]) == ("nas_bench_201", {"arch": TEXT})
    assert genotype(document) == cell and genotype(document).network == cell.network
    empty = genotype_document(None, "nas_bench_201")
    assert empty["space"] == "nas_bench_201"
    with pytest.raises(GenotypeError, match="recorded as empty"):
        genotype(empty)


@pytest.mark.parametrize(
    "cells", [{"arch": 3}, {"arch": TEXT, "more": 1}, {}, [TEXT]], ids=["number", "another key", "nothing", "list"]
)
def test_wrong_documents(cells: object) -> None:
    document = {**genotype_document(CELL), "genotype": cells}
    with pytest.raises(GenotypeError, match="a NAS-Bench-201 genotype is"):
        genotype(document)


def test_files_and_runs(tmp_path: Path) -> None:
    (tmp_path / "genotype.json").write_text(json.dumps(genotype_document(CELL)))
    (tmp_path / "cell.txt").write_text(f"{TEXT}\n")
    for path in (tmp_path, tmp_path / "genotype.json", tmp_path / "cell.txt"):
        assert genotype(str(path)) == CELL


def test_the_last_cell_of_a_log_counts(tmp_path: Path) -> None:
    first = NasBench201Genotype(("none",) * 6)
    lines = [f"epoch {i}, genotype = Structure(4 nodes with {one})\n" for i, one in enumerate((first, CELL))]
    (tmp_path / "log.txt").write_text("seed 1 | lr 0.1 + 1 | \n" + "loss 2.3 | top1 10 |\n".join(lines) + "| done |\n")
    assert genotype(tmp_path) == CELL
    assert NasBench201Genotype.find("no cell, only | a | + | b | + | c |") is None


# ---- what it says
def test_counts() -> None:
    assert [CELL.count(op) for op in OPS] == [1, 2, 1, 1, 1]
    assert CELL.ops_used == OPS and CELL.contains_none
    with pytest.raises(GenotypeError, match="unknown operation 'skip'"):
        CELL.count("skip")
    with pytest.raises(GenotypeError, match="unknown cell kind 'normal'"):
        CELL.links("normal")


def reaches(cell: NasBench201Genotype) -> bool:
    """Whether one of the four ways from node 0 to node 3 carries something."""
    op = dict(zip(EDGES, cell.ops, strict=True))
    ways = [[(3, 0)], [(1, 0), (3, 1)], [(2, 0), (3, 2)], [(1, 0), (2, 1), (3, 2)]]
    return any(all(op[edge] != "none" for edge in way) for way in ways)


def test_valid_means_that_a_way_leads_through() -> None:
    some = [NasBench201Genotype(ops) for ops in itertools.product(("none", "nor_conv_3x3"), repeat=6)]
    assert [cell.valid for cell in some] == [reaches(cell) for cell in some]
    assert not NasBench201Genotype(("none",) * 6).valid
    assert not NasBench201Genotype.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|").valid


@pytest.mark.parametrize(
    "one, other",
    [
        (  # node 1 is a copy of the input, so that it does not matter which of them is read
            "|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
            "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|",
        ),
        (  # the order of what is added up does not matter
            "|skip_connect~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|",
            "|skip_connect~0|+|avg_pool_3x3~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|",
        ),
        (  # an operation on nothing is nothing
            "|none~0|+|none~0|none~1|+|skip_connect~0|nor_conv_3x3~1|none~2|",
            "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
        ),
    ],
)
def test_cells_that_compute_the_same(one: str, other: str) -> None:
    assert NasBench201Genotype.parse(one).unique == NasBench201Genotype.parse(other).unique


def test_cells_that_do_not_compute_the_same() -> None:
    assert CELL.unique != NasBench201Genotype((*CELL.ops[:-1], "none")).unique
    # two skips of the input add up to twice the input
    twice = "|skip_connect~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|"
    once = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
    assert NasBench201Genotype.parse(twice).unique != NasBench201Genotype.parse(once).unique


def test_network_and_name_only_travel_along() -> None:
    named = NasBench201Genotype(CELL.ops, name="mine", network=NetworkOptions(pool_bn=True))
    assert named == CELL and len({named, CELL}) == 1


# ---- the registered ones
REGISTERED = [name for name in list_genotypes() if entry(name).family == "nas_bench_201"]


@pytest.mark.parametrize(
    "name, text, accuracies",
    [
        (
            "CDARTS_NATS_1",
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
            (94.37, 73.09, 46.33),
        ),
        (
            "CDARTS_NATS_2",
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|",
            (94.09, 72.57, 45.63),
        ),
        (
            "CDARTS_NATS_3",
            "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|skip_connect~0|skip_connect~1|nor_conv_3x3~2|",
            (93.62, 70.10, 44.57),
        ),
    ],
)
def test_cells_of_cdarts(name: str, text: str, accuracies: tuple[float, ...]) -> None:
    one = entry(name)
    assert str(one.genotype) == text and one.genotype.name == name
    assert tuple(report.top1 for report in one.reported) == accuracies
    assert {report.note for report in one.reported} == {"recovered by table look-up"}
    assert genotype(f"nas_bench_201/{name}") == genotype(name.lower()) == one.genotype


@pytest.mark.parametrize("name", REGISTERED)
def test_registered_cells(name: str) -> None:
    one = entry(name)
    assert one.genotype.valid and one.genotype.space == "nas_bench_201" and one.source
    assert [report.dataset for report in one.reported] == ["cifar10", "cifar100", "imagenet16-120"]
    assert parse_genotype(str(one.genotype)) == one.genotype


def test_cells_of_other_publications() -> None:
    assert set(REGISTERED) >= {"DARTS_NATS", "GDAS_NATS", "RESNET_NATS", "SIZE_NATS"}
    assert genotype("DARTS_NATS").count("skip_connect") == 6
    # ResNet's block: two convolutions in a row beside a skip; its text leaves edges out
    resnet = "|nor_conv_3x3~0|+|nor_conv_3x3~1|+|skip_connect~0|skip_connect~2|"
    assert genotype("RESNET_NATS") == genotype(resnet)
