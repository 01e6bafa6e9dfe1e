"""Exceptions of the sample-based controllers."""

from __future__ import annotations

from paddle_darts.errors import PaddleDartsError


class SearchSpaceExhausted(PaddleDartsError):
    """No proposal that is new and satisfies the constraint was found in the allowed number of tries."""


class SearchFinished(PaddleDartsError):
    """The search has scored all its steps; there is no further proposal."""


class ControllerConnectionError(PaddleDartsError, ConnectionError):
    """The controller's server cannot be reached, went away, refused the key or broke the protocol."""
