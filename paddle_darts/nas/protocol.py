"""Models that PaddleSlim's DARTSearch takes: what they must have, and the genotype that they stand for.

Source: PaddlePaddle/PaddleSlim, paddleslim/nas/darts/{train_search,get_genotype}.py and demo/darts/model_search.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from paddle_darts.controllers.checks import checked_count
from paddle_darts.errors import ConfigError, unknown
from paddle_darts.genotypes import EVAL_ONLY_OPS, KINDS, PRIMITIVES, Genotype
from paddle_darts.methods.parts.derivation import genotype_of
from paddle_darts.methods.pc_darts import softmax_per_node
from paddle_darts.spaces import DARTS

#: What a model may call its way to search.
METHODS = ("DARTS", "PC-DARTS")
ATTRIBUTES = ("_steps", "_multiplier", "_primitives", "alphas_normal", "alphas_reduce")
CALLABLES = ("arch_parameters", "_loss", "forward")


@dataclass(frozen=True)
class ProtocolSpec:
    """The shape of the cells that a model searches; ``betas``: edges have weights of their own (PC-DARTS)."""

    steps: int
    multiplier: int
    primitives: tuple[str, ...]
    betas: bool
    space: str = "darts"
    kind_names: tuple[str, ...] = KINDS
    every_edge: bool = False

    @property
    def node_rows(self) -> list[range]:
        return DARTS.node_rows(self.steps)

    @property
    def num_edges(self) -> int:
        return self.node_rows[-1].stop


def protocol_spec(model: nn.Layer) -> ProtocolSpec:
    """Checks that ``model`` has the protocol of DARTSearch and returns the shape of its cells.

    ConfigError names what is missing or does not fit: an attribute or method, an operation that no genotype knows, a
    method other than METHODS, alphas that are not [edges, ops] or not among the architecture parameters, PC-DARTS
    without betas.
    """
    lacking = [name for name in ATTRIBUTES if not hasattr(model, name)]
    lacking += [f"{name}()" for name in CALLABLES if not callable(getattr(model, name, None))]
    if lacking:
        raise ConfigError(
            f"{type(model).__name__} cannot be searched: it has no {', '.join(lacking)}; a model needs "
            f"{', '.join(ATTRIBUTES)} and {', '.join(f'{name}()' for name in CALLABLES)}"
        )
    method = getattr(model, "_method", "DARTS")
    if method not in METHODS:
        raise ConfigError(unknown("_method of the model", str(method), METHODS))
    checked_count("_steps of the model", model._steps)
    checked_count("_multiplier of the model", model._multiplier)
    spec = ProtocolSpec(model._steps, model._multiplier, tuple(model._primitives), method == "PC-DARTS")
    for name in spec.primitives:
        if name not in (*PRIMITIVES, *EVAL_ONLY_OPS):
            raise ConfigError(unknown("operation", str(name), (*PRIMITIVES, *EVAL_ONLY_OPS)))
    arch_parameters(model, spec)
    return spec


def arch_parameters(model: nn.Layer, spec: ProtocolSpec) -> dict[str, paddle.Tensor]:
    """The architecture parameters by name: alphas [edges, ops], betas [edges], what else the model has; all checked."""
    found = {}
    listed = list(model.arch_parameters())
    shapes = {f"alphas_{kind}": [spec.num_edges, len(spec.primitives)] for kind in KINDS}
    shapes |= {f"betas_{kind}": [spec.num_edges] for kind in KINDS} if spec.betas else {}
    for name, shape in shapes.items():
        tensor = getattr(model, name, None)
        if tensor is None:
            raise ConfigError(f"a model whose _method is 'PC-DARTS' needs {name} {shape}, got None")
        if list(tensor.shape) != shape:
            raise ConfigError(f"{name} must be {shape} for {spec.steps} nodes, got {list(tensor.shape)}")
        if not any(tensor is one for one in listed):
            raise ConfigError(f"{name} is not among the arch_parameters() of the model, so that it would never learn")
        found[name] = tensor
    further = [one for one in listed if not any(one is known for known in found.values())]
    found |= {f"arch_{index}": tensor for index, tensor in enumerate(further)}
    still = [name for name, tensor in found.items() if tensor.stop_gradient]
    if still:
        raise ConfigError(f"{', '.join(still)} must be trainable, got stop_gradient=True")
    return found


def get_genotype(model: nn.Layer) -> Genotype:
    """The genotype of a model with PaddleSlim's protocol.

    The two strongest edges of every node by the softmax of the alphas without `none`; the betas of PC-DARTS, a
    softmax over the edges into a node, weigh the edges. ConfigError when the model lacks something, PC-DARTS' betas
    included (PaddleSlim 2.6 fails there with a TypeError).
    """
    spec = protocol_spec(model)
    return genotype_of(protocol_strengths(model, spec), spec)


@paddle.no_grad()
def protocol_strengths(model: nn.Layer, spec: ProtocolSpec) -> dict[str, np.ndarray]:
    """The tables [edges, ops] by cell kind that the derivation reads, float32."""
    tables = {}
    for kind in KINDS:
        table = F.softmax(getattr(model, f"alphas_{kind}").astype("float32"), axis=-1)
        if spec.betas:
            betas = getattr(model, f"betas_{kind}").astype("float32")
            table = table * softmax_per_node(betas, spec.node_rows).unsqueeze(1)
        tables[kind] = table.numpy()
    return tables


def count_parameters_in_MB(all_params: Any) -> float:
    """Millions of trained values among ``all_params``; parameters with `aux` in their name are left out."""
    counted = [p for p in all_params if not p.stop_gradient and "aux" not in p.name]
    return sum(math.prod(p.shape) for p in counted) / 1e6
