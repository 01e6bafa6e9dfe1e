"""A controller for many machines: a server that holds it, clients that score its proposals, and file locks."""

from __future__ import annotations

from paddle_darts.controllers.errors import ControllerConnectionError, SearchFinished, SearchSpaceExhausted
from paddle_darts.controllers.lock import FileLock, lock, unlock
from paddle_darts.controllers.remote.client import ControllerClient
from paddle_darts.controllers.remote.server import ControllerServer

__all__ = [
    "ControllerClient",
    "ControllerConnectionError",
    "ControllerServer",
    "FileLock",
    "SearchFinished",
    "SearchSpaceExhausted",
    "lock",
    "unlock",
]
