"""The grammar of a genotype literal: text in, plain lists out; nothing is ever executed.

::

    genotype := "Genotype" "(" [argument {"," argument} [","]] ")"
    argument := [FIELD "="] value                     positional arguments stand before named ones
    value    := STRING | INT | range | ("[" | "(") [value {"," value} [","]] ("]" | ")")
    range    := "range" "(" INT ["," INT] ")"

A backslash before punctuation is Markdown's escape and means the character itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from paddle_darts.errors import GenotypeError, unknown
from paddle_darts.genotypes.core import FIELDS

MAX_CHARS = 100_000

_START = re.compile(r"\bGenotype\s*\\?\(")
_END = re.compile(r"[ \t\r,;`*]*(?=$|[\n#|])")
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\\(?=[\[\](){},=*]))+)
      | (?P<string>'[^'\n]*'|"[^"\n]*")
      | (?P<name>(?:[^\W\d]|\\_)(?:\w|\\_)*)
      | (?P<int>-?[0-9]+)
      | (?P<mark>[\[\](),=])""",
    re.VERBOSE,
)
_CLOSING = {"[": "]", "(": ")"}


def read_literal(text: str, *, last: bool = False) -> dict[str, Any]:
    """The arguments, by field name, of the only (or the ``last``) ``Genotype(...)`` in ``text``.

    Around a single literal its line may hold ``NAME =`` or a log prefix and a comment, but no expression;
    with ``last`` what surrounds it is not looked at. Raises `GenotypeError` with line and column. The values
    are not validated here.
    """
    starts = [match.start() for match in _START.finditer(text)]
    if not starts:
        raise GenotypeError(
            f"no genotype in {text.strip()[:60]!r}: expected Genotype(normal=[...], normal_concat=..., "
            'reduce=[...], reduce_concat=...) or JSON {"normal": [...], ...}'
        )
    if last:
        return _Parser(text, starts[-1]).genotype()
    if len(starts) > 1:
        raise GenotypeError(f"the text holds {len(starts)} genotypes, keep one: {_place(text, starts[1])} has another")
    line = text.rfind("\n", 0, starts[0]) + 1
    before = re.search(r"[()'\"]", text[line : starts[0]])
    if before:
        raise GenotypeError(f"{_place(text, line + before.start())}: unexpected text before Genotype(...)")
    parser = _Parser(text, starts[0])
    fields = parser.genotype()
    if not _END.match(text, parser.token.at + 1):
        raise GenotypeError(f"{_place(text, parser.token.at + 1)}: unexpected text after Genotype(...)")
    return fields


class _Token(NamedTuple):
    kind: str  # "string", "name", "int", a punctuation mark itself, or "end"
    text: str
    at: int


class _Parser:
    """Recursive descent over one ``Genotype(...)`` that begins at ``start``; the depth is bounded."""

    def __init__(self, text: str, start: int) -> None:
        self.text, self.start = text, start
        self.tokens = self._tokens()
        self.token = next(self.tokens)

    def genotype(self) -> dict[str, Any]:
        """The arguments by field; afterwards ``token`` is the closing bracket."""
        self._take("name")
        self._take("(")
        fields: dict[str, Any] = {}
        named = False
        while self.token.kind != ")":
            at = self.token
            if at.kind == "name" and at.text != "range":
                named, key = True, self._take("name")
                self._take("=")
            elif named or len(fields) == len(FIELDS):
                raise self._error("expected a named argument or ')'")
            else:
                key = FIELDS[len(fields)]
            if key not in FIELDS:
                raise GenotypeError(f"{_place(self.text, at.at)}: {unknown('genotype field', key[:60], FIELDS)}")
            if key in fields:
                raise GenotypeError(f"{_place(self.text, at.at)}: {key} is given twice")
            fields[key] = self._value(depth=0)
            self._separator(")")
        return fields

    def _value(self, depth: int) -> Any:
        kind, text, _ = self.token
        if kind in ("string", "int"):
            self._take(kind)
            return int(text) if kind == "int" else text
        if kind == "name" and text == "range":
            return self._range()
        if kind not in _CLOSING:
            raise self._error("expected a list, a string, an integer or range(a, b)")
        if depth > 3:
            raise self._error("nested too deeply: expected at most a list of nodes of edges")
        self._take(kind)
        return self._values(_CLOSING[kind], depth)

    def _values(self, closing: str, depth: int) -> list:
        values = []
        while self.token.kind != closing:
            values.append(self._value(depth + 1))
            self._separator(closing)
        self._take(closing)
        return values

    def _range(self) -> list[int]:
        at = self.token
        self._take("name")
        self._take("(")
        bounds = self._values(")", depth=0)
        if len(bounds) not in (1, 2) or not all(isinstance(b, int) and abs(b) <= 1000 for b in bounds):
            raise GenotypeError(f"{_place(self.text, at.at)}: expected range(stop) or range(start, stop) of states")
        return list(range(*bounds))

    def _separator(self, closing: str) -> None:
        if self.token.kind == ",":
            self._take(",")
        elif self.token.kind != closing:
            raise self._error(f"expected ',' or {closing!r}")

    def _take(self, kind: str) -> str:
        if self.token.kind != kind:
            raise self._error(f"expected {'a ' + kind if kind.isalpha() else repr(kind)}")
        text = self.token.text
        self.token = next(self.tokens)
        return text

    def _tokens(self) -> Iterator[_Token]:
        at, stop = self.start, min(len(self.text), self.start + MAX_CHARS)
        while at < stop:
            match = _TOKEN.match(self.text, at, stop)
            if match is None:
                raise GenotypeError(f"{_place(self.text, at)}: unexpected {self.text[at]!r}")
            kind, text = match.lastgroup or "", match.group()
            if kind == "int" and len(text) > 9:
                raise GenotypeError(f"{_place(self.text, at)}: the number {text[:20]}... is too large")
            if kind == "string":
                text = text[1:-1].replace("\\_", "_")
            elif kind == "name":
                text = text.replace("\\_", "_")
            if kind != "space":
                yield _Token(text if kind == "mark" else kind, text, at)
            at = match.end()
        while True:
            yield _Token("end", "the end", stop)

    def _error(self, expected: str) -> GenotypeError:
        return GenotypeError(f"{_place(self.text, self.token.at)}: {expected}, got {self.token.text[:40]!r}")


def _place(text: str, at: int) -> str:
    line = text.rfind("\n", 0, at) + 1
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - line + 1}"
