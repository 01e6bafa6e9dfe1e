"""What goes wrong while a run goes on: it stops early, clearly, and nothing that was saved is lost."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any, NamedTuple

import paddle
import pytest
from engine_runs import (
    SEARCH,
    TRAIN,
    Crash,
    CrashAfter,
    assert_same_outcome,
    few_digits,
    leftovers,
    resumed,
    rows,
    searcher,
)

from paddle_darts.data import BatchStream, DataBundle
from paddle_darts.engine import Callback, Interrupted, checkpoint, rundir
from paddle_darts.engine.recipes import train_settings
from paddle_darts.engine.rundir import RunDirectory
from paddle_darts.engine.trainer import Trainer
from paddle_darts.errors import NonFiniteLossError, RunError


def full_disk(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    searcher(run_dir).run()
    return run_dir


# ---- numbers
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError) as caught:
        searcher(tmp_path / "run", learning_rate=1e38, grad_clip=0.0).run()
    message = str(caught.value)
    assert "training loss became" in message or "validation loss became" in message
    assert re.search(r"at epoch 0, step ([12]) \(batch \1 of 3\); last good checkpoint: none yet", message), message


def test_the_last_good_checkpoint_is_named_and_good(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    search = searcher(run_dir)
    step = search.method.step

    def poisoned(train: Any, valid: Any) -> Any:
        result = step(train, valid)
        if search.epoch == 1:
            return result._replace(arch_loss=float("inf"))
        return result

    search.method.step = poisoned
    with pytest.raises(NonFiniteLossError) as caught:
        search.run()
    assert "the validation loss became inf at epoch 1, step 0 (batch 0 of 3)" in str(caught.value)
    assert f"last good checkpoint: {run_dir / 'checkpoint' / 'epoch-0001-step-000000'}" in str(caught.value)
    resumed(run_dir).run()
    assert [row["epoch"] for row in rows(run_dir)] == [0, 1]


def test_weights_that_broke_after_a_finite_loss_are_not_saved(tmp_path: Path) -> None:
    """The loss is measured before the update: a checkpoint by time could come right between the two."""
    run_dir = tmp_path / "run"
    search = searcher(run_dir, save_minutes=0.0)
    step = search.method.step

    def breaking(train: Any, valid: Any) -> Any:
        result = step(train, valid)
        if search.step_in_epoch == 1:
            weight = next(iter(search.method.weights.values()))
            weight.set_value(paddle.full_like(weight, float("nan")))
        return result

    search.method.step = breaking
    with pytest.raises(NonFiniteLossError, match=r"became NaN before epoch 0, step 2; last good checkpoint: .*000001"):
        search.run()
    assert os.readlink(run_dir / "checkpoint" / "latest") == "epoch-0000-step-000001"


# ---- disk
@pytest.mark.skipif(os.name != "posix", reason="a file is no folder in another way")
def test_a_place_that_cannot_be_written_to_fails_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "run", Path("/proc/run"), tmp_path / "file"):
        search = searcher(place, [CrashAfter(1)])
        with pytest.raises(RunError, match=f"the run directory {place} cannot be written to"):
            search.run()


def test_too_little_room_fails_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    need = checkpoint.tensor_bytes(searcher(tmp_path / "unused").tensors())
    assert not (tmp_path / "unused").exists(), "a controller that does not run writes nothing"
    monkeypatch.setattr(rundir.shutil, "disk_usage", lambda path: Usage(3 * need + rundir.SIDE_FILES - 1))
    with pytest.raises(RunError, match=r"has 8 MB free; the run needs about 8 MB"):
        searcher(tmp_path / "run", [CrashAfter(1)]).run()
    monkeypatch.setattr(rundir.shutil, "disk_usage", lambda path: Usage(3 * need + rundir.SIDE_FILES))
    RunDirectory(tmp_path / "run").check_space(need)
    for pointers in (("best", "latest"), ("latest",)):  # what is there already needs no room any more
        checkpoint.save_checkpoint(tmp_path / "run" / "checkpoint", f"epoch-{len(pointers):04d}-step-000000", {}, {})
    monkeypatch.setattr(rundir.shutil, "disk_usage", lambda path: Usage(2 * need + rundir.SIDE_FILES))
    RunDirectory(tmp_path / "run").check_space(need)


@pytest.mark.parametrize("where", ["checkpoint", "history", "genotype", "alphas"])
def test_a_disk_that_fills_up_loses_nothing_saved(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    run_dir = tmp_path / "run"

    class FillUp(Callback):
        def on_epoch_begin(self, search: Any, epoch: int) -> None:
            if epoch == 1 and where == "checkpoint":
                monkeypatch.setattr(checkpoint, "save_tensors", full_disk)
            elif epoch == 1:
                name = {"history": "write_rows", "alphas": "write_rows", "genotype": "write_json"}[where]
                write = getattr(rundir, name)
                monkeypatch.setattr(
                    rundir, name, lambda path, rest: full_disk() if path.stem == where else write(path, rest)
                )

    with pytest.raises(RunError) as caught:
        searcher(run_dir, [FillUp()]).run()
    message = str(caught.value)
    assert os.strerror(errno.ENOSPC) in message
    assert f"last good checkpoint: {run_dir / 'checkpoint' / 'epoch-0001-step-000000'}" in message
    assert f"python tools/train_search.py --run_dir {run_dir} --resume" in message
    assert leftovers(run_dir) == []
    monkeypatch.undo()
    resumed(run_dir).run()
    assert_same_outcome(reference, run_dir)


def test_an_error_of_the_data_is_not_taken_for_one_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from the prefetching thread, which must be gone afterwards."""
    batch = BatchStream.batch

    def broken(self: BatchStream, epoch: int, index: int) -> Any:
        if index == 2:
            raise OSError(errno.EACCES, "Permission denied", "image.png")
        return batch(self, epoch, index)

    monkeypatch.setattr(BatchStream, "batch", broken)
    with pytest.raises(OSError, match=r"Permission denied: 'image.png'"):
        searcher(tmp_path / "run").run()
    assert not [t for t in threading.enumerate() if "prefetch" in t.name and t.is_alive()]


