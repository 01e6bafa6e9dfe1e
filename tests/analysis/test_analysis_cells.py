"""The pictures of cells: what is in them, and that both backends draw them."""

import itertools
import json
import logging
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from analysis_run import DARTS_V2, NASNET, NB201, NB201_SKIPS, SPARSE, WITH_NONE
from PIL import Image

from paddle_darts import cli
from paddle_darts.analysis import cells
from paddle_darts.analysis.cells import choose_backend, dot_source, draw_cell, draw_genotype
from paddle_darts.analysis.graph import cell_graph
from paddle_darts.analysis.layered import layered_layout
from paddle_darts.analysis.looks import LOOKS
from paddle_darts.analysis.palette import line_colours, op_style
from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import GENOTYPES, list_genotypes
from paddle_darts.genotypes import genotype as parse

BACKENDS = ["networkx", "dot"]
GOLDENS = Path(__file__).parent / "goldens"
CELLS = [DARTS_V2, NASNET, WITH_NONE, SPARSE, NB201, NB201_SKIPS]
NAMES = ["darts", "nasnet", "none", "sparse", "nb201", "nb201_skips"]
EVERY_CELL = [
    pytest.param(parse(cells), kind, id=f"{name}-{kind}")
    for cells, name in zip(CELLS, NAMES, strict=True)
    for kind in parse(cells).kinds
]


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "dot" and choose_backend() != "dot":
        pytest.skip("the Graphviz program dot is not installed")
    return request.param


def arrows(genotype, kind):
    return [(a.source, a.target, a.op) for a in cell_graph(parse(genotype), kind).arrows]


def test_graph_of_darts_v2():
    graph = cell_graph(parse(DARTS_V2), "normal")
    assert [n.name for n in graph.nodes] == ["c_{k-2}", "c_{k-1}", "0", "1", "2", "3", "c_{k}"]
    fills = [n.fill for n in graph.nodes]
    assert fills == ["darkseagreen2"] * 2 + ["lightblue"] * 4 + ["palegoldenrod"]
    found = arrows(DARTS_V2, "normal")
    assert found[:2] == [("c_{k-2}", "0", "sep_conv_3x3"), ("c_{k-1}", "0", "sep_conv_3x3")]
    assert found[6:8] == [("c_{k-2}", "3", "skip_connect"), ("0", "3", "dil_conv_3x3")]
    assert found[8:] == [(str(i), "c_{k}", None) for i in range(4)]


def test_only_nodes_of_the_concatenation_reach_the_output():
    outputs = [source for source, target, op in arrows(NASNET, "reduce") if op is None]
    assert outputs == ["2", "3", "4"]


def test_parallel_arrows_and_none_are_kept():
    assert arrows(NASNET, "normal").count(("c_{k-2}", "3", "avg_pool_3x3")) == 2
    assert ("c_{k-1}", "0", "none") in arrows(WITH_NONE, "normal")
    source = dot_source(cell_graph(parse(WITH_NONE), "normal")).source
    dashed = [line for line in source.splitlines() if "dashed" in line]
    assert len(dashed) == 3 and all("none" in line for line in dashed)


def test_sparse_cells_show_what_they_compute():
    graph = cell_graph(parse(SPARSE), "normal")
    assert [n.name for n in graph.nodes] == ["c_{k-2}", "c_{k-1}", "0", "2", "3", "c_{k}"]
    found = arrows(SPARSE, "normal")
    assert found[:3] == [
        ("c_{k-2}", "0", "max_pool_3x3"),
        ("c_{k-1}", "0", "sep_conv_5x5"),
        ("c_{k-2}", "2", "dil_conv_3x3"),
    ]
    assert found[4:] == [("c_{k-2}", "3", "sep_conv_3x3"), *((node, "c_{k}", None) for node in ("0", "2", "3"))]
    between = [op for source, target, op in arrows(SPARSE, "reduce") if (source, target) == ("c_{k-2}", "0")]
    assert between == ["sep_conv_5x5", "skip_connect"]


def test_all_edges_of_a_nas_bench_201_cell_are_drawn():
    graph = cell_graph(parse(NB201), "cell")
    assert [(n.name, n.role) for n in graph.nodes] == [
        ("c_in", "input"), ("1", "node"), ("2", "node"), ("c_out", "output")
    ]  # fmt: skip
    assert arrows(NB201, "cell") == [
        ("c_in", "1", "nor_conv_3x3"),
        ("c_in", "2", "none"),
        ("1", "2", "skip_connect"),
        ("c_in", "c_out", "skip_connect"),
        ("1", "c_out", "nor_conv_1x1"),
        ("2", "c_out", "avg_pool_3x3"),
    ]
    assert [a.op for a in graph.arrows if a.faint] == ["none"]
    dotted = [line for line in dot_source(graph).source.splitlines() if "dotted" in line]
    assert len(dotted) == 1 and "none" in dotted[0] and "#8a94a3" in dotted[0]


def test_states_of_a_nas_bench_201_cell_stand_in_a_row():
    graph = cell_graph(parse(NB201), "cell")
    place = layered_layout(graph).place
    (x0, y0), *others = [place[node.name] for node in graph.nodes]
    assert all(abs(y - y0) < 0.2 for _, y in others), "nearly one height, against 0.44 between labels"
    assert [x for x, _ in others] == sorted(x for x, _ in others) and others[0][0] > x0


