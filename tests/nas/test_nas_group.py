"""A search by several processes that evaluate every proposal together, on a real launch of Paddle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paddle_darts.nas import SANAS

SCRIPT = """
import json, math, sys
import paddle.distributed as dist
from paddle_darts.nas import SANAS

def search(**settings):
    return SANAS(["NB201Space"], None, save_checkpoint=None, seed=5, **settings)

def error_of(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "none"

nas = search(search_steps=4)
rank, seen = dist.get_rank(), []
for step, archs in nas:
    seen.append(nas.tokens)
    nas.reward(sum(nas.tokens) / 24 + rank)
found = {"seen": seen, "info": nas.current_info(), "done": nas.done, "steps": nas.steps}
found["beyond"] = error_of(nas.next_archs)
nas = search(constrain_func=lambda tokens: False)
found["exhausted"] = error_of(nas.next_archs)
nas = search()
nas.next_archs()
found["one has no number"] = error_of(lambda: nas.reward(math.nan if rank else 0.5))
found["one has a text"] = error_of(lambda: nas.reward(0.5 if rank else "good"))
found["then"] = nas.reward(0.5)
json.dump(found, open(f"{sys.argv[1]}/rank{rank}.json", "w"))
"""


@pytest.mark.skipif(os.name != "posix", reason="Paddle's launch with gloo")
def test_all_processes_get_the_same_proposals_and_share_the_mean_reward(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo"]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [*launch, "--log_dir", "log", "script.py", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first == second
    alone = SANAS(["NB201Space"], None, search_steps=4, save_checkpoint=None, seed=5)
    seen = []
    for _ in alone:
        seen.append(alone.tokens)
        alone.reward(sum(alone.tokens) / 24 + 0.5)  # the mean of ranks 0 and 1
    assert first["seen"] == seen and first["info"]["best_tokens"] == alone.current_info()["best_tokens"]
    assert first["info"]["best_reward"] == pytest.approx(alone.current_info()["best_reward"])
    assert (first["done"], first["steps"], first["then"]) == (True, 4, True)
    assert (first["beyond"], first["exhausted"]) == ("SearchFinished", "SearchSpaceExhausted")
    assert first["one has no number"] == first["one has a text"] == "ConfigError"
