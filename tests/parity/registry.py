"""Which replay a golden needs."""

from __future__ import annotations

from collections.abc import Callable

from golden import Golden

REPLAYS: dict[tuple[str, str], Callable[[Golden], None]] = {}
FAMILIES = ("darts", "pc_darts", "p_darts")


def replays(prefix: str, *folders: str) -> Callable[[Callable[[Golden], None]], Callable[[Golden], None]]:
    def register(function: Callable[[Golden], None]) -> Callable[[Golden], None]:
        for folder in folders:
            REPLAYS[folder, prefix] = function
        return function

    return register


def find_replay(golden: Golden) -> Callable[[Golden], None] | None:
    """By folder and the longest prefix of the kind; a folder of another name counts if the kind is unambiguous."""
    folder, kind = golden.kind
    known = {f for f, _ in REPLAYS}
    fitting = [(f, p) for f, p in REPLAYS if kind.startswith(p) and (f == folder or folder not in known)]
    best = {REPLAYS[key] for key in fitting if len(key[1]) == max(len(p) for _, p in fitting)}
    return best.pop() if len(best) == 1 else None
