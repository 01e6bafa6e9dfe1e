"""Sample-based search: who proposes the next architecture, with PaddleSlim's names and verbs.

A controller knows tokens and rewards only (``next_tokens``, ``update``), never what they mean.
"""

from paddle_darts.controllers.abstract import RLCONTROLLER, EvolutionaryController, RLBaseController
from paddle_darts.controllers.annealing import SAController
from paddle_darts.controllers.base import TokenController, Trial
from paddle_darts.controllers.errors import ControllerConnectionError, SearchFinished, SearchSpaceExhausted
from paddle_darts.controllers.evolution import RegularizedEvolutionController
from paddle_darts.controllers.lock import FileLock, lock, unlock
from paddle_darts.controllers.lstm import LSTM
from paddle_darts.controllers.random_search import RandomController
from paddle_darts.controllers.remote import ControllerClient, ControllerServer
from paddle_darts.registry import Registry

__all__ = [
    "LSTM",
    "RLCONTROLLER",
    "ControllerClient",
    "ControllerConnectionError",
    "ControllerServer",
    "EvolutionaryController",
    "FileLock",
    "RLBaseController",
    "RandomController",
    "Registry",
    "RegularizedEvolutionController",
    "SAController",
    "SearchFinished",
    "SearchSpaceExhausted",
    "TokenController",
    "Trial",
    "lock",
    "unlock",
]
