"""Methods that train candidates one by one: schedule, scores, resume, and that they find what the scores reward."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from method_runs import SPEC, SPEC_201, arrays, batch, build, moved, train

from paddle_darts.errors import ConfigError, GenotypeError
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.methods import SAMPLE_BASED
from paddle_darts.methods.sampled import SampledMethod

NAMES = [method.name for method in SAMPLE_BASED]


def sampled(name: str, seed: int = 0, epochs: int = 4, **options) -> SampledMethod:
    return build(name, seed, SPEC_201, epochs, **options)


def convolutions(cell: NasBench201Genotype) -> float:
    return 100 * cell.count("nor_conv_3x3") / 6


def without_networks(method: SampledMethod) -> SampledMethod:
    """Proposals alone, for long searches."""
    method._build = lambda tokens: setattr(method, "tokens", tokens)
    return method


def play(method: SampledMethod, epochs: int, score) -> list[NasBench201Genotype]:
    """A search without training, scored by ``score``; the candidates in order."""
    seen = []
    for epoch in range(epochs):
        method.begin_epoch(epoch)
        seen.append(method.candidate)
        method.observe(epoch, 0.0, score(method.candidate))
        method.end_epoch(epoch)
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_the_best_candidate_is_what_was_found(name):
    method = sampled(name, epochs=12)
    seen = play(method, 12, convolutions)
    assert len(set(seen)) == 12 and all(cell.valid for cell in seen)
    assert method.derive() == max(seen, key=convolutions)
    assert method.facts() == {"candidate": str(seen[-1]), "candidates": 12}


def test_evolution_follows_the_score_and_random_search_does_not():
    rng = np.random.default_rng(0)

    def late(name: str, score) -> float:
        """The mean share of convolutions in the second half of five searches."""
        cells = [play(without_networks(sampled(name, seed, 200)), 200, score)[100:] for seed in range(3)]
        return float(np.mean([[convolutions(cell) for cell in some] for some in cells]))

    assert late("regularized_evolution", convolutions) > 40 > 28 > late("random_search", convolutions)
    assert late("regularized_evolution", lambda cell: 100 * rng.random()) < 32


@pytest.mark.parametrize("name", NAMES)
def test_a_candidate_takes_its_epochs(name):
    method = sampled(name, candidate_epochs=2)
    rates, cells = [], []
    for epoch in range(4):
        method.begin_epoch(epoch)
        rates.append(method.lr)
        cells.append(method.candidate)
        before = arrays(method.tensors()["weights"])
        train(method, epoch, range(2))
        assert moved(before, method.tensors()["weights"])
        method.observe(epoch, 1.0, 10.0 * epoch)
        assert len(method.controller.history) == (epoch + 1) // 2
    assert cells[0] == cells[1] != cells[2] == cells[3]
    assert rates[0] == rates[2] == 0.1 and rates[1] == rates[3] == pytest.approx(0.05)
    assert [trial.reward for trial in method.controller.history] == [0.1, 0.3]


@pytest.mark.parametrize("name", NAMES)
def test_a_new_candidate_knows_nothing_of_the_last(name):
    method = sampled(name)
    method.begin_epoch(0)
    train(method, 0, range(2))
    trained, momentum = method.supernet, method.weight_optimizer.state_dict()
    method.observe(0, 1.0, 20.0)
    method.begin_epoch(1)
    assert method.supernet is not trained
    assert any(v.abs().sum() > 0 for v in momentum.values())
    assert all(float(v.abs().sum()) == 0 for k, v in method.weight_optimizer.state_dict().items() if "velocity" in k)
    method.begin_epoch(1)
    assert method.trial == 1, "an epoch that begins twice is the same epoch"


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_search_proposes_the_same(name):
    original = sampled(name, epochs=20)
    play(original, 8, convolutions)
    state = json.loads(json.dumps(original.state()))
    other = sampled(name, seed=5, epochs=20)
    other.load_state(state)
    other.load_tensors(original.tensors())
    cells = []
    for method in (original, other):
        cells.append([])
        for epoch in range(8, 20):
            method.begin_epoch(epoch)
            cells[-1].append(method.candidate)
            method.observe(epoch, 0.0, convolutions(method.candidate))
    assert cells[0] == cells[1] and original.derive() == other.derive()


def test_methods_with_one_seed_begin_differently():
    assert len({sampled(name).candidate for name in NAMES}) == len(NAMES)


def test_the_validation_half_does_not_train():
    one, other = (sampled("random_search") for _ in range(2))
    one.step(batch(1), batch(2))
    other.step(batch(1), batch(3))
    for name, tensor in one.tensors()["weights"].items():
        np.testing.assert_array_equal(tensor.numpy(), other.tensors()["weights"][name].numpy())


def test_limits_of_skip_connections():
    method = sampled("random_search", epochs=30)
    skips = lambda cell: cell.count("skip_connect")  # noqa: E731
    seen = play(method, 30, lambda cell: 10.0 * skips(cell))
    most = max(map(skips, seen))
    assert skips(method.derive()) == most
    assert skips(method.derive(max_skips=most - 1)) == max(n for n in map(skips, seen) if n < most)
    with pytest.raises(GenotypeError, match="no candidate with at most -1 skip"):
        method.derive(max_skips=-1)


def test_a_candidate_without_enough_epochs_is_not_scored(caplog):
    method = sampled("random_search", epochs=5, candidate_epochs=2)
    assert "the last 1 epochs are too few" in caplog.text
    seen = play(method, 5, convolutions)
    assert [tuple(t.tokens) for t in method.controller.history] == [
        tuple(method.view.genotype2tokens(cell)) for cell in (seen[1], seen[3])
    ]
    assert method.derive() in (seen[1], seen[3])


def test_before_anything_is_scored():
    method = sampled("random_search")
    with pytest.raises(GenotypeError, match="no candidate has been scored yet"):
        method.derive()
    assert all(not table.any() for table in method.probabilities().values())


def test_frequencies_are_those_of_the_best_tenth():
    method = sampled("random_search", epochs=40)
    seen = play(method, 40, convolutions)
    best = sorted(seen, key=convolutions, reverse=True)[:4]
    (table,) = method.probabilities().values()
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-6)
    assert table[:, 3].sum() * 4 == pytest.approx(sum(cell.count("nor_conv_3x3") for cell in best))


def test_impossible_settings():
    with pytest.raises(ConfigError, match="candidate_epochs must be from 1 to epochs=4, got 5"):
        sampled("random_search", candidate_epochs=5)
    with pytest.raises(ConfigError, match="cells of 4 nodes, got steps=2"):
        build("random_search", spec=SPEC)


def test_a_candidate_is_the_network_that_is_trained_later():
    method = sampled("random_search")
    images = batch(0).images
    method.supernet.eval()
    with paddle.no_grad():
        logits, features = method.supernet(images, method.mixture())
    assert logits.shape == [6, 3] and features == {}
    names = set(method.supernet.state_dict())
    assert all(name.startswith("network.") for name in names)
