"""What is wrong with PaddleSlim's DARTSearch must not come back: one test per known fault."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from slim_models import SPEC, Images, PlainModel, Stream, WrappedSupernet, loader, searcher

from paddle_darts.engine import Callback
from paddle_darts.errors import ConfigError
from paddle_darts.genotypes import genotype
from paddle_darts.methods import Batch, Darts, DartsOptions
from paddle_darts.methods.gradient import UnrolledOptions
from paddle_darts.nas import AvgrageMeter, DARTSearch, get_genotype
from paddle_darts.nas.protocol_method import ProtocolDarts
from paddle_darts.networks import Supernet, build_network
from paddle_darts.nn.drop import RandomSource, drop_path_factors, scale_samples
from paddle_darts.nn.layers import copy_into, trainable


def batch(seed: int = 0, size: int = 8) -> Batch:
    rng = np.random.default_rng(seed)
    return Batch(paddle.to_tensor(rng.normal(size=(size, 3, 8, 8)).astype("float32")), paddle.arange(size) % 4)


def method(model: nn.Layer, **options: object) -> ProtocolDarts:
    made = ProtocolDarts(model, UnrolledOptions(**options), 4, RandomSource(0))
    made.begin_epoch(0)
    model.train()
    return made


def arrays(tensors: dict[str, paddle.Tensor]) -> dict[str, np.ndarray]:
    return {name: t.numpy().copy() for name, t in tensors.items()}


def test_fault_1_a_loss_without_dimensions_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = PlainModel()
    assert model._loss(batch().images, batch().labels.unsqueeze(1)).shape == []
    with caplog.at_level(logging.INFO, "paddle_darts"):
        searcher(tmp_path, model, log_freq=1).train()
    assert sum("train 00" in line for line in caplog.messages) == 6
    meter = AvgrageMeter()
    meter.update(paddle.to_tensor(2.0), 3)
    meter.update(np.array([4.0]), 1)
    assert (meter.avg, meter.sum, meter.cnt) == (2.5, 10.0, 4)
    with pytest.raises(ValueError, match=r"one value at a time, got an array of \[2\]"):
        meter.update(np.zeros(2))


@pytest.mark.parametrize("unrolled", [False, True])
def test_fault_2_the_validation_loss_does_not_reach_the_weights(unrolled: bool) -> None:
    """The weights move by the gradient of the training loss alone, at the alphas after their step."""
    model = PlainModel()
    search = method(model, unrolled=unrolled, arch_learning_rate=0.1, grad_clip=0.0)
    before = arrays(search.weights)
    search.arch_step(batch(0), batch(1))
    assert all(w.grad is None for w in model.parameters())
    assert all(np.array_equal(before[name], w.numpy()) for name, w in search.weights.items())
    logits = model(batch(0).images)
    loss = nn.functional.cross_entropy(logits, batch(0).labels)
    gradients = paddle.grad(loss, list(search.weights.values()), allow_unused=True)
    search.weight_step(batch(0))
    assert all(w.grad is None for w in model.parameters())
    for (name, weight), gradient in zip(search.weights.items(), gradients, strict=True):
        expected = before[name] - 0.025 * (gradient.numpy() + 3e-4 * before[name])
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_fault_3_the_learning_rate_decays(tmp_path: Path) -> None:
    rows = searcher(tmp_path, num_epochs=4).train().history
    cosine = [0.001 + 0.024 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)]
    assert [row["lr"] for row in rows] == pytest.approx(cosine, rel=1e-6)


class CountSteps(Callback):
    def __init__(self) -> None:
        self.steps = self.arch_steps = 0

    def on_step_end(self, *_: object) -> None:
        self.steps += 1

    def on_arch_step(self, *_: object) -> None:
        self.arch_steps += 1


def test_fault_4_second_order_has_as_many_steps_and_the_same_rates(tmp_path: Path) -> None:
    seen = []
    for unrolled in (False, True):
        counter = CountSteps()
        rows = searcher(tmp_path / str(unrolled), unrolled=unrolled, callbacks=[counter]).train().history
        seen.append((counter.steps, counter.arch_steps, [row["lr"] for row in rows]))
    assert seen[0] == seen[1] and seen[0][:2] == (6, 6)


def test_epochs_without_architecture(tmp_path: Path) -> None:
    counter, model = CountSteps(), PlainModel()
    before = model.alphas_normal.numpy().copy()
    searcher(tmp_path / "never", model, epochs_no_archopt=2, callbacks=[counter]).train()
    assert (counter.steps, counter.arch_steps) == (6, 0)
    assert np.array_equal(before, model.alphas_normal.numpy())
    counter = CountSteps()
    searcher(tmp_path / "later", model, epochs_no_archopt=1, callbacks=[counter]).train()
    assert (counter.steps, counter.arch_steps) == (6, 3)


def test_fault_5_pc_darts_is_what_it_says(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"_method is 'PC-DARTS' needs betas_normal \[5\], got None"):
        searcher(tmp_path, PlainModel("PC-DARTS", betas=False))
    with pytest.raises(ConfigError, match=r"built for darts .* got method='PC-DARTS'"):
        searcher(tmp_path, PlainModel("DARTS"), method="PC-DARTS")
    model = PlainModel("PC-DARTS")
    before = [p.numpy().copy() for p in model.arch_parameters()]
    found = searcher(tmp_path / "model", model, method="PC-DARTS").train()
    assert all((p.numpy() != old).any() for p, old in zip(model.arch_parameters(), before, strict=True))
    assert found.genotype == get_genotype(model)
    # over our own networks the name stands for partial channels and edge weights
    spec = type(SPEC)(**{**vars(SPEC), "init_channels": 8})
    made = searcher(tmp_path / "spec", spec, method="PC-DARTS", num_epochs=1)
    assert made.config.method == "pc_darts" and made.options.partial_channels == 4
    made.train()
    stored = (tmp_path / "spec" / "alphas.jsonl").read_text()
    assert "betas_normal" in stored


def test_the_betas_weigh_the_edges() -> None:
    """Alphas that are equal everywhere leave the choice of the edges to the betas."""
    model = PlainModel("PC-DARTS")
    with paddle.no_grad():
        for tensor in model.arch_parameters():
            tensor.set_value(paddle.zeros_like(tensor))
        model.betas_normal.set_value(paddle.to_tensor([0.0, 0.0, -1.0, 3.0, 2.0]))
    assert [edge.source for edge in get_genotype(model).normal] == [0, 1, 1, 2]
    assert [edge.source for edge in get_genotype(model).reduce] == [0, 1, 0, 1]


class Recorder(PlainModel):
    """Writes down the labels and the shape of what it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, list[int], float]] = []

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        self.seen.append((self.training, images.shape, float(images.abs().sum())))
        return super().forward(images)


