"""The C++ compiler of this machine: which one, what it makes of -march=native, and the flags it is called with.

Two OpenMP runtimes in one process fight: the threads of each spin while the other works, and everything takes several
times longer. Paddle brings libiomp5, which also understands what GCC emits; so ``-fopenmp`` is for compiling only, and
the link names Paddle's library. A Paddle without one gets kernels of a single thread.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMPILERS = ("c++", "g++", "clang++")
#: -fno-math-errno lets loops with sqrt be vectorised; -ffast-math would change results and is not among them.
FLAGS = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-Wall", "-Wextra")
OPTIMISED = ("-O3",)
SANITIZED = ("-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined")
SANITIZERS = "-fsanitize=address,undefined"
INSTALL = "install a C++ compiler (Debian and Ubuntu: apt-get install g++) or name one in CXX"


class BuildError(Exception):
    """The kernels cannot be built or used on this machine; the text is the reason, in one line."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler that answered, and all that its output depends on besides the sources.

    ``version`` is the text of --version, ``cpu`` what -march=native stands for here, ``paddle`` Paddle's version;
    ``label`` ("g++ 12.2.0") and ``isa`` ("znver3+avx512") are for people.
    """

    command: tuple[str, ...]
    version: str
    cpu: str
    label: str
    isa: str
    compile_flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    paddle: str

    @property
    def identity(self) -> tuple[str, ...]:
        """What a built library is filed under; people's labels follow from it."""
        flags = (*self.compile_flags, "link", *self.link_flags)
        return (*self.command, self.version, self.cpu, *flags, self.paddle, platform.machine(), sys.platform)


def find_toolchain(*, sanitize: bool = False, paddle_dir: Path | None = None, paddle_version: str = "") -> Toolchain:
    """The toolchain for this process' Paddle (or for the one described); BuildError says what is missing."""
    if sys.platform != "linux" or sys.byteorder != "little":
        raise BuildError(f"they are made for little-endian Linux, this is {sys.platform} ({sys.byteorder}-endian)")
    command = find_compiler()
    if paddle_dir is None:
        import paddle

        paddle_dir, paddle_version = Path(paddle.__file__).parent, paddle.version.full_version
    openmp = paddle_dir / "libs" / "libiomp5.so"
    native, facts = _ask(command)
    compile_flags = (*FLAGS, *(SANITIZED if sanitize else OPTIMISED), *native)
    compile_flags += ("-fopenmp",) if openmp.is_file() else ("-Wno-unknown-pragmas",)
    link_flags = ("-shared", *((str(openmp), f"-Wl,-rpath,{openmp.parent}") if openmp.is_file() else ()))
    if sanitize:
        compile_flags, link_flags = (*compile_flags, SANITIZERS), (*link_flags, SANITIZERS)
    return Toolchain(
        command=command,
        version=run([*command, "--version"]).stdout,
        cpu=facts,
        label=_label(facts),
        isa=_isa(facts),
        compile_flags=compile_flags,
        link_flags=link_flags,
        paddle=paddle_version,
    )


def find_compiler() -> tuple[str, ...]:
    """$CXX (which may hold arguments), else the first of COMPILERS on the PATH, by absolute path."""
    try:
        named = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise BuildError(f"CXX={os.environ['CXX']!r} is no command ({error}); {INSTALL}") from None
    for name in named[:1] or COMPILERS:
        if found := shutil.which(name):
            return (os.path.abspath(found), *named[1:])
    if named:
        raise BuildError(f"the C++ compiler that CXX names, {named[0]!r}, is not there; {INSTALL}")
    raise BuildError(f"none of {', '.join(COMPILERS)} is on the PATH; {INSTALL}")


def run(
    command: Sequence[str], *, timeout: float = 60, scratch: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the compiler with messages in English, temporary files in ``scratch``, and without preloaded libraries.

    The working directory is fixed because some compilers repeat it in their answers. A compiler that cannot be
    started or does not come to an end is a BuildError; its exit code is the caller's.
    """
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    environment["LC_ALL"] = "C"
    if scratch is not None:
        environment["TMPDIR"] = str(scratch)
    try:
        return subprocess.run(
            command,
            env=environment,
            cwd="/",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be started ({error.strerror}); {INSTALL}") from error
    except subprocess.TimeoutExpired:
        raise BuildError(f"{command[0]} did not come to an end in {timeout:.0f} s") from None


def _ask(command: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The flag for this CPU, and what it means: the compiler's own switches and every macro it predefines.

    A compiler that does not know -march=native for this kind of CPU does without.
    """
    said = ""
    for native in (("-march=native",), ()):
        asked = run([*command, *native, "-x", "c++", "-E", "-dM", "-v", "-"])
        if asked.returncode == 0:
            switches = re.findall(r"(?:^| )(-m\S+|--param \S+|-target-(?:cpu|feature) \S+)", asked.stderr)
            return native, "\n".join([*switches, *sorted(asked.stdout.splitlines())])
        said = first_errors(asked.stderr)
    raise BuildError(f"{shlex.join(command)} is no working C++ compiler: {said}; {INSTALL}")


def _label(facts: str) -> str:
    """ "g++ 12.2.0": whose compiler this is, whatever its file is called."""
    version = re.search(r'#define __VERSION__ "[^"]*?(\d+(?:\.\d+)+)', facts)
    return f"{'clang++' if '#define __clang__ ' in facts else 'g++'} {version[1] if version else '(unknown version)'}"


def _isa(facts: str) -> str:
    """ "znver3+avx512": the CPU that the compiler optimises for and its widest vectors."""
    cpu = re.search(r"^-(?:march=|mcpu=|target-cpu )(\S+)", facts, re.MULTILINE)
    vectors = {"__AVX512F__": "avx512", "__AVX2__": "avx2", "__ARM_FEATURE_SVE": "sve", "__ARM_NEON": "neon"}
    widest = next((name for macro, name in vectors.items() if f"#define {macro} " in facts), "")
    return "+".join(filter(None, (cpu[1] if cpu else platform.machine(), widest)))


def first_errors(output: str, count: int = 3) -> str:
    """The first lines of a compiler's output that name an error, else its last ones, joined to one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    pattern = re.compile(r"\berror\b|undefined|multiple definition|duplicate symbol|cannot find", re.IGNORECASE)
    telling = [line for line in lines if pattern.search(line)]
    return " | ".join(telling[:count] or lines[-count:]) or "it said nothing"
