"""SANAS: its verbs, with and without a server; checkpoints, faults, the end of a search."""

from __future__ import annotations

import json
import logging
import math
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddle_darts.controllers import SAController, SearchFinished, SearchSpaceExhausted
from paddle_darts.controllers.errors import ControllerConnectionError
from paddle_darts.errors import ConfigError
from paddle_darts.nas import SANAS, MedianStop

CONFIGS = [("NB201Space", {"init_channels": 4, "layers": 5})]


def score(tokens: list[int]) -> float:
    return round(sum((i + 1) * token for i, token in enumerate(tokens)) / 84, 6)


def search(configs: Any = CONFIGS, **settings: Any) -> SANAS:
    return SANAS(configs, **{"server_addr": None, "save_checkpoint": None, "seed": 5, **settings})


def run(nas: SANAS, steps: int | None = None) -> list[list[int]]:
    """The proposals of ``steps`` rewarded steps (None: to the end)."""
    seen = []
    while steps is None or len(seen) < steps:
        try:
            nas.next_archs()
        except SearchFinished:
            break
        seen.append(nas.tokens)
        nas.reward(score(nas.tokens))
    return seen


# ------------------------------------------------------------------------------------------ verbs
def test_the_verbs() -> None:
    nas = search(search_steps=4)
    assert nas.current_info() == {"best_tokens": None, "best_reward": -math.inf, "current_tokens": [3] * 6}
    assert nas.tokens is None and not nas.done
    with pytest.raises(ConfigError, match="no best architecture before the first reward"):
        nas.best_arch()
    (arch,) = nas.next_archs()
    network = arch(num_classes=7)
    assert network(paddle.zeros([2, 3, 8, 8]))[0].shape == [2, 7]
    assert nas.reward(0.25) is True
    first = nas.tokens
    for step, _ in nas:
        assert step == nas.steps
        assert nas.reward(0.125 * step) is True
    assert nas.done and nas.steps == 4
    info = nas.current_info()
    assert info["best_reward"] == 0.375 and info["current_tokens"] == info["best_tokens"] == nas.tokens != first
    assert len(nas.best_arch()) == len(nas.tokens2arch(first)) == 1


def test_the_proposals_are_those_of_the_controller() -> None:
    """PaddleSlim's: rewards from the space's initial tokens on, the first temperature 1."""
    controller = SAController([5] * 6, max_try_times=50000, init_tokens=[3] * 6, seed=5)
    expected = []
    for step in range(1, 21):
        expected.append(controller.next_tokens())
        controller.update(expected[-1], score(expected[-1]), step)
    assert run(search(search_steps=20)) == expected
    assert run(search(search_steps=20, server_addr=("", 0))) == expected


def test_the_signature_is_paddleslims() -> None:
    import inspect

    parameters = inspect.signature(SANAS).parameters
    plain = {name: p.default for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert list(plain.items()) == [
        ("configs", inspect.Parameter.empty),
        ("server_addr", ("", 8881)),
        ("init_temperature", None),
        ("reduce_rate", 0.85),
        ("search_steps", 300),
        ("init_tokens", None),
        ("save_checkpoint", "nas_checkpoint"),
        ("load_checkpoint", None),
        ("is_server", True),
    ]


def test_several_spaces_at_once() -> None:
    nas = search([*CONFIGS, "DartsCellSpace"], search_steps=2)
    assert len(nas.next_archs()) == 2 and len(nas.tokens) == 6 + 32


def test_the_constraint_is_honoured() -> None:
    nas = search(search_steps=30, constrain_func=lambda tokens: tokens.count(3) >= 3)
    assert all(tokens.count(3) >= 3 for tokens in run(nas))


def test_skipped_and_unrewarded_proposals_are_no_steps() -> None:
    nas = search(search_steps=3)
    seen = []
    for turn in range(4):
        nas.next_archs()
        seen.append(nas.tokens)
        if turn % 2:
            nas.skip("too large")
    assert nas.steps == 0
    run(nas)
    assert nas.steps == 3 and nas.done
    assert len({tuple(tokens) for tokens in seen}) == 4
    for verb in (nas.skip, lambda: nas.reward(1.0)):
        with pytest.raises(ConfigError, match="there is no proposal to be"):
            verb()


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, "good", None, True])
@pytest.mark.parametrize("address", [None, ("", 0)])
def test_a_reward_that_is_no_number_is_refused_and_the_proposal_waits(address: Any, reward: Any) -> None:
    with search(search_steps=3, server_addr=address) as nas:
        nas.next_archs()
        tokens = nas.tokens
        with pytest.raises(ValueError, match="a reward is"):
            nas.reward(reward)
        assert nas.steps == 0 and nas.tokens == tokens
        assert nas.reward(0.5) is True
        assert nas.current_info()["best_tokens"] == tokens


@pytest.mark.parametrize("reward", [np.float32(0.5), paddle.to_tensor(0.5), paddle.to_tensor([0.5]), 1, np.int64(1)])
def test_rewards_of_all_kinds_of_numbers(reward: Any) -> None:
    nas = search()
    nas.next_archs()
    assert nas.reward(reward) is True
    assert nas.current_info()["best_reward"] == float(np.asarray(reward).reshape(()))


