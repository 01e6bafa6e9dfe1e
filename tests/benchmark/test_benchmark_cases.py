"""The steps of our side: each runs, and computes what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from paddle_darts.benchmark import CASES
from paddle_darts.benchmark import cases as our_cases
from paddle_darts.benchmark.config import BenchmarkConfig
from paddle_darts.benchmark.opcalls import count_op_calls
from paddle_darts.errors import ConfigError
from paddle_darts.methods import GRADIENT_BASED

TINY = BenchmarkConfig(batch_size=2, channels=2, layers=2, image_size=8, threads=1, unrolled=True)
TINY_201 = replace(TINY, space="nas_bench_201", layers=5)
CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"


def test_every_case_has_a_builder():
    assert list(our_cases.BUILDERS) == list(CASES)


def built_method(monkeypatch, case, config):
    """The step of a case and the method behind it."""
    built = []
    real = our_cases._method
    monkeypatch.setattr(our_cases, "_method", lambda *args: built.append(real(*args)) or built[0])
    return our_cases.BUILDERS[case](config), built[0]


@pytest.mark.parametrize("config", [TINY, TINY_201], ids=["darts", "nas_bench_201"])
@pytest.mark.parametrize("name", [method.name for method in GRADIENT_BASED])
def test_search_step_of_every_method(name, config, monkeypatch):
    step, method = built_method(monkeypatch, "search-step", replace(config, method=name, channels=24))
    assert step.images == 2
    before = [t.numpy() for t in (*method.weights.values(), *method.arch.values())]
    assert np.isfinite(step.run())
    after = [t.numpy() for t in (*method.weights.values(), *method.arch.values())]
    assert all(map(np.array_equal, before, after)), "no update"


@pytest.mark.parametrize("name, epoch, what", [("p_darts", 100, "stage"), ("sgas", 46, "rounds")])
def test_a_later_epoch_of_a_search(name, epoch, what, monkeypatch):
    """Stages are entered and decisions taken as in a search: two for P-DARTS, eight for SGAS."""
    step, method = built_method(monkeypatch, "search-step", replace(TINY, method=name, channels=8, epoch=epoch))
    assert getattr(method, what) == {"stage": 2, "rounds": 8}[what]
    assert np.isfinite(step.run())


def test_an_epoch_beyond_the_search():
    with pytest.raises(ConfigError, match="epochs 0 to 49"):
        our_cases.search_step(replace(TINY, epoch=50))


@pytest.mark.parametrize(
    "config, shapes", [(replace(TINY, layers=3), [[14, 8]] * 2), (TINY_201, [[6, 5]])], ids=["darts", "nas_bench_201"]
)
def test_search_step_gives_all_gradients(config, shapes, monkeypatch):
    asked = {}
    real = our_cases.gradients_or_none

    def recorded(loss, parameters):
        asked["found"] = real(loss, parameters)
        return asked["found"]

    monkeypatch.setattr(our_cases, "gradients_or_none", recorded)
    our_cases.search_step(config).run()
    found = asked["found"]
    assert [list(g.shape) for g in found[-len(shapes) :]] == shapes and len(found) > 50
    assert float(found[-1].abs().sum()) > 0 and float(found[0].abs().sum()) > 0


@pytest.mark.parametrize("unrolled", [True, False])
@pytest.mark.parametrize("config", [replace(TINY, layers=3), TINY_201], ids=["darts", "nas_bench_201"])
def test_arch_step_moves_the_alphas_alone(config, unrolled, monkeypatch):
    step, method = built_method(monkeypatch, "arch-step", replace(config, unrolled=unrolled))
    before = {kind: a.numpy() for kind, a in method.alphas.items()}
    weights = [w.numpy() for w in method.weights.values()]
    assert method.options.unrolled is unrolled
    step.run()
    assert all(np.abs(before[kind] - a.numpy()).max() > 1e-5 for kind, a in method.alphas.items())
    assert all((w == now.numpy()).all() for w, now in zip(weights, method.weights.values(), strict=True))


def test_train_step(monkeypatch):
    """The trainer's own step, with the auxiliary head and drop path."""
    trainers = []
    real = our_cases.Trainer
    monkeypatch.setattr(our_cases, "Trainer", lambda *a, **k: trainers.append(real(*a, **k)) or trainers[0])
    step = our_cases.train_step(replace(TINY, arch="PDARTS", image_size=16))
    (trainer,) = trainers
    before = trainer.network.classifier.weight.numpy()
    losses = step.run()
    assert losses.size == 2 and np.isfinite(losses.loss)
    assert trainer.network.auxiliary and trainer.network.drop_path_prob == 0.2
    assert np.abs(before - trainer.network.classifier.weight.numpy()).max() > 0
    assert not trainer.run_dir.path.exists()


def test_train_step_of_a_network_without_auxiliary_head(monkeypatch):
    trainers = []
    real = our_cases.Trainer
    monkeypatch.setattr(our_cases, "Trainer", lambda *a, **k: trainers.append(real(*a, **k)) or trainers[0])
    step = our_cases.train_step(replace(TINY_201, arch=CELL))
    before = trainers[0].network.classifier.weight.numpy()
    assert np.isfinite(step.run().loss)
    assert np.abs(before - trainers[0].network.classifier.weight.numpy()).max() > 0


def test_data():
    step = our_cases.data(replace(TINY, image_size=32))
    assert step.images == 100
    assert count_op_calls(step.run) == 0, "all of it is NumPy"
