"""Differentiable architecture search for PaddlePaddle.

The whole public API is small; everything else is importable from the rooms below::

    import paddle_darts as pdarts
    genotype = pdarts.genotype("DARTS_PADDLE")
    network = pdarts.build_network(genotype, num_classes=10, init_channels=36, layers=20)
    result = pdarts.search(method="darts", dataset="digits", epochs=3)
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if importlib.util.find_spec("paddle") is None:
    raise ImportError(
        "paddle_darts needs PaddlePaddle 3.0 or newer: run `pip install 'paddle-darts[cpu]'` for the CPU build, "
        "or install a GPU build by PaddlePaddle's installation guide."
    )

__all__ = [
    "Genotype",
    "SearchResult",
    "__version__",
    "build_network",
    "evaluate",
    "genotype",
    "list_datasets",
    "list_genotypes",
    "list_methods",
    "list_spaces",
    "search",
    "train",
]

if TYPE_CHECKING:
    from paddle_darts.data import list_datasets
    from paddle_darts.engine import SearchResult, evaluate, search, train
    from paddle_darts.genotypes import Genotype, genotype, list_genotypes
    from paddle_darts.methods import list_methods
    from paddle_darts.networks import build_network
    from paddle_darts.spaces import list_spaces

#: Which room each public name comes from.
_HOMES = {
    "data": ("list_datasets",),
    "engine": ("SearchResult", "evaluate", "search", "train"),
    "genotypes": ("Genotype", "genotype", "list_genotypes"),
    "methods": ("list_methods",),
    "networks": ("build_network",),
    "spaces": ("list_spaces",),
}


def __getattr__(name: str) -> Any:
    """Import the rooms only when they are asked for (`import paddle_darts` alone stays quick)."""
    for room, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"paddle_darts.{room}"), name)
    raise AttributeError(f"module 'paddle_darts' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
