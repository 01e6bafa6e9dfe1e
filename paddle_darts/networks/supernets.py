"""The supernet of each skeleton."""

from __future__ import annotations

from paddle_darts.networks.spec import SupernetSpec
from paddle_darts.networks.supernet import SearchNetwork, Supernet
from paddle_darts.networks.supernet_201 import NasBench201Supernet
from paddle_darts.spaces import get_space

SUPERNETS: dict[str, type[SearchNetwork]] = {"darts": Supernet, "nas_bench_201": NasBench201Supernet}


def build_supernet(spec: SupernetSpec) -> SearchNetwork:
    """The search network of ``spec``."""
    return SUPERNETS[get_space(spec.space).skeleton](spec)
