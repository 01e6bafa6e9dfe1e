"""The words of a command line: official flags in our terms, and what must be known before Paddle is imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from paddle_darts.resources import find_config

#: Flags of the official programs that mean something else here, or nothing: flag -> (ours or None, what to say).
OFFICIAL = {
    "gpu": ("device", "--gpu N is --device gpu:N here"),
    "save": ("run_dir", "--save NAME is --run_dir runs/NAME here"),
    "gamma": ("lr_gamma", "--gamma is --lr_gamma here"),
    "decay_period": ("lr_period", "--decay_period is --lr_period here"),
    "drop_path_prob": (None, "--drop_path_prob has no effect on a search (nor has it in the official program)"),
    "model_path": (None, "--model_path has no effect (nor has it in the official program): see --run_dir"),
}


def read_command_line(
    argv: list[str], classes: list[type], prog: str, owners: dict[str, type]
) -> tuple[dict[str, Any], bool]:
    """The settings given on the command line, and whether only a dry run is asked for."""
    from paddle_darts.engine import parsing

    fields = parsing.field_names(classes)
    argv = _translated(argv, fields)
    dry = "--dry_run" in argv
    argv = [a for a in argv if a != "--dry_run"]
    if "-h" in argv or "--help" in argv:
        parsing.make_parser(
            prog, classes, "Booleans: --x or --no_x. Also --dry_run: only estimate the cost."
        ).print_help()
        raise SystemExit(0)
    parsing.check_names(parsing.flag_names(argv, fields), classes, owners, "command line")
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


def peek_threads(argv: list[str]) -> int | None:
    """--threads, before anything imports Paddle; a wrong value is reported later, by the typed settings."""
    value = peek(argv, "threads")
    return int(value) if value and value.isdigit() else None


def peek(argv: list[str], name: str) -> str | None:
    """The value of a setting in the flags, or in the recipe file or the run to resume that they name."""
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
            known = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get(name) if path else None
        except (OSError, ValueError, AttributeError, yaml.YAMLError):
            continue  # reported later, by what reads the settings in earnest
        if known is not None:
            return str(known)
    return None
