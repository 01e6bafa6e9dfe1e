"""The report of a run: one HTML page with everything in it, that opens without a network or a server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paddle_darts.analysis.charts import HEIGHT, WIDTH, line_charts, operations, true_charts, weight_cells
from paddle_darts.analysis.facts import cards, epoch_table, flat, headline, true_table
from paddle_darts.analysis.looks import cell_role, cell_title
from paddle_darts.analysis.plots import refresh_plots
from paddle_darts.analysis.stored import as_genotype
from paddle_darts.errors import RunError
from paddle_darts.io.files import read_config, read_json, read_rows, write_text

__all__ = ["refresh_plots", "write_report"]

_MEDIA = {".svg": "image/svg+xml", ".png": "image/png", ".gif": "image/gif"}


def write_report(run_dir: str | Path) -> Path:
    """Write ``report.html`` of a run directory from the files that lie in it, and return its path.

    Everything is optional: what a run does not have (yet) is left out of the page. Pictures are taken from
    ``plots/`` as they are (:func:`refresh_plots` draws them). Every text is escaped, pictures are embedded as
    images, in which no script runs, and the page's own policy forbids to load anything from elsewhere.
    Raises RunError when there is no such directory.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise RunError(f"no run directory {run_dir}")
    page = _template().render(_contents(run_dir))
    return write_text(run_dir / "report.html", page)


def _contents(run_dir: Path) -> dict[str, Any]:
    """The values that the template needs."""
    config = read_config(run_dir / "config.yaml")
    summary = _mapping(read_json(run_dir / "summary.json"))
    history = read_rows(run_dir / "history.jsonl")
    alphas = read_rows(run_dir / "alphas.jsonl")
    document = _mapping(read_json(run_dir / "genotype.json"))
    genotype = as_genotype(document)
    plots = run_dir / "plots"
    return {
        **headline(summary, config, history, run_dir.resolve().name),
        "run": run_dir.resolve().name,
        "cards": cards(summary, history),
        "cells": _cell_pictures(plots, genotype.kinds) if genotype is not None else [],
        "genotype": _genotype_text(document, genotype),
        "derived": document.get("genotype") is not None,
        "has_document": bool(document),
        "network": flat(document.get("network")),
        "next_command": str(summary.get("next_command") or ""),
        "charts": line_charts(history),
        "true_rows": true_table(history),
        "true_charts": true_charts(history),
        "chart_size": (WIDTH, HEIGHT),
        "weights": weight_cells(alphas, genotype),
        "weights_epoch": alphas[-1].get("epoch") if alphas else None,
        "ops": operations(alphas),
        "animation": _data_uri(plots / "search.gif"),
        "epochs": epoch_table(history) if history else None,
        "config": flat(config),
        "environment": flat(_mapping(read_json(run_dir / "environment.json"))),
    }


def _mapping(document: Any) -> dict[str, Any]:
    return document if isinstance(document, dict) else {}


def _genotype_text(document: dict[str, Any], genotype: Any) -> str:
    """The printed genotype; for what no known space writes, the stored JSON."""
    if genotype is not None:
        return str(genotype)
    stored = document.get("genotype")
    return stored if isinstance(stored, str) else json.dumps(stored) if stored is not None else ""


def _cell_pictures(plots: Path, kinds: Iterable[str]) -> list[dict[str, str]]:
    pictures = []
    for kind in kinds:
        uri = _data_uri(plots / f"{kind}.svg") or _data_uri(plots / f"{kind}.png")
        if uri:
            pictures.append({"title": cell_title(kind), "role": cell_role(kind), "uri": uri})
    return pictures


def _data_uri(path: Path) -> str:
    """A picture as text that an ``<img>`` shows, or an empty text when there is no such file."""
    if not path.is_file():
        return ""
    return f"data:{_MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _template() -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2")
