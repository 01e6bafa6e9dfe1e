"""CIFAR archives and folders: read, warned about, or refused with one clear error."""

import gzip
import hashlib
import io
import logging
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from paddle_darts.data import cifar_files, load_dataset
from paddle_darts.errors import DataError

SUBSET = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "cifar-10-subset.tar.gz"
OFFICIAL = "c58f30108f718f92721af3b95e74349a"
HOW = r"Get cifar-10-python\.tar\.gz \(md5 c58f.*https://www\.cs\.toronto\.edu/~kriz/cifar\.html.*--data"


def batch(count=4, seed=0, classes=10, key=b"labels", **changes):
    rng = np.random.default_rng(seed)
    content = {
        b"data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
        key: rng.integers(0, classes, count).tolist(),
        b"batch_label": b"test",
    }
    content.update({name.encode(): value for name, value in changes.items()})
    return {name: value for name, value in content.items() if value is not None}


def cifar10_files(**replaced):
    files = {f"data_batch_{i}": batch(seed=i) for i in range(1, 6)}
    files["test_batch"] = batch(count=3, seed=9)
    files["batches.meta"] = {b"label_names": [f"class{i}".encode() for i in range(10)]}
    files.update(replaced)
    return {name: value for name, value in files.items() if value is not None}


def cifar100_files():
    names = [f"fine{i}".encode() for i in range(100)]
    options = {"classes": 100, "key": b"fine_labels"}
    return {
        "train": batch(6, 1, **options, coarse_labels=[0] * 6),
        "test": batch(2, 2, **options, coarse_labels=[0] * 2),
        "meta": {b"fine_label_names": names, b"coarse_label_names": [b"x"] * 20},
    }


def dump(value):
    return value if isinstance(value, bytes) else pickle.dumps(value, protocol=2)


def write_archive(path, files, folder="cifar-10-batches-py"):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, value in files.items():
            content = dump(value)
            member = tarfile.TarInfo(f"{folder}/{name}" if folder else name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    path.write_bytes(packed.getvalue())
    return path


def write_folder(path, files):
    path.mkdir(parents=True)
    for name, value in files.items():
        (path / name).write_bytes(dump(value))
    return path


def load(path, name="cifar10", **options):
    return load_dataset(name, path, download=False, **options)


def check(bundle, files):
    order = [f"data_batch_{i}" for i in range(1, 6)]
    np.testing.assert_array_equal(
        bundle.train.images.reshape(20, -1), np.concatenate([files[name][b"data"] for name in order])
    )
    assert bundle.train.labels.tolist() == [label for name in order for label in files[name][b"labels"]]
    np.testing.assert_array_equal(bundle.test.images.reshape(3, -1), files["test_batch"][b"data"])
    assert bundle.train.images.shape == (20, 3, 32, 32)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path_factory):
    """Paddle's cache is somewhere else and empty: a user's own downloads must not decide a test."""
    from paddle.dataset import common

    monkeypatch.setattr(common, "DATA_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def subset():
    if not SUBSET.is_file():
        pytest.skip(f"the real CIFAR-10 subset is not at {SUBSET}")
    return SUBSET


@pytest.mark.parametrize("form", ["archive", "parent", "other name", "folder", "folder's parent", "no prefix"])
def test_all_forms_are_found(form, tmp_path):
    files = cifar10_files()
    if form == "archive":
        place = write_archive(tmp_path / "any.tgz", files)
    elif form == "folder":
        place = write_folder(tmp_path / "mine", files)
    elif form == "folder's parent":
        write_folder(tmp_path / "cifar-10-batches-py", files)
        place = tmp_path
    else:
        name = "cifar-10-mine.tar.gz" if form == "other name" else "cifar-10-python.tar.gz"
        folder = "" if form == "no prefix" else "cifar-10-batches-py"
        write_archive(tmp_path / name, files, folder)
        write_archive(tmp_path / "cifar-100-python.tar.gz", cifar100_files(), "cifar-100-python")
        place = str(tmp_path)
    bundle = load(place)
    check(bundle, files)
    assert bundle.classes == tuple(f"class{i}" for i in range(10))
    assert (bundle.split, bundle.channels, bundle.image_size) == ("contiguous", 3, 32)
    assert bundle.mean == (0.49139968, 0.48215827, 0.44653124)
    assert bundle.augmentation.crop_padding == 4 and bundle.augmentation.flip
    assert not bundle.augmentation.cutout_length


def test_cifar100(tmp_path):
    files = cifar100_files()
    write_archive(tmp_path / "cifar-100-python.tar.gz", files, "cifar-100-python")
    bundle = load(tmp_path, "cifar100")
    assert (len(bundle.train), len(bundle.test), bundle.num_classes) == (6, 2, 100)
    assert bundle.train.labels.tolist() == files["train"][b"fine_labels"]
    assert bundle.classes[7] == "fine7"
    assert bundle.mean == (0.49139968, 0.48215827, 0.44653124)  # DARTS uses CIFAR-10's for both


def test_other_archives_are_used_with_a_warning(tmp_path, caplog):
    path = write_archive(tmp_path / "cifar-10-python.tar.gz", cifar10_files())
    got = hashlib.md5(path.read_bytes()).hexdigest()
    with caplog.at_level(logging.WARNING):
        bundle = load(path)
    (record,) = caplog.records
    text = record.getMessage()
    assert f"md5 {OFFICIAL} expected, {got} got" in text and "20 training and 3 test images" in text
    assert bundle.checksum == got and bundle.source == str(path)


def test_official_archive_gives_no_warning(tmp_path, caplog, monkeypatch):
    path = write_archive(tmp_path / "cifar-10-python.tar.gz", cifar10_files())
    monkeypatch.setattr("paddle_darts.data.cifar.file_md5", lambda _: OFFICIAL)
    with caplog.at_level(logging.WARNING):
        load(path)
    assert not caplog.records


def test_changed_folder_gives_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        load(write_folder(tmp_path / "x", cifar10_files()))
    (record,) = caplog.records
    assert "data_batch_1 has md5" in record.getMessage()
    assert "expected c99cafc152244af753f735de768cd75f" in record.getMessage()


def test_complete_archive_beats_incomplete_folder(tmp_path):
    files = cifar10_files()
    write_archive(tmp_path / "cifar-10-python.tar.gz", files)
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files(data_batch_3=None))
    check(load(tmp_path), files)


