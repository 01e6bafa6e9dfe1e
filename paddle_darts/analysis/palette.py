"""Colours of the operations, the same in every picture, curve and table."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

INK = "#1f2937"
FAINT = "#8a94a3"
INPUT_FILL, NODE_FILL, OUTPUT_FILL = "darkseagreen2", "lightblue", "palegoldenrod"


@dataclass(frozen=True)
class OpStyle:
    """How one operation is drawn: ``colour`` on white, ``on_dark`` on dark, line ``width`` and ``dash``."""

    colour: str
    on_dark: str
    width: float = 1.6
    dash: str = "solid"


# (beginning of the name, small kernel, large kernel), each (on white, on dark). All have a contrast of at
# least 4.5:1 with their ground, and no two families fall together for red-green blind readers; the large
# kernel of a family is darker and thicker, so that greyscale print still tells it from the small one.
_FAMILIES: tuple[tuple[str, tuple[str, str], tuple[str, str]], ...] = (
    ("sep_conv", ("#0067a5", "#5db4f0"), ("#003a63", "#a9d6f7")),
    ("nor_conv", ("#0067a5", "#5db4f0"), ("#003a63", "#a9d6f7")),
    ("dil_conv", ("#b4500b", "#f5a05a"), ("#713000", "#fbcb9f")),
    ("max_pool", ("#8c3a84", "#d98bd2"), ("#6b2a66", "#e8b5e3")),
    ("avg_pool", ("#5a4fb0", "#a9a1f5"), ("#40388a", "#cbc6fa")),
    ("skip", ("#00745a", "#4fd0ad"), ("#00745a", "#4fd0ad")),
    ("identity", ("#00745a", "#4fd0ad"), ("#00745a", "#4fd0ad")),
)
_OTHERS = (
    ("#0f6f84", "#63c7dc"),
    ("#7a5c00", "#e0c05a"),
    ("#a3304a", "#f2889f"),
    ("#3d6b1f", "#9bcf77"),
    ("#4a5568", "#b8c2d1"),
    ("#81411b", "#e2a27c"),
)
_NONE = OpStyle("#6b7280", "#9aa4b2", 1.2, "dashed")
#: A line that stands back behind the others.
FAINT_LINE = OpStyle(FAINT, FAINT, 1.0, "dotted")
_LARGE = {"nor_conv": 3}  # the kernel size from which on a family counts as large; 5 for the others
_KERNEL = re.compile(r"(\d+)x\d+")


def op_style(op: str) -> OpStyle:
    """The style of an operation by its name; a name of no known family always gets the same spare colour."""
    if op in ("none", "zero", "zeroize"):
        return _NONE
    kernel = _KERNEL.search(op)
    size = int(kernel.group(1)) if kernel else 0
    for prefix, small_colours, large_colours in _FAMILIES:
        if op.startswith(prefix):
            large = size >= _LARGE.get(prefix, 5)
            return OpStyle(*(large_colours if large else small_colours), width=2.6 if large else 1.6)
    spare = _OTHERS[zlib.crc32(op.encode()) % len(_OTHERS)]
    return OpStyle(*spare, width=2.6 if size >= 5 else 1.6)


def line_colours() -> list[str]:
    """Every colour that :func:`op_style` can give on white, each once."""
    families = [pair[0] for _, *pairs in _FAMILIES for pair in pairs]
    return list(dict.fromkeys([_NONE.colour, *families, *(light for light, _ in _OTHERS)]))


def line_dash(op: str, ops: list[str]) -> str:
    """Line style of an operation's curve: solid for the first of its family in ``ops``, then dashed."""
    if op_style(op).dash == "dashed":
        return "dotted"
    family = op.split("_")[0]
    members = [name for name in ops if name.split("_")[0] == family]
    return ("solid", "dashed", "dashdot")[min(members.index(op), 2)] if op in members else "solid"