def test_every_space_has_a_look():
    assert set(LOOKS) == set(GENOTYPES)
    for name in list_genotypes():
        genotype = parse(name)
        for kind in genotype.kinds:
            graph = cell_graph(genotype, kind)
            assert [n.role for n in graph.nodes].count("output") == 1
            assert sum(a.op is not None for a in graph.arrows) >= 1


@pytest.mark.parametrize("genotype, kind", EVERY_CELL)
def test_drawings_are_as_they_were(genotype, kind, request):
    """Recorded: the text for Graphviz, and the places of the drawing without it."""
    name = request.node.callspec.id
    graph = cell_graph(genotype, kind)
    assert dot_source(graph).source == (GOLDENS / f"{name}.dot").read_text()
    place = layered_layout(graph).place
    recorded = json.loads((GOLDENS / "places.json").read_text())[name]
    assert {str(point) for point in place} == set(recorded)
    for point, xy in place.items():
        assert xy == pytest.approx(recorded[str(point)], abs=2e-3), point


def test_dot_text_names_every_edge():
    source = dot_source(cell_graph(parse(NASNET), "reduce"), caption="a\\b").source
    assert "rankdir=LR" in source and 'label="a\\\\b"' in source
    assert source.count("sep_conv_7x7") == 2 and source.count("->") == 13


@pytest.mark.parametrize("genotype", CELLS, ids=NAMES)
def test_pictures(tmp_path, backend, genotype):
    genotype = parse(genotype)
    written = draw_genotype(genotype, tmp_path / "deep", stem="x", backend=backend)
    names = {"darts": ["normal", "reduce"], "nas_bench_201": ["cell"]}[genotype.space]
    assert [p.name for p in written] == [f"x_{name}.{form}" for name in names for form in ("svg", "png")]
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == sorted(p.name for p in written)
    for path in written:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
            continue
        picture = Image.open(path).convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture)
        assert picture.width > 400 and len(ground.convert("RGB").getcolors(1 << 24)) > 50


def test_dot_text_needs_no_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    written = draw_genotype(parse(NB201), tmp_path, backend="networkx", formats=["dot"])
    assert [p.name for p in written] == ["cell.dot"]
    assert written[0].read_text() == dot_source(cell_graph(parse(NB201), "cell")).source


@pytest.mark.parametrize("arch, stem", [(NB201["arch"], "genotype"), ("CDARTS_NATS_1", "CDARTS_NATS_1")])
def test_visualize_draws_the_one_cell(tmp_path, capsys, arch, stem):
    assert cli.main(["visualize", arch, "-o", str(tmp_path), "--backend", "networkx", "--dot"]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in written] == [f"{stem}_cell.{form}" for form in ("svg", "png", "dot")]
    assert all(path.stat().st_size > 500 for path in written)


def test_labels_stand_in_the_dot_svg(tmp_path):
    if choose_backend() != "dot":
        pytest.skip("the Graphviz program dot is not installed")
    [path] = draw_cell(parse(WITH_NONE), "normal", tmp_path / "n.a", ["svg"], caption="<epoch> 3")
    assert path.name == "n.a.svg"
    texts = ["".join(e.itertext()).strip() for e in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("none") == 3 and "<epoch> 3" in texts and "c_{k-2}" in texts
    root = ElementTree.parse(path).getroot()
    width = float(root.get("width").removesuffix("pt"))
    assert width == pytest.approx(float(root.get("viewBox").split()[2]), abs=1)  # nothing is cut off


@pytest.mark.parametrize("genotype, kind", EVERY_CELL)
def test_layered_layout_keeps_points_apart_and_arrows_forward(genotype, kind):
    graph = cell_graph(genotype, kind)
    layout = layered_layout(graph)
    columns = {}
    for x, y in layout.place.values():
        columns.setdefault(round(x, 6), []).append(y)
    for heights in columns.values():
        heights.sort()
        assert all(b - a > 0.4 for a, b in itertools.pairwise(heights))
    for arrow, chain in zip(graph.arrows, layout.chains, strict=True):
        xs = [layout.place[point][0] for point in chain]
        assert (chain[0], chain[-1]) == (arrow.source, arrow.target)
        assert xs == sorted(set(xs)) and len(chain) >= 3  # at least one point of its own, for the label


def test_fallback_warns_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(cells.shutil, "which", lambda name: None)
    monkeypatch.setattr(cells, "_warned_no_dot", False)
    with caplog.at_level(logging.WARNING):
        draw_genotype(parse(DARTS_V2), tmp_path)
    assert sum("dot" in record.message for record in caplog.records) == 1


def test_wrong_names_are_told(tmp_path):
    genotype = parse(DARTS_V2)
    with pytest.raises(ConfigError, match="reduce"):
        cell_graph(genotype, "reduction")
    with pytest.raises(ConfigError, match="cell"):
        cell_graph(parse(NB201), "normal")
    with pytest.raises(ConfigError, match="svg"):
        draw_cell(genotype, "normal", tmp_path / "a", ["svgz"])
    with pytest.raises(ConfigError, match="networkx"):
        draw_cell(genotype, "normal", tmp_path / "a", backend="networkX")


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_colours_are_legible_and_families_differ():
    assert all(1.05 / (luminance(colour) + 0.05) >= 4.5 for colour in line_colours())
    looks = {op_style(op).colour for op in ("max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3", "none")}
    assert len(looks) == 5
    ours = [op_style(op) for op in ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "none")]
    assert len({look.colour for look in ours}) == 5 and ours[2].width > ours[1].width
    assert op_style("sep_conv_5x5").width > op_style("sep_conv_3x3").width
    assert op_style("my_op") == op_style("my_op") and op_style("my_op").colour in line_colours()