def test_meta_is_optional_and_resize_works(tmp_path):
    bundle = load(write_folder(tmp_path / "x", cifar10_files(**{"batches.meta": None})), image_size=16)
    assert bundle.classes == tuple("0123456789")
    assert bundle.train.images.shape == (20, 3, 16, 16) and bundle.augmentation.crop_padding == 2


BAD_BATCHES = {
    "missing batch": (None, "missing data_batch_2 of the expected data_batch_1"),
    "not a pickle": (b"garbage", "data_batch_2: not a readable pickle"),
    "truncated pickle": (dump(batch())[:-100], "data_batch_2: not a readable pickle"),
    "payload": (b"cos\nsystem\n(S'true'\ntR.", r"data_batch_2: refused: it asks for os\.system"),
    "no dictionary": ([1, 2], "expected a dictionary, got list"),
    "no data": (batch(data=None), "no 'data' in it; found batch_label, labels"),
    "no labels": (batch(labels=None), "no 'labels' in it"),
    "wrong shape": (batch(data=np.zeros((4, 3000), np.uint8)), r"uint8 \[N, 3072\], got uint8 \[4, 3000\]"),
    "wrong dimensions": (batch(data=np.array(3, np.uint8)), r"got uint8 \[\]"),
    "wrong type": (batch(data=np.zeros((4, 3072), np.float32)), r"got float32 \[4, 3072\]"),
    "list": (batch(data=[1, 2, 3, 4]), "got list"),
    "empty": (batch(count=0), "no images"),
    "too few labels": (batch(labels=[1, 2, 3]), "4 images but 3 labels"),
    "no list of labels": (batch(labels=5), "whole number"),
    "no dimension of labels": (batch(labels=np.array(5)), "whole number"),
    "labels missing in full": (batch(labels=np.empty(0, np.int64)), "4 images but 0 labels"),
    "label too large": (batch(labels=[1, 2, 3, 10]), r"label 10 is outside 0\.\.9"),
    "label negative": (batch(labels=[1, -1, 3, 0]), r"label -1 is outside 0\.\.9"),
    "label no number": (batch(labels=[1, 2, 3, "a"]), "whole number"),
    "label fraction": (batch(labels=[1, 2, 3, 0.5]), "whole number"),
    "label list": (batch(labels=[[1], [2], [3], [0, 1]]), "whole number"),
}


@pytest.mark.parametrize("kind", BAD_BATCHES)
@pytest.mark.parametrize("form", ["archive", "folder"])
def test_damaged_batches(kind, form, tmp_path):
    content, message = BAD_BATCHES[kind]
    files = cifar10_files(data_batch_2=content)
    if form == "archive":
        place = write_archive(tmp_path / "cifar-10-python.tar.gz", files)
    else:
        place = write_folder(tmp_path / "cifar-10-batches-py", files)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert caught.match(HOW) and str(place) in str(caught.value)
    assert ("its md5 is" in str(caught.value)) == (form == "archive")