def test_losses_as_rewards_have_a_best_too() -> None:
    """PaddleSlim begins at -1, below which nothing is ever the best."""
    nas = search()
    nas.next_archs()
    nas.reward(-7.5)
    assert nas.current_info()["best_reward"] == -7.5 and nas.current_info()["best_tokens"] == nas.tokens


# ------------------------------------------------------------------------------------------ the end
@pytest.mark.parametrize("address", [None, ("", 0)])
def test_beyond_the_last_step_there_is_an_exception(address: Any) -> None:
    with search(search_steps=2, server_addr=address) as nas:
        assert len(run(nas)) == 2
        for _ in range(3):
            with pytest.raises(SearchFinished):
                nas.next_archs()
        assert nas.done and list(nas) == []
        with pytest.raises(ConfigError, match="call next_archs"):
            nas.reward(1.0)


def test_a_script_goes_on_after_its_search() -> None:
    """PaddleSlim ends the process with code 0 there."""
    code = """
from paddle_darts.nas import SANAS
nas = SANAS(["NB201Space"], ("", 0), search_steps=2, save_checkpoint=None)
for step, archs in nas:
    nas.reward(step)
try:
    nas.next_archs()
except Exception as error:
    print(type(error).__name__)
nas.close()
print("the script goes on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["SearchFinished", "the script goes on"] and done.returncode == 0


def test_a_space_that_is_used_up() -> None:
    nas = search(constrain_func=lambda tokens: tokens[:5] == [3] * 5)
    with pytest.raises(SearchSpaceExhausted):
        run(nas)
    assert nas.steps == 5  # every value of the last token


# ------------------------------------------------------------------------------------------ checkpoints
@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("before, after", [(None, None), (("", 0), ("", 0)), (None, ("", 0)), (("", 0), None)])
def test_a_resumed_search_makes_the_same_proposals(tmp_path: Path, steps: int, before: Any, after: Any) -> None:
    whole = run(search(search_steps=15))
    with search(search_steps=15, server_addr=before, save_checkpoint=tmp_path) as nas:
        seen = run(nas, steps)
        nas.next_archs()  # proposed, never rewarded: it comes again
    with search(search_steps=15, server_addr=after, load_checkpoint=tmp_path, seed=99) as nas:
        assert nas.steps == steps
        seen += run(nas)
        assert nas.done and nas.current_info()["best_reward"] == max(map(score, whole))
    assert seen == whole


def test_a_finished_search_is_finished_when_it_is_loaded(tmp_path: Path) -> None:
    run(search(search_steps=3, save_checkpoint=tmp_path))
    nas = search(search_steps=3, load_checkpoint=tmp_path)
    assert nas.done
    with pytest.raises(SearchFinished):
        nas.next_archs()
    assert len(run(search(search_steps=5, load_checkpoint=tmp_path))) == 2


def test_paddleslims_checkpoints_are_read(tmp_path: Path) -> None:
    theirs = {
        "_range_table": [[0] * 6, [5] * 6],
        "_reduce_rate": 0.5,
        "_init_temperature": 2.0,
        "_max_try_times": 50000,
        "_reward": 0.5,
        "_tokens": [1, 1, 1, 1, 1, 1],
        "_constrain_func": None,
        "_max_reward": 0.75,
        "_best_tokens": [2, 2, 2, 2, 2, 2],
        "_iter": 4,
        "_searched": {"[1, 1, 1, 1, 1, 1]": 0.5, "[2, 2, 2, 2, 2, 2]": 0.75},
        "_current_tokens": [1, 1, 1, 1, 1, 2],
    }
    (tmp_path / "sanas.checkpoints").write_text(json.dumps(theirs))
    nas = search(search_steps=6, load_checkpoint=tmp_path)
    info = nas.current_info()
    assert (info["best_tokens"], info["best_reward"], nas.steps) == ([2] * 6, 0.75, 4)
    nas.next_archs()
    assert sum(a != 1 for a in nas.tokens) == 1  # one step away from the accepted ones
    nas.reward(0.1)
    assert len(run(nas)) == 1
    theirs["_range_table"] = [[0] * 5, [5] * 5]
    (tmp_path / "sanas.checkpoints").write_text(json.dumps(theirs))
    with pytest.raises(ConfigError, match="range table"):
        search(load_checkpoint=tmp_path)


@pytest.mark.parametrize(
    "other",
    [[("NB201Space", {"init_channels": 8, "layers": 5})], ["NB201Space"], ["DartsCellSpace"], ["NB201Space"] * 2],
)
def test_a_checkpoint_of_other_configs_is_refused(tmp_path: Path, other: Any) -> None:
    run(search(search_steps=2, save_checkpoint=tmp_path))
    with pytest.raises(ConfigError, match="belongs to a search with other configs"):
        search(other, load_checkpoint=tmp_path)


def test_checkpoints_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no readable sanas.checkpoints"):
        search(load_checkpoint=tmp_path)
    run(search(search_steps=2, save_checkpoint=tmp_path))
    path = tmp_path / "sanas.checkpoints"
    document = json.loads(path.read_text())
    for change in ({"search": {}}, {"rng": None}, {"controller": "Other"}):
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(ConfigError):
            search(load_checkpoint=tmp_path)
    path.write_text("{ half")
    with pytest.raises(ConfigError, match="no readable"):
        search(load_checkpoint=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "written atomically, nothing left over"


def test_the_constraint_is_no_part_of_the_checkpoint(tmp_path: Path) -> None:
    """PaddleSlim cannot write its checkpoint when there is one."""
    run(search(search_steps=2, save_checkpoint=tmp_path, constrain_func=lambda tokens: True))
    assert search(load_checkpoint=tmp_path).steps == 2


# ------------------------------------------------------------------------------------------ configs and servers
def test_unknown_spaces_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'NB201Spac'; did you mean 'NB201Space'"):
        search(["NB201Spac"])
    with pytest.raises(ConfigError, match=r"token 2 must be one of 0 \.\.\. 4, got 5"):
        search(init_tokens=[0, 0, 5, 0, 0, 0])
    with pytest.raises(ConfigError, match="search_steps must be an integer"):
        search(search_steps=0)


def test_without_an_address_there_is_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert len(run(search(search_steps=3))) == 3


def test_the_server_is_on_this_machine_only_and_two_can_run() -> None:
    with search(server_addr=("", 0)) as one, search(server_addr=("", 0)) as other:
        assert one.server_addr[0] == other.server_addr[0] == "127.0.0.1"
        assert one.server_addr[1] != other.server_addr[1] and one.key != other.key
        assert one.next_archs() and other.next_archs()


def test_workers_share_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with search(server_addr=("", 0), search_steps=9, save_checkpoint=tmp_path) as nas:
        # the defaults of a worker, too: what is saved is the server's business
        workers = [SANAS(CONFIGS, server_addr=nas.server_addr, is_server=False, key=nas.key) for _ in range(2)]
        seen = []
        for _ in range(3):
            for each in (nas, *workers):
                each.next_archs()
            for each in (nas, *workers):
                assert each.reward(score(each.tokens)) is True
                seen.append(tuple(each.tokens))
        assert len(set(seen)) == 9 and nas.done
        for each in (*workers, nas):
            with pytest.raises(SearchFinished):
                each.next_archs()
            assert each.done and each.current_info()["best_reward"] == max(score(list(t)) for t in seen)
            each.close()
    document = json.loads((tmp_path / "sanas.checkpoints").read_text())
    assert document["search"]["steps"] == 9 and len(document["history"]) == 9
    assert not (tmp_path / "nas_checkpoint").exists()


def test_a_worker_needs_address_and_key() -> None:
    with pytest.raises(ConfigError, match="needs the server's address and port"):
        search(server_addr=("", 8881), is_server=False)
    with pytest.raises(ConfigError, match="needs the server's key"):
        search(server_addr=("127.0.0.1", 8881), is_server=False)
    with pytest.raises(ConfigError, match="load_checkpoint is the server's business"):
        search(server_addr=("127.0.0.1", 8881), is_server=False, key="k", load_checkpoint="x")
    with search(server_addr=("", 0)) as nas:
        worker = search(server_addr=nas.server_addr, is_server=False, key="another")
        with pytest.raises(ControllerConnectionError, match="another key"):
            worker.next_archs()
        nas.next_archs()


# ------------------------------------------------------------------------------------------ watching
def test_callbacks_are_called_and_their_errors_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []

    class Watch:
        def on_search_begin(self, nas: SANAS) -> None:
            calls.append("begin")

        def on_trial(self, nas: SANAS, tokens: list[int], reward: float) -> None:
            calls.append((tokens, reward))

        def on_search_end(self, nas: SANAS, best: list[int]) -> None:
            calls.append(best)

    class Broken:
        def on_trial(self, *_: Any) -> None:
            raise RuntimeError("oh")

    with caplog.at_level(logging.WARNING):
        seen = run(search(search_steps=3, callbacks=[Broken(), Watch()]))
    assert calls == ["begin", *((tokens, score(tokens)) for tokens in seen), max(seen, key=score)]
    assert sum("Broken failed in on_trial" in line for line in caplog.messages) == 3


def test_trials_are_judged_and_their_history_is_saved(tmp_path: Path) -> None:
    def judge(nas: SANAS) -> MedianStop:
        return MedianStop(nas, 1)

    nas = search(search_steps=4, save_checkpoint=tmp_path, early_stop=judge)
    verdicts = []
    for step, _ in nas:
        verdicts.append(nas.status([0.5, 0.25, 0.75][step % 3], 1))
        nas.reward(0.5)
        if step == 2:
            break
    assert verdicts == ["GOOD", "BAD", "GOOD"]
    again = search(search_steps=4, load_checkpoint=tmp_path, early_stop=judge)
    assert again.trial_history == nas.trial_history and again.trial_history["completed"] == {"0": [0.5], "2": [0.75]}
    assert search().status(0.0, 1) == "GOOD"
