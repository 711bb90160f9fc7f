"""Files that were made to hurt, or that broke: an error or an honest listing, in bounded time."""

import os
import random
import signal
import subprocess
import time
import zipfile

import h5py
import numpy as np
import pytest

from steelyard.checkpoints import _worker
from steelyard.checkpoints._keras_files import open_hdf5_checkpoint
from steelyard.errors import CheckpointError, LimitError

pytestmark = pytest.mark.no_keras


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.weights.h5"
    with h5py.File(path, "w") as file:
        for n in range(3):
            group = file.create_group(f"layers/dense_{n}/vars" if n else "layers/dense/vars")
            group.attrs["name"] = f"dense_{n + 7}"
            group["0"] = np.arange(12, dtype="float32").reshape(3, 4) + n
            group["1"] = np.zeros(4, "float32")
    return path


def _put(path, make):
    with h5py.File(path, "a") as file:
        make(file)
    return path


def _codes(source):
    return sorted({odd.code for odd in source.findings})


def test_the_good_one_is_read(good):
    source = open_hdf5_checkpoint(good)
    assert [s.address for s in source.specs()][:2] == ["dense_7/kernel", "dense_7/bias"]
    assert source.read("dense_9/kernel")[0, 1] == 3
    assert source.findings == ()


# --- Links and layouts ----------------------------------------------------------------------------


def test_links_are_reported_and_not_followed(good, tmp_path):
    def make(file):
        file["layers/dense/vars/2"] = h5py.SoftLink("/layers/dense_1/vars/0")
        file["layers/out"] = h5py.ExternalLink("/etc/passwd", "/")
        file["layers/dangling"] = h5py.SoftLink("/nowhere")

    source = open_hdf5_checkpoint(_put(good, make))
    assert _codes(source) == ["link"]
    assert len(source.findings) == 3
    assert len(source.specs()) == 6


def test_five_thousand_names_of_one_dataset_are_one_weight(good):
    def make(file):
        for n in range(5000):
            file[f"layers/dense/vars/{n + 2}"] = file["layers/dense/vars/0"]

    source = open_hdf5_checkpoint(_put(good, make))
    assert len(source.specs()) == 6
    assert len(source.findings) == 5000


def test_too_many_objects(good, monkeypatch):
    monkeypatch.setitem(_worker.LIMITS, "count", 5)
    with pytest.raises(LimitError, match="more than 5 objects"):
        open_hdf5_checkpoint(good)


# --- What is honest, and rare ---------------------------------------------------------------------


def test_chunked_compressed_and_odd_dtypes_are_read(good):
    values = np.random.default_rng(0).normal(size=(50, 40))

    def make(file):
        group = file.create_group("layers/mine/vars")
        group.attrs["name"] = "mine"
        group.create_dataset("0", data=values, chunks=(7, 9), compression="gzip")
        group.create_dataset("1", data=values.astype(">f4"))
        group.create_dataset("2", data=values.astype(">f8"), chunks=(50, 1), shuffle=True)
        group.create_dataset("3", data=np.float32(3.5))
        group.create_dataset("4", data=np.zeros((0, 4), "float32"))
        group.create_dataset("5", data=np.array([True, False]))
        group.create_dataset("6", (3,), "int64")
        group.create_dataset("7", data=values.astype("float16"))
        wide = group.create_dataset("8", data=np.array([0x3F80, 0xC000], "<u2").view("V2"))
        wide.attrs["dtype"] = "bfloat16"
        group.create_dataset("9", data=np.array([1.0, np.nan, np.inf, -0.0]))
        group["10"] = ["text"]

    source = open_hdf5_checkpoint(_put(good, make))
    read = {n: source.read(f"mine/vars/{n}") for n in range(10)}
    np.testing.assert_array_equal(read[0], values)
    np.testing.assert_array_equal(read[1], values.astype("float32"))
    assert read[1].dtype.isnative
    np.testing.assert_array_equal(read[2], values)
    assert (read[3].shape, read[4].shape) == ((), (0, 4))
    np.testing.assert_array_equal(read[5], [True, False])
    np.testing.assert_array_equal(read[6], [0, 0, 0])
    np.testing.assert_array_equal(read[7], values.astype("float16").astype("float32"))
    np.testing.assert_array_equal(read[8], np.array([1, -2], "float32"))
    np.testing.assert_array_equal(read[9], [1.0, np.nan, np.inf, -0.0])
    dtypes = {s.address: s.dtype for s in source.specs()}
    assert [dtypes[f"mine/vars/{n}"] for n in (2, 5, 8)] == ["float64", "bool", "bfloat16"]
    assert [odd.place for odd in source.findings] == ["layers/mine/vars/10"]
    source.close()


