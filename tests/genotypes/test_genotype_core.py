"""The genotype value: coercion, validation and what it tells about itself."""

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import EVAL_ONLY_OPS, PRIMITIVES, Edge, Genotype, Link, NetworkOptions, TargetEdge

CELLS = {
    "normal": [("sep_conv_3x3", 1), ("none", 0), ("skip_connect", 2), ("sep_conv_3x3", 0)],
    "normal_concat": range(2, 4),
    "reduce": [("max_pool_3x3", 0), ("max_pool_3x3", 1)],
    "reduce_concat": [2],
}


def changed(**parts):
    return Genotype.from_dict({**CELLS, **parts})


def test_is_an_immutable_value():
    first = Genotype(**CELLS)
    second = changed(normal_concat=[2, 3])
    assert first == second and len({first, second}) == 1
    assert first.normal[0] == Edge("sep_conv_3x3", 1) and first.normal[0].source == 1
    assert first.normal_concat == (2, 3)
    assert pickle.loads(pickle.dumps(first)) == first
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.normal = ()


def test_name_and_network_travel_but_do_not_compare():
    plain = Genotype(**CELLS)
    named = dataclasses.replace(plain, name="MINE", network=NetworkOptions(aux_bn=True))
    assert named == plain and hash(named) == hash(plain)
    assert (named.name, named.network.aux_bn) == ("MINE", True)
    with pytest.raises(GenotypeError, match="NetworkOptions"):
        dataclasses.replace(plain, network={"aux_bn": True})


def test_order_of_edges_is_part_of_the_model():
    assert changed(reduce=[("max_pool_3x3", 1), ("max_pool_3x3", 0)]) != Genotype(**CELLS)


def test_primitives_are_in_the_official_order():
    golden = Path(__file__).parents[1] / "goldens" / "darts" / "genotypes.json"
    assert list(PRIMITIVES) == json.loads(golden.read_text())["primitives"]
    assert set(EVAL_ONLY_OPS) == {"sep_conv_7x7", "conv_7x1_1x7"}


def test_queries():
    genotype = Genotype(**CELLS)
    assert genotype.steps == 2
    assert genotype.nodes("normal")[1] == (Edge("skip_connect", 2), Edge("sep_conv_3x3", 0))
    assert genotype.nodes("reduce") == ((Edge("max_pool_3x3", 0), Edge("max_pool_3x3", 1)),)
    assert genotype.ops_used == ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
    assert genotype.contains_none
    assert (genotype.count("sep_conv_3x3"), genotype.count("max_pool_3x3", "normal")) == (2, 0)
    with pytest.raises(GenotypeError, match="'reduce'"):
        genotype.nodes("reduction")
    with pytest.raises(GenotypeError, match="did you mean 'sep_conv_3x3'"):
        genotype.count("sep_conv_3")


def test_str_is_the_official_literal():
    assert str(changed(reduce_concat=[2, 0])) == (
        "Genotype(normal=[('sep_conv_3x3', 1), ('none', 0), ('skip_connect', 2), ('sep_conv_3x3', 0)], "
        "normal_concat=range(2, 4), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)], reduce_concat=[2, 0])"
    )


def test_dictionary_is_json_and_comes_back():
    genotype = Genotype(**CELLS)
    cells = genotype.to_dict()
    assert cells["reduce"] == [["max_pool_3x3", 0], ["max_pool_3x3", 1]] and cells["normal_concat"] == [2, 3]
    assert Genotype.from_dict(cells) == genotype


def test_edges_may_be_grouped_by_node():
    pairs = CELLS["normal"]
    assert changed(normal=[pairs[:2], pairs[2:]]) == Genotype(**CELLS)