def test_damaged_class_names(tmp_path):
    place = write_folder(tmp_path / "x", cifar10_files(**{"batches.meta": {b"label_names": [b"cat"]}}))
    with pytest.raises(DataError, match=r"batches\.meta: expected 10 names"):
        load(place)


def test_truncated_archive(tmp_path):
    path = write_archive(tmp_path / "cifar-10-python.tar.gz", cifar10_files())
    whole = path.read_bytes()
    for cut in [0, 1, 10, 100, len(whole) // 3, len(whole) // 2, len(whole) - 100, len(whole) - 5]:
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="truncated, damaged or no tar archive") as caught:
            load(tmp_path)
        assert caught.match(HOW) and str(path) in str(caught.value)
        assert hashlib.md5(whole[:cut]).hexdigest() in str(caught.value)


def test_flipped_bit_is_found_by_the_archives_own_check_sum(tmp_path):
    path = write_archive(tmp_path / "cifar-10-python.tar.gz", cifar10_files())
    # stored, not deflated: the flipped pixel decodes without any complaint
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        load(path)


def test_no_archive_at_all(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_text("<html>404 not found</html>")
    with pytest.raises(DataError, match="no tar archive"):
        load(tmp_path)


def test_unsafe_members_are_ignored(tmp_path):
    files = cifar10_files()
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, value in files.items():
            content = dump(value)
            member = tarfile.TarInfo(f"./cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in ("/etc/test_batch", "../test_batch"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"bad"))
        link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    check(load(path), files)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_ambiguous_archives(tmp_path):
    for name in ("cifar-10-a.tar.gz", "cifar-10-b.tar.gz", "cifar-10-binary.tar.gz"):
        write_archive(tmp_path / name, cifar10_files())
    with pytest.raises(DataError, match=r"cifar-10-a\.tar\.gz, cifar-10-b\.tar\.gz; pass one"):
        load(tmp_path)


@pytest.mark.parametrize("data", [None, "missing", "empty"])
def test_nothing_there_and_no_download(data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="downloading is off") as caught:
        load(data and tmp_path / data)
    assert caught.match(HOW)


def test_offline(tmp_path, monkeypatch):
    from paddle.vision import datasets

    def offline(mode, download):
        assert (mode, download) == ("test", True)
        raise RuntimeError("Cannot download within retry limit 3")

    monkeypatch.setattr(datasets, "Cifar10", offline)
    for data in (None, tmp_path):
        with pytest.raises(DataError, match=r"the download through Paddle failed.*retry limit 3") as caught:
            load_dataset("cifar10", data)
        assert caught.match(HOW)


def test_download_and_cache(monkeypatch, caplog):
    from paddle.dataset import common
    from paddle.vision import datasets

    cached = Path(common.DATA_HOME) / "cifar" / "cifar-100-python.tar.gz"

    class Cifar100:
        def __init__(self, mode, download):
            cached.parent.mkdir()
            self.data_file = str(write_archive(cached, cifar100_files(), "cifar-100-python"))

    monkeypatch.setattr(datasets, "Cifar100", Cifar100)
    assert len(load_dataset("cifar100").train) == 6
    assert len(load_dataset("cifar100", download=False).train) == 6  # straight from the cache
    official = cifar_files.file_md5(cached)
    changed = cifar_files.Layout(**{**vars(cifar_files.CIFAR100), "archive_md5": official})
    monkeypatch.setattr("paddle_darts.data.cifar.CIFAR100", changed)
    monkeypatch.setattr(datasets, "Cifar100", None)  # must not be needed
    caplog.clear()
    assert load_dataset("cifar100").checksum == official and not caplog.records


def test_real_subset(subset, caplog):
    bundle = load(subset)
    assert (len(bundle.train), len(bundle.test)) == (5000, 1000)
    assert bundle.classes[0] == "airplane" and bundle.classes[9] == "truck"
    # real photographs: the statistics are near the published ones of the whole set
    pixels = bundle.train.images / 255
    np.testing.assert_allclose(pixels.mean(axis=(0, 2, 3)), bundle.mean, atol=0.01)
    np.testing.assert_allclose(pixels.std(axis=(0, 2, 3)), bundle.std, atol=0.01)
    assert "5000 training and 1000 test images" in caplog.text
