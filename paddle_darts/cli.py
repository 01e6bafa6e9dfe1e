"""The command line: parses arguments, calls one function of the library, prints what it returns."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from paddle_darts.errors import PaddleDartsError, unknown
from paddle_darts.flags import peek, peek_threads, read_command_line
from paddle_darts.threads import import_paddle


def main(argv: Sequence[str] | None = None) -> int:
    """`paddle-darts search|train|evaluate|visualize|benchmark|query|imagenet-split ...`; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: paddle-darts {" + ",".join(COMMANDS) + "} [flags]\n")
        for name, command in COMMANDS.items():
            print(f"  {name:<10} {(command.__doc__ or '').splitlines()[0]}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"error: {unknown('command', argv[0], COMMANDS)}", file=sys.stderr)
        return 2
    return run_command(argv[0], argv[1:])


def run_command(name: str, argv: Sequence[str] | None = None) -> int:
    """One command with errors turned into one clear line; the tools call this."""
    argv = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("paddle_darts").setLevel(logging.INFO)
    import_paddle(peek_threads(argv))
    try:
        return COMMANDS[name](argv) or 0
    except PaddleDartsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def search_command(argv: list[str]) -> int:
    """search an architecture"""
    from paddle_darts.engine import SearchConfig, SearchController, recipes
    from paddle_darts.methods import METHODS, get_method

    owners = {name: method.options_class for name, method in METHODS.items()}
    chosen = get_method(peek(argv, "method") or SearchConfig.method).options_class
    given, dry = read_command_line(argv, [SearchConfig, chosen], "train_search.py", owners)
    config, options = recipes.search_settings(given)
    return _carry_out(SearchController(config, options), dry, lambda result: f"genotype = {result.genotype}")


def train_command(argv: list[str]) -> int:
    """train a genotype from scratch"""
    from paddle_darts.engine import TrainConfig, Trainer, recipes

    given, dry = read_command_line(argv, [TrainConfig], "train.py", {})
    trainer = Trainer(recipes.train_settings(given))
    return _carry_out(
        trainer, dry, lambda result: f"test accuracy {result.top1:.2f} % after {len(result.history)} epochs"
    )


def evaluate_command(argv: list[str]) -> int:
    """measure a trained network"""
    from paddle_darts.engine import EvaluateConfig
    from paddle_darts.engine.evaluator import evaluate_run
    from paddle_darts.engine.recipes import evaluate_settings

    given, _ = read_command_line(argv, [EvaluateConfig], "evaluate.py", {})
    print("\n".join(evaluate_run(evaluate_settings(given)).lines()))
    return 0


def visualize_command(argv: list[str]) -> int:
    """draw a genotype, or the cells of a run over its epochs"""
    import argparse
    from pathlib import Path

    from paddle_darts.analysis import draw_genotype, gif_from_run
    from paddle_darts.analysis.cells import DOT_TEXT, FORMATS
    from paddle_darts.genotypes import genotype
    from paddle_darts.io.files import exists

    parser = argparse.ArgumentParser(prog="visualize.py", description="Draws the cells of a genotype as SVG and PNG.")
    what = "a registered name, a file, a run directory, or the printed genotype"
    parser.add_argument("arch", nargs="?", help=what)
    parser.add_argument("--arch", dest="arch_flag", metavar="ARCH", help="the same as a flag")
    parser.add_argument("-o", "--output", type=Path, help="folder for the pictures (default: here, or the run's plots)")
    parser.add_argument("--backend", default="auto", choices=["auto", "dot", "networkx"], help="layout program")
    parser.add_argument("--dot", action="store_true", help="write the text for Graphviz, too (NAME_<kind>.dot)")
    args = parser.parse_args(argv)
    if (args.arch is None) == (args.arch_flag is None):
        parser.error("name one genotype: visualize.py NAME, or visualize.py --arch NAME")
    args.arch = args.arch_flag if args.arch is None else args.arch
    run = Path(args.arch) if exists(os.path.join(args.arch, "history.jsonl")) else None
    output = args.output or (run / "plots" if run else Path())
    cell = genotype(args.arch)
    stem = "" if run else cell.name or "genotype"
    formats = (*FORMATS, *([DOT_TEXT] if args.dot else []))
    written = draw_genotype(cell, output, stem, args.backend, formats)
    if run and (run / "alphas.jsonl").is_file():
        written.append(gif_from_run(run))
    print("\n".join(str(path) for path in written))
    return 0


def benchmark_command(argv: list[str]) -> int:
    """time a search or training step, alone or against PyTorch"""
    from paddle_darts.benchmark import SWEEP, BenchmarkConfig, SweepConfig
    from paddle_darts.benchmark.commands import measure, overview
    from paddle_darts.benchmark.settings import take_case

    if argv[:1] in (["-h"], ["--help"]):
        print("\n".join(overview()))
        argv = ["search-step", "--help"]
    case, argv = take_case(argv)
    settings = SweepConfig if case == SWEEP else BenchmarkConfig
    given, dry = read_command_line(argv, [settings], "benchmark.py", {})
    print("\n".join(measure(case, given, dry)))
    return 0


def query_command(argv: list[str]) -> int:
    """look up a NAS-Bench-201 architecture"""
    import argparse
    import json
    from pathlib import Path

    from paddle_darts.analysis.nats import READERS, look_up, read_table, write_table

    parser = argparse.ArgumentParser(
        prog="query.py", description="What is known of a NAS-Bench-201 cell: index, validity, size, true accuracy."
    )
    parser.add_argument("arch", nargs="?", help="'|op~0|+|op~0|op~1|+...', an index, a registered name, a file or run")
    parser.add_argument(
        "--nats_table", "--nats-table", metavar="FILE", help="a .csv, a .npz, or the official '-simple' folder"
    )
    parser.add_argument(
        "--nats_reader", "--nats-reader", default="own", choices=READERS, help="what opens the official folder"
    )
    parser.add_argument("--export", type=Path, metavar="FILE", help="keep the table as .csv or .npz, which load fast")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if args.arch is None and args.export is None:
        parser.error("name one architecture: query.py ARCH")
    if args.export and not args.nats_table:
        parser.error("--export needs --nats_table")
    table = read_table(args.nats_table, args.nats_reader) if args.nats_table else None
    facts = look_up(args.arch, table) if args.arch is not None else None
    if args.export:
        print(f"table written to {write_table(table, args.export)}", file=sys.stderr)
    if facts:
        print(json.dumps(facts.as_dict(), indent=1, ensure_ascii=False) if args.json else "\n".join(facts.lines()))
    return 0


def leaderboard_command(argv: list[str]) -> int:
    """compare search methods in NAS-Bench-201"""
    from paddle_darts.leaderboard import LeaderboardConfig, carry_out

    lines, status = carry_out(*read_command_line(argv, [LeaderboardConfig], "leaderboard.py", {}))
    print("\n".join(lines))
    return status


def imagenet_split_command(argv: list[str]) -> int:
    """choose the ImageNet images of a search"""
    import argparse
    from pathlib import Path

    from paddle_darts.data.search_split import SplitSettings, make_split
    from paddle_darts.engine.commands import command

    parser = argparse.ArgumentParser(
        prog="imagenet_split.py",
        description="Chooses images of every class for a search: some train the weights, others the architecture.",
    )
    parser.add_argument("--src", type=Path, default=Path("data/imagenet"), help="folder with train/<class>/*.JPEG")
    parser.add_argument("--dst", type=Path, default=Path("data/imagenet_split"), help="where the split goes")
    for name, what in (("train", "weights"), ("val", "architecture")):
        default = getattr(SplitSettings, f"{name}_portion")
        shown = f"share of each class that trains the {what} (default: {default})"
        parser.add_argument(f"--{name}-portion", f"--{name}_portion", type=float, default=default, help=shown)
    parser.add_argument("--seed", type=int, default=SplitSettings.seed, help="seed of the choice (default: 0)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--copy", dest="mode", action="store_const", const="copy", help="copy the images")
    mode.add_argument("--symlink", dest="mode", action="store_const", const="symlink", help="link to the images")
    parser.add_argument("--check", action="store_true", help="decode every chosen image first")
    args = parser.parse_args(argv)
    settings = SplitSettings(args.train_portion, args.val_portion, args.seed, args.mode or "lists")
    made = make_split(args.src, args.dst, settings, check=args.check)
    verb = "already held" if made.existed else "now holds"
    print(f"{args.dst} {verb} {made.train} + {made.val} images of {made.classes} classes")
    print(f"next: {command('search', dataset='imagenet', stem='imagenet', data=args.dst)}")
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "search": search_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "visualize": visualize_command,
    "benchmark": benchmark_command,
    "query": query_command,
    "leaderboard": leaderboard_command,
    "imagenet-split": imagenet_split_command,
}


def _carry_out(loop: Any, dry: bool, headline: Callable[[Any], str]) -> int:
    """Runs a loop, or only estimates it, and prints what came of it and how to go on.

    A stop by a signal becomes the exit status that shells expect.
    """
    from paddle_darts.engine import Interrupted, dry_run

    if dry:
        print("\n".join(dry_run(loop).lines()))
        return 0
    try:
        result = loop.run()
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        print(f"resume:    {loop.resume_command}")
        return 128 + stop.signum
    except KeyboardInterrupt:  # asked twice: stopped without saving
        print(f"resume:    {loop.resume_command}")
        return 130
    print(headline(result))
    print(f"report:    {result.run_dir / 'report.html'}")
    print(f"dashboard: visualdl --logdir {result.run_dir / 'vdl'}")
    print(f"next:      {loop.next_command}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
