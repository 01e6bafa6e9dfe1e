"""The query layer: the index alone, the official files, what it does with missing and hostile ones."""

from __future__ import annotations

import bz2
import collections
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from nats_made import COUNT, EVAL_SECONDS, accuracy_at, official, sample, write_archive, write_pickle

from paddle_darts.analysis.nats import NATSBench, sources
from paddle_darts.analysis.nats.records import Curve, Records, Trial
from paddle_darts.errors import ConfigError, DataError, GenotypeError
from paddle_darts.genotypes import NasBench201Genotype
from paddle_darts.io import unpickle
from paddle_darts.nn.drop import RandomSource
from paddle_darts.spaces.nas_bench_201 import architectures

DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("nats") / "NATS-tss-simple")


# ------------------------------------------------------------------------------------------ the index alone
def test_the_index_needs_no_files() -> None:
    bench = NATSBench()
    assert len(bench) == COUNT and bench.evaluated_indexes == set() and "no results" in repr(bench)
    assert bench.arch(9) == bench[9] == "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    cell = NasBench201Genotype.parse(bench.arch(9))
    assert bench.query_index_by_arch(bench.arch(9)) == bench.query_index_by_arch(cell) == 9
    assert bench.query_index_by_arch(9) == 9 and bench.query_index_by_arch("|conv~0|") == -1
    assert (bench.is_topology, bench.is_size, bench.full_train_epochs) == (True, False, 200)
    assert bench.get_unique_str(bench.arch(9)) == cell.unique
    with pytest.raises(DataError, match="no results: give the benchmark's files"):
        bench.get_more_info(0, "cifar10")


def test_objects_that_print_themselves_the_official_way() -> None:
    class Structure:
        def tostr(self) -> str:
            return architectures()[77]

    assert NATSBench().query_index_by_arch(Structure()) == 77


@pytest.mark.parametrize("index", [-1, COUNT, True, 1.5])
def test_no_such_index(index: Any) -> None:
    with pytest.raises(GenotypeError, match="0 to 15624"):
        NATSBench().query_index_by_arch(index)


def test_size_space() -> None:
    bench = NATSBench(search_space="size")
    assert len(bench) == 8**5 and bench.is_size and bench.full_train_epochs == 90
    assert (bench.arch(0), bench.arch(32767)) == ("8:8:8:8:8", "64:64:64:64:64")
    assert bench.query_index_by_arch("8:8:8:16:32") == 11 and bench.query_index_by_arch("8:8:8:16:33") == -1
    with pytest.raises(ConfigError, match="topology space"):
        bench.get_unique_str(0)
    with pytest.raises(GenotypeError, match="did you mean"):
        bench.get_latency("8:8:8:16:33", "cifar10")
    with pytest.raises(ConfigError, match="unknown NATS-Bench space 'tsss'; did you mean 'tss'"):
        NATSBench(search_space="tsss")


def test_random_indices_come_from_the_given_source() -> None:
    draws = [NATSBench(random_source=RandomSource(3)).random() for _ in range(2)]
    assert draws[0] == draws[1] == int(RandomSource(3).integers(COUNT, 1)[0])
    fresh = NATSBench()
    assert len({fresh.random() for _ in range(20)}) > 1


# ------------------------------------------------------------------------------------------ the official files
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("hp", ["12", 200])
def test_official_files(archive: Path, dataset: str, hp: str | int) -> None:
    bench = NATSBench(archive)
    for index, budgets in sample()["tss"].items():
        record = budgets[str(hp)]
        epochs = int(hp)
        for seed in record["seeds"][dataset]:
            run = record["runs"][f"{dataset}/{seed}"]
            for epoch in (None, 0, epochs - 1):
                info = bench.get_more_info(int(index), dataset, epoch, hp=hp, is_random=seed)
                at = epochs - 1 if epoch is None else epoch
                assert info["train-accuracy"] == pytest.approx(accuracy_at(run["train_acc"], at, epochs))
                assert info["train-all-time"] == pytest.approx(run["train_time_per_epoch"] * (at + 1))
                final = run["eval"]["x-valid" if "x-valid" in run["eval"] else "ori-test"]["acc"]
                found = info.get("valid-accuracy", info["test-accuracy"])
                assert found == pytest.approx(accuracy_at(final, at, epochs))
                assert info["test-per-time"] == EVAL_SECONDS


