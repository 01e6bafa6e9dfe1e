"""The PyTorch program as a contestant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from paddle_darts.benchmark.config import BenchmarkConfig
from paddle_darts.benchmark.side import Side, Step
from paddle_darts.benchmark.torch_peer.evaluation import NetworkCIFAR
from paddle_darts.benchmark.torch_peer.steps import Alphas, Architect, search_step, train_step, weight_sgd
from paddle_darts.benchmark.torch_peer.supernet import Supernet, initial_alphas
from paddle_darts.benchmark.torch_peer.supernet_201 import Supernet201, initial_alphas_201
from paddle_darts.errors import ConfigError, unknown
from paddle_darts.genotypes import genotype

CLASSES, DROP_PATH = 10, 0.2
#: Search network and alphas by search space.
SUPERNETS = {"darts": (Supernet, initial_alphas), "nas_bench_201": (Supernet201, initial_alphas_201)}
#: Nodes of the backward graph that only keep a gradient.
_KEEPS = "evaluate_function: torch::autograd::AccumulateGrad"


class TorchSide(Side):
    """DARTS in PyTorch under the settings of a measurement."""

    def __init__(self, config: BenchmarkConfig) -> None:
        self.config = config
        if config.threads:
            torch.set_num_threads(config.threads)
        self.device = torch.device(config.device.replace("gpu", "cuda"))
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"device {config.device} is not there for this PyTorch ({torch.__version__}); use cpu")

    def build(self, case: str) -> Step:
        torch.manual_seed(0)
        cases = {"search-step": self._search_step, "arch-step": self._arch_step, "train-step": self._train_step}
        if case not in cases:
            raise ConfigError(unknown("case", case, cases))
        return Step(cases[case](), self.config.batch_size)

    def describe(self) -> dict[str, Any]:
        return {"threads": torch.get_num_threads(), "version": f"torch {torch.__version__}", "kernels": None}

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def count_op_calls(self, run: Callable[[], Any]) -> int | None:
        """As on our side: calls inside no other one, and nodes of the backward graph."""
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            run()
        return sum(map(_is_call, profiler.events()))

    def _search_step(self) -> Callable[[], Any]:
        model, alphas = self._supernet()
        batch = self._batch(0)
        return lambda: search_step(model, alphas, *batch)

    def _arch_step(self) -> Callable[[], Any]:
        model, alphas = self._supernet()
        architect = Architect(model, alphas, weight_sgd(model))
        train, valid = self._batch(0), self._batch(1)
        if self.config.unrolled:
            return lambda: architect.second_order(train, valid)
        return lambda: architect.first_order(valid)

    def _train_step(self) -> Callable[[], Any]:
        c = self.config
        network = NetworkCIFAR(genotype(c.arch), c.channels or 0, c.layers or 0, CLASSES, DROP_PATH).to(self.device)
        optimizer = weight_sgd(network)
        batch = self._batch(0)
        return lambda: train_step(network, optimizer, *batch)

    def _supernet(self) -> tuple[torch.nn.Module, Alphas]:
        network, alphas = SUPERNETS[self.config.space]
        model = network(self.config.channels or 0, self.config.layers or 0, CLASSES).to(self.device)
        return model, alphas(device=self.device)

    def _batch(self, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(seed)
        size = (self.config.batch_size, 3, self.config.image_size, self.config.image_size)
        images = torch.from_numpy(rng.standard_normal(size)).to(self.device, torch.float32)
        return images, torch.from_numpy(rng.integers(CLASSES, size=size[0])).to(self.device)


def _is_call(event: Any) -> bool:
    """Whether an event of the profiler is the outermost one of an operator or a node of the backward graph."""
    if _KEEPS in event.name or not event.name.startswith(("aten::", "autograd::engine::evaluate_function")):
        return False
    outer = event.cpu_parent
    while outer is not None:
        if _is_call(outer):
            return False
        outer = outer.cpu_parent
    return True
