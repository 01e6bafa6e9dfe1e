"""Callbacks, and the controller in loops of one's own."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import SEARCH, resumed, rows, searcher

import paddle_darts as pdarts
from paddle_darts.engine import Callback, Dashboard, Pictures, ProgressBar, dry_run

HOOKS = [name for name in vars(Callback) if name.startswith("on_")]


class Recorder(Callback):
    """Writes down which hook was called with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        for hook in HOOKS:
            setattr(self, hook, lambda search, *args, hook=hook: self.calls.append((hook, args)))

    @property
    def order(self) -> str:
        short = {"on_search_begin": "<", "on_epoch_begin": "(", "on_arch_step": "a", "on_step_end": "s"}
        short |= {"on_epoch_end": ")", "on_search_end": ">", "on_exception": "!"}
        return "".join(short[hook] for hook, _ in self.calls)


class Broken(Callback):
    """Fails whatever it is asked."""

    def __init__(self) -> None:
        for hook in HOOKS:
            setattr(self, hook, self._fail)

    def _fail(self, *_: object) -> None:
        raise ZeroDivisionError("of a callback")


def test_hooks_in_order_even_beside_a_broken_callback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    result = searcher(tmp_path / "run", [Broken(), recorder]).run()
    assert recorder.order == "<" + 2 * "(asasas)" + ">"
    assert recorder.calls[-1] == ("on_search_end", (result,))
    assert "Broken failed in on_step_end; the run goes on" in caplog.text
    steps = [args for hook, args in recorder.calls if hook == "on_step_end"]
    assert [step for step, _ in steps] == [0, 1, 2, 0, 1, 2]
    assert all(set(logs) >= {"loss", "top1", "lr"} and np.isfinite(logs["loss"]) for _, logs in steps)
    assert all(np.isfinite(args[1]["arch_loss"]) for hook, args in recorder.calls if hook == "on_arch_step")
    ends = [args for hook, args in recorder.calls if hook == "on_epoch_end"]
    for (epoch, logs), row in zip(ends, rows(tmp_path / "run"), strict=True):
        assert epoch == row["epoch"] and {k: logs[k] for k in row} == row
        assert set(logs["alphas"]) == {"alphas_normal", "alphas_reduce"}


def test_the_end_by_an_exception_is_told(tmp_path: Path) -> None:
    recorder = Recorder()
    search = searcher(tmp_path / "run", [recorder])
    search.evaluate = lambda epoch: 1 / 0
    with pytest.raises(ZeroDivisionError):
        search.run()
    assert recorder.order == "<(asasas!"
    assert isinstance(recorder.calls[-1][1][0], ZeroDivisionError)


def test_a_resumed_epoch_goes_on_where_it_was(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_step_end(self, search: Any, step: int, logs: Any) -> None:
            if step == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searcher(tmp_path / "run", [Stop()], save_minutes=0.0).run()
    recorder = Recorder()
    resumed(tmp_path / "run", [recorder]).run()
    assert recorder.order == "<(asas)(asasas)>"


def test_callbacks_by_keyword(tmp_path: Path) -> None:
    recorder = Recorder()
    settings = {**SEARCH, "batch_size": 360, "epochs": 1, "run_dir": str(tmp_path / "run")}
    result = pdarts.search(**settings, callbacks=[recorder])
    assert recorder.order == "<(asas)>" and result.run_dir == tmp_path / "run"
    assert not (tmp_path / "run" / "report.html").exists(), "one's own list replaces the default one"


def test_default_callbacks(tmp_path: Path) -> None:
    kinds = [type(callback) for callback in searcher(tmp_path, None).callbacks]
    assert sorted(kinds, key=lambda k: k.__name__) == [Dashboard, Pictures, ProgressBar]


def test_steps_by_hand(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    search = searcher(tmp_path / "run", None)  # with the default callbacks: none may mind
    before = {name: alpha.numpy().copy() for name, alpha in search.method.alphas.items()}
    losses = [search.step(batch)["loss"] for batch in search.batches(0, 0)]
    assert len(losses) == 3 and search.step_in_epoch == 3 and np.isfinite(losses).all()
    assert all((search.method.alphas[name].numpy() != before[name]).any() for name in before)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert list(tmp_path.iterdir()) == [], "nothing is written"
    assert search.derive() is not None


def test_steps_by_hand_find_their_batches(tmp_path: Path) -> None:
    given, found = searcher(tmp_path / "given"), searcher(tmp_path / "found")
    for epoch in range(2):
        for batch in given.batches(epoch):
            given.step(batch)
            found.step()
        if epoch == 0:
            given._next_epoch()
    assert (found.epoch, found.step_in_epoch) == (given.epoch, given.step_in_epoch) == (1, 3)
    for name, alpha in found.method.alphas.items():
        assert np.array_equal(alpha.numpy(), given.method.alphas[name].numpy())


def test_state_dict_is_plain_json_and_a_copy(tmp_path: Path) -> None:
    search = searcher(tmp_path / "run")
    batches = iter(search.batches(0, 0))
    search.step(next(batches))
    state = search.state_dict()
    text = json.dumps(state)
    assert json.loads(text) == json.loads(json.dumps(search.state_dict()))
    search.step(next(batches))
    assert json.dumps(state) == text, "the state must not change with the search"
    assert (state["epoch"], state["step"]) == (0, 1) and search.state_dict()["step"] == 2


def test_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    search = searcher(tmp_path / "run", None)
    trained = sum(w.numel().item() for w in search.method.supernet.weights().values())
    estimate = dry_run(search)
    assert list(tmp_path.iterdir()) == []
    assert estimate.parameters == trained
    assert estimate.steps_per_epoch == 3 and estimate.epoch_seconds == 3 * estimate.step_seconds > 0
    printed = "\n".join(estimate.lines())
    for part in ("batch_size: 16", f"parameters         {trained:,}", "time per epoch", "peak memory", "disk"):
        assert part in printed
