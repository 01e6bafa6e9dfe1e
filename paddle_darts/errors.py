"""Exceptions of the library and the wording they share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PaddleDartsError(Exception):
    """Base of every error that a user can cause or cure; its text says how."""


class ConfigError(PaddleDartsError, ValueError):
    """A setting has an impossible value, an unknown name or the wrong type."""


class DataError(PaddleDartsError):
    """A data set is missing, damaged or not of the expected form."""


class GenotypeError(PaddleDartsError, ValueError):
    """A genotype cannot be parsed, is not valid, or is not known by that name."""


class RunError(PaddleDartsError):
    """A run directory cannot be used: not writable, full, occupied or changed."""


class NonFiniteLossError(PaddleDartsError, ArithmeticError):
    """The loss became NaN or infinite."""


def nearest(name: str, allowed: Iterable[str], count: int = 3) -> list[str]:
    """The ``count`` entries of ``allowed`` that look most like ``name``, best first (case ignored)."""
    by_fold: dict[str, str] = {}
    for entry in allowed:
        by_fold.setdefault(entry.casefold(), entry)
    close = difflib.get_close_matches(name.casefold(), list(by_fold), n=count, cutoff=0.4)
    return [by_fold[entry] for entry in close]


def unknown(kind: str, name: str, allowed: Iterable[str]) -> str:
    """One sentence for an unknown name: the value got, the nearest matches, the values allowed.

    >>> unknown("method", "dart", ["darts", "pc_darts"])
    "unknown method 'dart'; did you mean 'darts'? Known: darts, pc_darts"
    """
    allowed = sorted(allowed)
    close = nearest(name, allowed, 2)
    hint = f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ";"
    listing = ", ".join(allowed[:40]) + (", ..." if len(allowed) > 40 else "")
    return f"unknown {kind} {name!r}{hint} Known: {listing}"
