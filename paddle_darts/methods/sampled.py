"""What the sample-based methods share: a controller proposes cells, each is trained from scratch and scored.

There is no supernet and nothing is learned by gradient but the weights of one candidate at a time, so these methods
are the reference that weight sharing has to beat under the same budget.
"""

from __future__ import annotations

import logging
import math
import zlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddle_darts.controllers.base import TokenController
from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import AnyGenotype
from paddle_darts.methods.base import Batch, MethodOptions, SearchMethod, StepResult
from paddle_darts.methods.parts.bilevel import gradients_or_none
from paddle_darts.methods.parts.derivation import SKIP, edge_row, genotype_of
from paddle_darts.networks import CellMix, SupernetSpec, build_network
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import copy_into, trainable
from paddle_darts.nn.losses import cross_entropy
from paddle_darts.nn.optimizers import clip_gradients, global_norm, sgd
from paddle_darts.nn.schedules import cosine
from paddle_darts.search_space import DartsCellSpace, NB201Space, SearchSpaceBase
from paddle_darts.spaces import get_space

log = logging.getLogger(__name__)

#: The cells of a skeleton as tokens.
VIEWS: dict[str, type[SearchSpaceBase]] = {"darts": DartsCellSpace, "nas_bench_201": NB201Space}
#: The operations that are reported as promising are those of the best tenth of the candidates.
BEST_SHARE = 0.1


@dataclass
class SampledOptions(MethodOptions):
    """Settings of methods that train one candidate after the other.

    Args:
        candidate_epochs: epochs that every candidate is trained for; the rate falls within them.
    """

    learning_rate: float = 0.1
    learning_rate_min: float = 0.0
    nesterov: bool = True
    weight_decay: float = 5e-4
    candidate_epochs: int = 1


class Candidate(nn.Layer):
    """The network of one candidate in the place of a supernet: a mix means nothing to it."""

    def __init__(self, genotype: AnyGenotype, spec: SupernetSpec) -> None:
        super().__init__()
        self.spec = spec
        sizes = {"num_classes": spec.num_classes, "init_channels": spec.init_channels, "layers": spec.layers}
        self.network = build_network(genotype, **sizes, in_channels=spec.in_channels, stem=spec.stem)

    @property
    def cells(self) -> nn.LayerList:
        return self.network.cells

    def forward(self, x: paddle.Tensor, mix: Sequence[CellMix] = ()) -> tuple[paddle.Tensor, dict]:
        """Logits [B, classes] of images [B, C, H, W], and no features."""
        return self.network(x)[0], {}


