"""Fixtures and options of the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest

GOLDENS = Path(__file__).parent / "goldens"
#: Where the table of NATS-Bench is looked for when none is given: in a folder of data beside the repository.
NATS_TABLE = Path(__file__).parents[2] / "shared" / "data" / "nats_bench_tss_test200.csv"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--goldens",
        action="append",
        default=None,
        metavar="DIR",
        help="folder of recorded official runs to replay in tests/parity (repeatable): a method folder, or one that "
        "holds method folders; default: tests/goldens",
    )
    parser.addoption(
        "--nats_table",
        default=None,
        metavar="CSV",
        help="accuracies of all NAS-Bench-201 architectures (columns arch,cifar10_test,cifar100_test,"
        f"imagenet16_120_test); default: {NATS_TABLE}",
    )


@pytest.fixture(scope="session")
def nats_table(request: pytest.FixtureRequest) -> Path:
    """The table of NATS-Bench as a CSV file; without one the test is skipped, saying how to give it."""
    given = request.config.getoption("--nats_table")
    path = Path(given) if given else NATS_TABLE
    if not path.is_file():
        assert given is None, f"--nats_table {given}: no such file"
        pytest.skip(f"no table of NATS-Bench at {path}; make one with tools/query.py --export, give it by --nats_table")
    return path
