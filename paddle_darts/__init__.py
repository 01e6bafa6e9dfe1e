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

_EXPORTS = {
    "Genotype": "paddle_darts.genotypes",
    "genotype": "paddle_darts.genotypes",
    "list_genotypes": "paddle_darts.genotypes",
    "list_methods": "paddle_darts.methods",
    "list_spaces": "paddle_darts.spaces",
    "list_datasets": "paddle_darts.data",
    "build_network": "paddle_darts.networks",
    "search": "paddle_darts.engine",
    "train": "paddle_darts.engine",
    "evaluate": "paddle_darts.engine",
    "SearchResult": "paddle_darts.engine",
}
__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from paddle_darts.data import list_datasets
    from paddle_darts.engine import SearchResult, evaluate, search, train
    from paddle_darts.genotypes import Genotype, genotype, list_genotypes
    from paddle_darts.methods import list_methods
    from paddle_darts.networks import build_network
    from paddle_darts.spaces import list_spaces


def __getattr__(name: str) -> Any:
    """Import the rooms only when they are asked for (`import paddle_darts` alone stays quick)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'paddle_darts' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