@pytest.mark.parametrize(
    "parts, words",
    [
        (
            {"normal": [("sep_conv_3x3", 2), ("none", 0)]},
            ["normal cell, node 0, edge 0", "source state 2", "0 to 1"],
        ),
        ({"reduce": [("none", 0), ("none", -1)]}, ["reduce cell, node 0, edge 1", "-1"]),
        (
            {"normal": [("none", 0), ("sepconv_3x3", 1)]},
            ["node 0, edge 1", "'sepconv_3x3'", "'sep_conv_3x3'"],
        ),
        ({"normal": [("none", 0), ("none", True)]}, ["must be an integer", "True"]),
        ({"normal": [("none", 0), ("none", 1.0)]}, ["must be an integer", "1.0"]),
        ({"normal": [("none", 0), ("none", "1")]}, ["must be an integer", "'1'"]),
        ({"normal": [("none", 0)]}, ["normal cell", "1 edges", "even"]),
        ({"normal": [("none", 0), ("none", 1, 2)]}, ["node 0, edge 1", "pair"]),
        ({"normal": [("none", 0), 7]}, ["node 0, edge 1", "got 7"]),
        ({"normal": [("none", 2, 0), ("none", 1)]}, ["normal cell, edge 1", "triple", "('none', 1)"]),
        ({"normal": [("none", 2, 0), [("none", 1)]]}, ["normal cell, edge 1", "triple"]),
        ({"reduce": [("none", 2, 0)]}, ["normal cell has pairs", "reduce cell triples"]),
        ({"normal": [[("none", 2, 0), ("none", 2, 1)]]}, ["node 0, edge 0", "pair"]),
        ({"normal": []}, ["normal cell has no edges"]),
        ({"reduce": None}, ["reduce cell", "None"]),
        ({"reduce": "none"}, ["expected a list", "'none'"]),
        ({"normal": [[("none", 0)], [("none", 0)]]}, ["node 0", "two edges", "got 1"]),
        ({"normal_concat": []}, ["normal_concat is empty", "range(2, 4)"]),
        ({"normal_concat": [2, 4]}, ["normal_concat", "no state 4", "0 to 3"]),
        ({"normal_concat": [-1]}, ["normal_concat", "no state -1"]),
        ({"normal_concat": [3, 3]}, ["twice"]),
        ({"normal_concat": [2.5]}, ["must be an integer", "2.5"]),
        ({"reduce_concat": range(2, 9)}, ["reduce_concat", "no state 3"]),
        ({"reduce_concat": 2}, ["expected a list", "got 2"]),
        ({"redcue": []}, ["'redcue'", "'reduce'"]),
    ],
)
def test_invalid_cells_are_refused_with_the_place_and_the_cure(parts, words):
    with pytest.raises(GenotypeError) as caught:
        changed(**parts)
    for word in words:
        assert word in str(caught.value)


# ------------------------------------------------------------------------------------------ cells of triples
SPARSE = {
    "normal": [
        ("sep_conv_3x3", 2, 0),
        ("skip_connect", 4, 3),  # nothing computes state 3
        ("max_pool_3x3", 5, 2),
        ("sep_conv_3x3", 2, 0),
        ("dil_conv_3x3", 6, 4),  # nor, so, state 4
        ("skip_connect", 5, 4),
    ],
    "normal_concat": range(2, 6),
    "reduce": [("avg_pool_3x3", 3, 1), ("avg_pool_3x3", 3, 0)],
    "reduce_concat": [2, 3, 4, 5],
}


def test_triples_are_a_value_of_their_own():
    first, second = Genotype(**SPARSE), Genotype.from_dict(Genotype(**SPARSE).to_dict())
    assert first == second and hash(first) == hash(second) and first.sparse
    assert pickle.loads(pickle.dumps(first)) == first
    assert first.normal[1] == TargetEdge("skip_connect", 4, 3) and first.normal[1].target == 4
    assert (first.steps, first.count("sep_conv_3x3"), first.count("avg_pool_3x3", "normal")) == (5, 2, 0)
    assert first.ops_used == ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
    assert not first.contains_none
    pairs = Genotype([("none", 0), ("none", 1)], [2], [("none", 0), ("none", 1)], [2])
    triples = Genotype([("none", 2, 0), ("none", 2, 1)], [2], [("none", 2, 0), ("none", 2, 1)], [2])
    assert pairs != triples and not pairs.sparse
    with pytest.raises(GenotypeError, match="read its links"):
        first.nodes("normal")


def test_links_are_the_same_view_of_both_kinds():
    pairs, triples = Genotype(**CELLS), Genotype(**SPARSE)
    assert pairs.links("normal")[2:] == (Link("skip_connect", 2, 3), Link("sep_conv_3x3", 0, 3))
    assert pairs.used_links("normal") == pairs.links("normal")
    assert pairs.computed("normal") == (2, 3) and pairs.outputs("reduce") == (2,)
    assert triples.links("normal")[1:3] == (Link("skip_connect", 3, 4), Link("max_pool_3x3", 2, 5))
    with pytest.raises(GenotypeError, match="'reduce'"):
        pairs.links("reduction")


