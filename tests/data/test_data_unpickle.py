"""The restricted unpickler: genuine data of every age, and nothing else."""

import io
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_darts.data import load_dataset
from paddle_darts.errors import DataError
from paddle_darts.io import unpickle


def py2_bytes(value):
    """Python 2's ``str`` as its cPickle writes it in protocol 2."""
    if len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    return b"T" + struct.pack("<i", len(value)) + value


def py2_array(array, package=b"numpy.core", code=None, order=b"|"):
    """A uint8 or other plain array as NumPy 1 under Python 2 pickles it."""
    code = code or array.dtype.str[1:].encode()
    shape = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in array.shape) + b"t"
    dtype = b"cnumpy\ndtype\n(" + py2_bytes(code) + b"K\x00K\x01tR"
    dtype += b"(K\x03" + py2_bytes(order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    made = b"c" + package + b".multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + py2_bytes(b"b") + b"tR"
    return made + b"(K\x01" + shape + dtype + b"\x89" + py2_bytes(array.tobytes()) + b"tb"


def py2_batch(array, labels, **options):
    items = py2_bytes(b"data") + py2_array(array, **options)
    items += py2_bytes(b"labels") + b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    items += py2_bytes(b"batch_label") + py2_bytes(b"testing batch 1 of 1")
    return b"\x80\x02}(" + items + b"u."


@pytest.mark.parametrize("package", [b"numpy.core", b"numpy._core"])
def test_reads_python_2_batches(package):
    array = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    got = unpickle.load(py2_batch(array, [4, 0, 9], package=package))
    assert got[b"labels"] == [4, 0, 9] and got[b"batch_label"] == b"testing batch 1 of 1"
    assert type(got[b"data"]) is np.ndarray and got[b"data"].dtype == np.uint8
    np.testing.assert_array_equal(got[b"data"], array)
    got[b"data"][0] = 0  # its own memory
    if package == b"numpy.core":  # the hand-made bytes really are what Python reads
        assert np.array_equal(pickle.loads(py2_batch(array, [4]), encoding="bytes")[b"data"], array)


def test_reads_big_endian_and_latin1():
    array = np.array([1, 2, 70000], ">i4")
    np.testing.assert_array_equal(unpickle.load(b"\x80\x02" + py2_array(array, order=b">") + b"."), array)
    array = np.array([[250, 3]], np.uint8)
    got = unpickle.load(py2_batch(array, [1]), encoding="latin1")
    np.testing.assert_array_equal(got["data"], array)
    assert got["batch_label"] == "testing batch 1 of 1"


def test_loader_reads_official_style(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (tmp_path / name).write_bytes(py2_batch(array, [3, 9]))
    bundle = load_dataset("cifar10", tmp_path, download=False)
    assert bundle.train.labels.tolist() == [3, 9] * 5
    np.testing.assert_array_equal(bundle.test.images.reshape(2, -1), array)


VALUES = [
    {"text": ["é", b"\xff", b"", 3, -(2**70), 1.5, True, None, (1, (2,)), {}], 5: {b"k": []}},
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.zeros((0, 3), np.int64),
    np.array(7),
    np.array([True, False]),
    np.array([b"ab", b"c"]),
    np.array(["ü", "xyz"]),
    [np.int64(5), np.float64(0.25), np.uint8(3)],
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_reads_all_protocols(value, protocol):
    got = unpickle.load(io.BytesIO(pickle.dumps(value, protocol=protocol)))
    np.testing.assert_equal(got, value)
    if isinstance(value, np.ndarray):
        assert got.dtype == value.dtype and got.shape == value.shape


def test_shared_parts_stay_shared_and_cheap():
    value = ["x"]
    for _ in range(200):
        value = [value, value]  # 2**200 paths, 201 lists
    got = unpickle.load(pickle.dumps(value))
    assert got[0] is got[1]


class Payload:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def _global(module, name):
    return b"c" + module + b"\n" + name + b"\n"


REFUSED = {
    "os.system": pickle.dumps(Payload(os.system, "touch HACKED"), protocol=2),
    "os.system protocol 4": pickle.dumps({"data": Payload(os.system, "touch HACKED")}, protocol=4),
    "eval": pickle.dumps(Payload(eval, "open('HACKED', 'w')"), protocol=0),
    "inst opcode": b"(S'touch HACKED'\nios\nsystem\n.",
    "numpy file": pickle.dumps(Payload(np.fromfile, "/etc/passwd")),
    "getattr": _global(b"builtins", b"getattr") + b".",
    "class": pickle.dumps(Payload(complex, 1, 2)),
    "set": pickle.dumps({1, 2}),
    "frozenset": pickle.dumps(frozenset([1])),
    "object array": pickle.dumps(np.array([Payload(os.system, "touch HACKED")], object)),
    "plain object array": pickle.dumps(np.array([1, "a"], object)),
    "structured array": pickle.dumps(np.zeros(2, [("a", "u1")])),
    "date array": pickle.dumps(np.zeros(2, "M8[s]")),
    "function itself": _global(b"numpy.core.multiarray", b"_reconstruct") + b".",
    "array class called": _global(b"numpy", b"ndarray") + b"(K\x01tR.",
    "state of a function": _global(b"numpy", b"dtype") + b"}S'x'\nK\x01sb.",
    "slot state of a function": _global(b"numpy", b"dtype") + b"(N}S'_call'\nK\x01stb.",
    "new object": b"\x80\x02" + _global(b"numpy", b"ndarray") + b"(K\x01t\x81.",
    "other codec": _global(b"_codecs", b"encode") + b"(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.",
    "persistent id": b"Pos.system\n.",
    "extension": b"\x80\x02\x82\x01.",
    "circle": b"]q\x00(h\x00e.",
    "unfinished array": _global(b"numpy.core.multiarray", b"_reconstruct")
    + b"("
    + _global(b"numpy", b"ndarray")
    + b"(K\x00tC\x01btR.",
    "short content": py2_batch(np.zeros((2, 4), np.uint8), [1]).replace(b"U\x08" + bytes(8), b"U\x07" + bytes(7)),
    "odd byte order": b"\x80\x02" + py2_array(np.zeros(2, np.uint8), order=b"(2,)") + b".",
    "unknown protocol": b"\x80\x09K\x01.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"K\x01",
    "deep": b"]" * 100_000 + b"a" * 99_999 + b".",
    "not a pickle": b"hello world",
    "empty": b"",
    "truncated": pickle.dumps(list(range(1000)))[:-20],
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^batch_7: "):
        unpickle.load(REFUSED[name], name="batch_7")
    assert not list(tmp_path.iterdir())


def test_memory_is_not_reserved_by_numbers_in_the_file():
    tracemalloc.start()
    try:
        assert unpickle.load(b"K\x01r\xff\xff\xff\x7f.") == 1  # 2**31 as place in the memo
        for name in ("huge bytearray", "huge frame"):
            with pytest.raises(DataError):
                unpickle.load(REFUSED[name])
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_refusal_names_what_was_asked_for():
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.system; only arrays, bytes, text"):
        unpickle.load(REFUSED["os.system"])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_a_data_error_or_a_plain_value(data):
    raw = bytearray(py2_batch(np.arange(8, dtype=np.uint8).reshape(2, 4), [1, 2]))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = unpickle.load(bytes(raw))
    except DataError:
        return
    assert isinstance(value, (dict, list, tuple, bytes, str, int, float, np.ndarray, np.generic, type(None)))
