"""safetensors, NumPy and PyTorch files: what was written is what is read."""

import os

import ml_dtypes
import numpy as np
import pytest

import steelyard as sy
from steelyard.checkpoints import write_npz, write_safetensors
from steelyard.errors import CheckpointError

pytestmark = pytest.mark.no_keras

RNG = np.random.default_rng(0)
ARRAYS = {
    "encoder/kernel": RNG.normal(size=(7, 5)).astype("float32"),
    "encoder/bias": RNG.normal(size=5).astype("float16"),
    "head/kernel": RNG.normal(size=(5, 2)),
    "steps": np.array(3, "int64"),
}


def same(path, wanted):
    there = sy.weights(str(path))
    assert set(there.addresses) == set(wanted)
    for address, array in wanted.items():
        (stored,) = there[address].stored().values()
        assert stored.dtype == array.dtype
        np.testing.assert_array_equal(stored, array)
        np.testing.assert_array_equal(there[address].numpy(), array.astype(stored.dtype))


def test_safetensors(tmp_path):
    arrays = {**ARRAYS, "narrow": RNG.normal(size=(3, 3)).astype(ml_dtypes.bfloat16)}
    write_safetensors(tmp_path / "w.safetensors", arrays, arrays.values())
    same(tmp_path / "w.safetensors", arrays)


@pytest.mark.parametrize("save", ["ours", np.savez, np.savez_compressed])
def test_npz(save, tmp_path):
    path = tmp_path / "w.npz"
    if save == "ours":
        write_npz(path, ARRAYS, ARRAYS.values())
    else:
        save(path, **ARRAYS)
    same(path, ARRAYS)


def test_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch writes the file")
    arrays = {"encoder.weight": ARRAYS["encoder/kernel"], "encoder.bias": ARRAYS["encoder/bias"]}
    torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, tmp_path / "w.pt")
    same(tmp_path / "w.pt", {k.replace(".", "/"): v for k, v in arrays.items()})


def test_a_pickle_is_not_run(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch writes the file")

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"a": Bomb()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="mkdir"):
        sy.weights(str(tmp_path / "w.pt"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
def test_cut_off(ending, share, tmp_path):
    path = tmp_path / f"w{ending}"
    (write_npz if ending == ".npz" else write_safetensors)(path, ARRAYS, ARRAYS.values())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError):
        for weight in sy.weights(str(path)):
            weight.numpy()


def test_python_objects_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([{}], dtype=object))
    with pytest.raises(sy.SteelyardError):
        sy.weights(str(tmp_path / "w.npz"))["a"].numpy()