def test_narrow_floats_that_are_native_are_not_widened(good):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)

    def make(file):
        group = file.create_group("layers/mine/vars")
        space = h5py.h5s.create_simple((2,))
        data = h5py.h5d.create(group.id, b"0", kind, space)
        data.write(space, space, np.array([1.5, -2.0], "float32"))

    source = open_hdf5_checkpoint(_put(good, make))
    spec = next(s for s in source.specs() if s.address == "mine/vars/0")
    assert spec.dtype == "bfloat16"
    np.testing.assert_array_equal(source.read("mine/vars/0"), [1.5, -2.0])


# --- Damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_flipped_bits(good, seed):
    data = good.read_bytes()
    rng = random.Random(seed)
    started = time.monotonic()
    for _ in range(6):
        other = bytearray(data)
        for _ in range(rng.choice([1, 1, 4])):
            place = rng.randrange(len(other))
            other[place] ^= 1 << rng.randrange(8)
        good.write_bytes(other)
        try:
            source = open_hdf5_checkpoint(good, seconds=3)
            for spec in source.specs():
                assert source.read(spec.address).shape == spec.shape
            source.close()
        except CheckpointError:
            pass
    assert time.monotonic() - started < 6 * 3 + 10


def test_a_child_that_hangs_is_ended(good, monkeypatch):
    monkeypatch.setattr(_worker, "_START", "import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(LimitError, match=r"longer than the 0\.3 seconds"):
        open_hdf5_checkpoint(good, seconds=0.3)
    assert time.monotonic() - started < 5


def test_a_child_that_crashes_is_an_error(good, monkeypatch):
    crash = f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})"
    monkeypatch.setattr(_worker, "_START", crash)
    with pytest.raises(CheckpointError, match=r"break off .signal 11"):
        open_hdf5_checkpoint(good)


def test_a_child_that_wants_more_memory_than_allowed_does_not_get_it(good):
    with pytest.raises(CheckpointError):
        open_hdf5_checkpoint(good, memory=1 << 20)


def test_what_the_child_says_is_not_believed(good, monkeypatch):
    row = dict(path="layers/x/vars/0", shape=[4], dtype="float32", order="<", held=16)
    for wrong in (
        {"offset": 1 << 40, "declared": 16},
        {"offset": -8, "declared": 16},
        {"offset": 0, "declared": 8},
        {"offset": 0, "declared": 16, "shape": [-4]},
        {"offset": 0, "declared": 16, "dtype": "object"},
    ):
        listing = {"groups": {"": {}}, "tensors": [row | wrong], "odd": []}
        monkeypatch.setattr(_worker.Worker, "listing", lambda self, found=listing: found)
        with pytest.raises(CheckpointError):
            open_hdf5_checkpoint(good)


def test_no_child_is_left_over(good):
    source = open_hdf5_checkpoint(good)
    ours = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "_hdf5_child"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    assert ours.strip() == ""
    source.close()


# --- What is no checkpoint ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x89HDF",
        b"PK\x03\x04",
        b"{",
        b"[]",
        b"{}",
        b"\x89HDF\r\n\x1a\n",
        b"\x89HDF\r\n\x1a\n" + b"\xff" * 4096,
    ],
)
def test_other_content(tmp_path, content):
    (tmp_path / "x.keras").write_bytes(content)
    with pytest.raises(CheckpointError):
        open_hdf5_checkpoint(tmp_path / "x.keras")


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing", ""):
        with pytest.raises(CheckpointError):
            open_hdf5_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError):
        open_hdf5_checkpoint("/dev/null")


# --- The archive ----------------------------------------------------------------------------------


def _archive(path, good, config=b'{"class_name": "Sequential", "config": {}}', **more):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.write(good, "model.weights.h5")
        for name, data in more.items():
            archive.writestr(name, data)
    return path


def test_the_good_archive_is_read(good, tmp_path):
    source = open_hdf5_checkpoint(_archive(tmp_path / "x.keras", good))
    assert len(source.specs()) == 6
    assert source.findings == ()


@pytest.mark.parametrize(
    "config",
    [
        b"{",
        b"[" * 5000,
        b'{"a": "\xff"}',
        b"1" * 5000,
        b"null",
        b"[1]",
        b'{"class_name": 3}',
        b'{"class_name": "X"}',
        b'{"class_name": "Functional", "config": {"layers": [{}]}}',
        b'{"class_name": "Sequential", "config": {"layers": '
        b'[{"class_name": "Dense", "config": [], "module": 5}]}}',
    ],
)
def test_a_config_that_is_none(good, tmp_path, config):
    source = open_hdf5_checkpoint(_archive(tmp_path / "x.keras", good, config))
    assert len(source.specs()) == 6
    for spec in source.specs():
        source.read(spec.address)


def test_a_closed_source_says_so(good):
    source = open_hdf5_checkpoint(good)
    source.close()
    with pytest.raises(CheckpointError, match="closed"):
        source.read("dense_7/kernel")