def test_what_nothing_leads_to_is_not_computed():
    sparse = Genotype(**SPARSE)
    assert sparse.used_links("normal") == (
        Link("sep_conv_3x3", 0, 2),
        Link("sep_conv_3x3", 0, 2),
        Link("max_pool_3x3", 2, 5),
    )
    assert sparse.outputs("normal") == sparse.computed("normal") == (2, 5)  # the field normal_concat says 2 to 5
    assert sparse.outputs("reduce") == (3,)


def test_nodes_are_computed_in_the_order_in_which_they_appear():
    edges = [("none", 5, 3), ("none", 5, 0), ("none", 3, 1), ("none", 4, 3)]
    late = Genotype(edges, [2], edges, [2])
    assert late.computed("normal") == (5, 3, 4)  # state 3 does not exist yet when state 5 is computed
    assert late.used_links("normal")[0] == Link("none", 0, 5)


@pytest.mark.parametrize(
    "parts, words",
    [
        ({"normal": [("none", 1, 0)]}, ["normal cell, edge 0", "target state 1", "state 2"]),
        ({"normal": [("none", 2, 2)]}, ["edge 0", "source state 2", "0 to 1"]),
        ({"reduce": [("none", 2, 0), ("none", 3, -1)]}, ["reduce cell, edge 1", "-1"]),
        ({"reduce": [("non", 2, 0)]}, ["edge 0", "'non'", "'none'"]),
        ({"normal": [("none", 2, 0.25)]}, ["source state must be an integer", "0.25"]),
        ({"normal": [("none", "2", 0)]}, ["target state must be an integer", "'2'"]),
        ({"normal": [("none", 3, 2), ("none", 4, 3)]}, ["normal cell is not connected"]),
        ({"normal": []}, ["normal cell has no edges"]),
        ({"normal": [("none", 0), ("none", 1)]}, ["normal cell has pairs", "reduce cell triples"]),
        ({"normal_concat": []}, ["normal_concat is empty"]),
        ({"normal_concat": [-2]}, ["no state -2"]),
        ({"normal_concat": [2, 2]}, ["twice"]),
    ],
)
def test_invalid_triples_are_refused_with_the_place_and_the_cure(parts, words):
    with pytest.raises(GenotypeError) as caught:
        Genotype.from_dict({**SPARSE, **parts})
    for word in words:
        assert word in str(caught.value)


def test_missing_fields_are_named():
    with pytest.raises(GenotypeError, match="without reduce, reduce_concat"):
        Genotype.from_dict({"normal": CELLS["normal"], "normal_concat": [2]})
    with pytest.raises(GenotypeError, match="mapping"):
        Genotype.from_dict([1])


def test_numpy_integers_are_integers():
    numpy = pytest.importorskip("numpy")
    source = numpy.int64(1)
    genotype = changed(normal=[("none", source), ("none", 0)], normal_concat=numpy.arange(2, 3).tolist())
    assert type(genotype.normal[0].source) is int


@pytest.mark.parametrize(
    "options",
    [
        NetworkOptions(),
        NetworkOptions(aux_bn=True, reductions=[2, 5]),
        NetworkOptions(reductions=(), pool_bn=True),
    ],
)
def test_network_options_come_back(options):
    assert NetworkOptions.from_dict(options.to_dict()) == options
    assert options.reductions is None or isinstance(options.reductions, tuple)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"auxbn": True}, ["'auxbn'", "'aux_bn'"]),
        ({"aux_bn": 1}, ["aux_bn", "got 1"]),
        ({"pool_bn": None}, ["pool_bn", "got None"]),
        ({"reductions": [5, 2]}, ["ascending", "[5, 2]"]),
        ({"reductions": [-1]}, ["[-1]"]),
        ({"reductions": 3}, ["reductions", "3"]),
        (None, ["mapping"]),
    ],
)
def test_wrong_network_options_are_refused(options, words):
    with pytest.raises(GenotypeError) as caught:
        NetworkOptions.from_dict(options)
    for word in words:
        assert word in str(caught.value)


def test_the_room_does_not_need_paddle():
    code = "import sys, paddle_darts.genotypes as g; g.genotype('DARTS'); sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
