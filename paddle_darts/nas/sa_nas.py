"""SANAS: a search by simulated annealing, with PaddleSlim's name, signature and verbs.

Source: PaddlePaddle/PaddleSlim, paddleslim/nas/sa_nas.py (2.6.0).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from paddle_darts.controllers import SAController, SearchFinished
from paddle_darts.controllers.checks import checked_count, checked_reward
from paddle_darts.controllers.remote import ControllerClient, ControllerServer
from paddle_darts.errors import ConfigError
from paddle_darts.nas.checkpoint import configs_hash, read_checkpoint, write_checkpoint
from paddle_darts.nas.early_stop import EarlyStopBase
from paddle_darts.nas.group import Group
from paddle_darts.nas.local import LocalClient
from paddle_darts.search_space import SearchSpaceFactory

log = logging.getLogger(__name__)

#: Candidates per proposal, as many as PaddleSlim's facade allows.
MAX_TRY_TIMES = 50000


class SANAS:
    """Proposes architectures, takes their rewards, and keeps the best.

    ::

        nas = SANAS([("NB201Space", {})], server_addr=None, search_steps=100, seed=0)
        for step, archs in nas:
            nas.reward(accuracy_of(archs[0](num_classes=10)))
        best = nas.best_arch()

    Args:
        configs: search spaces, see `paddle_darts.search_space.CombineSearchSpace`.
        server_addr: where the controller's server listens, or, with ``is_server=False``, where it is. None: the
            controller lives in this process and no socket is opened. No host means 127.0.0.1 (this machine only); port
            0 is a free one, which ``server_addr`` of the object tells.
        init_temperature: of the annealing; None: 1.0.
        reduce_rate: by what the temperature is multiplied per step.
        search_steps: rewards after which the search is over.
        init_tokens: what the search starts from; None: the space's own.
        save_checkpoint: folder in which every reward writes ``sanas.checkpoints``; None: nothing is written. Workers
            never write.
        load_checkpoint: folder of such a file (ours or PaddleSlim's), from which the search goes on: ours makes the
            same proposals as if it had never stopped.
        is_server: False for a worker, whose proposals come from the server of another process.
        seed: of the proposals; None draws one.
        constrain_func: takes tokens and says whether they may be proposed.
        early_stop: what judges trials, see :meth:`status`: an `EarlyStopBase`, or a function that takes this object
            and returns one (``lambda nas: MedianStop(nas, 3)``).
        callbacks: objects with any of ``on_search_begin(search)``, ``on_trial(search, tokens, reward)`` and
            ``on_search_end(search, best_tokens)``; their errors are logged.
        distributed: whether the processes of ``paddle.distributed.launch`` evaluate one proposal together: rank 0 owns
            the controller, all get its tokens, rewards are averaged; the verbs must be called by all of them. None: if
            there are several processes.
        key: the server's secret; None makes a random one, which a worker must be given (``nas.key``).

    Raises ConfigError for configs and settings that cannot be, and for a checkpoint that is missing, damaged or of
    other configs.

    Deviations from PaddleSlim: the end of a search is an exception and never the end of the process; rewards start at
    minus infinity; proposals that are not rewarded are given up, not lost for the server; see `SAController` and
    `ControllerServer` for theirs.
    """

    def __init__(
        self,
        configs: Sequence[Any],
        server_addr: tuple[str, int] | None = ("", 8881),
        init_temperature: float | None = None,
        reduce_rate: float = 0.85,
        search_steps: int | None = 300,
        init_tokens: list[int] | None = None,
        save_checkpoint: str | Path | None = "nas_checkpoint",
        load_checkpoint: str | Path | None = None,
        is_server: bool = True,
        *,
        seed: int | None = None,
        constrain_func: Callable[[list[int]], bool] | None = None,
        early_stop: EarlyStopBase | Callable[[SANAS], EarlyStopBase] | None = None,
        callbacks: Sequence[Any] = (),
        distributed: bool | None = None,
        key: str | bytes | None = None,
    ) -> None:
        self._space = SearchSpaceFactory().get_search_space(configs)
        self._hash = configs_hash(self._space)
        # a worker has nothing to save: the server has the controller
        self._folder = None if save_checkpoint is None or not is_server else Path(save_checkpoint)
        self._group = Group(distributed)
        self._server: ControllerServer | None = None
        self._client: Any = None
        self._tokens: list[int] | None = None
        self._unscored, self._began, self._finished = False, False, False
        self.steps = 0
        self.server_addr, self.key = server_addr, key
        self.trial_history: dict[str, Any] = {}
        self.callbacks = list(callbacks)
        if not is_server and load_checkpoint is not None:
            raise ConfigError("load_checkpoint is the server's business: a worker (is_server=False) has no state")
        if search_steps is not None:
            checked_count("search_steps", search_steps)
        if not is_server:
            self._connect(server_addr, key)
        elif self._group.leads:
            controller = SAController(
                ([0] * len(self._space), self._space.range_table()),
                reduce_rate,
                init_temperature,
                MAX_TRY_TIMES,
                self._space.init_tokens(init_tokens),
                constrain_func=constrain_func,
                seed=seed,
            )
            self._own(controller, search_steps, load_checkpoint)
        self.steps = self._group.tell(lambda: self.steps)
        self.early_stop = early_stop(self) if _is_factory(early_stop) else early_stop

    # ------------------------------------------------------------------------------------------ the verbs
    def next_archs(self) -> list[Callable[..., Any]]:
        """The next proposal: one function per search space that builds its network.

        A proposal before it that got no reward is given up, as by :meth:`skip`. Raises SearchFinished after the last
        step, SearchSpaceExhausted when there is nothing new to propose, ControllerConnectionError when a server does
        not answer.
        """
        if not self._began:
            self._began = True
            self._call("on_search_begin")
        if self._unscored:
            self.skip("no reward was given")
        try:
            self._tokens = self._group.tell(lambda: self._client.next_tokens())
        except SearchFinished:
            self._finish()
            raise
        self._unscored = True
        log.info("step %d: tokens %s", self.steps, self._tokens)
        return self._space.token2arch(self._tokens)

    def reward(self, score: float) -> bool:
        """Takes the reward of the latest proposal, larger is better; whether it counts.

        It does not when the server had given the proposal to another worker that was faster, or when the search was
        over. ValueError for a reward that is no finite number (the proposal then still waits) and without a proposal.
        """
        tokens = self._proposal("rewarded")
        score = self._shared(score)
        counted, over = self._group.tell(lambda: (self._client.update(tokens, score, self.steps + 1), self.done))
        self._unscored = False
        self.steps += 1
        self._call("on_trial", tokens, score)
        if self._server is None and self._group.leads:
            self._save()
        if over:
            self._finish()
        return counted

    def skip(self, reason: str = "") -> None:
        """Gives the latest proposal up without a reward; it is no step of the search and will not be proposed again."""
        tokens = self._proposal("skipped")
        log.info("tokens %s are skipped%s", tokens, f": {reason}" if reason else "")
        self._group.tell(lambda: self._client.skip(tokens))
        self._unscored = False

    def tokens2arch(self, tokens: list[int]) -> list[Callable[..., Any]]:
        """The functions that build the networks of ``tokens``."""
        return self._space.token2arch(tokens)

    def current_info(self) -> dict[str, Any]:
        """``best_tokens`` (None before the first reward), ``best_reward`` (then -inf), ``current_tokens``."""
        found = self._group.tell(lambda: self._client.request_current_info())
        return {name: found[name] for name in ("best_tokens", "best_reward", "current_tokens")}

    def best_arch(self) -> list[Callable[..., Any]]:
        """The functions that build the best networks so far; ConfigError before the first reward."""
        best = self.current_info()["best_tokens"]
        if best is None:
            raise ConfigError("there is no best architecture before the first reward")
        return self._space.token2arch(best)

    def status(self, result: float, epochs: int) -> str:
        """ "GOOD" or "BAD": what ``early_stop`` says of the latest proposal, which had ``result`` in its latest epoch
        and is to have ``epochs``; always "GOOD" without ``early_stop``."""
        return "GOOD" if self.early_stop is None else self.early_stop.get_status(self.steps, result, epochs)

    @property
    def tokens(self) -> list[int] | None:
        """The latest proposal."""
        return None if self._tokens is None else list(self._tokens)

    @property
    def done(self) -> bool:
        """Whether the last step is scored; a worker knows it once the server has said so."""
        return self._finished or bool(getattr(self._server or self._client, "done", False))

    def __iter__(self) -> Iterator[tuple[int, list[Callable[..., Any]]]]:
        """(number of rewards so far, proposal) until the search is over; every proposal wants a reward or a skip."""
        while True:
            try:
                archs = self.next_archs()
            except SearchFinished:
                return
            yield self.steps, archs

    def close(self) -> None:
        """Ends the connection and the server, if there are any."""
        for part in (self._client, self._server):
            if part is not None:
                part.close()

    def __enter__(self) -> SANAS:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ inside
    def _own(self, controller: Any, search_steps: int | None, load_checkpoint: str | Path | None) -> None:
        """The controller is here: in a server, or with nobody else to ask it."""
        if self.server_addr is None:
            owner: Any = LocalClient(controller, search_steps)
        else:
            owner = ControllerServer(
                controller, self.server_addr, search_steps=search_steps, key=self.key, on_update=self._save
            )
        if load_checkpoint is not None:
            state, self.trial_history = read_checkpoint(Path(load_checkpoint), self._hash)
            owner.load_state_dict(state)
            self.steps = state["steps"]
        if self.server_addr is None:
            self._client = owner
            return
        self._server = owner
        owner.start()
        self.server_addr, self.key = (owner.ip(), owner.port()), owner.key
        self._client = ControllerClient(*self.server_addr, owner.key)

    def _connect(self, server_addr: tuple[str, int] | None, key: str | bytes | None) -> None:
        """The controller is in another process."""
        if not server_addr or not server_addr[0] or not server_addr[1]:
            raise ConfigError(f"a worker (is_server=False) needs the server's address and port, got {server_addr!r}")
        if key is None:
            raise ConfigError("a worker (is_server=False) needs the server's key: give key=, the server shows nas.key")
        if self._group.leads:
            self._client = ControllerClient(*server_addr, key)

    def _save(self) -> None:
        if self._folder is not None:
            owner = self._server or self._client
            write_checkpoint(self._folder, owner.state_dict(), self._hash, self.trial_history)

    def _proposal(self, what: str) -> list[int]:
        if not self._unscored:
            raise ConfigError(f"there is no proposal to be {what}: call next_archs() first")
        return list(self._tokens)

    def _shared(self, score: Any) -> float:
        """The mean of all processes; they wait for each other, so what is no number in one is refused in all."""
        if self._group.alone:
            return checked_reward(score)
        try:
            own = checked_reward(score)
        except ConfigError:
            own = math.nan
        return checked_reward(self._group.mean(own))

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            self._call("on_search_end", self.current_info()["best_tokens"])

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self.callbacks:
            try:
                getattr(callback, hook, _nothing)(self, *args)
            except Exception:
                log.warning("%s failed in %s; the search goes on", type(callback).__name__, hook, exc_info=True)


def _is_factory(early_stop: Any) -> bool:
    return callable(early_stop) and not isinstance(early_stop, EarlyStopBase)


def _nothing(*_: Any) -> None:
    """For hooks that a callback does not have."""
