"""Every published notation is read and written; whatever else is a GenotypeError, and nothing is executed."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import (
    EVAL_ONLY_OPS,
    FORMATS,
    PRIMITIVES,
    Genotype,
    NetworkOptions,
    format_genotype,
    from_document,
    genotype,
    genotype_document,
    parse_genotype,
)

DARTS = genotype("DARTS_V2")
LITERAL = str(DARTS)
SPARSE = (
    "Genotype(normal=[('max_pool_3x3', 2, 0), ('sep_conv_5x5', 2, 1), ('skip_connect', 5, 3), ('none', 5, 0)], "
    "normal_concat=range(2, 6), reduce=[('dil_conv_3x3', 4, 1)], reduce_concat=range(2, 6))"
)


@st.composite
def cells(draw):
    """Edges and output states of one cell of 1 to 6 nodes, any operation, any order of states."""
    nodes = draw(st.integers(1, 6))
    ops = st.sampled_from(PRIMITIVES + EVAL_ONLY_OPS)
    edges = [(draw(ops), draw(st.integers(0, k // 2 + 1))) for k in range(2 * nodes)]
    states = st.permutations(range(nodes + 2))
    return edges, draw(st.one_of(st.just(list(range(2, nodes + 2))), states))[: draw(st.integers(1, nodes + 2))]


@st.composite
def sparse_cells(draw):
    """Edges with targets, of which at least one reads an input, and output states."""
    ops = st.sampled_from(PRIMITIVES + EVAL_ONLY_OPS)
    targets = draw(st.lists(st.integers(2, 7), max_size=9))
    edges = [(draw(ops), target, draw(st.integers(0, target - 1))) for target in targets]
    edges.insert(draw(st.integers(0, len(edges))), (draw(ops), draw(st.integers(2, 7)), draw(st.integers(0, 1))))
    return edges, draw(st.lists(st.integers(0, 7), min_size=1, unique=True))


@st.composite
def genotypes(draw, of=cells):
    options = NetworkOptions(draw(st.booleans()), draw(st.none() | st.just((2, 5))), draw(st.booleans()))
    return Genotype(*draw(of()), *draw(of()), network=options)


@pytest.mark.parametrize("style", FORMATS)
@given(one=genotypes())
def test_every_style_comes_back(style, one):
    assert parse_genotype(format_genotype(one, style)) == one


@pytest.mark.parametrize("style", sorted(set(FORMATS) - {"nested"}))
@given(one=genotypes(sparse_cells))
def test_every_style_of_sparse_cells_comes_back(style, one):
    assert parse_genotype(format_genotype(one, style)) == one


@given(one=genotypes(sparse_cells))
def test_sparse_cells_have_no_nested_style(one):
    with pytest.raises(GenotypeError, match=r"nested style.*python, markdown or json"):
        format_genotype(one, "nested")


@given(one=genotypes() | genotypes(sparse_cells))
def test_documents_come_back_with_the_network(one):
    document = json.loads(json.dumps(genotype_document(one)))
    for again in (from_document(document), parse_genotype(json.dumps(document, indent=1))):
        assert (again, again.network) == (one, one.network)


@pytest.mark.parametrize(
    "text",
    [
        LITERAL,
        f"DARTS_V2 = {LITERAL}\n",
        f"04/02 09:14:37 PM genotype = {LITERAL}",
        f"2019-05-01 12:00:00,123 - INFO: genotype = {LITERAL}\n",
        f"# the second-order cell\nDARTS_V2 = genotypes.{LITERAL}  # 2.76 %\n",
        f"| DARTS | 1 | `{LITERAL}` | 97.24 |",
        LITERAL.replace("range(2, 6)", "[2, 3, 4, 5]"),
        LITERAL.replace("range(2, 6)", "(2, 3, 4, 5,)"),
        LITERAL.replace("'", '"').replace(" ", "").replace("[(", "[\n  ("),
        LITERAL.replace("(", "( \t").replace(")", "\r\n )").replace(",", " ,"),
        LITERAL.replace(")]", "),]"),
        f"Genotype({[tuple(e) for e in DARTS.normal]}, [2, 3, 4, 5], "
        f"reduce_concat=range(2, 6), reduce={[tuple(e) for e in DARTS.reduce]},)",
        f"Genotype({DARTS.to_dict()['normal']}, range(2,6), {DARTS.to_dict()['reduce']}, range(2,6))",
        LITERAL.replace("[", "\\[").replace("]", "\\]"),
        LITERAL.replace("_", "\\_").replace("(", "\\("),
        "\ufeff" + json.dumps(DARTS.to_dict(), indent=2),
        json.dumps(DARTS.to_dict()).replace("[", "\\[").replace("_", "\\_"),
        json.dumps({**DARTS.to_dict(), "normal": [list(node) for node in DARTS.nodes("normal")]}),
    ],
)
def test_published_notations(text):
    assert parse_genotype(text) == DARTS


def test_nested_style_groups_by_node():
    card = (
        "Genotype(normal=[[('none', 1), ('skip_connect', 0)], [('none', 2), ('none', 1)]], "
        "normal_concat=range(2, 4), reduce=[[('avg_pool_3x3', 1), ('sep_conv_5x5', 0)]], reduce_concat=[2])"
    )
    one = parse_genotype(card)
    assert one.normal[2] == ("none", 2) and one.count("none") == 3
    assert format_genotype(one, "nested") == card.replace("[2])", "range(2, 3))")
    assert format_genotype(one, "markdown").startswith("Genotype(normal=\\[\\[('none', 1), ('skip\\_connect', 0)\\]")


@pytest.mark.parametrize(
    "text",
    [
        SPARSE,
        f"FairDARTS_x = {SPARSE}\n",
        SPARSE.replace("range(2, 6)", "[2, 3, 4, 5]"),
        SPARSE.replace("_", "\\_").replace("[", "\\[").replace("]", "\\]"),
        json.dumps(parse_genotype(SPARSE).to_dict()),
    ],
)
def test_published_notations_with_targets(text):
    one = parse_genotype(text)
    assert str(one) == SPARSE and one.normal[1] == ("sep_conv_5x5", 2, 1) and one.sparse


def test_last_of_a_log():
    log = f"genotype = {genotype('DARTS_V1')}\nepoch (1/2)\nstep (2) genotype = {LITERAL} took (3 s)\nacc 99\n"
    assert parse_genotype(log, last=True) == DARTS
    assert parse_genotype("x" * 200_000 + "\n" + log, last=True) == DARTS
    with pytest.raises(GenotypeError, match=r"2 genotypes.*line 3"):
        parse_genotype(log)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["no genotype"]),
        ("DARTS_V2", ["no genotype in 'DARTS_V2'", "Genotype(normal=["]),
        ("Genotype(", ["column 10", "got 'the end'"]),
        (LITERAL[:60], ["line 1", "'the end'"]),
        (LITERAL.replace("normal=[", "normal=[[", 1), ["expected a list", "got 'normal_concat'"]),
        (LITERAL.replace("[", "[[[[[[["), ["nested too deeply"]),
        (LITERAL.replace("range(2, 6)", "range(2, 99999)"), ["expected range(stop)"]),
        (LITERAL.replace("range(2, 6)", "range()"), ["expected range(stop)"]),
        (LITERAL.replace("range(2, 6)", "range('a', 6)"), ["expected range(stop)"]),
        (LITERAL.replace("range(2, 6)", "9" * 5000), ["too large"]),
        (LITERAL.replace("range(2, 6)", "xrange(2, 6)"), ["expected a list", "'xrange'"]),
        (LITERAL.replace("'sep_conv_3x3'", "sep_conv_3x3"), ["expected a list, a string", "'sep_conv_3x3'"]),
        (
            LITERAL.replace("('sep_conv_3x3', 0)", "'sep_conv_3x3'", 1),
            ["normal cell, node 0, edge 0", "a pair"],
        ),
        (LITERAL.replace("reduce=", "reduced="), ["'reduced'", "'reduce'"]),
        (LITERAL.replace("reduce=", "normal="), ["normal is given twice"]),
        (LITERAL.replace("reduce=", "reduce_concat=").replace(", reduce_concat=range", ", range"), ["named"]),
        ("Genotype(normal=[], [2])", ["expected a named argument"]),
        ("Genotype([], [2], [], [2], [])", ["expected a named argument or ')'"]),
        ("Genotype(recurrent=[('relu', 0)], concat=range(1, 9))", ["'recurrent'"]),
        (LITERAL + " + 1", ["unexpected text after"]),
        (LITERAL + ".normal", ["unexpected text after"]),
        ("f(" + LITERAL + ")", ["column 2", "unexpected text before"]),
        (LITERAL.replace("normal_concat", "\n  normal_concat ?", 1), ["line 2, column 17", "'?'"]),
        ('{"normal": [', ["line 1, column 13", "not JSON"]),
        ('{"normal": [], "normal": []}', ["twice"]),
        ('{"normal": ' + "[" * 1000 + "]" * 1000 + "}", []),
        ('{"normal": ' + "[" * 49_000, []),
        ('{"normal": ' + "9" * 5000 + "}", []),
        ("[" * 50_000, ["no genotype"]),
        ("x" * 100_001, ["100001 characters"]),
        ("Genotype(\0)", ["unexpected '\\x00'"]),
    ],
)
def test_malformed_text_is_refused_with_the_place(text, words):
    with pytest.raises(GenotypeError) as caught:
        parse_genotype(text)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "payload", ["__import__('os').system('touch {0}')", "open('{0}', 'w')", "exec('x')", "(lambda: 0)()"]
)
@pytest.mark.parametrize(
    "shape",
    [
        "Genotype(normal={})",
        "{}",
        "{} or " + LITERAL,
        LITERAL + " if {} else 0",
        LITERAL.replace("('sep_conv_3x3', 0)", "({}, 0)"),
        LITERAL.replace("range(2, 6)", "range(2, {})"),
        LITERAL.replace("'sep_conv_3x3'", '"{}"'),
    ],
)
def test_code_is_not_executed(shape, payload, tmp_path):
    mark = tmp_path / "mark"
    text = shape.replace("{}", payload.replace("{0}", str(mark)))
    for call in (parse_genotype, genotype):
        with pytest.raises(GenotypeError):
            call(text)
    assert not mark.exists()


@given(text=st.text() | st.text(alphabet="Genotype(normal=[]{}',\\_ 0123456789\n\0\"", max_size=200))
@example("{}")
@example("{" * 10_000)
@example("\0")
@example('{"genotype": {"normal": {"a": 1}}, "schema": 1}')
def test_any_text_parses_or_is_a_genotype_error(text):
    for call in (
        parse_genotype,
        lambda t: parse_genotype(t, last=True),
        lambda t: parse_genotype("Genotype(" + t),
        genotype,
    ):
        try:
            assert isinstance(call(text), Genotype)
        except GenotypeError as error:
            assert str(error)


@given(data=st.data())
def test_damaged_literals_parse_or_are_a_genotype_error(data):
    at = data.draw(st.integers(0, len(LITERAL)))
    piece = data.draw(st.text(max_size=3) | st.sampled_from(list("()[]',=0_\\")))
    text = LITERAL[:at] + piece + LITERAL[at + data.draw(st.integers(0, 3)) :]
    try:
        parse_genotype(text)
    except GenotypeError as error:
        assert str(error)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(DARTS.to_dict())), inner),
    )
)
def test_any_json_parses_or_is_a_genotype_error(value):
    for document in ({**DARTS.to_dict(), "normal": value}, {**genotype_document(DARTS), "genotype": value}):
        with pytest.raises(GenotypeError):
            parse_genotype(json.dumps(document))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"schema": 2}, ["schema 2", "update"]),
        ({"schema": "1"}, ["schema", "'1'"]),
        ({"schema": True}, ["True"]),
        ({"schema": 0}, ["got 0"]),
        ({"space": "nas_bench"}, ["'nas_bench'", "'nas_bench_201'"]),
        ({"space": "nas_bench_201"}, ["{'arch': text}"]),
        ({"genotype": None}, ["recorded as empty"]),
        ({"network": {"auxbn": True}}, ["'auxbn'", "'aux_bn'"]),
        ({"network": None}, ["mapping"]),
        ({"genotyp": 1}, ["'genotyp'", "'genotype'"]),
    ],
)
def test_wrong_documents_are_refused(change, words):
    with pytest.raises(GenotypeError) as caught:
        from_document({**genotype_document(DARTS), **change})
    for word in words:
        assert word in str(caught.value)


def test_document_form():
    assert genotype_document(DARTS) == {
        "schema": 1,
        "space": "darts",
        "genotype": DARTS.to_dict(),
        "network": {"aux_bn": False, "reductions": None, "pool_bn": False},
    }
    assert genotype_document(None)["genotype"] is None
    with pytest.raises(GenotypeError, match="without genotype"):
        from_document({"schema": 1})


def test_unknown_style_and_type():
    with pytest.raises(GenotypeError, match="did you mean 'markdown'"):
        format_genotype(DARTS, "markdwn")
    with pytest.raises(GenotypeError, match="bytes"):
        parse_genotype(b"Genotype()")
