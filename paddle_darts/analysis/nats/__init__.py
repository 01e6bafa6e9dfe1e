"""NATS-Bench: what is known about every architecture of NAS-Bench-201, and the questions one asks about it."""

from paddle_darts.analysis.nats.api import CONVENTION, DATASETS, NATSBench
from paddle_darts.analysis.nats.files import official_table, read_table, write_table
from paddle_darts.analysis.nats.table import COLUMNS, NatsTable, true_accuracy

__all__ = [
    "COLUMNS",
    "CONVENTION",
    "DATASETS",
    "NATSBench",
    "NatsTable",
    "official_table",
    "read_table",
    "true_accuracy",
    "write_table",
]
