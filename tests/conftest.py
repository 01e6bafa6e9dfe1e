"""Fixtures and options of the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest

GOLDENS = Path(__file__).parent / "goldens"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--goldens",
        action="append",
        default=None,
        metavar="DIR",
        help="folder of recorded official runs to replay in tests/parity (repeatable): a method folder, or one that "
        "holds method folders; default: tests/goldens",
    )
