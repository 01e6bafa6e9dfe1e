"""The NAS-Bench-201 space: its numbering against the benchmark's, its operations, its depths, and the size space."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import paddle
import pytest

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.genotypes.nas_bench_201 import EDGES, OPS
from paddle_darts.spaces import NAS_BENCH_201, get_space
from paddle_darts.spaces.nas_bench_201 import (
    SIZE_CELL,
    SIZE_CHANNELS,
    architecture_index,
    architectures,
    cell_kinds,
    cells_per_group,
    size_architecture,
    size_channels,
    size_index,
)

GOLDENS = Path(__file__).parents[1] / "goldens" / "nas_bench_201"


# ---- the topology space
@pytest.mark.parametrize(
    "index, text",
    [
        (0, "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"),
        (9, "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"),
        (123, "|avg_pool_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"),
        (9930, SIZE_CELL),
    ],
)
def test_index_of_the_benchmark(index: int, text: str) -> None:
    assert architectures()[index] == text
    assert architecture_index(text) == architecture_index(NasBench201Genotype.parse(text)) == index


def test_all_architectures() -> None:
    every = architectures()
    assert len(every) == len(set(every)) == 5**6
    genotypes = [NasBench201Genotype.parse(text) for text in every]
    assert [str(one) for one in genotypes] == list(every)
    assert len({one.unique for one in genotypes}) == 6466
    assert [architecture_index(text) for text in every[::997]] == list(range(0, 5**6, 997))


def test_the_whole_order_is_the_recorded_one() -> None:
    with np.load(GOLDENS / "tss_index_and_splits.npz") as golden:
        recorded = golden["tss_ops"]
    ours = [[OPS.index(op) for op in NasBench201Genotype.parse(text).ops] for text in architectures()]
    np.testing.assert_array_equal(ours, recorded)


def test_the_order_does_not_touch_pythons_generator() -> None:
    import random

    architectures.cache_clear()
    state = random.getstate()
    architectures()
    assert random.getstate() == state


def test_texts_that_are_no_cells_have_no_index() -> None:
    with pytest.raises(GenotypeError, match="three nodes"):
        architecture_index("DARTS")


# ---- cells and depths
def test_the_space() -> None:
    space = get_space("nas_bench_201")
    assert space is NAS_BENCH_201 and space.primitives == OPS and space.kinds == ("cell",)
    # (node, source) of the space, the input being state 0; (target, source) of the genotype
    assert tuple((node + 1, source) for node, source in space.edges(space.steps)) == EDGES
    assert [list(rows) for rows in space.node_rows(3)] == [[0], [1, 2], [3, 4, 5]]
    assert space.every_edge and space.inputs == space.multiplier == 1 and not space.track_running_stats


@pytest.mark.parametrize("op", OPS)
def test_operations_keep_width_and_size(op: str) -> None:
    x = paddle.randn([2, 4, 5, 6])
    y = NAS_BENCH_201.build(op, 4, 1, False)(x)
    assert y.shape == x.shape
    if op == "none":
        assert not y.numpy().any()
    if op == "skip_connect":
        np.testing.assert_array_equal(y.numpy(), x.numpy())
    with pytest.raises(ConfigError, match="unknown operation 'sep_conv_3x3'"):
        NAS_BENCH_201.build("sep_conv_3x3", 4, 1, False)


@pytest.mark.parametrize("layers, cells", [(5, 1), (8, 2), (17, 5)])
def test_depths(layers: int, cells: int) -> None:
    assert cells_per_group(layers) == cells
    assert cell_kinds(layers) == ("cell",) * 3 * cells


@pytest.mark.parametrize(
    "layers, near", [(-1, "5"), (0, "5"), (2, "5"), (4, "5"), (6, "5 or 8"), (18, "17 or 20"), (20, None)]
)
def test_other_depths_name_the_nearest(layers: int, near: str | None) -> None:
    if near is None:
        assert cells_per_group(layers) == 6
        return
    with pytest.raises(ConfigError, match=rf"3N \+ 2, such as {near} .*got {layers}"):
        cells_per_group(layers)


def test_there_are_no_reduction_cells() -> None:
    with pytest.raises(ConfigError, match=r"no reduction cells to place, got reductions=\(1,\)"):
        cell_kinds(17, (1,))


# ---- the size space
def test_size_index_is_lexicographic() -> None:
    for index, widths in enumerate(itertools.product(SIZE_CHANNELS, repeat=5)):
        if index % 1009 == 0 or index in (1, 8**5 - 1):
            text = ":".join(map(str, widths))
            assert size_index(text) == index and size_architecture(index) == text and size_channels(text) == widths
    assert (size_index("8:8:8:8:8"), size_index("8:8:8:16:32"), size_index("64:64:64:64:64")) == (0, 11, 32767)


@pytest.mark.parametrize(
    "text, words",
    [
        ("8:8:8:8", "5 widths joined by ':', got '8:8:8:8'"),
        ("8:8:8:8:x", "5 widths"),
        ("8:8:8:8:-8", "5 widths"),
        ("8:8:8:8:9", "8, 16, 24, 32, 40, 48, 56, 64; got 9"),
        ("", "5 widths"),
    ],
)
def test_wrong_sizes(text: str, words: str) -> None:
    with pytest.raises(GenotypeError, match=words):
        size_index(text)


@pytest.mark.parametrize("index", [-1, 8**5])
def test_wrong_size_indices(index: int) -> None:
    with pytest.raises(GenotypeError, match=f"indices 0 to 32767, got {index}"):
        size_architecture(index)
