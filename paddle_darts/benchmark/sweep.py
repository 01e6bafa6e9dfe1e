"""The sweep: search-step around one point, along batch size, channels, layers and threads."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import psutil

import paddle_darts
from paddle_darts.benchmark.config import AXES, BenchmarkConfig, Measured, SweepConfig
from paddle_darts.benchmark.contest import contest
from paddle_darts.benchmark.machine import machine
from paddle_darts.benchmark.plot import draw_sweep
from paddle_darts.benchmark.result import Measurement
from paddle_darts.benchmark.settings import sweep_settings
from paddle_darts.errors import ConfigError
from paddle_darts.io.files import read_json, write_json

log = logging.getLogger(__name__)

CASE = "search-step"
#: Who is measured in turns with whom; Paddle's own operators alone, for they need the memory of both others.
GROUPS = (("ours", "torch"), ("plain",))
#: Share of the free memory that the contestants of a point may need by our estimate.
MEMORY_SHARE = 0.9
_KEY = ("method", "epoch", "space", "image_size", "device", *AXES)

Row = dict[str, Any]


@dataclass(frozen=True)
class SweepResult:
    """All points as rows of settings, ``contestant`` and the keys of a measurement, and the files written."""

    rows: list[Row]
    files: list[Path]

    def lines(self) -> list[str]:
        """What is printed."""
        head = "".join(f"{axis:>12}" for axis in AXES) + f"  {'contestant':<10}{'s/step':>10}{'peak MB':>9}"
        table = [
            "".join(f"{row[axis]:>12}" for axis in AXES)
            + f"  {row['contestant']:<10}{row['median_s']:>10.4f}{row['peak_rss_mb']:>9.0f}"
            for row in self.rows
        ]
        return [head, *table, "", *map(str, self.files)]


def sweep(**settings: Any) -> SweepResult:
    """Measures all points that the file does not hold yet, and draws them; arguments as on the command line."""
    return run_sweep(sweep_settings(settings))


def run_sweep(config: SweepConfig) -> SweepResult:
    """Measures, after every point writes the file ``config.json`` anew, and draws the plot beside it.

    Stopped at any moment and started again it goes on where it was. A point that would not fit into memory, as
    estimated from what the contestant needs in the middle, is left out with a warning.
    """
    path = Path(config.json)
    rows = stored_rows(path)
    points = list(sweep_points(config))
    for number, point in enumerate(points, 1):
        log.info("point %d of %d: %s", number, len(points), ", ".join(f"{a} {getattr(point, a)}" for a in AXES))
        for group in GROUPS:
            missing = [n for n in group if n in config.contestants and find_row(rows, point, n) is None]
            fitting = _fitting(missing, point, points[0], rows)
            if not fitting:
                continue
            found, other_load = contest(CASE, point, fitting)
            rows += [{**_row(point, name, found[name]), "other_load": other_load} for name in fitting]
            write_json(path, {"schema": 1, "case": CASE, **_provenance(), "points": rows})
    shown = [row for p in points for n in config.contestants if (row := find_row(rows, p, n)) is not None]
    axes = {axis: [getattr(p, axis) for p in axis_points(config, axis)] for axis in config.points}
    drawn = draw_sweep(shown, axes, asdict(points[0]), path.with_suffix(""), machine()["cpu"])
    return SweepResult(shown, [path, *drawn])


def sweep_points(config: SweepConfig) -> Iterator[BenchmarkConfig]:
    """The point in the middle, then those along each axis; none twice."""
    seen = []
    for point in (_middle(config), *(p for axis in config.points for p in axis_points(config, axis))):
        if point not in seen:
            seen.append(point)
            yield point


def axis_points(config: SweepConfig, axis: str) -> list[BenchmarkConfig]:
    """The points along one axis, ascending."""
    return [replace(_middle(config), **{axis: value}) for value in sorted(set(getattr(config, f"sweep_{axis}")))]


def stored_rows(path: Path) -> list[Row]:
    """The points of an earlier sweep; ConfigError when they come from elsewhere and must not be mixed with new ones."""
    if not path.exists():
        return []
    document = read_json(path)
    if not isinstance(document, dict) or document.get("case") != CASE or not isinstance(document.get("points"), list):
        raise ConfigError(f"{path} does not hold a sweep; give another file with --json")
    old, new = document.get("machine", {}), machine()
    if (old.get("cpu"), old.get("cores")) != (new["cpu"], new["cores"]):
        raise ConfigError(
            f"{path} was measured on another machine ({old.get('cpu')}, {old.get('cores')} cores; here {new['cpu']}, "
            f"{new['cores']} cores); give another file with --json"
        )
    return document["points"]


def find_row(rows: list[Row], point: Measured, contestant: str) -> Row | None:
    """The row of a contestant at a point."""
    wanted = {"contestant": contestant, **_settings(point)}
    return next((row for row in rows if wanted.items() <= row.items()), None)


def _middle(config: SweepConfig) -> BenchmarkConfig:
    return BenchmarkConfig(**{f.name: getattr(config, f.name) for f in fields(Measured)})


def _row(point: BenchmarkConfig, contestant: str, found: Measurement) -> Row:
    return {"contestant": contestant, **_settings(point), **asdict(found)}


def _settings(point: Measured) -> Mapping[str, Any]:
    return {name: getattr(point, name) for name in _KEY}


def _provenance() -> dict[str, Any]:
    return {"paddle_darts": paddle_darts.__version__, "machine": machine()}


def _fitting(names: list[str], point: BenchmarkConfig, middle: BenchmarkConfig, rows: list[Row]) -> list[str]:
    """Those that fit into memory together: what a step needs grows with batch, channels and layers."""
    scale = 1.0
    for axis in ("batch_size", "channels", "layers"):
        scale *= getattr(point, axis) / getattr(middle, axis)
    free = psutil.virtual_memory().available / 2**20 * MEMORY_SHARE
    fitting = []
    for name in names:
        known = find_row(rows, middle, name)
        need = known["import_rss_mb"] + scale * (known["peak_rss_mb"] - known["import_rss_mb"]) if known else 0.0
        if need > free:
            log.warning("%s is left out here: it would need about %.0f MB, %.0f MB are free", name, need, free)
            continue
        free -= need
        fitting.append(name)
    return fitting
