"""RLNAS: its verbs, with and without a server, what is saved, and that it searches."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddle_darts.controllers import RLCONTROLLER, RLBaseController
from paddle_darts.controllers.errors import ControllerConnectionError
from paddle_darts.errors import ConfigError, RunError
from paddle_darts.nas import RLNAS

CONFIGS = [("NB201Space", {"init_channels": 4, "layers": 5})]
QUICK = {"controller_lr": 0.01, "decay": 0.9, "controller_batch_size": 8, "hidden_size": 32}
TARGET = [3, 1, 4, 1, 0, 2]


def share(tokens: list[int]) -> float:
    return sum(a == b for a, b in zip(tokens, TARGET, strict=True)) / 6


def search(key: str = "lstm", configs: Any = CONFIGS, **settings: Any) -> RLNAS:
    return RLNAS(key, configs, **{"server_addr": None, "seed": 2, **QUICK, **settings})


def test_the_signature_is_paddleslims() -> None:
    parameters = inspect.signature(RLNAS).parameters
    plain = {name: p.default for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert list(plain.items()) == [
        ("key", inspect.Parameter.empty),
        ("configs", inspect.Parameter.empty),
        ("use_gpu", False),
        ("server_addr", ("", 8881)),
        ("is_server", True),
        ("is_sync", False),
        ("save_controller", None),
        ("load_controller", None),
    ]


@pytest.mark.parametrize("address", [None, ("", 0)])
def test_the_verbs(address: Any) -> None:
    with search(server_addr=address) as nas:
        with pytest.raises(ConfigError, match="no proposals to be rewarded"):
            nas.reward(1.0)
        archs = nas.next_archs(3)
        assert len(archs) == len(nas.tokens) == 3 and all(len(arch) == 1 for arch in archs)
        network = archs[0][0](num_classes=7)
        assert network(paddle.zeros([2, 3, 8, 8]))[0].shape == [2, 7]
        assert nas.reward([0.5, 0.25, 0.125])
        with pytest.raises(ConfigError, match="no proposals to be rewarded"):
            nas.reward(1.0)
        assert len(nas.next_archs()) == (8 if address is None else 1)
        assert nas.reward(0.5)
        assert len(nas.final_archs(2)) == 2 and len(nas.tokens2arch(TARGET)) == 1
        for tokens in nas.tokens:
            assert all(0 <= token < 5 for token in tokens)


@pytest.mark.parametrize("address", [None, ("", 0)])
@pytest.mark.parametrize("rewards", [math.nan, [0.5, math.inf], "good", [1.0, 2.0, 3.0]])
def test_rewards_that_cannot_be_change_nothing(address: Any, rewards: Any) -> None:
    with search(server_addr=address) as nas:
        before = {name: t.numpy().copy() for name, t in nas._controller._weights.items()}
        nas.next_archs(2)
        with pytest.raises(ValueError, match=r"a reward is|want one reward each"):
            nas.reward(rewards)
        assert all(np.array_equal(before[name], t.numpy()) for name, t in nas._controller._weights.items())
        assert nas.reward([0.5, 0.25])
        assert any(not np.array_equal(before[name], t.numpy()) for name, t in nas._controller._weights.items())


def test_it_learns_here_and_by_way_of_a_server() -> None:
    here = search()
    for _ in range(120):
        here.next_archs()
        here.reward([share(tokens) for tokens in here.tokens])
    # one after the other, so that every reward is an update of its own
    with search(server_addr=("", 0), controller_lr=0.005) as served:
        for _ in range(500):
            served.next_archs()
            served.reward(share(served.tokens[0]))
        for nas in (here, served):
            nas.next_archs(40)
            assert np.mean([share(tokens) for tokens in nas.tokens]) > 0.6  # by chance 0.2


def test_workers_without_the_policy() -> None:
    with search(server_addr=("", 0)) as nas:
        policy = nas._controller
        worker = search(server_addr=nas.server_addr, is_server=False, secret=nas.secret)
        assert worker.next_archs(2) and worker.reward([0.5, 1.0]) and policy.updates == 2
        with pytest.raises(ConfigError, match="the policy is with the server"):
            worker.final_archs(1)
        worker.close()
        stranger = search(server_addr=nas.server_addr, is_server=False, secret="other")
        with pytest.raises(ControllerConnectionError, match="another key"):
            stranger.next_archs()
    for wrong, message in (({"server_addr": ("", 1)}, "address and port"), ({"server_addr": ("h", 1)}, "server's key")):
        with pytest.raises(ConfigError, match=message):
            search(is_server=False, **wrong)


def test_in_sync_the_rewards_of_all_workers_are_one_update() -> None:
    with search(server_addr=("", 0), is_sync=True) as nas:
        worker = search(server_addr=nas.server_addr, is_server=False, secret=nas.secret)
        for each in (nas, worker):
            each.next_archs()
        nas.reward(0.5)
        assert nas._controller.updates == 0
        worker.reward(1.0)
        assert nas._controller.updates == 1
        worker.close()


def test_a_saved_policy_goes_on(tmp_path: Path) -> None:
    whole, parts = search(), search(save_controller=tmp_path)
    seen: list[Any] = []
    for step in range(6):
        if step == 3:
            parts = search(load_controller=tmp_path, seed=77)
        for nas in (whole, parts):
            nas.next_archs()
            nas.reward([share(tokens) for tokens in nas.tokens])
            seen.append(nas.tokens)
        assert seen[-1] == seen[-2]
    with search(server_addr=("", 0), save_controller=tmp_path / "served") as nas:
        nas.next_archs()
        nas.reward(0.5)
        assert (tmp_path / "served" / "policy.json").is_file()
    with pytest.raises(RunError, match="no readable state"):
        search(load_controller=tmp_path / "nothing")


def test_unknown_names_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown policy of RLCONTROLLER 'lstn'; did you mean 'LSTM'"):
        search("lstn")
    with pytest.raises(ConfigError, match="'NB201Spac'; did you mean 'NB201Space'"):
        search(configs=["NB201Spac"])
    with pytest.raises(ConfigError, match="unknown setting of the LSTM controller 'hidden'"):
        search(hidden=3)


def test_a_policy_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RLCONTROLLER, "_classes", dict(RLCONTROLLER.module_dict))

    @RLCONTROLLER.register
    class Always(RLBaseController):
        def __init__(self, range_tables: list[int], use_gpu: bool, digit: int) -> None:
            self.tokens, self.heard = [[digit] * len(range_tables)], []

        def next_tokens(self, obs: Any = None, is_inference: bool = False) -> list[list[int]]:
            return self.tokens

        def update(self, rewards: Any, **about: Any) -> bool:
            self.heard.append((rewards, about))
            return True

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

    nas = RLNAS("always", CONFIGS, server_addr=None, digit=2)
    nas.next_archs("what it sees")
    assert nas.tokens == [[2] * 6] and nas.reward(0.5, terminal=True) is True
    assert nas._controller.heard == [(0.5, {"terminal": True})]
    with pytest.raises(ConfigError, match="Always cannot learn from the rewards of others"):
        RLNAS("always", CONFIGS, server_addr=("", 0), digit=2)
