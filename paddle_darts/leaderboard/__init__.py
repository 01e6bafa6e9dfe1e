"""Search methods side by side: one protocol, one budget, graded by the known accuracy of every cell."""

from __future__ import annotations

from paddle_darts.leaderboard.board import LeaderboardResult, carry_out, leaderboard, run_leaderboard
from paddle_darts.leaderboard.config import LeaderboardConfig

__all__ = ["LeaderboardConfig", "LeaderboardResult", "carry_out", "leaderboard", "run_leaderboard"]
