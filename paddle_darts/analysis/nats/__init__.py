"""NATS-Bench: what is known about every architecture of NAS-Bench-201, and the questions one asks about it."""

from paddle_darts.analysis.nats.api import NATSBench
from paddle_darts.analysis.nats.classes import isomorphic, unique_count
from paddle_darts.analysis.nats.conventions import CONVENTION, DATASETS
from paddle_darts.analysis.nats.costs import Costs, costs
from paddle_darts.analysis.nats.files import READERS, official_table, read_table, write_table
from paddle_darts.analysis.nats.query import Facts, Standing, look_up
from paddle_darts.analysis.nats.table import COLUMNS, NatsTable, true_accuracy

__all__ = [
    "COLUMNS",
    "CONVENTION",
    "DATASETS",
    "READERS",
    "Costs",
    "Facts",
    "NATSBench",
    "NatsTable",
    "Standing",
    "costs",
    "isomorphic",
    "look_up",
    "official_table",
    "read_table",
    "true_accuracy",
    "unique_count",
    "write_table",
]