def test_the_default_budget_is_the_full_training(archive: Path) -> None:
    bench = NATSBench(archive)
    full = bench.get_more_info(11, "cifar10", is_random=False)
    assert full == bench.get_more_info(11, "cifar10", hp="200", is_random=False)
    assert full["test-accuracy"] > bench.get_more_info(11, "cifar10", hp="12", is_random=False)["test-accuracy"] + 1


def test_the_convention_of_the_papers(archive: Path) -> None:
    bench = NATSBench(archive)
    runs = sample()["tss"]["0"]["200"]["runs"]
    seeds = (777, 888, 999)
    for (dataset, split), (recorded, set_name) in {
        ("cifar10", "valid"): ("cifar10-valid", "x-valid"),
        ("cifar10", "test"): ("cifar10", "ori-test"),
        ("cifar100", "test"): ("cifar100", "x-test"),
        ("ImageNet16-120", "valid"): ("ImageNet16-120", "x-valid"),
    }.items():
        values = [runs[f"{recorded}/{seed}"]["eval"][set_name]["acc"] for seed in seeds]
        assert bench.accuracy(0, dataset, split) == pytest.approx(sum(values) / 3)
    with pytest.raises(DataError, match="did you mean cifar10 test"):
        bench.accuracy(0, "cifar10", "tests")


def test_simulated_training_adds_its_time_up(archive: Path) -> None:
    bench = NATSBench(archive, random_source=RandomSource(0))
    run = sample()["tss"]["0"]["12"]["runs"]["cifar10-valid/111"]
    seconds = run["train_time_per_epoch"] * 12 + EVAL_SECONDS
    accuracy, latency, used, total = bench.simulate_train_eval(0, "cifar10", hp="12")
    assert (used, total) == (pytest.approx(seconds), pytest.approx(seconds))
    accuracies = [
        sample()["tss"]["0"]["12"]["runs"][f"cifar10-valid/{s}"]["eval"]["x-valid"]["acc"] for s in (111, 777)
    ]
    assert any(accuracy == pytest.approx(value) for value in accuracies)
    assert latency == pytest.approx(run["latency_s"])
    *_, total = bench.simulate_train_eval(0, "cifar10", hp="12")
    assert total == bench.used_time == pytest.approx(2 * seconds)
    assert bench.simulate_train_eval(0, "cifar10", hp="12", account_time=False)[3] == total
    bench.reset_time()
    assert bench.used_time == 0
    with pytest.raises(DataError, match="did you mean cifar10 valid"):
        bench.simulate_train_eval(0, "cifar-10")


def test_best_of_what_is_there(archive: Path) -> None:
    bench = NATSBench(archive)
    assert bench.evaluated_indexes == {0, 11, 284}
    found = {i: bench.accuracy(i, "cifar100", "test") for i in bench.evaluated_indexes}
    best = max(found, key=found.get)
    assert bench.find_best("cifar100", "test") == (best, found[best])
    del found[best]  # it is the only large one
    second = max(found, key=found.get)
    assert bench.find_best("cifar100", "test", flop_max=50) == bench.find_best("cifar100", "x-test", param_max=0.5)
    assert bench.find_best("cifar100", "test", flop_max=50) == (second, found[second])
    with pytest.raises(DataError, match="within the limits"):
        bench.find_best("cifar100", "test", flop_max=1)


