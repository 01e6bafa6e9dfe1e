"""Words and numbers of the report: the headline, the table of epochs and the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from paddle_darts.analysis.panels import History, column_title, number, true_columns, true_fact

# (history key, heading); other keys with plain values follow under their own names.
_COLUMNS = (
    ("epoch", "Epoch"),
    ("stage", "Stage"),
    ("train_loss", "Train loss"),
    ("train_top1", "Train top-1 %"),
    ("valid_loss", "Valid loss"),
    ("valid_top1", "Valid top-1 %"),
    ("test_top1", "Test top-1 %"),
    ("lr", "Learning rate"),
    ("seconds", "Seconds"),
    ("peak_rss_mb", "Peak memory MB"),
)
_FORMATS = {"seconds": ".1f", "peak_rss_mb": ".0f", "lr": ".4g", "epoch": "g"}
_ON_CARDS = {"best_valid_top1", "valid_top1", "test_top1", "parameters", "macs", "epochs", "wall_seconds"}


def headline(summary: Mapping[str, Any], config: Mapping[str, Any], history: Sequence, name: str) -> dict[str, Any]:
    """Title, one sentence on the state of the run, and whether it is finished."""
    tool = str(summary.get("tool") or "").strip()
    title = summary.get("title")
    if not title and config.get("method") and config.get("dataset"):
        title = f"{config['method']} on {config['dataset']}"
    epochs = f"{len(history)} epoch{'s' if len(history) != 1 else ''}"
    kind = {"search": "Architecture search", "train": "Training"}.get(tool, "Run")
    if summary:
        took = summary.get("wall_seconds")
        state = f"{kind} finished after {epochs}" + (f" in {duration(took)}." if took else ".")
    else:
        planned = config.get("epochs")
        state = f"In progress: {epochs}" + (f" of {planned}" if planned else "") + " done so far."
    return {"title": str(title or name), "state": state, "finished": bool(summary), "kind": kind}


def cards(summary: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The numbers at the top of the page: ``label``, ``value`` and a ``note`` (may be empty)."""
    found: list[dict[str, str]] = []

    def add(label: str, value: str, note: str = "") -> None:
        found.append({"label": label, "value": value, "note": note})

    for key, label in (("test_top1", "Test accuracy"), ("valid_top1", "Validation accuracy")):
        best = best_row(history, key)
        if best is not None:
            add(
                f"Best {label.lower()}",
                f"{history[best][key]:.2f} %",
                f"epoch {history[best].get('epoch', best)}",
            )
            last = [number(row.get(key)) for row in history if not math.isnan(number(row.get(key)))][-1]
            if last != history[best][key]:
                add(f"Last {label.lower()}", f"{last:.2f} %")
            break
    losses = [number(row.get("train_loss")) for row in history if not math.isnan(number(row.get("train_loss")))]
    if losses:
        add("Training loss", f"{losses[-1]:.4f}", f"from {losses[0]:.4f}" if len(losses) > 1 else "")
    for key, label in (("parameters", "Parameters"), ("macs", "Multiply-adds")):
        if not math.isnan(number(summary.get(key))):
            add(label, short(summary[key]), f"{summary[key]:,}")
    peaks = [number(row.get("peak_rss_mb")) for row in history if not math.isnan(number(row.get("peak_rss_mb")))]
    if peaks:
        add("Peak memory", f"{max(peaks) / 1024:.2f} GB")
    seconds = [number(row.get("seconds")) for row in history if not math.isnan(number(row.get("seconds")))]
    if seconds:
        add("Time per epoch", duration(sum(seconds) / len(seconds)), f"{duration(sum(seconds))} in all")
    result = summary.get("result")
    for key, value in (result if isinstance(result, Mapping) else {}).items():
        if key not in _ON_CARDS and isinstance(value, str | int | float) and not isinstance(value, bool):
            add(str(key).replace("_", " ").capitalize(), plain(key, value))
    return found


def best_row(history: Sequence[Mapping[str, Any]], key: str) -> int | None:
    """Index of the row with the largest value of ``key``, the first of equals; None without any value."""
    known = [(number(row.get(key)), -i) for i, row in enumerate(history) if not math.isnan(number(row.get(key)))]
    return -max(known)[1] if known else None


def epoch_table(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Headings, rows of text and the index of the best row; columns without any value are left out."""
    known = dict(_COLUMNS)
    others = {
        key: str(key).replace("_", " ").capitalize()
        for row in history
        for key, value in row.items()
        if key not in known and _has_column(key) and isinstance(value, str | int | float)
    }
    columns = {**known, **others}
    columns = {key: label for key, label in columns.items() if any(row.get(key) is not None for row in history)}
    rows = [[plain(key, row.get(key)) for key in columns] for row in history]
    headings = list(columns.values())
    if any("genotype" in row for row in history):
        headings.append("Cells")
        before: Any = None
        for row, texts in zip(history, rows, strict=True):
            now = row.get("genotype")
            texts.append("none" if now is None else "same" if now == before else "changed")
            before = now
    best = best_row(history, "test_top1")
    return {
        "headings": headings,
        "rows": rows,
        "best": best_row(history, "valid_top1") if best is None else best,
    }


def _has_column(key: str) -> bool:
    """The genotype only changes or not, and the best of a table is the same in all epochs."""
    return key != "genotype" and (true_fact(key) or ("", ""))[1] != "best"


def true_table(history: History) -> list[list[str]]:
    """What a table knows of the latest architecture: column, accuracy, rank, percentile and the best possible.

    A row per column of the table; the latest architecture is that of the last epoch with one.
    """
    rows = []
    for column in true_columns(history):
        key = f"true_{column}"
        known = [row for row in history if not math.isnan(number(row.get(key)))]
        last = known[-1] if known else {}
        keys = (key, f"{key}_rank", f"{key}_percentile", f"{key}_best")
        rows.append([column_title(column), *(plain(k, last.get(k)) for k in keys)])
    return rows


def plain(key: str, value: Any) -> str:
    """A value of the history or the result as short text; an empty one when it was not due."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if key in _FORMATS:
        return format(value, _FORMATS[key])
    if isinstance(value, int):
        return f"{value:,}"
    if "top" in key or "acc" in key or true_fact(key):
        return f"{value:.2f}"
    return f"{value:.4f}" if "loss" in key else f"{value:.5g}"


def flat(document: Any, prefix: str = "") -> list[tuple[str, str]]:
    """(dotted name, text) of every leaf of a nested mapping; lists of plain values stay on one line."""
    if isinstance(document, Mapping) and document:
        return [
            leaf for key, value in document.items() for leaf in flat(value, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(document, list) and any(isinstance(item, Mapping | list) for item in document):
        return [leaf for i, item in enumerate(document) for leaf in flat(item, f"{prefix}[{i}]")]
    if isinstance(document, list):
        return [(prefix, ", ".join(map(_leaf, document)) or "[]")]
    return [(prefix, _leaf(document))] if prefix else []


def _leaf(value: Any) -> str:
    return {None: "–", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)


def duration(seconds: Any) -> str:
    """Seconds as "41.5 s", "13 min 50 s" or "2 h 05 min"."""
    value = number(seconds)
    if math.isnan(value):
        return "–"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def short(count: float) -> str:
    """3738574 as "3.74 M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if abs(count) >= size:
            return f"{count / size:.3g} {unit}" if abs(count) < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count:g}"
