"""A registry with PaddleSlim's verbs: classes under their own names, filled by a decorator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paddle_darts.errors import ConfigError, unknown


class Registry:
    """Classes by name, for example ``RLCONTROLLER`` or ``SEARCHSPACE``.

    ``@REGISTRY.register`` adds a class under its own name, ``@REGISTRY.register("name")`` under another one. A name
    that is taken is a KeyError. ``get`` answers None for an unknown name, as in PaddleSlim (paddleslim/core/
    registry.py); ``REGISTRY[name]`` raises `ConfigError` with the nearest match instead.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._classes: dict[str, type] = {}

    @property
    def module_dict(self) -> dict[str, type]:
        """All entries; a copy."""
        return dict(self._classes)

    def register(self, entry: type | str) -> Any:
        """Class decorator, with or without a name."""
        if isinstance(entry, str):
            return lambda cls: self._add(entry, cls)
        return self._add(getattr(entry, "__name__", str(entry)), entry)

    def get(self, key: str) -> type | None:
        """The class called ``key``, or None."""
        return self._classes.get(key)

    def _add(self, key: str, cls: type) -> type:
        if not isinstance(cls, type):
            raise TypeError(f"{self.name} registers classes, got {cls!r}")
        if key in self._classes:
            raise KeyError(f"{key!r} is already registered in {self.name}, as {self._classes[key].__module__}.{key}")
        self._classes[key] = cls
        return cls

    def __getitem__(self, key: str) -> type:
        if key not in self._classes:
            raise ConfigError(unknown(f"entry of {self.name}", str(key), self._classes))
        return self._classes[key]

    def __contains__(self, key: object) -> bool:
        return key in self._classes

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def __repr__(self) -> str:
        return f"Registry(name={self.name!r}, items={list(self._classes)})"
