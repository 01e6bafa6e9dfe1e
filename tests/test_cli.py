"""The command lines: what they print, where they stop, what they translate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from paddle_darts import cli, flags

ROOT = Path(__file__).resolve().parents[1]
TINY = ["--dataset", "digits", "--image_size", "8", "--init_channels", "2", "--layers", "2"]
TINY += ["--batch_size", "400", "--steps", "2", "--multiplier", "2"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def python(*argv: str, **env: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_"))}
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, env={**clean, **env}, timeout=300)


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_overview(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in cli.COMMANDS)


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serach"]) == 2
    assert "unknown command 'serach'; did you mean 'search'" in capsys.readouterr().err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    expected = {
        "search": ["--run_dir", "continue the run in run_dir", "differentiate through one SGD step", "images per step"],
        "train": ["--arch", "drop-path probability reached at the end", "name of the data set", "--auto_aug"],
        "evaluate": ["--checkpoint", "best or latest"],
        "visualize": ["--backend", "layout program"],
        "imagenet-split": ["--train-portion", "--symlink", "decode every chosen image first"],
    }
    for part in expected.get(name, []):
        assert part in printed


@pytest.mark.parametrize("tool", sorted(p.stem for p in (ROOT / "tools").glob("*.py")))
def test_tools_are_the_commands(tool: str) -> None:
    """From a checkout, in any working directory, whether or not the package is installed."""
    done = python(str(ROOT / "tools" / f"{tool}.py"), "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: {tool}.py" in done.stdout and "Traceback" not in done.stderr


def test_console_command_is_installed() -> None:
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="console_scripts", name="paddle-darts")
    assert entry.load() is cli.main


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--unroled"], "unknown setting 'unroled'; did you mean 'unrolled'"),
        (["--no_unroled"], "did you mean 'unrolled'"),
        (["--dataset", "digts"], "unknown data set 'digts'; did you mean 'digits'"),
        (["--method", "dart"], "unknown method 'dart'; did you mean 'darts'"),
        (["-c", "search/quikstart.yml"], "did you mean 'search/quickstart.yml'"),
        (["--epochs", "x"], "epochs must be of type int, got 'x'"),
        (["--device", "tpu"], "device must be cpu, gpu or gpu:N, got 'tpu'"),
        (["--resume"], "--resume needs the --run_dir"),
        (["--mean", "0.5,0.5"], "mean needs 1 values, one per channel"),
    ],
)
def test_errors_are_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = [] if "--dataset" in argv else ["--dataset", "digits"]
    assert cli.main(["search", *dataset, *argv]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert list(Path().iterdir()) == []


def test_gpu_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    import paddle

    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle has GPU support")
    assert cli.main(["search", *TINY, "--device", "gpu"]) == 2
    assert "device gpu is not there: this Paddle is a CPU build and sees 0 GPUs; use cpu" in capsys.readouterr().err


def test_flags_of_the_official_programs(capsys: pytest.CaptureFixture[str]) -> None:
    known = ["run_dir", "device", "epochs"]
    argv = ["--gpu", "1", "--save=EXP", "--model_path", "saved", "--epochs", "3"]
    assert flags._translated(argv, known) == ["--device", "gpu:1", "--run_dir", "runs/EXP", "--epochs", "3"]
    notes = capsys.readouterr().err
    assert "--device gpu:N" in notes and "--run_dir runs/NAME" in notes and "--model_path has no effect" in notes
    argv = ["--drop_path_prob", "0.3", "--gamma=0.97", "--decay_period", "2"]
    assert flags._translated(argv, known) == ["--lr_gamma", "0.97", "--lr_period", "2"]
    assert flags._translated(argv[:2], [*known, "drop_path_prob"]) == argv[:2], "a training has it"
    assert flags._translated(["--run", "--gpu"], known) == ["--run", "--device", "gpu:"]


def test_save_names_the_run_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["search", *TINY, "--batch_size", "16", "--save", "EXP", "--dry_run"]) == 0
    printed, notes = capsys.readouterr()
    assert f"run_dir: {Path('runs/EXP')}" in printed and "note: --save NAME is --run_dir runs/NAME here" in notes


@pytest.mark.parametrize("tool", ["search", "train"])
def test_dry_run(tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--unrolled"] if tool == "search" else ["--arch", "DARTS_V2", "--auxiliary"]
    tiny = [*TINY, "--batch_size", "32"] if tool == "search" else [*TINY[:8], "--batch_size", "32"]
    assert cli.main([tool, *tiny, "--epochs", "2", *argv, "--dry_run"]) == 0
    printed = capsys.readouterr().out
    config = yaml.safe_load(printed.split("\n\n")[0])
    assert config["init_channels"] == 2 and len(config["mean"]) == 1
    assert config["unrolled" if tool == "search" else "auxiliary"] is True
    for part in ("parameters", "steps per epoch", "time per epoch", "for 2 epochs", "peak memory", "disk"):
        assert part in printed
    assert list(Path().iterdir()) == []


def test_threads_are_set_before_paddle_is_imported(tmp_path: Path) -> None:
    """And a resumed run has those of its start."""
    tool, run_dir = str(ROOT / "tools" / "train_search.py"), tmp_path / "run"
    done = python(tool, *TINY, "--epochs", "1", "--threads", "2", "--run_dir", str(run_dir), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert json.loads((run_dir / "environment.json").read_text())["threads"] == 2
    assert "genotype = Genotype(" in done.stdout and f"train.py --arch {run_dir}" in done.stdout
    for name in ("report.html", "plots/search.gif", "plots/normal.svg"):
        assert (run_dir / name).is_file()
    again = python(tool, "--run_dir", str(run_dir), "--resume", OMP_NUM_THREADS="1")
    assert again.returncode == 0, again.stderr
    assert json.loads((run_dir / "environment.json").read_text())["threads"] == 2
    assert "may differ" not in again.stderr
    assert again.stdout == done.stdout, "a finished run gives its result again"


def test_what_is_read_before_the_settings(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yml"
    recipe.write_text("threads: 3\nmethod: darts\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("threads: 5\n")
    assert flags.peek_threads(["--threads", "4"]) == 4
    assert flags.peek_threads(["--threads=4", "-c", str(recipe)]) == 4
    assert flags.peek_threads(["-c", str(recipe)]) == flags.peek_threads([f"--config={recipe}"]) == 3
    assert flags.peek_threads(["--run_dir", "run", "--resume"]) == 5
    assert flags.peek_threads(["--run_dir", "run"]) is None
    assert flags.peek_threads(["--run_dir", "none", "--resume", "-c", "none.yml"]) is None
    assert flags.peek_threads(["--threads", "many"]) is None  # the typed settings will say so
    recipe.write_text("- nothing\n")
    assert flags.peek_threads(["-c", str(recipe)]) is None


def test_draw_a_genotype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["visualize", "DARTS_V2", "-o", str(tmp_path / "out"), "--backend", "networkx"]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(written) == 4 and all(path.stat().st_size > 1000 for path in written)
    assert cli.main(["visualize", "DARTS_V22"]) == 2
    assert "DARTS_V2" in capsys.readouterr().err
    assert cli.main(["visualize", "--arch", "FairDARTS_a", "-o", str(tmp_path / "out"), "--backend", "networkx"]) == 0
    for argv in ([], ["DARTS_V2", "--arch", "DARTS_V1"]):
        with pytest.raises(SystemExit):
            cli.main(["visualize", *argv])
        assert "name one genotype" in capsys.readouterr().err
