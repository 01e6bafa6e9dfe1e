"""Reading and writing genotypes in every published notation, by a grammar: no text is ever executed.

Read are the literal that DARTS tools print, with flat edges (pairs or triples) or pairs grouped by node, also behind
``NAME =`` or a log prefix and with Markdown escapes; the text of a NAS-Bench-201 cell; and JSON: the bare cells or the
document of ``genotype.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from paddle_darts.errors import GenotypeError, unknown
from paddle_darts.genotypes.core import KINDS, Genotype, concat_literal
from paddle_darts.genotypes.grammar import MAX_CHARS, read_literal
from paddle_darts.genotypes.nas_bench_201 import NasBench201Genotype
from paddle_darts.genotypes.options import NetworkOptions

SCHEMA = 1
#: A genotype of any search space.
AnyGenotype = Genotype | NasBench201Genotype
#: The type of the genotypes of each search space.
GENOTYPES: dict[str, type[AnyGenotype]] = {one.space: one for one in (Genotype, NasBench201Genotype)}


def parse_genotype(text: str, *, last: bool = False) -> AnyGenotype:
    """The genotype that ``text`` spells in any of the notations of this module.

    ``last``: take the last literal of many, as in the log of a search; else a text with several is an error.
    Raises `GenotypeError` naming line and column, or the cell, node and edge that is wrong.
    """
    if not isinstance(text, str):
        raise GenotypeError(f"a genotype is parsed from text, got {type(text).__name__}")
    if len(text) > MAX_CHARS and not last:
        raise GenotypeError(f"the text has {len(text)} characters; a genotype has at most {MAX_CHARS}")
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "\\{")):
        return _parse_json(text)
    plain = re.sub(r"\\([|_~])", r"\1", text)
    if "Genotype" not in text and (last or plain.lstrip("\ufeff \t\r\n").startswith("|")):
        cell = NasBench201Genotype.find(plain) if last else NasBench201Genotype.parse(plain.lstrip("\ufeff"))
        if cell is not None:
            return cell
    return Genotype.from_dict(read_literal(text, last=last))


def format_genotype(genotype: AnyGenotype, style: str = "python") -> str:
    """``genotype`` in one of `FORMATS`; `parse_genotype` reads each of them back.

    The style ``nested`` does not exist for sparse cells (edges with targets): a `GenotypeError`. A NAS-Bench-201 cell
    has one text for all styles but ``json``.
    """
    if style not in FORMATS:
        raise GenotypeError(unknown("genotype style", str(style), FORMATS))
    return FORMATS[style](genotype)


def genotype_document(genotype: AnyGenotype | None, space: str = "darts") -> dict[str, Any]:
    """The content of a ``genotype.json``; None records a derivation in ``space`` that chose no edge."""
    return {
        "schema": SCHEMA,
        "space": space if genotype is None else genotype.space,
        "genotype": None if genotype is None else genotype.to_dict(),
        "network": (NetworkOptions() if genotype is None else genotype.network).to_dict(),
    }


def from_document(document: Mapping[str, Any]) -> AnyGenotype:
    """Inverse of `genotype_document`; a newer schema, an unknown space or an empty record is an error."""
    known = ("schema", "space", "genotype", "network")
    for key in document:
        if key not in known:
            raise GenotypeError(unknown("key in the genotype document", str(key)[:60], known))
    schema, space = document.get("schema"), document.get("space", "darts")
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise GenotypeError(f"genotype document: schema must be a number from 1 to {SCHEMA}, got {schema!r}")
    if schema > SCHEMA:
        raise GenotypeError(
            f"genotype document of schema {schema}; this version reads up to {SCHEMA}: update paddle_darts"
        )
    if not isinstance(space, str) or space not in GENOTYPES:
        raise GenotypeError(f"genotype document: {unknown('search space', str(space)[:60], GENOTYPES)}")
    if "genotype" not in document:
        raise GenotypeError(f"genotype document without genotype; it needs {', '.join(known)}")
    if document["genotype"] is None:
        raise GenotypeError("the genotype is recorded as empty: the derivation kept no edge, so nothing can be built")
    network = NetworkOptions.from_dict(document.get("network", {}))
    return GENOTYPES[space].from_dict(document["genotype"], network=network)


def from_mapping(value: Mapping[str, Any]) -> AnyGenotype:
    """The genotype of a document or of the bare cells."""
    if "genotype" in value or "schema" in value:
        return from_document(value)
    return (NasBench201Genotype if "arch" in value else Genotype).from_dict(value)


def _nested(genotype: AnyGenotype) -> str:
    """Edges grouped by node, as pt.darts and the P-DARTS model card print them.

    A sparse cell has no such form, since the place of a group is what names its node there.
    """
    if isinstance(genotype, NasBench201Genotype):
        return str(genotype)
    if genotype.sparse:
        raise GenotypeError(
            "the nested style groups two edges per node, and the edges of this genotype name their nodes themselves; "
            "use the style python, markdown or json"
        )
    parts = []
    for kind in KINDS:
        nodes = [[tuple(edge) for edge in node] for node in genotype.nodes(kind)]
        parts.append(f"{kind}={nodes}, {kind}_concat={concat_literal(getattr(genotype, f'{kind}_concat'))}")
    return f"Genotype({', '.join(parts)})"


def _markdown(genotype: AnyGenotype) -> str:
    """The nested form (of sparse cells the flat one) with the characters escaped that Markdown would interpret."""
    if isinstance(genotype, NasBench201Genotype):
        return re.sub(r"([|_~])", r"\\\1", str(genotype))
    return re.sub(r"([\[\]_])", r"\\\1", str(genotype) if genotype.sparse else _nested(genotype))


FORMATS: dict[str, Callable[[AnyGenotype], str]] = {
    "python": str,
    "nested": _nested,
    "markdown": _markdown,
    "json": lambda genotype: json.dumps(genotype.to_dict()),
}


def _parse_json(text: str) -> AnyGenotype:
    """JSON cells or document; in JSON proper ``\\[`` and ``\\_`` are impossible, so they are Markdown's."""
    plain = re.sub(r"(?<!\\)\\([\[\]{}_])", r"\1", text.lstrip("\ufeff"))
    try:
        value = json.loads(plain, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise GenotypeError(f"line {error.lineno}, column {error.colno}: not JSON, {error.msg}") from None
    except (RecursionError, ValueError) as error:
        raise GenotypeError(f"not a genotype in JSON: {error}") from None
    return from_mapping(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice")
    return value
