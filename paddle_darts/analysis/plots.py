"""Brings the ``plots/`` folder of a run up to date; cheap enough to be called after every epoch."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from paddle_darts.analysis.cells import FORMATS, draw_genotype
from paddle_darts.analysis.curves import draw_arch_weights, draw_curves, draw_true_accuracy
from paddle_darts.analysis.gif import gif_from_run
from paddle_darts.analysis.heat import draw_probabilities
from paddle_darts.analysis.looks import ALL_KINDS
from paddle_darts.analysis.stored import as_genotype
from paddle_darts.errors import RunError
from paddle_darts.io.files import read_json, read_rows, write_json

_STAMP = ".drawn.json"


def refresh_plots(run_dir: str | Path, final: bool = False) -> list[Path]:
    """Draw what the files of a run now say and return the pictures written.

    Cells are drawn only when the genotype differs from the one last drawn, curves and architecture weights
    every time, the heat map and the animation only when ``final``. Whatever a run does not have (a training
    has no architecture weights, a first epoch no history) is left out.
    """
    run_dir = Path(run_dir)
    plots = run_dir / "plots"
    written = _draw_cells(run_dir, plots)
    history = read_rows(run_dir / "history.jsonl")
    written += draw_curves(history, plots) + draw_true_accuracy(history, plots)
    alphas = read_rows(run_dir / "alphas.jsonl")
    if alphas:
        written += draw_arch_weights(alphas, plots)
    if alphas and final:
        written += draw_probabilities(alphas[-1], plots / "probabilities.png")
        with suppress(RunError):  # no epoch has derived a cell that could be drawn
            written.append(gif_from_run(run_dir))
    return written


def _draw_cells(run_dir: Path, plots: Path) -> list[Path]:
    genotype = as_genotype(read_json(run_dir / "genotype.json"))
    if genotype is None:
        # An empty derivation: pictures of an older epoch would pass for the present one.
        for name in (*_cell_files(ALL_KINDS), _STAMP):
            (plots / name).unlink(missing_ok=True)
        return []
    stamp, now = plots / _STAMP, {"genotype": str(genotype)}
    if all((plots / name).is_file() for name in _cell_files(genotype.kinds)) and read_json(stamp) == now:
        return []
    written = draw_genotype(genotype, plots)
    write_json(stamp, now)
    return written


def _cell_files(kinds: Iterable[str]) -> list[str]:
    return [f"{kind}.{name}" for kind in kinds for name in FORMATS]