@pytest.mark.parametrize("reader", ["dataset", "loader", "stream", "stream of batches"])
def test_fault_6_the_batch_size_is_honoured(tmp_path: Path, reader: str) -> None:
    class Batches(paddle.io.IterableDataset):
        def __iter__(self):
            for item in loader(shuffle=False):
                yield [t.numpy() for t in item]

    readers = {"dataset": Images, "loader": loader, "stream": Stream, "stream of batches": Batches}
    model = Recorder()
    searcher(tmp_path, model, (readers[reader](), readers[reader]()), num_epochs=1).train()
    training = [shape for training, shape, _ in model.seen if training]
    # validation batch of the architecture, training batch of the weights, in turns
    assert training == [[n, 3, 8, 8] for n in (16, 16, 16, 16, 8, 8)]
    assert [shape for training, shape, _ in model.seen if not training] == [[n, 3, 8, 8] for n in (16, 16, 8)]


def test_a_data_set_is_shuffled_anew_in_every_epoch_and_seen_as_a_whole() -> None:
    from paddle_darts.nas.readers import open_reader

    class Numbered(Images):
        def __getitem__(self, index: int):
            return np.full((3, 2, 2), index, "float32"), index

    stream = open_reader(Numbered(), 16, 5, "train", shuffle=True, estimate=1)
    passes = [[int(label) for b in stream.iterate(epoch) for label in b.labels] for epoch in range(2)]
    assert all(sorted(order) == list(range(40)) for order in passes)
    assert passes[0] != passes[1] and passes[0] != list(range(40))


@pytest.mark.parametrize("stem, size", [("cifar", 32), ("imagenet", 64)])
def test_fault_7_networks_return_logits(stem: str, size: int) -> None:
    """A softmax inside the network as well as in the loss would make every row sum to 1."""
    network = build_network(genotype("DARTS_PADDLE"), 5, 4, 3, stem=stem)
    network.eval()
    logits = network(paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 3, size, size)).astype("float32")))[0]
    assert (logits.numpy() < 0).any() and not np.allclose(logits.numpy().sum(axis=1), 1.0)


def test_fault_8_drop_path_drops_samples() -> None:
    assert np.array_equal(drop_path_factors(6, 0.0, RandomSource(0)), np.ones(6))
    factors = drop_path_factors(6, 0.5, RandomSource(3))
    assert set(factors) == {0.0, 2.0}
    dropped = scale_samples(paddle.ones([6, 2, 3, 6]), factors).numpy()
    assert np.array_equal(dropped, np.broadcast_to(factors[:, None, None, None], (6, 2, 3, 6)))


@pytest.mark.parametrize("unrolled", [False, True])
def test_fault_9_statistics_stay_in_the_steps_of_the_architecture(unrolled: bool) -> None:
    model = PlainModel()
    search = method(model, unrolled=unrolled)
    mean = model.stem[1]._mean
    before = mean.numpy().copy()
    search.arch_step(batch(0), batch(1))
    assert np.array_equal(mean.numpy(), before)
    search.weight_step(batch(0))
    assert not np.array_equal(mean.numpy(), before)


