"""A weight of a file in slices is the weight, and no more of it is read at a time."""

import h5py
import ml_dtypes
import numpy as np
import pytest

import steelyard as sy
from steelyard.checkpoints import _bytes
from steelyard.source import BlockSource

pytestmark = pytest.mark.no_keras

W = np.random.default_rng(0).normal(size=(103, 8, 6)).astype("float32")


def safetensors(folder, array):
    library = pytest.importorskip("safetensors.numpy", reason="writes the file")
    library.save_file({"before": np.ones(3, "float32"), "w": array}, folder / "x.safetensors")
    return folder / "x.safetensors"


def npy(folder, array):
    np.save(folder / "x.npy", array)
    return folder / "x.npy"


def npz(folder, array):
    np.savez(folder / "x.npz", before=np.ones(3), w=array)
    return folder / "x.npz"


def hdf5(folder, array, **told):
    path = folder / "x.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=array, **told)
    return path


def packed_hdf5(folder, array):
    return hdf5(folder, array, chunks=(10, 8, 6), compression="gzip")


def last(path):
    return [*sy.weights(path)][-1]


@pytest.mark.parametrize("write", [safetensors, npy, npz, hdf5, packed_hdf5])
@pytest.mark.parametrize("rows", [1, 10, 103, 500])
def test_slices_are_the_weight(write, rows, tmp_path):
    weight = last(write(tmp_path, W))
    assert isinstance(weight.source, BlockSource)
    for _ in range(2):
        blocks = [*weight.source.blocks(weight.address, rows)]
        assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
        np.testing.assert_array_equal(np.concatenate(blocks), W)
        assert blocks[0].dtype == "float32"


@pytest.mark.parametrize("write", [safetensors, npy, npz, hdf5])
def test_no_more_than_a_slice_is_read(write, tmp_path, monkeypatch):
    weight = last(write(tmp_path, W))
    counts = []
    real = _bytes.Bytes.into
    monkeypatch.setattr(
        _bytes.Bytes,
        "into",
        lambda file, at, target: (counts.append(memoryview(target).nbytes), real(file, at, target)),
    )
    for _ in weight.source.blocks(weight.address, 10):
        pass
    assert max(counts) == 10 * 8 * 6 * 4


def test_what_is_stored_narrow_is_widened(tmp_path):
    narrow = W.astype(ml_dtypes.bfloat16)
    np.savez(tmp_path / "x.npz", w=W.astype("float16"))
    weight = last(tmp_path / "x.npz")
    (block,) = weight.source.blocks("w", 200)
    np.testing.assert_array_equal(block, W.astype("float16").astype("float32"))
    library = pytest.importorskip("safetensors.numpy", reason="writes the file")
    library.save_file({"w": narrow}, tmp_path / "x.safetensors")
    (block,) = last(tmp_path / "x.safetensors").source.blocks("w", 200)
    np.testing.assert_array_equal(block, narrow.astype("float32"))


def test_what_does_not_lie_row_by_row_is_read_whole(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(W))
    np.savez_compressed(tmp_path / "x.npz", w=W)
    np.save(tmp_path / "scalar.npy", np.float32(1))
    for name in ("f.npy", "x.npz", "scalar.npy"):
        weight = last(tmp_path / name)
        assert weight.source.blocks(weight.address, 10) is None


def test_a_file_larger_than_the_budget_is_measured(tmp_path):
    array = np.random.default_rng(1).normal(size=(3000, 40)).astype("float32")
    for write in (safetensors, npz, hdf5):
        path = write(tmp_path, array)
        address = last(path).address
        whole = sy.measure(path, "all", select=address)
        parts = sy.measure(path, "all", select=address, max_memory="200 KB")
        left = {r.metric for r in parts if r.status == "too large"}
        assert left == {r.metric for r in whole if r.metric.startswith(("rand_", "duplicate"))}
        for reading in parts:
            other = whole[address, reading.metric]
            if reading.metric not in left and not isinstance(other.value, str | None):
                assert reading.value == pytest.approx(other.value, rel=1e-5, abs=1e-6)
