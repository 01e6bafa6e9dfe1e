"""From a recipe file, flags or keyword arguments to typed settings, by way of jsonargparse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from paddle_darts.errors import ConfigError, unknown
from paddle_darts.resources import find_config, resource_dir


def make_parser(prog: str, classes: Sequence[type], description: str) -> ArgumentParser:
    """A parser whose flags are the fields of all ``classes``, side by side."""
    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False)
    parser.add_argument("-c", "--config", type=str, default=None, help="recipe (YAML); flags go over it")
    for cls in classes:
        parser.add_class_arguments(cls, None)
    return parser


def typed(classes: Sequence[type], values: Mapping[str, Any], source: str) -> list[Any]:
    """One object per class from a flat mapping, defaults filled in; ConfigError names wrong types."""
    parser = make_parser("settings", classes, "")
    try:
        parsed = parser.parse_object(dict(values)).as_dict()
    except ArgumentError as error:
        raise ConfigError(f"{source}: {_readable(error)}") from None
    return [cls(**{f.name: parsed[f.name] for f in fields(cls)}) for cls in classes]


def read_flags(argv: Sequence[str], classes: Sequence[type], prog: str) -> dict[str, Any]:
    """Only the settings that ``argv`` gives, as values of their types; ``config`` among them if a recipe is named."""
    parser = make_parser(prog, classes, "")
    try:
        given = parser.parse_args(_plain(argv, classes), defaults=False).as_dict()
    except ArgumentError as error:
        raise ConfigError(_readable(error)) from None
    return given


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The settings of a recipe file: a path, or a name below ``configs/``."""
    found = find_config(path)
    if found is None:
        known = [str(p.relative_to(resource_dir("configs"))) for p in sorted(resource_dir("configs").rglob("*.yml"))]
        raise ConfigError(unknown("recipe", str(path), known))
    try:
        document = yaml.safe_load(found.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{found} is not a readable YAML file: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{found} must hold a mapping of settings, got {type(document).__name__}")
    return document


def field_names(classes: Iterable[type]) -> list[str]:
    return [f.name for cls in classes for f in fields(cls)]


def check_names(names: Iterable[str], classes: Sequence[type], owners: Mapping[str, type], source: str) -> None:
    """Refuses unknown settings; one that belongs to another method is refused by naming that method.

    ``owners`` are the options classes of all methods by name.
    """
    known = field_names(classes)
    for name in names:
        if name in known:
            continue
        elsewhere = sorted(method for method, options in owners.items() if name in field_names([options]))
        if elsewhere:
            raise ConfigError(f"{source}: {name} is a setting of --method {' or '.join(elsewhere)}")
        raise ConfigError(f"{source}: {unknown('setting', name, known)}")


def flag_names(argv: Sequence[str]) -> list[str]:
    """The names of the long flags in ``argv`` (`--no_x` counts as x only if x is meant, see `_plain`)."""
    return [a[2:].split("=", 1)[0] for a in argv if a.startswith("--") and len(a) > 2]


def _plain(argv: Sequence[str], classes: Sequence[type]) -> list[str]:
    """Rewrites what argparse lacks: bare booleans (`--x`, `--no_x`) and lists (`1,2` or repeated flags)."""
    hints = {name: hint for cls in classes for name, hint in get_type_hints(cls).items()}
    booleans = {n for n, hint in hints.items() if hint is bool or bool in get_args(hint)}
    lists = {n for n, hint in hints.items() if any(str(h).startswith("list") for h in (hint, *get_args(hint)))}
    plain, repeated, i = [], {}, 0
    while i < len(argv):
        name, equals, value = argv[i].removeprefix("--").partition("=")
        following = argv[i + 1] if i + 1 < len(argv) else "--"
        if not argv[i].startswith("--"):
            plain.append(argv[i])
        elif name in booleans and not equals and following.lower() not in ("true", "false"):
            plain.append(f"--{name}=true")
        elif name.startswith("no_") and name[3:] in booleans and not equals:
            plain.append(f"--{name[3:]}=false")
        elif name in lists:
            i += not equals
            repeated.setdefault(name, []).append((value if equals else following).strip("[]"))
        else:
            plain.append(argv[i])
        i += 1
    return plain + [f"--{name}=[{','.join(values)}]" for name, values in repeated.items()]


def _readable(error: Exception) -> str:
    return " ".join(str(error).replace("<class '", "").replace("'>", "").split())
