"""Genotypes: the currency between search, retraining, drawing, counting and export; no Paddle needed."""

from paddle_darts.genotypes.core import KINDS, Genotype
from paddle_darts.genotypes.edges import EVAL_ONLY_OPS, PRIMITIVES, Edge, Link, TargetEdge
from paddle_darts.genotypes.formats import (
    FORMATS,
    GENOTYPES,
    AnyGenotype,
    format_genotype,
    from_document,
    genotype_document,
    parse_genotype,
)
from paddle_darts.genotypes.nas_bench_201 import NasBench201Genotype
from paddle_darts.genotypes.options import NetworkOptions
from paddle_darts.genotypes.registry import Entry, Macs, Params, Report, entry, genotype, list_genotypes

__all__ = [
    "EVAL_ONLY_OPS",
    "FORMATS",
    "GENOTYPES",
    "KINDS",
    "PRIMITIVES",
    "AnyGenotype",
    "Edge",
    "Entry",
    "Genotype",
    "Link",
    "Macs",
    "NasBench201Genotype",
    "NetworkOptions",
    "Params",
    "Report",
    "TargetEdge",
    "entry",
    "format_genotype",
    "from_document",
    "genotype",
    "genotype_document",
    "list_genotypes",
    "parse_genotype",
]
