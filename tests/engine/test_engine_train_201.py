"""Trainings of NAS-Bench-201 cells: which recipe they get, that they learn, resume exactly, and can be evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import Crash, CrashAfter, few_digits, run_tool, write_digits

from paddle_darts.engine import TrainConfig, Trainer, recipes
from paddle_darts.engine.evaluator import evaluate
from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import genotype
from paddle_darts.networks import NasBench201Network, SizeNetwork
from paddle_darts.spaces.nas_bench_201 import SIZE_CELL

CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|"
#: On `few_digits` an epoch has 3 steps.
TRAIN: dict[str, Any] = {"arch": CELL, "dataset": "digits", "image_size": 8, "batch_size": 32, "epochs": 2}


def trainer(run_dir: Path, callbacks: Any = (), **settings: Any) -> Trainer:
    config = recipes.train_settings({**TRAIN, "init_channels": 4, "run_dir": str(run_dir), **settings})
    return Trainer(config, few_digits(), callbacks)


# ---- recipes
@pytest.mark.parametrize(
    "dataset, mean, std",
    [
        ("cifar10", [125.3, 123.0, 113.9], [63.0, 62.1, 66.7]),
        ("cifar100", [129.3, 124.1, 112.4], [68.2, 65.4, 70.4]),
        ("imagenet16-120", [122.68, 116.66, 104.01], [63.22, 61.26, 65.09]),
    ],
)
@pytest.mark.parametrize("arch", [CELL, "CDARTS_NATS_1", "nas_bench_201/GDAS_NATS"])
def test_the_recipe_of_the_benchmark(arch: str, dataset: str, mean: list[float], std: list[float]) -> None:
    c = recipes.train_settings({"arch": arch, "dataset": dataset})
    assert (c.epochs, c.batch_size, c.init_channels, c.layers) == (200, 256, 16, 17)
    assert (c.learning_rate, c.learning_rate_min, c.lr_schedule) == (0.1, 0.0, "cosine")
    assert (c.momentum, c.nesterov, c.weight_decay, c.grad_clip) == (0.9, True, 5e-4, 0.0)
    assert (c.cutout, c.drop_path_prob, c.auxiliary, c.label_smooth, c.stem) == (False, 0.0, False, 0.0, "cifar")
    np.testing.assert_allclose(c.mean, np.divide(mean, 255), atol=1e-8)
    np.testing.assert_allclose(c.std, np.divide(std, 255), atol=1e-8)


def test_other_data_sets_get_the_settings_but_not_the_constants() -> None:
    c = recipes.train_settings({"arch": CELL, "dataset": "folder"})
    assert (c.epochs, c.nesterov, c.dataset) == (200, True, "folder") and c.mean is c.std is None
    digits = recipes.train_settings({"arch": CELL, "dataset": "digits"})
    assert (digits.init_channels, digits.layers, digits.batch_size) == (8, 5, 64)


def test_a_run_or_a_file_of_the_space_has_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "cell.txt").write_text(CELL)
    assert recipes.train_settings({"arch": tmp_path / "cell.txt"}).weight_decay == 5e-4
    assert recipes.train_settings({"arch": "DARTS_V2"}).weight_decay == 3e-4


def test_sizes_are_those_of_the_space() -> None:
    for arch, size in ((CELL, (16, 17, 0.0, False)), ("DARTS_V2", (36, 20, 0.2, False))):
        c = recipes.complete(TrainConfig(arch=arch), genotype(arch).space)
        assert (c.init_channels, c.layers, c.drop_path_prob, c.nesterov) == size
    c = recipes.complete(TrainConfig(arch=CELL, layers=5, init_channels=3, drop_path_prob=0.0), "nas_bench_201")
    assert (c.layers, c.init_channels) == (5, 3)


def test_widths_of_the_size_space_come_with_its_cell() -> None:
    c = recipes.train_settings({"channels": "8:16:24:32:40"})
    assert (c.arch, c.layers, c.init_channels, c.epochs) == (SIZE_CELL, 5, 8, 200)
    assert recipes.train_settings({"channels": "8:16:24:32:40", "arch": CELL}).arch == CELL
    with pytest.raises(ConfigError, match="layers is 5, got 17; leave it out"):
        recipes.train_settings({"channels": "8:16:24:32:40", "layers": 17})
    with pytest.raises(ConfigError, match="for cells of nas_bench_201 only"):
        recipes.train_settings({"channels": "8:16:24:32:40", "arch": "DARTS_V2"})


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"auxiliary": True}, "have no auxiliary"),
        ({"drop_path_prob": 0.1}, "have no drop_path_prob"),
        ({"stem": "imagenet"}, "have no stem"),
        ({"layers": 6}, r"3N \+ 2"),
    ],
)
def test_what_these_networks_do_not_have(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        trainer(tmp_path / "run", **settings)


# ---- runs
def test_nesterov_is_used(tmp_path: Path) -> None:
    """The first step is 1 + momentum times that of plain SGD."""
    moved = []
    for nesterov in (False, True):
        run = trainer(tmp_path / str(nesterov), nesterov=nesterov, weight_decay=0.0)
        before = run.network.classifier.bias.numpy().copy()
        run.step()
        moved.append(run.network.classifier.bias.numpy() - before)
    assert np.abs(moved[0]).max() > 1e-4
    np.testing.assert_allclose(moved[1], 1.9 * moved[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("settings", [{}, {"channels": "8:8:16:16:24", "init_channels": 8}], ids=["topology", "size"])
def test_resume_is_exact(settings: dict[str, Any], tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", **settings)
    assert type(whole.network) is (SizeNetwork if settings else NasBench201Network)
    whole.run()
    with pytest.raises(Crash):
        trainer(tmp_path / "parts", [CrashAfter(4)], **settings).run()
    again = Trainer(
        recipes.train_settings({"run_dir": str(tmp_path / "parts"), "resume": True}), few_digits(), callbacks=[]
    )
    again.run()
    assert again.rows[0]["lr"] == whole.rows[0]["lr"] == 0.1
    for a, b in zip(whole.rows, again.rows, strict=True):
        assert {k: a[k] for k in a if "loss" in k or "top" in k} == {k: b[k] for k in b if "loss" in k or "top" in k}
    for group, tensors in whole.tensors().items():
        for name, value in tensors.items():
            np.testing.assert_array_equal(value.numpy(), again.tensors()[group][name].numpy(), err_msg=name)


def test_a_training_learns_and_is_evaluated(tmp_path: Path) -> None:
    """The quick recipe, on all digits."""
    settings = {"arch": CELL, "dataset": "digits", "epochs": 4, "run_dir": tmp_path / "run"}
    result = Trainer(**settings, callbacks=[]).run()
    assert result.top1 > 90
    found = evaluate(tmp_path / "run", checkpoint="latest", latency_runs=0)
    assert found.top1 == result.top1 and found.params == result.complexity.params
    assert genotype(tmp_path / "run") == genotype(CELL)


def test_through_the_tools(tmp_path: Path) -> None:
    data, run = write_digits(tmp_path / "data"), tmp_path / "run"
    flags = ["--dataset=folder", f"--data={data}", "--image_size=8", "--batch_size=32", "--epochs=1", "--threads=1"]
    status, output = run_tool("train", f"--run_dir={run}", "--channels=8:8:8:8:16", *flags)
    assert status == 0 and "test accuracy" in output, output
    assert (run / "report.html").is_file()
    status, output = run_tool("evaluate", f"--run={run}", "--latency_runs=0", "--threads=1")
    assert status == 0 and "top-1 accuracy" in output, output
