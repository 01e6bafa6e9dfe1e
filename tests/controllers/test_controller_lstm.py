"""The LSTM policy: its probabilities, its update rule, its state, and that it learns where there is a signal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddle_darts.controllers import RLCONTROLLER
from paddle_darts.controllers.lstm import LSTM, PolicySettings
from paddle_darts.errors import ConfigError, RunError

TARGET = [3, 1, 4, 1, 0, 2]
QUICK = {"controller_lr": 0.01, "decay": 0.9, "controller_batch_size": 8, "hidden_size": 32}


def share(tokens: list[int]) -> float:
    """The reward whose only optimum is TARGET."""
    return sum(a == b for a, b in zip(tokens, TARGET, strict=True)) / len(TARGET)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def log_probabilities(policy: LSTM, tokens: list[int], layers: int, scale: Any = lambda x: x) -> list[np.ndarray]:
    """The log probabilities of all values at every position, by hand in NumPy."""
    w = {name: t.numpy().astype(np.float64) for name, t in policy._weights.items()}
    x, found = w["start"][0], []
    h, c = ([np.zeros_like(x) for _ in range(layers)] for _ in range(2))
    for position, token in enumerate(tokens):
        inputs = x
        for layer in range(layers):
            cell = f"cells.{layer}."
            gates = w[cell + "weight_ih"] @ inputs + w[cell + "bias_ih"]
            gates = gates + w[cell + "weight_hh"] @ h[layer] + w[cell + "bias_hh"]
            i, f, g, o = np.split(gates, 4)
            c[layer] = sigmoid(f) * c[layer] + sigmoid(i) * np.tanh(g)
            h[layer] = inputs = sigmoid(o) * np.tanh(c[layer])
        logits = scale(inputs @ w[f"heads.{position}.weight"] + w[f"heads.{position}.bias"])
        found.append(logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max())
        x = w["embedding.weight"][token]
    return found


# ------------------------------------------------------------------------------------------ what it computes
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    "settings, scale",
    [
        ({}, lambda x: x),
        ({"temperature": 5.0}, lambda x: x / 5.0),
        ({"tanh_constant": 2.5, "temperature": 0.1}, lambda x: 2.5 * np.tanh(x / 0.1)),
        ({"tanh_constant": 0.0}, lambda x: 0 * x),
    ],
)
def test_the_loss_is_that_of_reinforce(layers: int, settings: dict[str, Any], scale: Any) -> None:
    policy = LSTM([5, 3, 7], seed=1, lstm_num_layers=layers, hidden_size=6, decay=0.75, **settings)
    policy.baseline = 0.5
    samples, rewards = [[4, 0, 6], [1, 2, 3]], [2.0, 1.0]
    log_p = [
        sum(row[token] for row, token in zip(log_probabilities(policy, tokens, layers, scale), tokens, strict=True))
        for tokens in samples
    ]
    baseline = 0.5 - 0.25 * (0.5 - 1.5)
    expected = -sum(lp * (r - baseline) for lp, r in zip(log_p, rewards, strict=True))
    assert policy.learn(samples, rewards) == pytest.approx(expected, rel=1e-5)
    assert policy.baseline == pytest.approx(baseline)


def test_the_entropy_is_part_of_the_reward() -> None:
    plain, curious = (LSTM([5, 3], seed=1, hidden_size=6, decay=0.0, weight_entropy=w) for w in (0.0, 2.0))
    log_p = log_probabilities(plain, [4, 2], 1)
    nats = -sum(row[token] * math.exp(row[token]) for row, token in zip(log_p, [4, 2], strict=True))
    for policy in (plain, curious):
        policy.learn([[4, 2]], 1.0)
    # with decay 0 the baseline is the latest reward
    assert plain.baseline == 1.0
    assert curious.baseline == pytest.approx(1.0 + 2.0 * nats, rel=1e-5)


@pytest.mark.parametrize("reward, better", [(1.0, True), (-1.0, False)])
def test_a_reward_above_the_baseline_makes_tokens_likelier(reward: float, better: bool) -> None:
    policy = LSTM([5, 3], seed=1, hidden_size=6, controller_lr=0.01)

    def likelihood() -> float:
        return sum(row[t] for row, t in zip(log_probabilities(policy, [4, 2], 1), [4, 2], strict=True))

    before = likelihood()
    policy.learn([[4, 2]], reward)
    assert bool(likelihood() > before) is better


def test_the_gradient_is_limited_to_norm_5_each() -> None:
    """Adam forgets the scale of a gradient, its first moment does not."""
    policy = LSTM([5, 3], seed=1, hidden_size=6, decay=1.0)
    policy.learn([[4, 2]], 1e6)
    for name, moment in zip(policy._weights, policy._optimizer.slots("moment1"), strict=True):
        norm = float(moment.norm()) / 0.1
        assert norm == pytest.approx(5.0, rel=1e-3) or norm < 5.0, name
    assert max(float(m.norm()) / 0.1 for m in policy._optimizer.slots("moment1")) == pytest.approx(5.0, rel=1e-3)


def test_tokens_come_with_their_probabilities() -> None:
    policy = LSTM([4, 3], seed=2, hidden_size=8, temperature=0.2)
    drawn = np.array(policy.next_tokens(20000))
    first = np.exp(log_probabilities(policy, [0, 0], 1, lambda x: x / 0.2)[0])
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=4) / 20000, first, atol=0.012)
    after_two = drawn[drawn[:, 0] == 2][:, 1]
    second = np.exp(log_probabilities(policy, [2, 0], 1, lambda x: x / 0.2)[1])
    np.testing.assert_allclose(np.bincount(after_two, minlength=3) / len(after_two), second, atol=0.03)
    assert np.ptp(first) > 0.05


def test_the_likeliest_tokens() -> None:
    policy = LSTM([4, 3, 5], seed=2, hidden_size=8)
    (found,) = policy.next_tokens(1, is_inference=True)
    log_p = log_probabilities(policy, found, 1)
    assert found == [int(row.argmax()) for row in log_p]
    with pytest.raises(ConfigError, match="no tokens to be rewarded"):
        policy.update(1.0)


# ------------------------------------------------------------------------------------------ does it learn
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_the_optimum_and_does_not_without_a_signal(seed: int) -> None:
    noise = np.random.default_rng(seed)
    learner, control = LSTM([5] * 6, seed=seed, **QUICK), LSTM([5] * 6, seed=seed, **QUICK)
    for _ in range(120):
        learner.update([share(tokens) for tokens in learner.next_tokens()])
        control.update(noise.random(len(control.next_tokens())))
    found = np.mean([share(tokens) for tokens in learner.next_tokens(64)])
    without = np.mean([share(tokens) for tokens in control.next_tokens(64)])
    assert found > 0.8 and without < 0.5
    assert control.next_tokens(1, is_inference=True)[0] != TARGET


def test_some_seed_reaches_the_optimum_itself() -> None:
    policy = LSTM([5] * 6, seed=0, **{**QUICK, "hidden_size": 100})
    for _ in range(60):
        policy.update([share(tokens) for tokens in policy.next_tokens()])
    assert policy.next_tokens(1, is_inference=True) == [TARGET]


# ------------------------------------------------------------------------------------------ settings
def test_the_defaults_are_paddleslims_and_none_means_default() -> None:
    assert vars(PolicySettings()) == {
        "lstm_num_layers": 1,
        "hidden_size": 100,
        "temperature": None,
        "tanh_constant": None,
        "decay": 0.99,
        "weight_entropy": None,
        "controller_batch_size": 1,
        "controller_lr": 1e-4,
        "controller_decay_steps": None,
        "controller_decay_rate": None,
    }
    assert LSTM([3], hidden_size=None, decay=None).settings == PolicySettings()
    assert RLCONTROLLER.get("LSTM") is LSTM


def test_zero_is_zero() -> None:
    policy = LSTM([5, 5], seed=0, hidden_size=4, controller_lr=0, decay=0, weight_entropy=0)
    assert (policy.settings.controller_lr, policy.settings.decay, policy.settings.weight_entropy) == (0, 0, 0)
    before = {name: t.numpy().copy() for name, t in policy._weights.items()}
    policy.learn([[1, 2]], 3.0)
    assert policy.baseline == 3.0
    assert all(np.array_equal(before[name], t.numpy()) for name, t in policy._weights.items())


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"temperature": 0}, "temperature must be above 0, got 0"),
        ({"hidden_size": 0}, "hidden_size must be an integer of at least 1, got 0"),
        ({"lstm_num_layers": 1.5}, "lstm_num_layers must be an integer"),
        ({"controller_batch_size": 0}, "controller_batch_size must be an integer of at least 1"),
        ({"decay": 1.5}, "decay must be between 0 and 1, got 1.5"),
        ({"controller_lr": -1.0}, "controller_lr must be a finite number of at least 0"),
        ({"controller_decay_steps": 10}, "needs a controller_decay_rate"),
        ({"controller_decay_steps": 0, "controller_decay_rate": 0.5}, "controller_decay_steps must be an integer"),
        ({"hiden_size": 3}, "unknown setting of the LSTM controller 'hiden_size'; did you mean 'hidden_size'"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LSTM([5, 3], **settings)


def test_the_rate_decays() -> None:
    policy = LSTM([2], seed=0, hidden_size=2, controller_lr=0.1, controller_decay_steps=2, controller_decay_rate=0.25)
    rates = []
    for _ in range(4):
        rates.append(policy.lr)
        policy.learn([[1]], 1.0)
        assert policy._optimizer.lr == pytest.approx(rates[-1])
    assert rates == pytest.approx([0.1, 0.05, 0.025, 0.0125])


def test_tables_and_devices_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"count from 0, got lows \[1, 0\]"):
        LSTM(([1, 0], [3, 3]))
    if not paddle.is_compiled_with_cuda():
        with pytest.raises(ConfigError, match="this Paddle is a CPU build"):
            LSTM([3], use_gpu=True)


# ------------------------------------------------------------------------------------------ rewards
@pytest.mark.parametrize("rewards", [math.nan, [1.0, math.inf], "good", [True, 1.0], None])
def test_rewards_that_are_no_numbers_change_nothing(rewards: Any) -> None:
    policy = LSTM([5, 3], seed=0, hidden_size=4)
    policy.next_tokens(2)
    before = {name: t.numpy().copy() for name, t in policy._weights.items()}
    with pytest.raises(ValueError, match="a reward is"):
        policy.update(rewards)
    assert policy.updates == 0 and policy.baseline == 0.0
    assert all(np.array_equal(before[name], t.numpy()) for name, t in policy._weights.items())
    policy.update([0.5, 0.25])  # they still wait for their rewards


def test_one_reward_for_all_or_one_each() -> None:
    policy = LSTM([5, 3], seed=0, hidden_size=4, decay=0.0)
    for rewards, mean in ((0.5, 0.5), ([1, 2, 3], 2.0), (np.array([4.0, 4.0, 1.0]), 3.0), (paddle.ones([3]), 1.0)):
        policy.next_tokens(3)
        policy.update(rewards)
        assert policy.baseline == pytest.approx(mean)
    policy.next_tokens(3)
    with pytest.raises(ConfigError, match="3 token lists want one reward each, or one for all, got 2"):
        policy.update([1.0, 2.0])
    with pytest.raises(ValueError, match=r"token 1 must be one of 0 \.\.\. 2, got 3"):
        policy.learn([[1, 3]], 1.0)


# ------------------------------------------------------------------------------------------ state
def trained(steps: int = 3) -> LSTM:
    policy = LSTM([5] * 6, seed=4, controller_decay_steps=5, controller_decay_rate=0.5, **QUICK)
    for _ in range(steps):
        policy.update([share(tokens) for tokens in policy.next_tokens()])
    return policy


def go_on(policy: LSTM) -> list[Any]:
    seen = []
    for _ in range(3):
        seen.append(policy.next_tokens())
        policy.update([share(tokens) for tokens in seen[-1]])
    return [*seen, policy.baseline, *(t.numpy().tolist() for t in policy._weights.values())]


@pytest.mark.parametrize("way", ["memory", "files", "params_dict"])
def test_a_loaded_policy_goes_on_as_the_saved_one(tmp_path: Path, way: str) -> None:
    policy = trained()
    fresh = LSTM([5] * 6, seed=99, controller_decay_steps=5, controller_decay_rate=0.5, **QUICK)
    if way == "files":
        policy.save(tmp_path)
        trained(5).save(tmp_path)  # a later state takes its place
        policy.save(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        fresh.load(tmp_path)
    elif way == "memory":
        fresh.load_state_dict(policy.state_dict())
    else:
        state = policy.get_params()
        assert fresh.next_tokens(params_dict=state) == policy.next_tokens()
        fresh.set_params(state)
        policy.load_state_dict(state)
    assert go_on(fresh) == go_on(policy)


def test_proposals_that_wait_for_rewards_are_part_of_the_state(tmp_path: Path) -> None:
    policy = trained()
    tokens = policy.next_tokens()
    policy.save(tmp_path)
    fresh = LSTM([5] * 6, seed=99, controller_decay_steps=5, controller_decay_rate=0.5, **QUICK)
    fresh.load(tmp_path)
    for one in (policy, fresh):
        one.update([share(t) for t in tokens])
    assert go_on(fresh) == go_on(policy)


def test_a_state_is_not_changed_by_what_comes_after() -> None:
    policy = trained()
    state = policy.state_dict()
    kept = {name: t.numpy().copy() for name, t in state["tensors"].items()}
    go_on(policy)
    assert all(np.array_equal(kept[name], t.numpy()) for name, t in state["tensors"].items())


def test_states_that_do_not_fit(tmp_path: Path) -> None:
    policy = trained()
    with pytest.raises(ConfigError, match="does not fit this LSTM controller: range_table"):
        LSTM([4] * 6, **QUICK).load_state_dict(policy.state_dict())
    with pytest.raises(ConfigError, match="does not fit this LSTM controller: settings"):
        LSTM([5] * 6).load_state_dict(policy.state_dict())
    state = policy.state_dict()
    del state["tensors"]["policy/start"]
    with pytest.raises(ConfigError, match="damaged"):
        trained(0).load_state_dict(state)
    with pytest.raises(RunError, match="no readable state"):
        trained(0).load(tmp_path)
    policy.save(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        trained(0).load(tmp_path)
    file.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        trained(0).load(tmp_path)


def test_a_file_name_in_the_state_cannot_lead_elsewhere(tmp_path: Path) -> None:
    policy = trained()
    policy.save(tmp_path / "here")
    policy.save(tmp_path / "there")
    state = json.loads((tmp_path / "here" / "policy.json").read_text())
    (other,) = (tmp_path / "there").glob("*.safetensors")
    for file in (tmp_path / "here").glob("*.safetensors"):
        file.unlink()
    (tmp_path / "here" / "policy.json").write_text(json.dumps({**state, "file": str(other)}))
    with pytest.raises(RunError, match=str(tmp_path / "here")):
        trained(0).load(tmp_path / "here")


def test_the_same_seed_gives_the_same_policy_whatever_paddle_was_seeded_with() -> None:
    found = []
    for paddle_seed in (1, 2):
        paddle.seed(paddle_seed)
        found.append(go_on(trained()))
    assert found[0] == found[1]
    assert LSTM([9] * 9).next_tokens(2) != LSTM([9] * 9).next_tokens(2)
