"""The search as an animation: one frame per epoch with its cells and that epoch's numbers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddle_darts.analysis.cells import render_cell
from paddle_darts.analysis.graph import cell_graph
from paddle_darts.analysis.looks import cell_title
from paddle_darts.analysis.palette import FAINT, INK, NODE_FILL, OUTPUT_FILL, line_colours
from paddle_darts.analysis.stored import as_genotype
from paddle_darts.errors import RunError
from paddle_darts.genotypes import KINDS
from paddle_darts.io.files import read_rows, write_atomic

SIZE = (1300, 700)
_RED = "#c81e1e"
_CAPTION_TOP = 640
_FIRST_ROW, _LAST_ROW, _BETWEEN = 34, 636, 34  # of the cells; above each is room for its name
_LAST_FRAME_SECONDS = 4.0


def search_gif(
    frames: Sequence[dict[str, Any]],
    path: str | Path,
    seconds_per_frame: float = 1.0,
    backend: str = "auto",
) -> Path:
    """Write an endlessly looping GIF of 1300 x 700 pixels, one frame per epoch, the last one shown longer.

    A frame is ``{"epoch", "genotype", "train_loss", "valid_top1"}``: the genotype may be None (nothing was
    derived), the loss and the accuracy (percent) may be None or missing and are then left out of the caption,
    which reads ``Epoch 49, Loss:0.135558, Acc:0.863281``. Every cell is drawn only once however many epochs
    it lasted. Raises RunError when there are no frames.
    """
    if not frames:
        raise RunError("there are no epochs to animate yet")
    drawn: dict[Any, Any] = {}
    kinds = next((row["genotype"].kinds for row in frames if row.get("genotype") is not None), KINDS)
    pictures = [_frame(row, _bands(kinds), drawn, backend) for row in frames]
    milliseconds = [round(1000 * seconds_per_frame)] * len(pictures)
    milliseconds[-1] = max(milliseconds[-1], round(1000 * _LAST_FRAME_SECONDS))

    def save(part: Path) -> None:
        first, *rest = pictures
        first.save(part, save_all=True, append_images=rest, duration=milliseconds, loop=0)

    return write_atomic(Path(path), save)


def gif_from_run(run_dir: str | Path, seconds_per_frame: float = 1.0) -> Path:
    """Animate a finished or running search: reads ``history.jsonl``, writes ``plots/search.gif``.

    Raises RunError when the run has no history with genotypes (no epoch is finished, or it is a training).
    """
    run_dir = Path(run_dir)
    rows = read_rows(run_dir / "history.jsonl")
    frames = [{**row, "genotype": as_genotype(row.get("genotype"))} for row in rows]
    if not any(frame["genotype"] for frame in frames):
        raise RunError(f"{run_dir / 'history.jsonl'} holds no epoch with a genotype to animate")
    return search_gif(frames, run_dir / "plots" / "search.gif", seconds_per_frame)


def _bands(kinds: Sequence[str]) -> dict[str, tuple[int, int]]:
    """kind -> (first row, last row) of its part; the reduction cell is on top as in Paddle's animation."""
    height = (_LAST_ROW - _FIRST_ROW + _BETWEEN) // len(kinds)
    tops = [_FIRST_ROW + height * i for i in range(len(kinds))]
    return {kind: (top, top + height - _BETWEEN) for kind, top in zip(reversed(kinds), tops, strict=True)}


def _frame(row: dict[str, Any], bands: dict[str, tuple[int, int]], drawn: dict[Any, Any], backend: str) -> Any:
    from PIL import Image, ImageDraw

    genotype = row.get("genotype")
    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    for kind, (top, bottom) in bands.items():
        pen.text((24, top - 24), cell_title(kind), fill=FAINT, font=_font(17))
        if genotype is None:
            text = "no genotype was derived at this epoch"
            pen.text((SIZE[0] / 2, (top + bottom) / 2), text, fill=FAINT, font=_font(20), anchor="mm")
            continue
        key = cell_graph(genotype, kind)
        if key not in drawn:
            drawn[key] = _cell_picture(genotype, kind, (SIZE[0] - 60, bottom - top), backend)
        cell = drawn[key]
        image.paste(cell, ((SIZE[0] - cell.width) // 2, top + (bottom - top - cell.height) // 2))
    for top, _ in list(bands.values())[1:]:
        pen.line((140, top - 14, SIZE[0] - 24, top - 14), fill="#e5e7eb")
    _caption(pen, row)
    return image.quantize(palette=_palette(), dither=Image.Dither.NONE)


def _caption(pen: Any, row: dict[str, Any]) -> None:
    """The numbers of the epoch, centred, with the accuracy in bold red."""
    pieces = [(f"Epoch {row.get('epoch', '?')}", INK, False)]
    if row.get("train_loss") is not None:
        pieces.append((f", Loss:{row['train_loss']:.6f}", INK, False))
    if row.get("valid_top1") is not None:
        pieces += [(", ", INK, False), (f"Acc:{row['valid_top1'] / 100:.6f}", _RED, True)]
    widths = [pen.textlength(text, font=_font(26, bold)) for text, _, bold in pieces]
    x = (SIZE[0] - sum(widths)) / 2
    for (text, colour, bold), width in zip(pieces, widths, strict=True):
        pen.text((x, _CAPTION_TOP + 26), text, fill=colour, font=_font(26, bold), anchor="lm")
        x += width


def _cell_picture(genotype: Any, kind: str, box: tuple[int, int], backend: str) -> Any:
    """One cell on white, scaled down to fit ``box`` (drawn at twice the size first, for smooth lines)."""
    from PIL import Image

    picture = render_cell(genotype, kind, backend, dpi=220)
    scale = min(0.62, box[0] / picture.width, box[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


@functools.cache
def _palette() -> Any:
    """One palette for all frames: every colour that is drawn, faded in steps to what lies under it.

    Palettes made from the frames themselves trade rare colours away (a single brown arrow turns red).
    """
    from PIL import Image, ImageColor

    fills = [ImageColor.getrgb(name) for name in ("#b4eeb4", NODE_FILL, OUTPUT_FILL)]
    white = (255, 255, 255)
    lines = [ImageColor.getrgb(name) for name in (*line_colours(), INK, FAINT, _RED)]
    blends = [(line, white) for line in lines] + [(ImageColor.getrgb(INK), fill) for fill in fills]
    steps = 256 // len(blends)
    colours = [
        tuple(round(a + (b - a) * step / (steps - 1)) for a, b in zip(ink, ground, strict=True))
        for ink, ground in blends
        for step in range(steps)
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in colours for channel in colour])
    return palette


@functools.cache
def _font(size: int, bold: bool = False) -> Any:
    """DejaVu Sans, which matplotlib brings along: the same letters on every machine."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
