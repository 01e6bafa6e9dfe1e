"""Genotypes as a run directory stores them."""

from __future__ import annotations

import logging
from typing import Any

from paddle_darts.errors import GenotypeError

log = logging.getLogger(__name__)


def as_genotype(value: Any) -> Any:
    """A two-cell genotype from any stored form, else None.

    Accepted: a genotype itself, its dictionary, a ``genotype.json`` document and the printed text. None means
    that there is nothing to draw as a normal and a reduction cell: an empty derivation or another space.
    """
    if isinstance(value, dict) and "genotype" in value:
        value = value["genotype"]
    if value is None or hasattr(value, "normal_concat"):
        return value
    from paddle_darts.genotypes import Genotype, genotype

    try:
        if isinstance(value, dict) and "normal" in value:
            return Genotype.from_dict(value)
        if isinstance(value, str) and value.lstrip().startswith("Genotype("):
            return genotype(value)
    except (GenotypeError, TypeError, KeyError) as error:
        log.warning("a stored genotype cannot be read and is not drawn: %s", error)
    return None
