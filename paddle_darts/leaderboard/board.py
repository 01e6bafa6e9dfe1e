"""A leaderboard from start to end: what the command line and Python callers use."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddle_darts.analysis.nats import NatsTable, read_table
from paddle_darts.data import load_dataset
from paddle_darts.errors import ConfigError, RunError
from paddle_darts.leaderboard.config import LeaderboardConfig
from paddle_darts.leaderboard.entries import Entry, plan, stored_entries
from paddle_darts.leaderboard.plots import draw_accuracy, draw_skips
from paddle_darts.leaderboard.results import columns_of, outcome, references, rows_of
from paddle_darts.leaderboard.runner import Progress, only_one, run_entries
from paddle_darts.leaderboard.settings import check_protocol, keep_protocol, leaderboard_settings, threads_of
from paddle_darts.leaderboard.table import Board, column_title


@dataclass(frozen=True)
class LeaderboardResult:
    """The table, the files that hold it, and what came of the entries (None when nothing was to run)."""

    board: Board
    files: list[Path]
    progress: Progress | None

    @property
    def status(self) -> int:
        """The exit status: 0 when every entry is done, 1 when some failed, 128 + n when stopped by signal n."""
        if self.progress is None:
            return 0
        return 128 + self.progress.signum if self.progress.signum else int(bool(self.progress.failed))

    def lines(self) -> list[str]:
        """What is printed."""
        lines = [self.board.markdown(), *map(str, self.files)]
        if self.progress and self.progress.failed:
            failed = len(self.progress.failed)
            lines += ["", f"{failed} {'entry' if failed == 1 else 'entries'} failed:"]
            lines += [f"  {title}: {error}" for title, error in self.progress.failed.items()]
        if self.progress and (self.progress.left or self.progress.failed):
            lines += ["", f"go on:     {continue_command(self.board.config)}"]
        return lines


def leaderboard(**settings: Any) -> LeaderboardResult:
    """Runs methods under one protocol and grades what they find by a table of true accuracies.

    Keyword arguments are the settings of the command line (:class:`LeaderboardConfig`), ``config`` names a recipe.
    Every entry is a search in a process and a run directory of its own, ``<out>/<name>/seed<k>``; what is done is not
    run again, what was interrupted goes on. After every entry ``leaderboard.json``, ``.csv``, ``.md`` and the plots
    ``accuracy`` and ``skips`` are written anew. ConfigError and RunError before anything runs, also when an entry
    has begun with other settings. Example: ``leaderboard(dataset="digits", image_size=8, init_channels=4, layers=5,
    epochs=3, methods=["darts", "gdas"], seeds=2, nats_table="table.csv")``.
    """
    return run_leaderboard(leaderboard_settings(settings))


def run_leaderboard(config: LeaderboardConfig) -> LeaderboardResult:
    """:func:`leaderboard` with complete settings."""
    table = read_table(str(config.nats_table))
    out = Path(config.out)
    if config.report_only:
        if not stored_entries(out):
            raise ConfigError(f"there is no leaderboard in {out}")
        check_protocol(config)
        return LeaderboardResult(*write_report(config, table), None)
    entries = plan(config)
    load_dataset(config.dataset, config.data, image_size=config.image_size)  # an error now, not one for every entry
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the directory {out} cannot be written to: {error}") from error
    with only_one(out):
        keep_protocol(config)
        for entry in entries:
            entry.prepare()

        def report(entry: Entry) -> str:
            write_report(config, table)
            return _line(entry, table) if entry.done else ""

        progress = run_entries(entries, config.jobs, threads_of(config), report)
        return LeaderboardResult(*write_report(config, table), progress)


def write_report(config: LeaderboardConfig, table: NatsTable) -> tuple[Board, list[Path]]:
    """Table and plots of everything in the directory, also of entries that were not asked for this time."""
    out = Path(config.out)
    entries = stored_entries(out)
    outcomes = [outcome(entry, table) for entry in entries if entry.done]
    rows = rows_of(outcomes, table)
    board = Board(config, outcomes, rows, references(table), [entry for entry in entries if not entry.done])
    files = board.write(out / "leaderboard")
    if rows:
        column = board.columns[0]
        best = table.best(column)[1]
        files += draw_accuracy(rows, outcomes, best, f"{column_title(column)} accuracy", out / "accuracy")
        files += draw_skips(rows, outcomes, out / "skips")
    return board, files


def plan_lines(config: LeaderboardConfig) -> list[str]:
    """The entries and what sets them apart, for a dry run."""
    entries = plan(config)
    lines = [f"{e.title}: {e.settings['epochs']} epochs, {_state(e)}, {e.path}" for e in entries]
    return [*lines, "", f"dry run: {len(entries)} entries; nothing was run"]


def continue_command(config: LeaderboardConfig) -> str:
    """The shell command that goes on with a leaderboard."""
    installed = Path(sys.argv[0]).stem == "paddle-darts"
    words = ["paddle-darts", "leaderboard"] if installed else ["python", "tools/leaderboard.py"]
    return shlex.join([*words, "--out", config.out])


def carry_out(given: Mapping[str, Any], dry: bool = False) -> tuple[list[str], int]:
    """What the command line prints, and its exit status."""
    config = leaderboard_settings(given)
    if dry:
        return plan_lines(config), 0
    result = run_leaderboard(config)
    return result.lines(), result.status


def _state(entry: Entry) -> str:
    return "done" if entry.done else "begun" if entry.begun else "new"


def _line(entry: Entry, table: NatsTable) -> str:
    """One line about a finished entry."""
    found, column = outcome(entry, table), columns_of(table)[0]
    if found.accuracy is None or found.percentile is None:
        return f"no cell was derived, {found.seconds:.0f} s"
    accuracy, percentile = found.accuracy[column], found.percentile[column]
    title = column_title(column)
    return f"{title} {accuracy:.2f} (percentile {percentile:.1f}), {found.skips} skips, {found.seconds:.0f} s"
