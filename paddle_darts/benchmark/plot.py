"""The plot of a sweep: time and memory of a step along each axis, one line per contestant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from paddle_darts.analysis.palette import FAINT, INK, op_style
from paddle_darts.io.files import write_atomic


class Look(NamedTuple):
    """How a contestant is drawn; told apart by dash and marker as well as by colour."""

    label: str
    colour: str
    dash: str
    marker: str


LOOKS = {
    "ours": Look("paddle_darts", op_style("sep_conv_3x3").colour, "solid", "o"),
    "torch": Look("PyTorch", op_style("dil_conv_3x3").colour, "dashed", "s"),
    "plain": Look("Paddle's own operators", op_style("none").colour, "dotted", "D"),
}
TITLES = {"batch_size": "batch size", "channels": "channels", "layers": "layers (cells)", "threads": "threads"}
#: (key of a measurement, label, factor)
QUANTITIES = (("median_s", "time of a step [s]", 1.0), ("peak_rss_mb", "peak memory [GB]", 1 / 1024))


def draw_sweep(
    rows: Sequence[Mapping[str, Any]],
    axes: Mapping[str, Sequence[int]],
    middle: Mapping[str, Any],
    base: Path,
    cpu: str,
) -> list[Path]:
    """Writes ``base``.svg and .png; both scales are logarithmic, for the contestants are factors apart.

    ``rows`` are those of a sweep, ``axes`` the values along each axis, ``middle`` the settings of the point where the
    axes cross. A point without a row is a point that was not measured: the line ends or skips it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.1 * len(axes) + 0.6, 6.2), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(axes), squeeze=False, sharex="col", sharey="row")
    for column, (axis, values) in enumerate(axes.items()):
        others = {a: middle[a] for a in TITLES if a != axis}
        here = [row for row in rows if others.items() <= row.items()]
        for row, (key, _, factor) in enumerate(QUANTITIES):
            for name, look in LOOKS.items():
                known = {r[axis]: r[key] * factor for r in here if r["contestant"] == name}
                points = [(value, known[value]) for value in values if value in known]
                if points:
                    _line(grid[row][column], points, look)
            _tidy(grid[row][column], values)
        grid[1][column].set_xlabel(TITLES[axis], color=INK)
    for row, (_, label, _) in enumerate(QUANTITIES):
        grid[row][0].set_ylabel(label, color=INK)
    _words(figure, {row["contestant"] for row in rows}, middle, cpu)
    formats = ("svg", "png")
    return [
        write_atomic(base.with_name(f"{base.name}.{f}"), lambda part, f=f: figure.savefig(part, format=f, dpi=130))
        for f in formats
    ]


def _line(axes: Any, points: Sequence[tuple[float, float]], look: Look) -> None:
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=look.colour, linestyle=look.dash, marker=look.marker, markersize=4.5, linewidth=1.8)


def _tidy(axes: Any, values: Sequence[int]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(values, [str(value) for value in values])
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    for side in (axes.xaxis, axes.yaxis):
        side.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(True, which="major", color="#e5e7eb", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _words(figure: Any, contestants: Collection[str], middle: Mapping[str, Any], cpu: str) -> None:
    """Legend above, and below what is the same in all plots."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=k.colour, linestyle=k.dash, marker=k.marker, markersize=4.5, label=k.label)
        for name, k in LOOKS.items()
        if name in contestants
    ]
    figure.legend(handles=handles, loc="upper center", ncols=len(LOOKS), frameon=False, fontsize=10)
    sizes = ", ".join(f"{TITLES[axis]} {middle[axis]}" for axis in TITLES)
    size = middle["image_size"]
    note = f"Forward and backward of the supernet, {size}x{size} images. Elsewhere: {sizes}. {cpu}"
    figure.text(0.5, 0.012, note, ha="center", color=FAINT, fontsize=8.5)
    figure.set_layout_engine("tight", rect=(0, 0.03, 1, 0.95))
