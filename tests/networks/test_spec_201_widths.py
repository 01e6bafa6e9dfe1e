"""Widths that supernets may have: in the NAS-Bench-201 space no cell joins two halves of its channels."""

from __future__ import annotations

import paddle
import pytest

from paddle_darts.errors import ConfigError
from paddle_darts.networks import CellMix, SupernetSpec
from paddle_darts.networks.supernets import build_supernet


@pytest.mark.parametrize(("channels", "parts"), [(1, 1), (5, 1), (3, 3), (9, 3)])
def test_odd_widths_run_where_no_cell_halves_its_maps(channels: int, parts: int) -> None:
    spec = SupernetSpec(space="nas_bench_201", init_channels=channels, layers=5, partial_channels=parts)
    mix = CellMix(paddle.full([spec.num_edges, len(spec.primitives)], 0.2))
    logits, _ = build_supernet(spec)(paddle.randn([2, 3, 8, 8]), [mix] * len(spec.kinds))
    assert logits.shape == [2, 10] and bool(paddle.isfinite(logits).all())


@pytest.mark.parametrize(
    ("space", "channels", "parts", "needed"),
    [
        ("nas_bench_201", 0, 1, "at least 1, got 0"),
        ("nas_bench_201", 5, 2, "multiple of 2, got 5"),
        ("darts", 5, 1, "an even number of at least 2, got 5"),
        ("darts", 9, 3, "an even number of at least 2, got 9"),
    ],
)
def test_other_widths_are_refused(space: str, channels: int, parts: int, needed: str) -> None:
    with pytest.raises(ConfigError, match=needed):
        SupernetSpec(space=space, init_channels=channels, layers=5, partial_channels=parts)
