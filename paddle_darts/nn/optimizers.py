"""Paddle's optimizers over named parameters: gradients handed in, state saved under our names."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle._C_ops import squared_l2_norm


class NamedOptimizer:
    """A Paddle optimizer fed with explicit gradients.

    Gradients are given to :meth:`step` rather than left in ``parameter.grad``, so nothing leaks from one pass to
    the next. A gradient of None leaves its parameter alone (no weight decay either), as in PyTorch.
    """

    def __init__(self, optimizer: paddle.optimizer.Optimizer, named: dict[str, paddle.Tensor]) -> None:
        self._optimizer = optimizer
        self._named = named
        # all state at once: a parameter that rests would otherwise be missing from a checkpoint, and with part of the
        # parameters missing Paddle refuses the state that it is given
        optimizer._create_accumulators(paddle.static.default_main_program().global_block(), self.parameters)

    @property
    def parameters(self) -> list[paddle.Tensor]:
        return list(self._named.values())

    @property
    def lr(self) -> float:
        return float(self._optimizer.get_lr())

    @lr.setter
    def lr(self, value: float) -> None:
        self._optimizer.set_lr(value)

    def step(self, gradients: Sequence[paddle.Tensor | None], clip_norm: float | None = None) -> None:
        """One update; with ``clip_norm`` the gradients are first scaled by min(1, clip_norm/(norm + 1e-6))."""
        if clip_norm:
            clip_gradients([g for g in gradients if g is not None], clip_norm)
        for parameter, gradient in zip(self._named.values(), gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        for parameter in self._named.values():
            parameter.grad = None

    def slots(self, slot: str) -> list[paddle.Tensor]:
        """One state tensor per parameter ("velocity", "moment1", ...); zeros before the first step."""
        state = self._optimizer.state_dict()
        return [state[f"{p.name}_{slot}_0"] for p in self._named.values()]

    def state_dict(self) -> dict[str, paddle.Tensor]:
        """All state tensors as "parameter/slot"; Paddle's own keys depend on the order of construction."""
        ours = {p.name: name for name, p in self._named.items()}
        state = {}
        for key, tensor in self._optimizer.state_dict().items():
            if not isinstance(tensor, paddle.Tensor):
                continue
            owner = max((n for n in ours if key.startswith(n + "_")), key=len, default=None)
            if owner is not None:
                state[f"{ours[owner]}/{key[len(owner) + 1 :]}"] = tensor
        return state

    def load_state_dict(self, state: dict[str, paddle.Tensor]) -> None:
        theirs = {}
        for key, tensor in state.items():
            name, slot = key.rsplit("/", 1)
            # Paddle keeps what it is given until the next step: a copy, or the giver would still change it
            theirs[f"{self._named[name].name}_{slot}"] = tensor.clone()
        self._optimizer.set_state_dict(theirs)


def global_norm(tensors: Sequence[paddle.Tensor]) -> paddle.Tensor:
    """The Euclidean norm of all entries of all tensors together, 0-D."""
    return paddle.add_n([squared_l2_norm(t) for t in tensors]).reshape([]).sqrt()


@paddle.no_grad()
def clip_gradients(gradients: Sequence[paddle.Tensor], max_norm: float) -> paddle.Tensor | None:
    """Scales the gradients in place by min(1, max_norm/(norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ does.

    Returns the norm before that, 0-D; None without gradients.

    Paddle's function of that name takes ten times as long for the hundreds of small tensors of a network.
    """
    if not gradients:
        return None
    norm = global_norm(gradients)
    factor = (max_norm / (norm + 1e-6)).clip(max=1.0)
    for gradient in gradients:
        gradient.multiply_(factor)
    return norm


def sgd(
    named: dict[str, paddle.Tensor], lr: float, momentum: float, weight_decay: float, nesterov: bool = False
) -> NamedOptimizer:
    """SGD with momentum (no dampening); L2 decay is added to the gradient of every parameter."""
    optimizer = paddle.optimizer.Momentum(lr, momentum, list(named.values()), nesterov, weight_decay)
    return NamedOptimizer(optimizer, named)


def adam(
    named: dict[str, paddle.Tensor], lr: float, weight_decay: float, betas: tuple[float, float] = (0.5, 0.999)
) -> NamedOptimizer:
    """Adam with eps 1e-8 and L2 decay added to the gradient: the optimizer of all DARTS-like alphas."""
    optimizer = paddle.optimizer.Adam(
        lr, betas[0], betas[1], 1e-8, parameters=list(named.values()), weight_decay=weight_decay
    )
    return NamedOptimizer(optimizer, named)
