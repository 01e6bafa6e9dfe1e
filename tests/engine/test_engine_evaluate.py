"""Evaluation gives what the training measured, and says clearly what it cannot do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from engine_runs import rows

import paddle_darts as pdarts
from paddle_darts.cli import main
from paddle_darts.errors import ConfigError, RunError


@pytest.mark.parametrize("checkpoint", ["latest", "best"])
def test_same_accuracy_as_in_the_history(finished_training: Path, checkpoint: str) -> None:
    history = rows(finished_training)
    row = history[-1] if checkpoint == "latest" else max(history, key=lambda r: r["test_top1"])
    # another batch size: the accuracy must not depend on it
    found = pdarts.evaluate(finished_training, checkpoint=checkpoint, latency_runs=0, batch_size=77)
    assert found.top1 == row["test_top1"] and found.top5 == row["test_top5"]
    assert found.loss == pytest.approx(row["test_loss"], rel=1e-5)
    assert found.images == 360 and found.latency_ms is None and 0 < found.params < found.macs


def test_from_the_command_line(finished_training: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", str(finished_training), "--checkpoint", "latest", "--latency_runs", "3"]) == 0
    printed = capsys.readouterr().out
    assert f"top-1 accuracy   {rows(finished_training)[-1]['test_top1']:.2f} %" in printed
    assert "ms (median, one image)" in printed


def test_what_cannot_be_evaluated(finished_search: Path, finished_training: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Give --run"):
        pdarts.evaluate("")
    with pytest.raises(RunError, match=r"is not a run directory: it has no config\.yaml"):
        pdarts.evaluate(tmp_path)
    with pytest.raises(RunError, match=r"is a search; train its genotype first: python tools/train\.py --arch"):
        pdarts.evaluate(finished_search)
    copied = Path(shutil.copytree(finished_training, tmp_path / "copy", symlinks=True))
    (copied / "checkpoint" / "latest" / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"weights\.safetensors cannot be read"):
        pdarts.evaluate(copied, checkpoint="latest")
    shutil.rmtree(copied / "checkpoint")
    with pytest.raises(RunError, match="has no checkpoint 'best'"):
        pdarts.evaluate(copied)
