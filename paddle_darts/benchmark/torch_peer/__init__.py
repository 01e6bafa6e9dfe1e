"""The PyTorch program that ours is measured against, and whose numbers it must have.

DARTS as its authors define it (arXiv 1806.09055; quark0/darts), written plainly: a module per operation and edge,
gradients by autograd. Parameter names and their order are those of the authors' program. Needs the extra [torch].
"""

from __future__ import annotations

from paddle_darts.errors import ConfigError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ConfigError('PyTorch is not installed: run `pip install -e ".[torch]"`') from error
