"""Building the C++ kernels: sources to one shared library, once per machine, compiler, Paddle and state of the sources.

To look for memory errors, build with the sanitizers (under another key, so that the two builds do not mix). Their
runtime has to be in the process before Python, and libstdc++ with it, for Paddle's exceptions. Paddle finds its own
libraries only by LD_LIBRARY_PATH then, and mixes malloc with delete, which has to be overlooked::

    LD_LIBRARY_PATH=$(dirname "$(python -c 'import importlib.util as u; print(u.find_spec("paddle").origin)')")/libs \\
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \\
    ASAN_OPTIONS=detect_leaks=0:alloc_dealloc_mismatch=0 PADDLE_DARTS_KERNELS_SANITIZE=1 pytest -s tests/kernels
"""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from paddle_darts.kernels.cache import PARTIAL, PlaceError, intact, locked, publish, remove_leftovers
from paddle_darts.kernels.toolchain import BuildError, Toolchain, first_errors, run
from paddle_darts.threads import available_cores

log = logging.getLogger(__name__)

CSRC = Path(__file__).resolve().parent / "csrc"
#: What the library's ``int pd_abi()`` must return: raise both when the arguments of an exported function change.
ABI = 1
#: How long one call of the compiler may take [s].
LIMIT = 1200.0


def source_files(folder: Path = CSRC) -> list[Path]:
    """Everything that is compiled or included, in a fixed order; BuildError when there is nothing to compile."""
    folder = folder.absolute()
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in (".cpp", ".h") and path.is_file())
    except OSError as error:
        raise BuildError(f"their sources cannot be read ({error.strerror}: {folder})") from error
    if not any(path.suffix == ".cpp" for path in files):
        raise BuildError(f"their sources are missing in {folder}; install the package again")
    return files


def build_key(toolchain: Toolchain, folder: Path = CSRC) -> str:
    """The name of the build: a hash of all that decides over its content."""
    digest = hashlib.sha256()
    for path in source_files(folder):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    digest.update(repr((ABI, toolchain.identity)).encode())
    return digest.hexdigest()[:24]


def build(toolchain: Toolchain, target_folder: Path, sources: Path = CSRC) -> Path:
    """The library built from ``sources``, from ``target_folder`` if it is there, else built into it.

    Of several processes one builds and the others wait. PlaceError when the folder is at fault (read-only, full),
    BuildError when another one would not help.
    """
    target = target_folder / "kernels.so"
    if intact(target):
        return target
    try:
        with locked(target_folder):
            if not intact(target):
                remove_leftovers(target_folder)
                _build_into(target, toolchain, sources)
    except OSError as error:
        raise PlaceError(f"{error.strerror}: {error.filename or target_folder}") from error
    return target


def _build_into(target: Path, toolchain: Toolchain, sources: Path) -> None:
    """Compiles and links in a folder beside ``target``, where the processes that do not wait cannot see it."""
    units = [path for path in source_files(sources) if path.suffix == ".cpp"]
    log.info(
        "building the CPU kernels with %s for %s: this takes about half a minute, once", toolchain.label, toolchain.isa
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=target.parent, ignore_cleanup_errors=True) as name:
        part = Path(name)
        objects = [part / f"{path.stem}.o" for path in units]
        commands = [
            [*toolchain.command, *toolchain.compile_flags, "-c", str(source), "-o", str(obj)]
            for source, obj in zip(units, objects, strict=True)
        ]
        _call(commands, part)
        linked = part / target.name
        _call([[*toolchain.command, *map(str, objects), *toolchain.link_flags, "-o", str(linked)]], part)
        publish(linked, target)
    log.info("built the CPU kernels in %.1f s", time.monotonic() - started)


def _call(commands: Sequence[Sequence[str]], part: Path) -> None:
    """Runs the commands side by side; the first that fails (in their order) is the error.

    All that the compiler said, warnings too, is kept beside the library in build.log.
    """
    with ThreadPoolExecutor(min(len(commands), available_cores())) as pool:
        done = list(pool.map(lambda command: run(command, timeout=LIMIT, scratch=part), commands))
    said = part.parent / "build.log"
    with said.open("a" if any(part.glob("*.o")) else "w", encoding="utf-8") as report:
        for result in done:
            report.write(f"$ {' '.join(result.args)}\n{result.stdout}{result.stderr}")
    for result in done:
        if result.returncode:
            output = result.stdout + result.stderr
            if full := re.search(r".*(No space left on device|Disk quota exceeded).*", output):
                raise PlaceError(f"{full[1]}: {part.parent}")
            raise BuildError(f"{result.args[0]} failed: {first_errors(output)} (all of it: {said})")
