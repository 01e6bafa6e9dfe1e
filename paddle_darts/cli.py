"""The command line: parses arguments, calls one function of the library, prints what it returns."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from paddle_darts.errors import PaddleDartsError, unknown
from paddle_darts.threads import import_paddle

#: Flags of the official programs that mean something else here, or nothing: flag -> (ours or None, what to say).
OFFICIAL = {
    "gpu": ("device", "--gpu N is --device gpu:N here"),
    "save": ("run_dir", "--save NAME is --run_dir runs/NAME here"),
    "model_path": (None, "--model_path has no effect (nor has it in the official program): see --run_dir"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """`paddle-darts search|train|evaluate|visualize ...`; returns the exit status."""
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
    import_paddle(_threads(argv))
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
    from paddle_darts.methods import METHODS

    options = {name: m.options_class for name, m in METHODS.items()}
    given, dry = _flags(argv, [SearchConfig, *_chosen(argv, options)], "train_search.py", options)
    config, method_options = recipes.search_settings(given)
    controller = SearchController(config, method_options)
    if dry:
        return _print_dry_run(controller)
    result = _run(controller)
    if isinstance(result, int):
        return result
    print(f"genotype = {result.genotype}")
    print(f"report:    {result.run_dir / 'report.html'}")
    print(f"dashboard: visualdl --logdir {result.run_dir / 'vdl'}")
    print(f"next:      {controller.next_command}")
    return 0


def train_command(argv: list[str]) -> int:
    """train a genotype from scratch"""
    from paddle_darts.engine import TrainConfig, Trainer, recipes

    given, dry = _flags(argv, [TrainConfig], "train.py", {})
    trainer = Trainer(recipes.train_settings(given))
    if dry:
        return _print_dry_run(trainer)
    result = _run(trainer)
    if isinstance(result, int):
        return result
    print(f"test accuracy {result.top1:.2f} % after {len(result.history)} epochs")
    print(f"report:    {result.run_dir / 'report.html'}")
    print(f"next:      {trainer.next_command}")
    return 0


def evaluate_command(argv: list[str]) -> int:
    """measure a trained network"""
    from paddle_darts.engine import EvaluateConfig
    from paddle_darts.engine.evaluate import evaluate_run
    from paddle_darts.engine.recipes import evaluate_settings

    given, _ = _flags(argv, [EvaluateConfig], "evaluate.py", {})
    print("\n".join(evaluate_run(evaluate_settings(given)).lines()))
    return 0


def visualize_command(argv: list[str]) -> int:
    """draw a genotype, or the cells of a run over its epochs"""
    import argparse
    from pathlib import Path

    from paddle_darts.analysis import draw_genotype, gif_from_run
    from paddle_darts.genotypes import genotype

    parser = argparse.ArgumentParser(prog="visualize.py", description="Draws the cells of a genotype as SVG and PNG.")
    parser.add_argument("arch", help="a registered name, a file, a run directory, or the printed genotype")
    parser.add_argument("-o", "--output", type=Path, help="folder for the pictures (default: here, or the run's plots)")
    parser.add_argument("--backend", default="auto", choices=["auto", "dot", "networkx"], help="layout program")
    args = parser.parse_args(argv)
    run = Path(args.arch) if (Path(args.arch) / "history.jsonl").is_file() else None
    output = args.output or (run / "plots" if run else Path())
    cell = genotype(args.arch)
    stem = "" if run else cell.name or "genotype"
    written = draw_genotype(cell, output, stem, backend=args.backend)
    if run and (run / "alphas.jsonl").is_file():
        written.append(gif_from_run(run))
    print("\n".join(str(path) for path in written))
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "search": search_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "visualize": visualize_command,
}


def _flags(argv: list[str], classes: list[type], prog: str, owners: dict[str, type]) -> tuple[dict[str, Any], bool]:
    """The settings given on the command line, and whether only a dry run is asked for."""
    from paddle_darts.engine import parsing

    argv = _translated(argv, parsing.field_names(classes))
    dry = "--dry_run" in argv
    argv = [a for a in argv if a != "--dry_run"]
    if "-h" in argv or "--help" in argv:
        parsing.make_parser(
            prog, classes, "Booleans: --x or --no_x. Also --dry_run: only estimate the cost."
        ).print_help()
        raise SystemExit(0)
    names = [n for n in parsing.flag_names(argv) if n != "config"]
    fields = parsing.field_names(classes)
    parsing.check_names(
        [n.removeprefix("no_") if n.startswith("no_") and n not in fields else n for n in names],
        classes,
        owners,
        "command line",
    )
    return parsing.read_flags(argv, classes, prog), dry


def _translated(argv: list[str], known: list[str]) -> list[str]:
    """Official flags in our words; those without an effect are named and dropped."""
    out, i = [], 0
    while i < len(argv):
        name, equals, value = argv[i].removeprefix("--").partition("=")
        if argv[i].startswith("--") and name in OFFICIAL and name not in known:
            ours, hint = OFFICIAL[name]
            print(f"note: {hint}", file=sys.stderr)
            i += not equals
            value = value if equals else argv[i] if i < len(argv) else ""
            prefix = {"device": "gpu:", "run_dir": "runs/"}.get(ours or "", "")
            out += [f"--{ours}", prefix + value] if ours else []
        else:
            out.append(argv[i])
        i += 1
    return out


def _chosen(argv: list[str], options: dict[str, type]) -> list[type]:
    """The options class of the method that the flags or the recipe name."""
    from paddle_darts.engine.config import SearchConfig
    from paddle_darts.methods import get_method

    method = _peek(argv, "method") or SearchConfig.method
    return [get_method(method).options_class]


def _threads(argv: list[str]) -> int | None:
    """--threads, before anything imports Paddle; a wrong value is reported later, by the typed settings."""
    value = _peek(argv, "threads")
    return int(value) if value and value.isdigit() else None


def _peek(argv: list[str], name: str) -> str | None:
    """The value of a setting in the flags, or in the recipe file or the run to resume that they name."""
    from pathlib import Path

    import yaml

    from paddle_darts.resources import find_config

    found: dict[str, str] = {}
    for i, word in enumerate(argv):
        key, equals, value = word.partition("=")
        if key in (f"--{name}", "-c", "--config", "--run_dir"):
            found["--config" if key == "-c" else key] = value if equals else "".join(argv[i + 1 : i + 2])
    if f"--{name}" in found:
        return found[f"--{name}"]
    recipe = find_config(found["--config"]) if "--config" in found else None
    stored = Path(found["--run_dir"]) / "config.yaml" if "--resume" in argv and "--run_dir" in found else None
    for path in (recipe, stored):
        try:
            value = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get(name) if path else None
        except (OSError, ValueError, AttributeError, yaml.YAMLError):
            continue  # reported later, by what reads the settings in earnest
        if value is not None:
            return str(value)
    return None


def _run(loop: Any) -> Any:
    """Runs a loop; a stop by signal becomes the exit status that shells expect."""
    from paddle_darts.engine import Interrupted

    try:
        return loop.run()
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        print(f"resume:    {loop.resume_command}")
        return 128 + stop.signum
    except KeyboardInterrupt:  # asked twice: stopped without saving
        print(f"resume:    {loop.resume_command}")
        return 130


def _print_dry_run(loop: Any) -> int:
    from paddle_darts.engine import dry_run

    print("\n".join(dry_run(loop).lines()))
    return 0
