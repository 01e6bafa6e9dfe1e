"""Genotypes as a run directory stores them."""

from __future__ import annotations

import logging
from typing import Any

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import AnyGenotype, genotype, parse_genotype

log = logging.getLogger(__name__)

_BEGINNINGS = ("Genotype(", "|")  # of printed genotypes; any other text is not taken for one


def as_genotype(value: Any) -> AnyGenotype | None:
    """A genotype of any space from any stored form, else None.

    Accepted: a genotype itself, its dictionary, a ``genotype.json`` document and the printed text. None means
    that there is nothing to draw: an empty derivation, or what no known space writes.
    """
    if isinstance(value, dict) and "genotype" in value:
        value = value["genotype"]
    if isinstance(value, AnyGenotype):
        return value
    try:
        if isinstance(value, dict) and value:
            return genotype(value)
        if isinstance(value, str) and value.lstrip().startswith(_BEGINNINGS):
            return parse_genotype(value)
    except (GenotypeError, TypeError, KeyError) as error:
        log.warning("a stored genotype cannot be read and is not drawn: %s", error)
    return None