def test_one_architecture_in_memory(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = sources.Archive.read
    monkeypatch.setattr(sources.Archive, "read", lambda self, index: reads.append(index) or read(self, index))
    bench = NATSBench(archive)
    for index in (0, 0, 11, 11, 0):
        bench.get_latency(index, "cifar10")
    assert reads == [0, 11, 0]
    bench.clear_params(0)
    bench.get_latency(0, "cifar10")
    assert reads == [0, 11, 0, 0]


def test_reload_from_another_folder(archive: Path, tmp_path: Path) -> None:
    bench = NATSBench()
    bench.reload(archive)
    expected = bench.accuracy(0, "cifar10", "test")
    budgets = sample()["tss"]["0"]
    for run in budgets["200"]["runs"].values():
        run["eval"]["ori-test"]["acc"] += 1
    other = write_archive(tmp_path / "other")
    write_pickle(other / "000000.pickle.pbz2", official(0, budgets))
    bench.reload(other)
    assert bench.accuracy(0, "cifar10", "test") == pytest.approx(expected + 1)


def test_equal_to_the_official_package(archive: Path) -> None:
    nats_bench = pytest.importorskip("nats_bench", reason="compares with it: pip install nats_bench")
    theirs, ours = nats_bench.create(str(archive), "tss", fast_mode=True, verbose=False), NATSBench(archive)
    for index in (0, 11, 284):
        for hp in ("12", "200"):
            for dataset in DATASETS:
                for epoch, seed in ((None, False), (3, False), (5, 111 if hp == "12" else 888)):
                    expected = theirs.get_more_info(index, dataset, epoch, hp, seed)
                    expected.pop("comment", None)
                    assert ours.get_more_info(index, dataset, epoch, hp, seed) == expected
                assert ours.get_cost_info(index, dataset, hp) == theirs.get_cost_info(index, dataset, hp)
                assert ours.get_net_config(index, dataset) == theirs.get_net_config(index, dataset)
        assert ours.get_unique_str(index) == theirs.get_unique_str(index)


# ------------------------------------------------------------------------------------------ rules of the records
def trial(flops: float, latency: float | None = 0.01, epochs: int = 2) -> Trial:
    return Trial(epochs, flops, 1.0, latency, {"train": Curve({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}, {0: 3.0, 1: 4.0})})


def test_costs_that_disagree_are_those_of_seed_888() -> None:
    assert Records("a", {"cifar10": {777: trial(1.0), 888: trial(2.0)}}).costs("cifar10")["flops"] == 2.0
    assert Records("a", {"cifar10": {777: trial(1.0), 999: trial(2.0)}}).costs("cifar10")["flops"] == 1.5
    alike = {777: trial(1.0), 888: trial(1.000001)}
    assert Records("a", {"cifar10": alike}).costs("cifar10")["flops"] == pytest.approx(1.0000005)


def test_latencies_that_were_not_measured_do_not_count() -> None:
    trials = {1: trial(1.0, None), 2: trial(1.0, -1.0), 3: trial(1.0, 0.5)}
    assert Records("a", {"cifar10": trials}).costs("cifar10")["latency"] == 0.5
    assert Records("a", {"cifar10": {1: trial(1.0, None)}}).costs("cifar10")["latency"] is None


def test_times_of_an_epoch_and_up_to_it() -> None:
    records = Records("a", {"cifar10": {1: trial(1.0)}})
    assert records.metrics("cifar10", "train", 0)["all_time"] == 3.0
    last = records.metrics("cifar10", "train")
    assert (last["iepoch"], last["cur_time"], last["all_time"]) == (1, 4.0, 7.0)
    assert records.metrics("cifar10", "x-test") is None


# ------------------------------------------------------------------------------------------ wrong questions and files
@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"dataset": "cifar11"}, "unknown data set 'cifar11'; did you mean 'cifar10'"),
        ({"dataset": "cifar10", "hp": 90}, "hp='90'; its budgets are '12', '200'"),
        ({"dataset": "cifar10", "is_random": 5}, "no run with seed 5 on cifar10; there are 777, 888, 999"),
        ({"dataset": "cifar10", "iepoch": 200}, "epoch 200 of a training of 200 epochs"),
        ({"dataset": "cifar10", "iepoch": -1}, "epoch -1 of a training"),
    ],
)
def test_wrong_questions(archive: Path, question: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        NATSBench(archive).get_more_info(0, **question)


def test_a_set_that_was_not_recorded(archive: Path) -> None:
    with pytest.raises(DataError, match="nothing recorded of 'x-test' on cifar10"):
        NATSBench(archive).get_metrics(0, "cifar10", "x-test")


def test_missing_and_foreign_files(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no meta"):
        NATSBench(tmp_path)
    with pytest.raises(DataError, match="neither a folder"):
        NATSBench(tmp_path / "nothing.pbz2")
    with pytest.raises(DataError, match="000001"):
        NATSBench(archive).get_more_info(1, "cifar10")
    shuffled = write_archive(tmp_path / "shuffled", order=sorted(architectures()))
    with pytest.raises(DataError, match="in their order"):
        NATSBench(shuffled)
    with pytest.raises(DataError, match="in their order"):
        NATSBench(archive, "sss")


def test_records_of_another_architecture(tmp_path: Path) -> None:
    folder = write_archive(tmp_path / "mixed")
    write_pickle(folder / "000011.pickle.pbz2", official(0, sample()["tss"]["0"]))
    with pytest.raises(DataError, match=r"architecture 11 is .* but its records are of"):
        NATSBench(folder).get_more_info(11, "cifar10")


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("made_by_a_pickle",)


@pytest.mark.parametrize(
    "content",
    [
        bz2.compress(pickle.dumps(Hostile())),
        bz2.compress(pickle.dumps([1, 2])),
        bz2.compress(pickle.dumps({"12": {"arch_str": "x"}})),
        bz2.compress(pickle.dumps({"12": None})),
        b"no bz2",
        bz2.compress(b"no pickle"),
        bz2.compress(pickle.dumps({"12": 1}))[:-5],
    ],
    ids=["hostile", "list", "no runs", "no record", "no bz2", "no pickle", "cut off"],
)
def test_hostile_and_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_archive(tmp_path / "bad")
    (folder / "000000.pickle.pbz2").write_bytes(content)
    with pytest.raises(DataError, match="000000"):
        NATSBench(folder).get_more_info(0, "cifar10")
    assert not (tmp_path / "made_by_a_pickle").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_ordered_dictionaries_become_plain_ones(protocol: int) -> None:
    value = [collections.OrderedDict([("b", 1), ("a", collections.OrderedDict())])]
    read = unpickle.load(pickle.dumps(value, protocol))
    assert type(read[0]) is dict and type(read[0]["a"]) is dict
    assert list(read[0].items()) == [("b", 1), ("a", {})]


def test_ordered_dictionaries_of_python_2() -> None:
    content = b"\x80\x02ccollections\nOrderedDict\n]]K\x01K\x02eaR\x85R."
    with pytest.raises(DataError, match="not a readable pickle"):
        unpickle.load(content)
    assert unpickle.load(b"\x80\x02ccollections\nOrderedDict\n](](K\x01K\x02ee\x85R.") == {1: 2}
    with pytest.raises(DataError, match="something else than pairs"):
        unpickle.load(b"\x80\x02ccollections\nOrderedDict\n}\x85R.")


def test_files_made_to_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST", 10**6)
    path = tmp_path / "meta.pickle.pbz2"
    path.write_bytes(bz2.compress(bytes(10**7)))
    with pytest.raises(DataError, match="'-simple' folder"):
        NATSBench(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tss": 1}', '{"tss": {"a": 1}}', '{"sss": {}}'])
def test_documents_without_records(tmp_path: Path, text: str) -> None:
    path = tmp_path / "records.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"records\.json"):
        NATSBench(path)


def test_documents(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    document = sample()
    path.write_text(json.dumps(document))
    bench = NATSBench(path)
    assert bench.get_more_info(0, "cifar10", is_random=888) == NATSBench(document).get_more_info(
        0, "cifar10", is_random=888
    )
    with pytest.raises(DataError, match="no records of architecture 1; it has those of 0, 11, 284"):
        bench.get_more_info(1, "cifar10")
    del document["tss"]["0"]["200"]["runs"]["cifar10/888"]["flops_M"]
    with pytest.raises(DataError, match="architecture 0: KeyError: 'flops_M'"):
        NATSBench(document).get_more_info(0, "cifar10")


def test_times_that_were_not_recorded_count_as_nothing_and_are_named(caplog: pytest.LogCaptureFixture) -> None:
    _, _, seconds, _ = NATSBench(sample()).simulate_train_eval(0, "cifar10", hp=12)
    assert seconds == pytest.approx(
        sample()["tss"]["0"]["12"]["runs"]["cifar10-valid/111"]["train_time_per_epoch"] * 12
    )
    assert "no validation times" in caplog.text
