"""Compares search methods from the command line; see `python tools/leaderboard.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    from paddle_darts.cli import run_command
except ImportError as error:  # Paddle or another package is missing: the message says what to install
    sys.exit(f"error: {error}")

if __name__ == "__main__":
    sys.exit(run_command("leaderboard"))
