"""Schedules without data: what each method does in which epoch, as published."""

import pytest

from paddle_darts.engine.recipes import search_settings
from paddle_darts.engine.rehearsal import main, rehearse
from paddle_darts.errors import ConfigError
from paddle_darts.methods import GRADIENT_BASED, METHODS, SAMPLE_BASED

#: A small search with as many epochs as the published one.
SMALL = {"init_channels": 8, "layers": 2}


def rows_of(recipe, **changes):
    return rehearse(*search_settings({"config": f"search/{recipe}", **SMALL, **changes}))


def changes_of(rows, key):
    """(epoch, value) wherever the value is a new one."""
    values = [row[key] for row in rows]
    return [(e, v) for e, v in enumerate(values) if e == 0 or v != values[e - 1]]


def test_darts_has_one_cosine():
    rows = rows_of("darts_cifar10")
    assert [row["epoch"] for row in rows] == list(range(50))
    assert rows[0]["lr"] == 0.025 and rows[49]["lr"] == pytest.approx(1.023679e-3, rel=1e-6)  # as in published logs
    assert {(row["stage"], row["batch_size"], row["cells"], row["arch"]) for row in rows} == {(0, 64, 2, True)}


def test_architecture_of_pc_darts_rests_first():
    assert changes_of(rows_of("pc_darts_cifar10"), "arch") == [(0, False), (15, True)]
    warm = rows_of("pc_darts_imagenet", stem="cifar")
    assert [row["lr"] for row in warm[:5]] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert warm[5]["lr"] < 0.5 and changes_of(warm, "arch") == [(0, False), (35, True)]


def test_stages_of_p_darts():
    rows = rows_of("p_darts_cifar10", layers=2, add_layers=[0, 1, 2])
    assert changes_of(rows, "stage") == [(0, 0), (25, 1), (50, 2)]
    assert changes_of(rows, "cells") == [(0, 2), (25, 3), (50, 4)]
    assert changes_of(rows, "candidates_per_edge") == [(0, 8), (25, 5), (50, 3)]
    assert changes_of(rows, "arch") == [
        (s * 25 + e, learns) for s in range(3) for e, learns in ((0, False), (10, True))
    ]
    assert [rows[e]["lr"] for e in (0, 25, 50)] == [0.025] * 3 and len(rows) == 75
    assert [rows[e]["skip_dropout"] for e in (9, 10, 35, 60)] == pytest.approx([0.06, 0.1, 0.4, 0.7])


@pytest.mark.parametrize(
    ("recipe", "every", "epochs"), [("sgas_cifar10", 5, 50), ("sgas_criterion2_freq7_cifar10", 7, 64)]
)
def test_decisions_of_sgas(recipe, every, epochs):
    rows = rows_of(recipe)
    assert len(rows) == epochs
    grown = [(0, 64)] + [(10 + every * n, 64 + 8 * (n + 1)) for n in range(8)]
    assert changes_of(rows, "batch_size") == grown
    undecided = changes_of(rows, "undecided_normal")
    assert [epoch for epoch, _ in undecided] == [epoch for epoch, _ in grown]
    left = [count for _, count in undecided]
    assert left[0] == 14 and left[-1] == 0 and left == sorted(left, reverse=True)


def test_stages_of_dr_nas():
    rows = rows_of("dr_nas_cifar10", init_channels=24)
    assert changes_of(rows, "candidates_per_edge") == [(0, 7), (25, 4)]
    assert changes_of(rows, "partial_channels") == [(0, 6), (25, 4)]
    assert changes_of(rows, "arch") == [(0, False), (10, True), (25, False), (35, True)]
    assert rows[25]["lr"] == pytest.approx(0.05)  # one cosine over both stages


def test_spaces_of_ddsas():
    shrinking = rows_of("ddsas_cifar10_shrink")
    assert changes_of(shrinking, "available_normal") == [(10 * n, 112 - 14 * n) for n in range(6)]
    growing = rows_of("ddsas_cifar10_expand")
    assert changes_of(growing, "available_reduce") == [(10 * n, 14 * (3 + n)) for n in range(6)]
    assert len(shrinking) == len(growing) == 60


def test_temperature_of_gdas():
    rows = rows_of("gdas_cifar10", epochs=12)
    assert [row["temperature"] for row in rows] == pytest.approx([10 - 0.9 * e for e in range(12)])


def test_settings_that_cannot_be_searched_cannot_be_rehearsed():
    with pytest.raises(ConfigError, match="at least 45 epochs"):
        rows_of("sgas_cifar10", epochs=44)


def test_pictures_of_recipes(tmp_path, capsys):
    main(["search/quickstart", "search/quickstart_sgas.yml", "-o", str(tmp_path)])
    names = [f"schedule_{name}.svg" for name in ("quickstart", "quickstart_sgas")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in names]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_in_nas_bench_201(method):
    """Cells count the residual blocks; what is decided is decided on six edges."""
    settings = {"epochs": 50} if method in ("darts", "ddsas", "sgas") else {}
    options = {"space": "nas_bench_201", "layers": 5, "init_channels": 8, **settings}
    rows = rehearse(*search_settings({"method": method, **options}))
    assert {row["cells"] for row in rows if row["stage"] == 0} == {5}
    if method == "sgas":
        assert [count for _, count in changes_of(rows, "undecided_cell")] == [6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("space", ["darts", "nas_bench_201"])
@pytest.mark.parametrize("method", [method.name for method in SAMPLE_BASED])
def test_candidates_of_methods_without_a_supernet(method, space):
    given = {"method": method, "space": space, "layers": 5, "epochs": 6, "candidate_epochs": 2}
    rows = rehearse(*search_settings(given))
    assert changes_of(rows, "candidates") == [(0, 0), (2, 1), (4, 2)]
    assert [e for e, _ in changes_of(rows, "candidate")] == [0, 2, 4]
    rate = rows[0]["lr"]
    assert [row["lr"] for row in rows] == pytest.approx([rate, rate / 2] * 3)
    assert {(row["stage"], row["cells"]) for row in rows} == {(0, 5)}


@pytest.mark.parametrize("method", [method.name for method in GRADIENT_BASED])
def test_quick_starts_do_all_that_their_method_does(method):
    """Every stage, decision and change of the space comes before the end."""
    rows = rows_of("quickstart" if method == "darts" else f"quickstart_{method}", layers=3)
    assert rows[-1]["arch"]
    if method in ("p_darts", "dr_nas", "ddsas"):
        published = rows_of({"ddsas": "ddsas_cifar10_shrink"}.get(method, f"{method}_cifar10"), init_channels=24)
        assert {row["stage"] for row in rows} == {row["stage"] for row in published}
    if method == "sgas":
        assert rows[-1]["undecided_normal"] == rows[-1]["undecided_reduce"] == 0