# ---- interruptions
class Send(Callback):
    """Sends a signal to this process at a step, ``times`` times."""

    def __init__(self, signum: int, times: int = 1, hook: str = "on_step_end") -> None:
        self.signum, self.times = signum, times
        setattr(self, hook, self._send)

    def _send(self, *_: object) -> None:
        for _ in range(self.times):
            os.kill(os.getpid(), self.signum)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("hook", ["on_step_end", "on_epoch_end", "on_search_begin"])
def test_a_signal_saves_and_stops(reference: Path, tmp_path: Path, hook: str) -> None:
    run_dir, before = tmp_path / "run", [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(
        Interrupted, match=r"stopped by SIGTERM; continue with: python tools/train_search\.py"
    ) as caught:
        searcher(run_dir, [Send(signal.SIGTERM, hook=hook)]).run()
    assert caught.value.signum == signal.SIGTERM
    expected = "epoch-0001-step-000000" if hook == "on_epoch_end" else "epoch-0000-step-000001"
    assert os.readlink(run_dir / "checkpoint" / "latest") == expected
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    resumed(run_dir).run()
    assert_same_outcome(reference, run_dir)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_asked_twice_stops_at_once(tmp_path: Path) -> None:
    run_dir, before = tmp_path / "run", signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        searcher(run_dir, [Send(signal.SIGINT, times=2)]).run()
    assert not (run_dir / "checkpoint").exists(), "the second request does not wait for a checkpoint"
    assert signal.getsignal(signal.SIGINT) == before


def test_runs_outside_the_main_thread_leave_signals_alone(tmp_path: Path) -> None:
    before, failed = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        try:
            searcher(tmp_path / "run", epochs=1).run()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == [] and signal.getsignal(signal.SIGINT) == before


# ---- resuming what does not fit
def test_changed_settings_are_refused_with_the_differences(reference: Path) -> None:
    content = {p: p.read_bytes() for p in reference.rglob("*") if p.is_file()}
    with pytest.raises(RunError) as caught:
        resumed(reference, epochs=3, learning_rate=0.05, report_freq=1, save_minutes=1.0).run()
    message = str(caught.value)
    assert "epochs: 2 -> 3" in message and "learning_rate: 0.025 -> 0.05" in message
    assert "report_freq" not in message and "save_minutes" not in message and "seed" not in message
    assert {p: p.read_bytes() for p in reference.rglob("*") if p.is_file()} == content


def test_another_machine_is_allowed_with_a_warning(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = tmp_path / "run"
    searcher(run_dir, epochs=1).run()
    search = resumed(run_dir)
    search.environment = {**search.environment, "threads": 7}
    with caplog.at_level(logging.WARNING):
        search.run()
    assert "and is now 7: the resumed run may differ in the last bits" in caplog.text


@pytest.mark.parametrize(
    "name", ["config.yaml", "history.jsonl", "checkpoint/latest/state.json", "checkpoint/latest/arch.safetensors"]
)
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    run_dir = tmp_path / "run"
    searcher(run_dir, epochs=1).run()
    (run_dir / name).write_text("{ damaged")
    with pytest.raises(RunError) as caught:
        resumed(run_dir).run()
    assert Path(name).name in str(caught.value) and "make room" not in str(caught.value)
    assert str(run_dir) in str(caught.value)


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    searcher(tmp_path / "one", epochs=1).run()
    searcher(tmp_path / "two", epochs=1, init_channels=4).run()
    (tmp_path / "two" / "checkpoint").rename(tmp_path / "two" / "away")
    (tmp_path / "one" / "checkpoint").rename(tmp_path / "two" / "checkpoint")
    with pytest.raises(RunError, match=r"epoch-0001-step-000000 does not fit this run"):
        resumed(tmp_path / "two").run()


def test_leftovers_of_a_killed_write_go(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    searcher(run_dir, epochs=1).run()
    (run_dir / ".partial-history-x.jsonl").write_text("{")
    (run_dir / "plots" / ".partial-normal-y.svg").write_text("<svg")
    (run_dir / "checkpoint" / ".partial-epoch-0002-step-000000").mkdir()
    (run_dir / "mine.txt").write_text("stays")
    resumed(run_dir).run()
    assert leftovers(run_dir / "plots") == [] and not list(run_dir.glob(".partial-*"))
    assert (run_dir / "mine.txt").read_text() == "stays"


# ---- which checkpoint is the best one
def test_best_is_the_first_with_the_highest_accuracy(tmp_path: Path) -> None:
    search = searcher(tmp_path / "run", epochs=5)
    accuracies = iter([30.0, 50.0, 40.0, 50.0, 10.0])
    search.evaluate = lambda epoch: {"valid_loss": 1.0, "valid_top1": next(accuracies)}
    search.steps_per_epoch = 1
    batches = search.batches
    search.batches = lambda epoch, start: (b for i, b in enumerate(batches(epoch, start)) if i < 1)
    search.run()
    assert os.readlink(tmp_path / "run" / "checkpoint" / "best") == "epoch-0002-step-000000"
    assert os.readlink(tmp_path / "run" / "checkpoint" / "latest") == "epoch-0005-step-000000"


def test_killed_between_the_two_pointers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither pointer may be left behind for good: the epoch after this one is not the best."""
    run_dir, point, swapped = tmp_path / "run", checkpoint._point, []

    def crash_at_the_second(folder: Path, pointer: str, name: str) -> None:
        if swapped:
            raise Crash
        swapped.append(pointer)
        point(folder, pointer, name)

    def falling(epoch: int) -> dict[str, Any]:
        return {"valid_loss": 1.0, "valid_top1": 50.0 - epoch}

    search = searcher(run_dir)
    search.evaluate = falling
    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(checkpoint, "_point", crash_at_the_second)
        search.run()
    assert len(swapped) == 1
    search = resumed(run_dir)
    search.evaluate = falling
    search.run()
    assert os.readlink(run_dir / "checkpoint" / "best") == "epoch-0001-step-000000"
    assert os.readlink(run_dir / "checkpoint" / "latest") == "epoch-0002-step-000000"


def test_training_with_validation_data_goes_by_them(tmp_path: Path) -> None:
    digits = few_digits()
    bundle = DataBundle(**{**vars(digits), "valid": digits.train.subset(slice(64))})
    Trainer(train_settings({**TRAIN, "run_dir": str(tmp_path / "run")}), bundle, callbacks=[]).run()
    first, last = rows(tmp_path / "run")
    assert first["test_top1"] is None and last["test_top1"] is not None  # tested once, at the end
    best = max((first, last), key=lambda row: row["valid_top1"])
    name = f"epoch-{best['epoch'] + 1:04d}-step-000000"
    assert os.readlink(tmp_path / "run" / "checkpoint" / "best") == name


def test_settings_of_these_tests_are_the_stored_ones(reference: Path) -> None:
    """Resuming with nothing but the directory rests on config.yaml having all of them."""
    stored = RunDirectory(reference).config()
    assert {name: stored[name] for name in SEARCH} == SEARCH
