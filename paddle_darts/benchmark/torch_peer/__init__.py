"""The PyTorch program that ours is measured against, and whose numbers it must have.

DARTS as its authors define it (arXiv 1806.09055; quark0/darts), in their space and in that of NAS-Bench-201, written
plainly: a module per operation and edge, gradients by autograd. Parameter names and their order are those of the
authors' programs. Needs the extra [torch].
"""

from __future__ import annotations

from paddle_darts.errors import ConfigError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ConfigError('PyTorch is not installed: run `pip install -e ".[torch]"`') from error
