"""A search without data: what its schedule does in every epoch, for pictures and for trying settings out."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddle_darts.analysis.schedules import draw_schedule
from paddle_darts.engine.config import SearchConfig
from paddle_darts.engine.recipes import search_settings
from paddle_darts.errors import ConfigError
from paddle_darts.methods import MethodOptions, get_method
from paddle_darts.networks import SupernetSpec
from paddle_darts.nn.drop import RandomSource

#: Widths to try, for only the shape of the schedule matters; partial channels do not divide every one of them.
_CHANNELS = (2, 4, 8, 12, 16, 24)


def rehearse(config: SearchConfig, options: MethodOptions) -> list[dict[str, Any]]:
    """Goes through all epochs of a search without a single step; one row per epoch.

    A row holds ``epoch``, ``stage``, ``lr``, ``batch_size``, ``cells`` (of the supernet), ``arch`` (whether the
    architecture learns) and what the method tells about itself, as they are during the epoch. Decisions fall on the
    initial architecture parameters, and candidates that are trained one by one all score 0: when they fall is that of
    a real search, what is decided is not. The networks are as narrow as the method allows, so whether ``init_channels``
    suits the method is not found out; ConfigError for other settings with which the search would not run.
    """
    for channels in (narrow for narrow in _CHANNELS if narrow < config.init_channels):
        with contextlib.suppress(ConfigError):
            return _go_through(config, options, channels)
    return _go_through(config, options, config.init_channels)


def _go_through(config: SearchConfig, options: MethodOptions, channels: int) -> list[dict[str, Any]]:
    method_class = get_method(config.method)
    shape = {name: getattr(config, name) for name in ("space", "layers", "steps", "multiplier", "stem_multiplier")}
    shape["stem"] = config.stem or "cifar"
    epochs = method_class.total_epochs(options, config.epochs)
    spec = SupernetSpec(init_channels=channels, **shape)
    method = method_class(spec, options, epochs, RandomSource(config.seed))
    rows = []
    for epoch in range(epochs):
        method.begin_epoch(epoch)
        row = {
            "epoch": epoch,
            "stage": method.stage,
            "lr": method.lr,
            "batch_size": method.batch_size(config.batch_size),
            "cells": len(method.supernet.cells),
            "arch": bool(getattr(method, "learns_architecture", True)),
        }
        rows.append({**row, **method.facts()})
        method.observe(epoch, 0.0, 0.0)
        method.end_epoch(epoch)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Draws the schedules of recipes: ``python -m paddle_darts.engine.rehearsal RECIPE... --output FOLDER``."""
    parser = argparse.ArgumentParser(description="Draws what a search does in its epochs, without running it.")
    parser.add_argument("recipes", nargs="+", help="search recipes, such as search/sgas_cifar10")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder for the pictures (default: here)")
    args = parser.parse_args(argv)
    for recipe in args.recipes:
        config, options = search_settings({"config": recipe})
        rows = rehearse(config, options)
        for path in draw_schedule(rows, args.output / f"schedule_{Path(recipe).stem}"):
            print(path)


if __name__ == "__main__":
    main()
