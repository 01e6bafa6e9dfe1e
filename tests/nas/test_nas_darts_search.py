"""DARTSearch over all kinds of readers and models: exact resume, errors, what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from slim_models import READERS, SPEC, Images, PlainModel, Stream, batch_generator, loader, searcher

from paddle_darts.engine import Callback, Dashboard, Pictures
from paddle_darts.errors import ConfigError, DataError, RunError
from paddle_darts.genotypes import NasBench201Genotype, genotype
from paddle_darts.nas import DARTSearch, get_genotype
from paddle_darts.nas.readers import open_reader
from paddle_darts.networks import Supernet, SupernetSpec
from paddle_darts.networks.supernets import build_supernet


class Crash(BaseException):
    """Ends a run like a kill does: nothing of the library catches it, nothing is saved."""


class CrashAfter(Callback):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_step_end(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash


class SaveEveryStep(Callback):
    def on_step_end(self, search: Any, *_: object) -> None:
        search.save()


def content(save_dir: Path) -> dict[str, Any]:
    """What must be the same bit by bit."""
    folder = (save_dir / "checkpoint" / "latest").resolve()
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    state = json.loads((folder / "state.json").read_text())
    state["meter"].pop("seconds")
    rows = [json.loads(line) for line in (save_dir / "history.jsonl").read_text().splitlines()]
    found["rows"] = [{k: v for k, v in row.items() if k not in ("seconds", "peak_rss_mb")} for row in rows]
    assert found.keys() > {"weights.safetensors", "arch.safetensors"}
    return {**found, "state": state, "genotype": (save_dir / "genotype.json").read_bytes()}


def assert_same(one: Path, other: Path) -> None:
    first, second = content(one), content(other)
    assert [key for key in {*first, *second} if first.get(key) != second.get(key)] == []


# ------------------------------------------------------------------------------------------ readers
@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("steps", [2, 4])
def test_a_resumed_search_ends_with_the_same_bits(tmp_path: Path, kind: str, steps: int) -> None:
    """The readers draw random numbers while they read: order and images of a pass come again."""
    readers = READERS[kind](), READERS[kind]()
    searcher(tmp_path / "whole", readers=readers).train()
    with pytest.raises(Crash):
        searcher(tmp_path / "killed", readers=readers, callbacks=[SaveEveryStep(), CrashAfter(steps)]).train()
    readers = READERS[kind](), READERS[kind]()
    found = searcher(tmp_path / "killed", PlainModel(seed=9), readers, resume=True).train()
    assert len(found.history) == 2
    assert_same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("kind", READERS)
def test_a_pass_can_be_repeated_and_the_next_one_differs(kind: str) -> None:
    def one_pass(number: int) -> list[np.ndarray]:
        stream = open_reader(READERS[kind](), 16, 5, "train", shuffle=True, estimate=1)
        return [batch.images for batch in stream.iterate(number)]

    before = np.random.get_state()[1].copy(), paddle.get_rng_state()[0].__getstate__()
    first, again, second = one_pass(0), one_pass(0), one_pass(1)
    assert [len(images) for images in first] == [16, 16, 8]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    # and the training does not notice
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert before[1] == paddle.get_rng_state()[0].__getstate__()


@pytest.mark.parametrize("kind", READERS)
def test_positions_count_over_passes_in_any_order(kind: str) -> None:
    fresh = open_reader(READERS[kind](), 16, 5, "valid", shuffle=True, estimate=1)
    in_order = [fresh.pick(position).images for position in range(7)]
    other = open_reader(READERS[kind](), 16, 5, "valid", shuffle=True, estimate=1)
    for position in (5, 1, 6, 0, 3):
        assert np.array_equal(other.pick(position).images, in_order[position])
    assert [len(images) for images in in_order] == [16, 16, 8, 16, 16, 8, 16]
    assert other.steps_per_epoch == 3


def test_readers_of_different_length(tmp_path: Path) -> None:
    """The architecture goes on through its own data; an epoch is a pass over the training data."""

    def short():
        yield from list(batch_generator())[:2]

    seen = []

    class Steps(Callback):
        def on_step_end(self, search: Any, step: int, logs: Any) -> None:
            seen.append((search.epoch, step))

    rows = searcher(tmp_path, readers=(batch_generator, short), num_imgs=1000, callbacks=[Steps()]).train().history
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] and len(rows) == 2


def test_steps_made_by_hand_follow_the_reader() -> None:
    from paddle_darts.nas.reader_search import ReaderSearch

    made = searcher(Path("never-written"), readers=(batch_generator, batch_generator), num_imgs=32)
    search = ReaderSearch(made.config, made.options, made.model, (batch_generator, Stream()), 1, [])
    for _ in range(4):
        search.step()
    assert (search.epoch, search.step_in_epoch, search.steps_per_epoch) == (1, 1, 1)
    assert not Path("never-written").exists()


class LabelsOf(Images):
    def __init__(self, label: Any, image: Any = None) -> None:
        super().__init__()
        self.label, self.image = label, image

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, _ = super().__getitem__(index)
        return image if self.image is None else self.image, self.label


@pytest.mark.parametrize(
    "reader, message",
    [
        (LabelsOf(0.5), "labels of the train reader must be whole numbers, got float64"),
        (
            LabelsOf(1, np.zeros((3, 8))),
            r"must have images \[B, C, H, W\] and labels \[B\] or \[B, 1\], got \[16, 3, 8\]",
        ),
        (lambda: iter(()), "the train reader gave no batch"),
        (lambda: iter([3]), r"must be \(images, labels\), got int"),
        (Images(0), "the train reader gave no batch"),
    ],
)
def test_what_is_no_batch_is_told(tmp_path: Path, reader: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        searcher(tmp_path, readers=(reader, Images())).train()


@pytest.mark.parametrize("reader", [None, 3, "data", {"train": 1}])
def test_what_is_no_reader_is_told_at_once(tmp_path: Path, reader: Any) -> None:
    with pytest.raises(ConfigError, match=r"a reader must be a paddle.io.Dataset"):
        searcher(tmp_path, readers=(Images(), reader))


def test_a_generator_object_is_used_up_after_one_pass(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone through many times, <generator object .* only once: hand in what"):
        searcher(tmp_path, readers=(batch_generator(), Images()))


def test_tensors_and_loaders_of_other_makes(tmp_path: Path) -> None:
    class Other:
        def __iter__(self):
            return batch_generator()

    some = [Images()[i] for i in range(40)]
    tensors = paddle.io.TensorDataset(
        [paddle.to_tensor(np.stack([x for x, _ in some])), paddle.to_tensor([[y] for _, y in some])]
    )
    assert len(searcher(tmp_path, readers=(tensors, Other())).train().history) == 2


def test_worker_processes_of_a_loader_change_nothing(tmp_path: Path) -> None:
    one, other = loader(), loader(num_workers=2)
    streams = [open_reader(each, 1, 5, "train", shuffle=True, estimate=1) for each in (one, other)]
    for a, b in zip(*(stream.iterate(0) for stream in streams), strict=True):
        assert np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)


def test_a_sampler_that_counts_passes_itself() -> None:
    class Counting(paddle.io.BatchSampler):
        epoch = 0

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self):
            yield from ([self.epoch, self.epoch + 1], [self.epoch + 2])
            self.epoch += 1

    stream = open_reader(
        paddle.io.DataLoader(Images(), batch_sampler=Counting(Images())), 1, 5, "train", shuffle=True, estimate=1
    )
    for epoch in (0, 3, 1):
        assert [list(b.labels) for b in stream.iterate(epoch)] == [[epoch % 4, (epoch + 1) % 4], [(epoch + 2) % 4]]


@pytest.mark.parametrize("unrolled", [False, True])
def test_it_learns(tmp_path: Path, unrolled: bool) -> None:
    """Four classes of images that the model has not seen while it trained its weights."""
    rows = searcher(tmp_path, num_epochs=12, learning_rate=0.1, unrolled=unrolled).train().history
    assert rows[0]["valid_top1"] < 60.0 < 80.0 < rows[-1]["valid_top1"]
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]


# ------------------------------------------------------------------------------------------ models
def test_what_a_model_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"Linear cannot be searched: it has no _steps, .*arch_parameters\(\), _loss\(\)"
    ):
        searcher(tmp_path, paddle.nn.Linear(2, 2))
    model = PlainModel()
    model._steps = 3
    with pytest.raises(ConfigError, match=r"alphas_normal must be \[9, 3\] for 3 nodes, got \[5, 3\]"):
        get_genotype(model)
    model = PlainModel()
    model._primitives = ["none", "skip_connect", "sep_conv_3"]
    with pytest.raises(ConfigError, match="unknown operation 'sep_conv_3'; did you mean 'sep_conv_3x3'"):
        get_genotype(model)
    model = PlainModel()
    model._method = "PCDARTS"
    with pytest.raises(ConfigError, match="unknown _method of the model 'PCDARTS'; did you mean 'PC-DARTS'"):
        get_genotype(model)
    model = PlainModel()
    model._listed = [model.alphas_normal]
    with pytest.raises(ConfigError, match="alphas_reduce is not among the arch_parameters"):
        get_genotype(model)
    model = PlainModel()
    model.alphas_normal.stop_gradient = True
    with pytest.raises(ConfigError, match="alphas_normal must be trainable"):
        get_genotype(model)


def test_an_unknown_method_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown method 'dats'; did you mean 'darts'"):
        searcher(tmp_path, SPEC, method="dats")


def test_a_model_whose_loss_returns_logits_too(tmp_path: Path) -> None:
    class Both(PlainModel):
        def _loss(self, images, labels):
            return super()._loss(images, labels), self(images)

    one = searcher(tmp_path / "one", PlainModel()).train()
    other = searcher(tmp_path / "other", Both()).train()
    assert [row["train_loss"] for row in one.history] == [row["train_loss"] for row in other.history]


def test_a_supernet_begins_with_its_weights_and_has_the_final_ones(tmp_path: Path) -> None:
    paddle.seed(5)
    model = Supernet(SPEC)
    first = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    begun = {}

    class Look(Callback):
        def on_search_begin(self, search: Any) -> None:
            begun.update({name: t.numpy().copy() for name, t in search.method.supernet.state_dict().items()})

    searcher(tmp_path, model, callbacks=[Look()]).train()
    assert all(np.array_equal(begun[name], first[name]) for name in first)
    from safetensors.numpy import load_file

    saved = load_file(tmp_path / "checkpoint" / "latest" / "weights.safetensors")
    assert all(np.array_equal(t.numpy(), saved[name]) for name, t in model.state_dict().items())
    assert any(not np.array_equal(first[name], saved[name]) for name in first)


def test_a_supernet_of_another_shape_than_the_method_needs(tmp_path: Path) -> None:
    spec = SupernetSpec(**{**vars(SPEC), "init_channels": 8})
    with pytest.raises(ConfigError, match="pc_darts begins with another network than the given one"):
        searcher(tmp_path, Supernet(spec), method="PC-DARTS").train()
    partial = SupernetSpec(**{**vars(spec), "partial_channels": 2})
    searcher(tmp_path / "partial", Supernet(partial), method="PC-DARTS", num_epochs=1).train()


@pytest.mark.parametrize("method", ["gdas", "fair_darts", "ddsas"])
def test_our_other_methods(tmp_path: Path, method: str) -> None:
    found = searcher(tmp_path, SPEC, method=method).train()
    assert len(found.history) == 2 and (tmp_path / "genotype.json").is_file()


@pytest.mark.parametrize("method", ["DARTS", "PC-DARTS"])
def test_cells_of_nas_bench_201(tmp_path: Path, method: str) -> None:
    spec = SupernetSpec(space="nas_bench_201", init_channels=4, layers=5, num_classes=4)
    model: Any = spec if method == "PC-DARTS" else build_supernet(spec)
    found = searcher(tmp_path, model, method=method).train()
    assert isinstance(found.genotype, NasBench201Genotype) and genotype(tmp_path) == found.genotype


# ------------------------------------------------------------------------------------------ runs
def test_an_occupied_directory_and_other_settings_are_refused(tmp_path: Path) -> None:
    searcher(tmp_path, num_epochs=1).train()
    with pytest.raises(RunError, match="already holds a run"):
        searcher(tmp_path, num_epochs=1).train()
    with pytest.raises(RunError, match=r"learning_rate: 0.025 -> 0.1"):
        searcher(tmp_path, num_epochs=1, learning_rate=0.1, resume=True).train()
    assert searcher(Path("elsewhere"), num_epochs=1, resume=tmp_path).train().save_dir == tmp_path


def test_the_pictures_of_a_search_can_be_had(tmp_path: Path) -> None:
    searcher(tmp_path, callbacks=[Dashboard(), Pictures()]).train()
    assert "<html" in (tmp_path / "report.html").read_text() and list((tmp_path / "vdl").iterdir())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert f"--arch {tmp_path}" in summary["next_command"] or f"--arch={tmp_path}" in summary["next_command"]


def test_a_loss_that_is_not_a_number_is_an_error(tmp_path: Path) -> None:
    class Broken(Images):
        def __getitem__(self, index: int):
            image, label = super().__getitem__(index)
            return image * (np.nan if index == 7 else 1), label

    with pytest.raises(ArithmeticError, match="became nan"):
        searcher(tmp_path, readers=(Broken(), Images())).train()


@pytest.mark.parametrize("setting", [{"batchsize": 0}, {"num_epochs": 1.5}, {"log_freq": True}])
def test_impossible_numbers(tmp_path: Path, setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(ConfigError, match=f"{name} must be a whole number of at least 1"):
        DARTSearch(PlainModel(), Images(), Images(), save_dir=tmp_path, **setting)


def test_a_loader_keeps_its_own_order(tmp_path: Path) -> None:
    stream = open_reader(loader(shuffle=False, drop_last=True), 99, 0, "train", shuffle=True, estimate=1)
    assert [list(batch.labels[:4]) for batch in stream.iterate(0)] == [[0, 1, 2, 3], [0, 1, 2, 3]]


def test_methods_that_train_samples_are_refused() -> None:
    spec = SupernetSpec(init_channels=2, layers=1, num_classes=3)
    with pytest.raises(ConfigError, match="learns the architecture by gradient; random_search trains samples"):
        DARTSearch(spec, Images(), Images(), method="random_search").train()
