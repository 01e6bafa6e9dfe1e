"""The run directory: every file that a run leaves behind, under fixed names."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import yaml

from paddle_darts.engine.config import FREE_ON_RESUME
from paddle_darts.engine.environment import NUMERIC
from paddle_darts.errors import RunError
from paddle_darts.genotypes import Genotype, genotype_document
from paddle_darts.io.files import PARTIAL, read_config, read_json, read_rows, write_json, write_rows, write_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

#: Room that pictures, report and dashboard take besides the checkpoints [bytes].
SIDE_FILES = 8 * 2**20


def default_name(tool: str, what: str, dataset: str) -> Path:
    """runs/<tool>-<method or arch>-<data>-<time>."""
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in what)[:40]
    return Path("runs") / f"{tool}-{safe}-{dataset}-{time.strftime('%Y%m%d-%H%M%S')}"


def changed_settings(stored: Mapping[str, Any], wanted: Mapping[str, Any], free: Sequence[str] = ()) -> list[str]:
    """The settings, apart from ``free`` ones, in which a stored mapping differs from a wanted one, in words."""
    wanted = yaml.safe_load(yaml.safe_dump(dict(wanted)))
    return [
        f"{key}: {stored.get(key)!r} -> {wanted.get(key)!r}"
        for key in dict.fromkeys([*stored, *wanted])
        if key not in free and stored.get(key) != wanted.get(key)
    ]


class RunDirectory:
    """Paths and small files of one run. Nothing is written before :meth:`create` or :meth:`reopen`.

    What cannot be written is a RunError whose cause is the OSError.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoint"
        self.plots = self.path / "plots"
        self.vdl = self.path / "vdl"
        self._log_handler: logging.Handler | None = None
        self._lock: IO[str] | None = None

    @property
    def exists(self) -> bool:
        return (self.path / "config.yaml").is_file()

    def create(self, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Starts a new run here; RunError when there is one already or the place cannot be written to."""
        if self.exists:
            raise RunError(f"{self.path} already holds a run; continue it with --resume or choose another --run_dir")
        self._check_writable()
        with self._writing():
            self.plots.mkdir(exist_ok=True)
            write_json(self.path / "environment.json", environment)
            write_text(self.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))

    def reopen(self, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Continues the run here; RunError lists the settings that are not those it was started with."""
        changed = changed_settings(self.config(), config, FREE_ON_RESUME)
        if changed:
            raise RunError(
                f"{self.path} was started with other settings ({'; '.join(changed)}); resume it with its own, or "
                "start a new run in another --run_dir"
            )
        self._check_writable()
        for folder in (self.path, self.plots):
            for leftover in folder.glob(f"{PARTIAL}*"):  # of a killed process
                leftover.unlink(missing_ok=True)
        before = read_json(self.path / "environment.json") or {}
        for key in NUMERIC:
            if key in before and before[key] != environment.get(key):
                log.warning(
                    "%s was %s and is now %s: the resumed run may differ in the last bits",
                    key,
                    before[key],
                    environment.get(key),
                )
        with self._writing():
            write_json(self.path / "environment.json", environment)

    def config(self) -> dict[str, Any]:
        """The settings of the run; empty when there is no config.yaml, RunError when it is damaged."""
        stored = read_config(self.path / "config.yaml")
        if self.exists and not stored:
            raise RunError(f"{self.path / 'config.yaml'} is damaged: it does not hold the settings of a run")
        return stored

    def check_space(self, checkpoint_bytes: int) -> None:
        """RunError unless there is room for what is to come of three checkpoints (latest, best, the one being
        written), and for the rest."""
        there = sum(not state.parent.is_symlink() for state in self.checkpoints.glob("*/state.json"))
        needed = max(1, 3 - there) * checkpoint_bytes + SIDE_FILES
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise RunError(
                f"{self.path.resolve()} has {free / 2**20:.0f} MB free; the run needs about {needed / 2**20:.0f} MB "
                "for its checkpoints and report"
            )

    def history(self) -> list[dict[str, Any]]:
        return read_rows(self.path / "history.jsonl")

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        with self._writing():
            write_rows(self.path / "history.jsonl", rows)

    def arch_history(self) -> list[dict[str, Any]]:
        return read_rows(self.path / "alphas.jsonl")

    def write_arch_history(self, rows: list[dict[str, Any]]) -> None:
        if rows or (self.path / "alphas.jsonl").exists():
            with self._writing():
                write_rows(self.path / "alphas.jsonl", rows)

    def write_genotype(self, genotype: Genotype | None, space: str = "darts", variant: str = "") -> None:
        """genotype.json, or genotype_<variant>.json for what another rule would derive."""
        name = f"genotype_{variant}.json" if variant else "genotype.json"
        with self._writing():
            write_json(self.path / name, genotype_document(genotype, space))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        with self._writing():
            write_json(self.path / "summary.json", summary)

    def open_log(self) -> None:
        """Everything that the library logs from now on also goes to log.txt."""
        with self._writing():
            handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger = logging.getLogger("paddle_darts")
        logger.addHandler(handler)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
        self._log_handler = handler

    def lock(self) -> None:
        """Keeps other processes out until :meth:`unlock` or the end of this one; RunError when one is in already."""
        if fcntl is None:
            return
        self._lock = open(self.path / "config.yaml")  # noqa: SIM115 (held open as long as the run lasts)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            raise RunError(f"another process is running in {self.path}; wait for it or stop it first") from None
        except OSError as error:  # some network file systems have no locks
            log.debug("%s cannot be locked: %s", self.path, error)

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def close_log(self) -> None:
        if self._log_handler is not None:
            logging.getLogger("paddle_darts").removeHandler(self._log_handler)
            self._log_handler.close()
            self._log_handler = None

    def _check_writable(self) -> None:
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(prefix=f"{PARTIAL}probe-", dir=self.path) as probe:
                probe.write(b"\0" * 4096)
                probe.flush()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(f"the run directory {self.path} cannot be written to: {error}") from error
