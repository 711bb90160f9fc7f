"""Files of all flat formats, cut off and with bits turned: an error of ours, or an array."""

import os
import struct
import time

import numpy as np
import pytest
from tests.checkpoints.zarrs import orbax
from tests.hostile.tables import HEADER, entry, table

from steelyard.checkpoints._crc32c import masked_crc32c
from steelyard.checkpoints._npz import open_npz
from steelyard.checkpoints._npz_out import write_npz
from steelyard.checkpoints._orbax import open_orbax
from steelyard.checkpoints._safetensors import open_safetensors
from steelyard.checkpoints._safetensors_index import open_safetensors_index
from steelyard.checkpoints._safetensors_out import write_safetensors
from steelyard.checkpoints._tensorflow import open_tensorflow
from steelyard.checkpoints._torch import open_torch
from steelyard.errors import CheckpointError

pytestmark = pytest.mark.no_keras

ARRAYS = {"a/kernel": np.arange(12, dtype="float32").reshape(3, 4), "a/bias": np.ones(4)}
ARRAYS_BY_DOTS = {name.replace("/", "."): array for name, array in ARRAYS.items()}
MUTANTS = 400


def safetensors(path):
    write_safetensors(path, ARRAYS, ARRAYS.values())


def npz(path):
    write_npz(path, ARRAYS, ARRAYS.values())


def packed_npz(path):
    with path.open("wb") as file:
        np.savez_compressed(file, **ARRAYS)


def npy(path):
    with path.open("wb") as file:
        np.save(file, ARRAYS["a/kernel"])


def torch(path):
    pytest.importorskip("torch", reason="PyTorch writes the file")
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in ARRAYS.items()}, path)


def index(path):
    safetensors(path.with_name("x.safetensors"))
    path.write_text('{"weight_map": {"a/kernel": "x.safetensors", "a/bias": "x.safetensors"}}')


def tensorflow(path):
    path.with_name("x.data-00000-of-00001").write_bytes(bytes(48))
    crc = masked_crc32c(bytes(24))
    rows = [(f"k{i}".encode(), entry((2, 3), size=24, crc=crc, offset=i)) for i in range(9)]
    path.write_bytes(table([HEADER, *rows]))


def plain_orbax(path):
    orbax(path.parent, ARRAYS_BY_DOTS)


def packed_orbax(path):
    orbax(path.parent, ARRAYS_BY_DOTS, packed=True, version=3)


def opened_above(path):
    return open_orbax(path.parent)


FORMATS = {
    "safetensors": (safetensors, open_safetensors),
    "safetensors.index.json": (index, open_safetensors_index),
    "npz": (npz, open_npz),
    "packed.npz": (packed_npz, open_npz),
    "npy": (npy, open_npz),
    "pt": (torch, open_torch),
    "index": (tensorflow, open_tensorflow),
    "_METADATA": (plain_orbax, opened_above),
    "manifest.ocdbt": (packed_orbax, opened_above),
}


@pytest.fixture(params=FORMATS)
def made(request, tmp_path):
    write, read = FORMATS[request.param]
    folder = request.param in ("_METADATA", "manifest.ocdbt")
    path = tmp_path / (request.param if folder else f"x.{request.param}")
    write(path)
    return path, read


def outcome(path, read):
    try:
        source = read(path)
        for spec in source.specs():
            array = source.read(spec.address)
            assert array.shape == spec.shape
            assert array.nbytes < 1 << 20
        source.close()
    except CheckpointError as error:
        assert str(path.parent) in str(error)
        assert len(str(error)) < len(str(path)) + 600
        return "refused"
    return "read"


def test_cut_off(made):
    path, read = made
    whole = path.read_bytes()
    for length in sorted({*range(0, len(whole), max(1, len(whole) // 150)), len(whole) - 1}):
        path.write_bytes(whole[:length])
        assert outcome(path, read) == "refused", length


def test_bits_turned(made):
    path, read = made
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    began = time.perf_counter()
    for _ in range(MUTANTS):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] ^= 1 << rng.integers(0, 8)
        path.write_bytes(data)
        outcomes.add(outcome(path, read))
    assert "refused" in outcomes
    assert time.perf_counter() - began < 60


def test_numbers_made_huge(made):
    """Every stretch of four and of eight bytes at the beginning and the end, all ones."""
    path, read = made
    whole = path.read_bytes()
    places = {*range(0, min(len(whole), 300), 3), *range(max(0, len(whole) - 300), len(whole), 3)}
    for at in sorted(places):
        for huge in (b"\xff" * 8, struct.pack("<Q", 2**62), b"\xff" * 4):
            path.write_bytes((whole[:at] + huge + whole[at + len(huge) :])[: len(whole)])
            outcome(path, read)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_what_is_no_file(made):
    path, read = made
    path.unlink()
    for make in (os.mkdir, os.mkfifo, lambda path: os.symlink("missing", path)):
        make(path)
        assert outcome(path, read) == "refused"
        path.rmdir() if path.is_dir() else path.unlink()
    assert outcome(path, read) == "refused"
    path.write_bytes(b"")
    assert outcome(path, read) == "refused"


def test_nothing_is_written(made, tmp_path):
    path, read = made
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert outcome(path, read) == "read"
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_change_while_it_is_read_is_told(made):
    path, read = made
    source = read(path)
    first = source.specs()[0].address
    values = path
    if path.name.endswith(".index.json"):
        values = path.with_name("x.safetensors")
    elif path.suffix == ".index":
        values = path.with_name("x.data-00000-of-00001")
    os.utime(values, ns=(1, 1))
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        source.read(first)
