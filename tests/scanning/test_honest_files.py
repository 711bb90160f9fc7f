"""What PyTorch, NumPy and safetensors write is no finding."""

import argparse
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from steelyard.scanning import scan

pytestmark = pytest.mark.no_keras


def test_numpy_and_safetensors(tmp_path):
    array = np.arange(6, dtype="float16").reshape(2, 3)
    np.savez(tmp_path / "a.npz", a=array, b=np.array(["x", "y"]))
    np.savez_compressed(tmp_path / "b.npz", a=array)
    np.save(tmp_path / "c.npy", array.astype([("f", "<f4")]))
    save_file({"a.b": array}, tmp_path / "d.safetensors", metadata={"format": "pt"})
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps({"a": array, "b": [1, 2.5, "x", None, True, {3}]}, protocol=protocol)
        (tmp_path / f"{protocol}.pkl").write_bytes(data)
    found = scan(tmp_path)
    assert found.risks == ()
    assert set(found.files.values()) == {
        *("arrays of NumPy", "an array of NumPy", "safetensors", "a pickle")
    }


def test_of_a_packed_array_of_numbers_only_the_beginning_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", a=np.random.default_rng(0).random(1 << 20))
    monkeypatch.setattr("steelyard.scanning._archive._MOST_UNPACKED", 2 << 20)
    assert scan(tmp_path / "x.npz").risks == ()


def test_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch writes the files")
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 2), torch.nn.BatchNorm2d(3))
    model.append(torch.nn.Linear(3, 3, dtype=torch.bfloat16))
    state = model.state_dict()
    optimizer = torch.optim.Adam(model.parameters())
    torch.save(state, tmp_path / "a.pt")
    torch.save(state, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    told = {"model": state, "optimizer": optimizer.state_dict(), "args": argparse.Namespace(a=1)}
    torch.save(told, tmp_path / "c.pth")
    found = scan(tmp_path)
    assert found.risks == ()
    assert found.files["b.pt"] == "PyTorch, as before 1.6"
    torch.save(model, tmp_path / "a.pt")
    codes = {(risk.code, risk.severity) for risk in scan(tmp_path / "a.pt").risks}
    assert codes == {("pickle-global", "caution")}


def test_joblib_is_read_as_far_as_its_first_array(tmp_path):
    name = b"\x8c\x13joblib.numpy_pickle\x8c\x11NumpyArrayWrapper\x93"
    data = b"\x80\x04" + name + b")\x81}b\x03\xff\xff\xff"
    (tmp_path / "x.joblib").write_bytes(data)
    (risk,) = scan(tmp_path / "x.joblib").risks
    assert risk.code == "unreadable"
    assert risk.message.startswith("Joblib keeps arrays between the instructions")
