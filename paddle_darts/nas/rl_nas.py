"""RLNAS: a search by a policy that learns, with PaddleSlim's name, signature and verbs.

Source: PaddlePaddle/PaddleSlim, paddleslim/nas/rl_nas.py (2.6.0).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from paddle_darts.controllers import RLCONTROLLER
from paddle_darts.controllers.checks import checked_count, checked_reward
from paddle_darts.controllers.lstm import LSTM
from paddle_darts.controllers.remote import ControllerClient, ControllerServer
from paddle_darts.errors import ConfigError, unknown
from paddle_darts.nas.policy_search import PolicyController
from paddle_darts.search_space import SearchSpaceFactory

log = logging.getLogger(__name__)

Archs = list[list[Callable[..., Any]]]


class RLNAS:
    """Proposes architectures drawn from a policy, which learns from their rewards.

    ::

        nas = RLNAS("lstm", [("NB201Space", {})], server_addr=None, seed=0, controller_batch_size=8)
        for _ in range(50):
            nas.reward([accuracy_of(archs[0](num_classes=10)) for archs in nas.next_archs()])
        (best,) = nas.final_archs(1)

    Args:
        key: name of a policy in ``RLCONTROLLER``; capitals do not matter.
        configs: search spaces, see `paddle_darts.search_space.CombineSearchSpace`.
        use_gpu: whether the policy computes on a GPU.
        server_addr: where the policy's server listens, or, with ``is_server=False``, where it is; None: no socket. See
            `SANAS`.
        is_server: False for a worker, whose proposals come from the server of another process.
        is_sync: the policy learns from the rewards of all connected workers together instead of from each at once.
        save_controller: folder in which every update writes the policy; None: nothing is written.
        load_controller: folder of such a policy, from which the search goes on.
        secret: the server's key; None makes a random one, which a worker must be given (``nas.secret``).
        kwargs: for the policy, see `paddle_darts.controllers.lstm.PolicySettings`; besides ``seed``.

    Deviations from PaddleSlim: the policy is in one place and learns there, see `PolicyController`; JSON and a secret
    instead of pickle and an open port; each architecture of a batch has its own reward.
    """

    def __init__(
        self,
        key: str,
        configs: Sequence[Any],
        use_gpu: bool = False,
        server_addr: tuple[str, int] | None = ("", 8881),
        is_server: bool = True,
        is_sync: bool = False,
        save_controller: str | Path | None = None,
        load_controller: str | Path | None = None,
        *,
        secret: str | bytes | None = None,
        **kwargs: Any,
    ) -> None:
        self._space = SearchSpaceFactory().get_search_space(configs)
        self.server_addr, self.secret = server_addr, secret
        self._save_to = None if save_controller is None else Path(save_controller)
        self._controller: Any = None
        self._server: ControllerServer | None = None
        self._client: ControllerClient | None = None
        self._tokens: list[list[int]] = []
        self._unscored = False
        policy_class = _policy_class(key)
        if not is_server:
            self._connect()
            return
        self._controller = policy_class(range_tables=self._space.range_table(), use_gpu=use_gpu, **kwargs)
        if load_controller is not None:
            self._controller.load(load_controller)
        if server_addr is not None:
            self._serve(is_sync)

    # ------------------------------------------------------------------------------------------ the verbs
    def next_archs(self, obs: Any = None) -> Archs:
        """New proposals: for each of them one function per search space that builds its network.

        ``obs``: how many (None: the policy's ``controller_batch_size``, with a server 1).
        """
        if self._client is None:
            self._tokens = self._controller.next_tokens(obs)
        else:
            if self._unscored:
                for tokens in self._tokens:
                    self._client.skip(tokens)
            count = 1 if obs is None else checked_count("obs", obs)
            self._tokens = [self._client.next_tokens() for _ in range(count)]
        self._unscored = True
        log.info("tokens %s", self._tokens)
        return [self._space.token2arch(tokens) for tokens in self._tokens]

    def reward(self, rewards: Any, **kwargs: Any) -> Any:
        """Takes the rewards of the latest proposals, one for all or one for each, and lets the policy learn.

        ValueError for a reward that is no finite number (nothing is learnt then) and without proposals.
        """
        if not self._unscored:
            raise ConfigError("there are no proposals to be rewarded: call next_archs() first")
        if self._client is None:
            found = self._controller.update(rewards, **kwargs)
            self._save()
        else:
            scores = _one_each(rewards, len(self._tokens))
            counted = [self._client.update(t, r) for t, r in zip(self._tokens, scores, strict=True)]
            found = all(counted)
        self._unscored = False
        return found

    def final_archs(self, batch_obs: Any = None) -> Archs:
        """The likeliest architectures, ``batch_obs`` of them (None: 1); only where the policy is."""
        if self._controller is None:
            raise ConfigError("the policy is with the server: ask for the final architectures there")
        wanted = 1 if batch_obs is None else batch_obs
        if self._server is None:
            found = self._controller.next_tokens(wanted, is_inference=True)
        else:
            with self._server.service.lock:
                found = self._controller.next_tokens(wanted, is_inference=True)
        return [self._space.token2arch(tokens) for tokens in found]

    def tokens2arch(self, tokens: list[int]) -> list[Callable[..., Any]]:
        """The functions that build the networks of ``tokens``."""
        return self._space.token2arch(tokens)

    @property
    def tokens(self) -> list[list[int]]:
        """The latest proposals."""
        return [list(tokens) for tokens in self._tokens]

    def close(self) -> None:
        """Ends the connection and the server, if there are any."""
        for part in (self._client, self._server):
            if part is not None:
                part.close()

    def __enter__(self) -> RLNAS:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ inside
    def _serve(self, is_sync: bool) -> None:
        if not isinstance(self._controller, LSTM):
            raise ConfigError(
                f"{type(self._controller).__name__} cannot learn from the rewards of others; use server_addr=None"
            )
        behind = PolicyController(self._controller, is_sync, self._save)
        self._server = ControllerServer(behind, self.server_addr, key=self.secret)
        self._server.start()
        self.server_addr, self.secret = (self._server.ip(), self._server.port()), self._server.key
        self._client = ControllerClient(*self.server_addr, self.secret)

    def _connect(self) -> None:
        if not self.server_addr or not self.server_addr[0] or not self.server_addr[1]:
            raise ConfigError(
                f"a worker (is_server=False) needs the server's address and port, got {self.server_addr!r}"
            )
        if self.secret is None:
            raise ConfigError("a worker (is_server=False) needs the server's key: give secret=, the server shows it")
        self._client = ControllerClient(*self.server_addr, self.secret)

    def _save(self) -> None:
        if self._save_to is not None:
            self._controller.save(self._save_to)


def _policy_class(key: str) -> type:
    """The policy of that name; ConfigError with the nearest match when there is none."""
    by_name = {name.upper(): cls for name, cls in RLCONTROLLER.module_dict.items()}
    if not isinstance(key, str) or key.upper() not in by_name:
        raise ConfigError(unknown("policy of RLCONTROLLER", str(key), RLCONTROLLER))
    return by_name[key.upper()]


def _one_each(rewards: Any, count: int) -> list[float]:
    """Finite numbers, one per proposal."""
    values = rewards.numpy() if hasattr(rewards, "numpy") else rewards
    listed = list(values) if np.ndim(values) == 1 else [values] * count
    if len(listed) != count:
        raise ConfigError(f"{count} proposals want one reward each, or one for all, got {len(listed)}")
    return [checked_reward(value) for value in listed]