class SampledMethod(SearchMethod):
    """Proposes, trains and scores candidates; the best one so far is the architecture found.

    A candidate takes ``candidate_epochs`` epochs of the search. Its score is the top-1 accuracy on the validation half
    after the last of them, as a share of 1. No cell through which nothing passes is proposed, and none twice (unless a
    node has its inputs in another order).

    A candidate that diverges (its loss or its gradient is no finite number) is scored 0, and the search goes on with
    the next one. Until then it counts as a network that knows nothing: its weights are zeros, its loss log(classes).
    """

    options_class = SampledOptions
    #: An epoch goes over the training half alone; that of a method with architecture steps over both halves.
    passes_per_epoch = 1

    def __init__(self, spec: SupernetSpec, options: Any, epochs: int, source: RandomSource) -> None:
        if not 1 <= options.candidate_epochs <= epochs:
            raise ConfigError(f"candidate_epochs must be from 1 to epochs={epochs}, got {options.candidate_epochs}")
        if rest := epochs % options.candidate_epochs:
            log.warning("the last %d epochs are too few for a candidate, which will not be scored", rest)
        self.spec, self.options, self.epochs, self.source = spec, options, epochs, source
        self.view = VIEWS[get_space(spec.space).skeleton]()
        self._check_spec()
        # methods with one seed do not begin with the same candidates
        seed = (int(source.integers(2**31, 1)[0]) + zlib.crc32(self.name.encode())) % 2**31
        self.controller = self.new_controller(self.view.range_table(), self._is_worth_it, seed)
        self.epoch, self.trial = 0, 0
        self._build(self.controller.next_tokens())

    @abstractmethod
    def new_controller(
        self, range_table: list[int], constrain_func: Callable[[list[int]], bool], seed: int
    ) -> TokenController:
        """What proposes the candidates."""

    def _check_spec(self) -> None:
        nodes = get_space(self.spec.space).steps
        if self.spec.steps != nodes:
            raise ConfigError(f"{self.name} searches cells of {nodes} nodes, got steps={self.spec.steps}")

    def _is_worth_it(self, tokens: list[int]) -> bool:
        # tokens that the view corrects stand for a cell that others stand for already
        corrected = self.view.validate(tokens) != list(tokens)
        return not corrected and getattr(self.view.tokens2genotype(tokens), "valid", True)

    def _build(self, tokens: list[int]) -> None:
        """A fresh network for the candidate, and its optimizer."""
        o = self.options
        self.tokens, self.diverged = tokens, False
        self.supernet = Candidate(self.candidate, self.spec)
        self.weights = trainable(self.supernet)
        self.weight_optimizer = sgd(self.weights, o.learning_rate, o.momentum, o.weight_decay, o.nesterov)

    @property
    def candidate(self) -> AnyGenotype:
        """The cell that is being trained."""
        return self.view.tokens2genotype(self.tokens)

    # ---- epochs and steps
    def begin_epoch(self, epoch: int) -> None:
        o, self.epoch = self.options, epoch
        if epoch // o.candidate_epochs > self.trial:
            self.trial += 1
            self._build(self.controller.next_tokens())
        position = epoch % o.candidate_epochs
        self.weight_optimizer.lr = cosine(position, o.candidate_epochs, o.learning_rate, o.learning_rate_min)

    def step(self, train: Batch, valid: Batch) -> StepResult:
        """One update of the candidate's weights; the validation batch is not looked at."""
        result = None if self.diverged else self._train_on(train)
        return result or self._ignorance(train)

    def _train_on(self, train: Batch) -> StepResult | None:
        """The update; None, and no update, when the candidate turns out to have diverged."""
        logits, _ = self.supernet(train.images)
        loss = cross_entropy(logits, train.labels)
        gradients = gradients_or_none(loss, list(self.weights.values()))
        found, limit = [g for g in gradients if g is not None], self.options.grad_clip
        norm = float(clip_gradients(found, limit) if limit else global_norm(found))
        if not math.isfinite(float(loss)) or not math.isfinite(norm):
            self._give_up(f"the training loss {float(loss)} and a gradient of norm {norm}")
            return None
        self.weight_optimizer.step(gradients)
        return StepResult(float(loss), logits.detach())

    def _ignorance(self, train: Batch) -> StepResult:
        """What a network reports that takes all classes for equally likely."""
        classes = self.spec.num_classes
        return StepResult(math.log(classes), paddle.zeros([train.labels.shape[0], classes]))

    def _give_up(self, why: str) -> None:
        self.diverged = True
        log.warning(
            "candidate %s has %s in epoch %d: it diverged, is scored 0 and trained no further (learning_rate is %g)",
            *(self.candidate, why, self.epoch, self.options.learning_rate),
        )
        # a checkpoint must not hold what is not a number
        for tensor in (*self.supernet.state_dict().values(), *self.weight_optimizer.state_dict().values()):
            tensor.set_value(paddle.zeros_like(tensor))

    def observe(self, epoch: int, loss: float, top1: float) -> None:
        if not self.diverged and not math.isfinite(loss):
            self._give_up(f"the validation loss {loss}")
        if (epoch + 1) % self.options.candidate_epochs == 0:
            self.controller.update(self.tokens, 0.0 if self.diverged else top1 / 100)

    def mixture(self) -> list[CellMix]:
        return []

    @property
    def lr(self) -> float:
        return self.weight_optimizer.lr

    # ---- what has been found
    def derive(self, max_skips: int | None = None) -> AnyGenotype:
        """The candidate with the best score, among those with at most ``max_skips`` skip connections."""
        scored = [(self.view.tokens2genotype(tokens), reward) for tokens, reward in self.controller.history]
        fit = [(g, r) for g, r in scored if max_skips is None or g.count(SKIP, g.kinds[0]) <= max_skips]
        if not fit:
            few = "" if max_skips is None else f" with at most {max_skips} skip connections"
            raise GenotypeError(f"no candidate{few} has been scored yet")
        best, score = max(fit, key=lambda one: one[1])
        if score <= 0:
            raise GenotypeError(f"none of the {len(fit)} candidates so far has a score above 0")
        return best

    def probabilities(self) -> dict[str, np.ndarray]:
        """How often the best tenth of the candidates has each operation on each edge."""
        names, edges = self.spec.kind_names, self.spec.edges
        tables = {kind: np.zeros((len(edges), len(self.spec.primitives)), dtype="float32") for kind in names}
        scored = sorted(self.controller.history, key=lambda trial: -trial.reward)
        best = scored[: max(1, round(BEST_SHARE * len(scored)))]
        for tokens, _ in best:
            cell = self.view.tokens2genotype(tokens)
            for kind in names:
                for link in cell.links(kind):
                    column = self.spec.primitives.index(link.op)
                    tables[kind][edge_row(link, cell.inputs), column] += 1 / len(best)
        return tables

    def derive_from(self, strengths: dict[str, np.ndarray]) -> AnyGenotype:
        """The cell of the most frequent operations; :meth:`derive` does not need it."""
        return genotype_of(strengths, self.spec)

    def facts(self) -> dict[str, Any]:
        given_up = {"diverged": True} if self.diverged else {}
        return {"candidate": str(self.candidate), "candidates": len(self.controller.history), **given_up}

    # ---- checkpoints
    def tensors(self) -> dict[str, dict[str, paddle.Tensor]]:
        """The groups of every method; "arch" only tells what the history of the controller says."""
        frequencies = {f"frequencies_{kind}": paddle.to_tensor(t) for kind, t in self.probabilities().items()}
        optimizer = self.weight_optimizer.state_dict()
        return {"weights": self.supernet.state_dict(), "arch": frequencies, "optimizer_weights": optimizer}

    def load_tensors(self, groups: dict[str, dict[str, paddle.Tensor]]) -> None:
        copy_into(self.supernet.state_dict(), groups["weights"])
        self.weight_optimizer.load_state_dict(groups["optimizer_weights"])

    def state(self) -> dict[str, Any]:
        own = {"controller": self.controller.state_dict(), "trial": self.trial}
        own |= {"tokens": self.tokens, "diverged": self.diverged}
        return {**super().state(), **own}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.controller.load_state_dict(state["controller"])
        if (state["trial"], state["tokens"]) != (self.trial, self.tokens):
            self.trial = state["trial"]
            self._build(state["tokens"])
        self.diverged = state.get("diverged", False)
