"""The loop that search and training share: epochs, steps, history, checkpoints, resume, signals, faults."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from paddle_darts.data.prefetch import prefetched
from paddle_darts.engine.callbacks import Callback, Pictures, ProgressBar
from paddle_darts.engine.checkpoint import (
    Groups,
    checkpoint_name,
    has_checkpoint,
    load_checkpoint,
    read_pointer,
    save_checkpoint,
    tensor_bytes,
)
from paddle_darts.engine.commands import command
from paddle_darts.engine.dashboard import Dashboard
from paddle_darts.engine.meter import Meter, StepLosses, finite_or_none, peak_rss_mb
from paddle_darts.engine.rundir import RunDirectory
from paddle_darts.engine.stopping import Interrupted, StopSignals
from paddle_darts.errors import NonFiniteLossError, RunError
from paddle_darts.io import rng

log = logging.getLogger(__name__)


class Loop(ABC):
    """Runs epochs of steps over a run directory; subclasses say what a step, an evaluation and the state are.

    The network, the batch size and the number of steps may change from one epoch to the next. The position (``epoch``,
    ``step_in_epoch``) counts what is finished. Everything that later steps depend on is in ``tensors()``, ``state()``,
    the position, the epoch's meter and the global random states: a checkpoint holds all of it, so a resumed run goes on
    bit by bit.
    """

    tool: str
    #: Key of the history whose highest value makes a checkpoint the best one.
    best_key = "valid_top1"

    def __init__(
        self,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        run_dir: RunDirectory,
        epochs: int,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        self.config, self.environment, self.run_dir, self.epochs = dict(config), environment, run_dir, epochs
        self.callbacks = [ProgressBar(), Dashboard(), Pictures()] if callbacks is None else list(callbacks)
        self.epoch = self.step_in_epoch = 0
        self.steps_before = 0  # steps of all finished epochs: they may differ in length
        self.meter = Meter()
        self.rows: list[dict[str, Any]] = []
        self._epoch_begun = False
        self._started = False
        self._before_evaluation: dict[str, Any] | None = None
        self._signals = StopSignals()

    # ---- what a subclass provides
    steps_per_epoch: int

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Sets learning rates and the like; called again for the same epoch after a resume."""

    @abstractmethod
    def batch_at(self, epoch: int, step: int) -> Any:
        """The batch of a step, a pure function of the position and the seed."""

    @abstractmethod
    def train_step(self, batch: Any) -> StepLosses:
        """One update."""

    @abstractmethod
    def evaluate(self, epoch: int) -> dict[str, Any]:
        """Further keys of the epoch's history row."""

    @abstractmethod
    def tensors(self) -> dict[str, dict[str, paddle.Tensor]]:
        """All tensors of the state by group."""

    @abstractmethod
    def load_tensors(self, groups: dict[str, dict[str, paddle.Tensor]]) -> None:
        """The inverse of :meth:`tensors`, after :meth:`load_state`."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The rest of the state as JSON."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""

    @abstractmethod
    def finish(self) -> Any:
        """Called once all epochs are done; returns the result."""

    @property
    def stage(self) -> int:
        """The number of the present stage, for the history."""
        return 0

    def save_epoch(self, epoch: int, row: dict[str, Any]) -> dict[str, Any]:
        """Writes per-epoch files besides the history; returns keys that callbacks get on top of the row."""
        return {}

    def prepare_files(self) -> None:  # noqa: B027 (a hook that need not do anything)
        """Once the position is known: bring further files in line with it (after a resume: forget what is beyond)."""

    # ---- the public face
    def run(self) -> Any:
        """Runs, or resumes, to the end and returns the result of the subclass."""
        with self._guarded():
            self._start()
            self._call("on_search_begin")
            while self.epoch < self.epochs:
                self._run_epoch()
            result = self.finish()
            self._call("on_search_end", result)
            return result

    def step(self, batch: Any = None) -> dict[str, Any]:
        """One training step, counted and checked; returns the running means of the epoch.

        ``batch`` None: the one that is due at the present position. After the last step of an epoch the next one is
        begun, without evaluation or files (those are the business of :meth:`run`).
        """
        if batch is None and self.step_in_epoch >= self.steps_per_epoch:
            self._next_epoch()
        self._begin_epoch_once()
        if batch is None:
            batch = self.batch_at(self.epoch, self.step_in_epoch)
        began = time.perf_counter()
        losses = self.train_step(batch)
        self._check_finite(losses)
        self.meter.update(losses)
        self.step_in_epoch += 1
        self.meter.seconds += time.perf_counter() - began
        logs = {"loss": self.meter.loss, "top1": self.meter.top1, "lr": self.lr}
        if losses.arch_loss is not None:
            self._call("on_arch_step", self.step_in_epoch - 1, {"arch_loss": losses.arch_loss})
        self._call("on_step_end", self.step_in_epoch - 1, logs)
        return logs

    def batches(self, epoch: int, start: int = 0) -> Generator[Any, None, None]:
        """The batches of an epoch from step ``start`` on, made ahead in a thread; close it when stopping early."""
        return prefetched(self.batch_at(epoch, step) for step in range(start, self.steps_per_epoch))

    @property
    @abstractmethod
    def lr(self) -> float:
        """Current learning rate of the weights."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of trained values."""

    def state_dict(self) -> dict[str, Any]:
        """Position, meters, random states and the subclass' state, without the tensors."""
        return {
            "epoch": self.epoch,
            "step": self.step_in_epoch,
            "steps_before": self.steps_before,
            "meter": dict(vars(self.meter)),
            "rng": rng.capture(),
            "loop": self.state(),
        }

    @property
    def resume_command(self) -> str:
        """The shell command that continues this run."""
        return command(self.tool, run_dir=self.run_dir.path, resume=True)

    def save(self, best: bool = False) -> None:
        """Writes a checkpoint of the present position; NonFiniteLossError instead of one that leads nowhere."""
        groups = self.tensors()
        self._check_numbers(groups)
        name = checkpoint_name(self.epoch, self.step_in_epoch)
        pointers = ("best", "latest") if best else ("latest",)
        # an evaluation is done again after a resume, with the same random numbers
        state = self._before_evaluation or self.state_dict()
        save_checkpoint(self.run_dir.checkpoints, name, groups, state, pointers)
        self._saved_at = time.monotonic()

    # ---- the parts of a run
    def _start(self) -> None:
        resuming = self.config.get("resume") and self.run_dir.exists
        if resuming:
            self.run_dir.lock()
            self.run_dir.reopen(self.config, self.environment)
        else:
            self.run_dir.create({**self.config, "resume": False}, self.environment)
            self.run_dir.lock()
        self.run_dir.open_log()
        self._saved_at = time.monotonic()
        if resuming and has_checkpoint(self.run_dir.checkpoints):
            self._load()
        elif resuming:
            log.warning("%s has no checkpoint yet: starting from the beginning", self.run_dir.path)
        elif self.config.get("resume"):
            log.warning("%s holds no run to resume: starting it", self.run_dir.path)
        self.run_dir.check_space(tensor_bytes(self.tensors()))
        if resuming:
            self.run_dir.write_history(self.rows)
        self.prepare_files()
        self._started = True
        log.info("run directory: %s", self.run_dir.path)

    def _load(self) -> None:
        groups, state = load_checkpoint(self.run_dir.checkpoints)
        try:
            self.load_state(state["loop"])
            self.load_tensors(groups)
            rng.restore(state["rng"])
            self.epoch, self.step_in_epoch, self.steps_before = state["epoch"], state["step"], state["steps_before"]
            vars(self.meter).update(state["meter"])
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            found = read_pointer(self.run_dir.checkpoints)
            raise RunError(f"the checkpoint {found} does not fit this run: {error!r}") from error
        self.rows = [row for row in self.run_dir.history() if row.get("epoch", self.epoch) < self.epoch]
        if [row["epoch"] for row in self.rows] != list(range(self.epoch)):
            history = self.run_dir.path / "history.jsonl"
            raise RunError(f"{history} is damaged: it must have one row for each of the {self.epoch} finished epochs")
        log.info("resumed at epoch %d, step %d", self.epoch, self.step_in_epoch)

    def _run_epoch(self) -> None:
        epoch = self.epoch
        self._begin_epoch_once()
        self._call("on_epoch_begin", epoch)
        with contextlib.closing(self.batches(epoch, self.step_in_epoch)) as batches:
            for batch in batches:
                logs = self.step(batch)
                if self.step_in_epoch % self.config["report_freq"] == 0:
                    log.info("train %03d %e %f lr %e", self.step_in_epoch, logs["loss"], logs["top1"], logs["lr"])
                self._stop_or_save()
        self._end_epoch(epoch)

    def _begin_epoch_once(self) -> None:
        if not self._epoch_begun:
            self.begin_epoch(self.epoch)
            self._epoch_begun = True

    def _end_epoch(self, epoch: int) -> None:
        began = time.perf_counter()
        row: dict[str, Any] = {"epoch": epoch, "stage": self.stage}
        row |= {"train_loss": self.meter.loss, "train_top1": self.meter.top1}
        row |= {"valid_loss": None, "valid_top1": None, "test_loss": None, "test_top1": None}
        self._before_evaluation = self.state_dict()
        row |= {key: finite_or_none(key, value) for key, value in self.evaluate(epoch).items()}
        self._before_evaluation = None
        row["lr"] = self.lr
        row["seconds"] = round(self.meter.seconds + time.perf_counter() - began, 3)
        row["peak_rss_mb"] = round(peak_rss_mb(), 1)
        row["genotype"] = row.pop("genotype", None)
        previous = self._best()
        best = row[self.best_key] is not None and (previous is None or row[self.best_key] > previous)
        self.rows.append(row)
        extra = self.save_epoch(epoch, row)
        self.run_dir.write_history(self.rows)
        self._next_epoch()
        measured = [k for k in ("valid_loss", "valid_top1", "test_loss", "test_top1") if row[k] is not None]
        log.info(
            "epoch %d lr %e train_loss %f train_acc %f %s",
            epoch,
            row["lr"],
            row["train_loss"],
            row["train_top1"],
            " ".join(f"{key} {row[key]:f}" for key in measured),
        )
        self._call("on_epoch_end", epoch, {**row, **extra})
        self.save(best)
        self._stop_if_asked()

    def _next_epoch(self) -> None:
        self.steps_before += self.step_in_epoch
        self.epoch, self.step_in_epoch, self.meter = self.epoch + 1, 0, Meter()
        self._epoch_begun = False

    def _best(self) -> float | None:
        values = [row[self.best_key] for row in self.rows if row.get(self.best_key) is not None]
        return max(values, default=None)

    def _check_finite(self, losses: StepLosses) -> None:
        for name, loss in (("training", losses.loss), ("validation", losses.arch_loss)):
            if loss is not None and not math.isfinite(loss):
                raise NonFiniteLossError(
                    f"the {name} loss became {loss} at epoch {self.epoch}, step {self.step_in_epoch} (batch "
                    f"{self.step_in_epoch} of {self.steps_per_epoch}); last good checkpoint: {self._last_good}. "
                    "Lower --learning_rate or check the data"
                )

    def _check_numbers(self, groups: Groups) -> None:
        """The loss of a step is that before its update: NaN may be in the weights before any loss shows it."""
        for group, tensors in groups.items():
            for name, tensor in tensors.items():
                if np.isnan(tensor.numpy()).any():
                    raise NonFiniteLossError(
                        f"{group} {name} became NaN before epoch {self.epoch}, step {self.step_in_epoch}; last good "
                        f"checkpoint: {self._last_good}. Lower --learning_rate or check the data"
                    )

    @property
    def _last_good(self) -> str:
        return str(read_pointer(self.run_dir.checkpoints) or "none yet")

    # ---- stopping and failing
    def interruptible(self, batches: Generator[Any, None, None]) -> Iterator[Any]:
        """The batches of an evaluation; a signal stops it between two of them (it is done again after a resume)."""
        with contextlib.closing(batches):
            for batch in batches:
                self._stop_if_asked()
                yield batch

    def _stop_or_save(self) -> None:
        self._stop_if_asked()
        if time.monotonic() - self._saved_at >= 60.0 * self.config["save_minutes"]:
            self.save()

    def _stop_if_asked(self) -> None:
        if self._signals.caught is not None:
            self.save()
            raise Interrupted(self._signals.caught, self.resume_command)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Signals ask for a stop at the next step; whatever ends the run is told to callbacks and the log."""
        self._signals = StopSignals()
        try:
            with self._signals:
                yield
        except BaseException as error:
            self._call("on_exception", error)
            if self._started and isinstance(error, RunError) and isinstance(error.__cause__, OSError):
                raise RunError(
                    f"{error}; last good checkpoint: {self._last_good}; make room, then: {self.resume_command}"
                ) from error
            raise
        finally:
            self.run_dir.close_log()
            self.run_dir.unlock()

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self.callbacks:
            try:
                getattr(callback, hook)(self, *args)
            except Exception:
                log.warning("%s failed in %s; the run goes on", type(callback).__name__, hook, exc_info=True)