@pytest.mark.parametrize("unrolled", [False, True])
def test_fault_9_the_unrolled_step_is_that_of_our_darts(unrolled: bool) -> None:
    """The momentum of the weights' optimizer included: it is not zero from the second step on."""
    options = {"unrolled": unrolled, "arch_learning_rate": 0.05}
    paddle.seed(1)
    ours = Darts(SPEC, DartsOptions(**options), 4, RandomSource(0))
    ours.begin_epoch(0)
    ours.supernet.train()
    model = WrappedSupernet()
    copy_into(model.net.state_dict(), ours.supernet.state_dict())
    with paddle.no_grad():
        model.alphas_normal.set_value(ours.arch["alphas_normal"])
        model.alphas_reduce.set_value(ours.arch["alphas_reduce"])
    theirs = method(model, **options)
    for step in range(3):
        one = ours.step(batch(2 * step), batch(2 * step + 1))
        other = theirs.step(batch(2 * step), batch(2 * step + 1))
        assert (one.loss, one.arch_loss) == (other.loss, other.arch_loss)
    for kind in ("normal", "reduce"):
        assert np.array_equal(ours.alphas[kind].numpy(), getattr(model, f"alphas_{kind}").numpy())
    for name, weight in ours.weights.items():
        assert np.array_equal(weight.numpy(), theirs.weights[f"net.{name}"].numpy())


def test_fault_10_seed_result_and_few_files(tmp_path: Path) -> None:
    """Resuming has tests of its own."""
    seeds = {"a": 7, "b": 7, "c": 8}
    found = [searcher(tmp_path / name, num_epochs=3, seed=seed).train() for name, seed in seeds.items()]
    losses = [[(row["train_loss"], row["valid_loss"]) for row in one.history] for one in found]
    assert losses[0] == losses[1] != losses[2]
    first = found[0]
    accuracies = [row["valid_top1"] for row in first.history]
    assert first.best_epoch == accuracies.index(max(accuracies))
    assert str(first.genotype) == first.history[-1]["genotype"] and first.save_dir == tmp_path / "a"
    assert genotype(first.save_dir) == first.genotype
    kept = {path.name for path in (tmp_path / "a" / "checkpoint").iterdir()}
    assert {"latest", "best"} <= kept and len(kept) <= 4
    assert "epoch 2" in (tmp_path / "a" / "log.txt").read_text()


def test_without_a_seed_one_is_drawn_and_written_down(tmp_path: Path) -> None:
    one, other = (searcher(tmp_path / name, seed=None) for name in "ab")
    assert one.config.seed != other.config.seed
    one.train()
    assert searcher(tmp_path / "a", seed=None, resume=True).config.seed == one.config.seed


def test_fault_11_weights_begin_within_one_over_the_root_of_the_inputs() -> None:
    for name, weight in trainable(Supernet(type(SPEC)(**{**vars(SPEC), "init_channels": 16}))).items():
        values = np.abs(weight.numpy())
        fan_in = weight.shape[0] if name.startswith("classifier.weight") else math.prod(weight.shape[1:])
        if len(weight.shape) > 1:
            assert values.max() <= 1 / math.sqrt(fan_in) + 1e-7
        if weight.size > 500:
            assert values.max() > 0.97 / math.sqrt(fan_in)


@pytest.mark.parametrize("place", [None, "cpu", paddle.CPUPlace()])
def test_fault_12_the_place_is_used(tmp_path: Path, place: object) -> None:
    search = searcher(tmp_path, place=place)
    assert search.place is place and search.config.device == "cpu"


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="place must be a CPU or GPU place"):
        searcher(tmp_path, place="tpu")
    if not paddle.is_compiled_with_cuda():
        with pytest.raises(ConfigError, match="device gpu:0 is not there"):
            searcher(tmp_path, place="gpu:0").train()


def test_the_signature_is_paddleslims() -> None:
    import inspect

    parameters = inspect.signature(DARTSearch).parameters
    plain = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert plain[:6] == ["model", "train_reader", "valid_reader", "place", "learning_rate", "batchsize"]
    assert plain[6:11] == ["num_imgs", "arch_learning_rate", "unrolled", "num_epochs", "epochs_no_archopt"]
    assert plain[11:] == ["use_multiprocess", "use_data_parallel", "save_dir", "log_freq"]
    defaults = {name: p.default for name, p in parameters.items()}
    assert (defaults["learning_rate"], defaults["batchsize"], defaults["num_imgs"]) == (0.025, 64, 50000)
    assert (defaults["arch_learning_rate"], defaults["num_epochs"], defaults["log_freq"]) == (3e-4, 50, 50)
