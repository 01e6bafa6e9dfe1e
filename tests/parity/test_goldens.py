"""Replays every recorded official run that is given (`--goldens DIR`), or those of tests/goldens."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from golden import Golden
from registry import find_replay

COMMITTED = Path(__file__).parents[1] / "goldens"

for module in sorted(Path(__file__).parent.glob("replay_*.py")):
    importlib.import_module(module.stem)  # registers its replays


def golden_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix in (".npz", ".json"))


def collect(roots: list[Path]) -> list[Path]:
    """All files of the roots; a root holds method folders or is one. A root without any file is an error."""
    found = []
    for root in roots:
        if not root.is_dir():
            raise pytest.UsageError(f"--goldens {root}: no such folder")
        files = golden_files(root) or [f for d in sorted(root.iterdir()) if d.is_dir() for f in golden_files(d)]
        if not files:
            raise pytest.UsageError(f"--goldens {root}: no .npz or .json file there or in its folders")
        found += files
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = metafunc.config.getoption("--goldens")
    files = collect([Path(g).resolve() for g in given] if given else [COMMITTED])
    metafunc.parametrize("path", files, ids=[f"{p.parent.name}/{p.stem}" for p in files])


def test_golden(path: Path) -> None:
    golden = Golden(path)
    replay = find_replay(golden)
    assert replay is not None, f"no replay for {path.parent.name}/{path.name} (kind {golden.kind[1]!r})"
    replay(golden)
    golden.finish()
