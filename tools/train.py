"""Trains a genotype from the command line; see `python tools/train.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from paddle_darts.cli import run_command

if __name__ == "__main__":
    sys.exit(run_command("train"))
