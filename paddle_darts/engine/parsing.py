"""From a recipe file, flags or keyword arguments to typed settings, by way of jsonargparse."""

from __future__ import annotations

import math
import re
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
    """One object per class from a flat mapping, defaults filled in; ConfigError names wrong types and values."""
    parser = make_parser("settings", classes, "")
    hints = _hints(classes)
    for name, value in values.items():
        # jsonargparse takes None for any type
        if name in hints and value is None and type(None) not in get_args(hints[name]):
            raise ConfigError(f"{source}: {_wrong(name, value, hints[name])}")
    try:
        parsed = parser.parse_object(dict(values)).as_dict()
    except ArgumentError as error:
        raise ConfigError(f"{source}: {_readable(error, hints, values)}") from None
    for name, value in parsed.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{source}: {name} must be a finite number, got {value}")
    return [cls(**{f.name: parsed[f.name] for f in fields(cls)}) for cls in classes]


def read_flags(argv: Sequence[str], classes: Sequence[type], prog: str) -> dict[str, Any]:
    """Only the settings that ``argv`` gives, as values of their types; ``config`` among them if a recipe is named."""
    parser = make_parser(prog, classes, "")
    try:
        given = parser.parse_args(_plain(argv, classes), defaults=False).as_dict()
    except ArgumentError as error:
        raise ConfigError(f"command line: {_readable(error, _hints(classes), {})}") from None
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


def flag_names(argv: Sequence[str], known: Sequence[str]) -> list[str]:
    """The settings that the long flags in ``argv`` mean, `--config` left out; `--no_x` means x."""
    names = [a[2:].split("=", 1)[0] for a in argv if a.startswith("--") and len(a) > 2]
    return [n if n in known else n.removeprefix("no_") for n in names if n != "config"]


def _plain(argv: Sequence[str], classes: Sequence[type]) -> list[str]:
    """Rewrites what argparse lacks: bare booleans (`--x`, `--no_x`) and lists (`1,2` or repeated flags)."""
    hints = _hints(classes)
    booleans = {n for n, hint in hints.items() if hint is bool or bool in get_args(hint)}
    lists = {n for n, hint in hints.items() if any(str(h).startswith("list") for h in (hint, *get_args(hint)))}
    plain: list[str] = []
    repeated: dict[str, list[str]] = {}
    i = 0
    while i < len(argv):
        name, equals, value = argv[i].removeprefix("--").partition("=")
        following = argv[i + 1] if i + 1 < len(argv) else "--"
        if not argv[i].startswith("--"):
            plain.append(argv[i])
        elif name in booleans and not equals and following.lower() not in ("true", "false", "null"):
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


def _hints(classes: Iterable[type]) -> dict[str, Any]:
    return {name: hint for cls in classes for name, hint in get_type_hints(cls).items()}


def _readable(error: Exception, hints: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """What jsonargparse says, in our words where it is about the value of a setting."""
    text = " ".join(str(error).split())
    name = re.search(r'Parser key "(\w+)"', text)
    got = re.search(r".*(?:Given|Got) value: (.*)", text)
    if name is None or name[1] not in hints or not (got or name[1] in values):
        return text
    return _wrong(name[1], values.get(name[1], got and got[1]), hints[name[1]])


def _wrong(name: str, value: object, hint: Any) -> str:
    """The setting, the value got, and the type or the values allowed (of ``X | None`` those of X)."""
    kind = next((h for h in get_args(hint) if type(None) in get_args(hint) and h is not type(None)), hint)
    choices = [choice for choice in get_args(kind) if isinstance(choice, str)]
    if choices:
        return unknown(name, str(value), choices)
    return f"{name} must be of type {getattr(kind, '__name__', kind) if not get_args(kind) else kind}, got {value!r}"
