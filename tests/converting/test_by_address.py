"""`sy.convert`: a new file with the weights of a model, which others read."""

import os

import keras
import ml_dtypes
import numpy as np
import pytest

import steelyard as sy
from steelyard.errors import AddressError, CheckpointError


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")]
    )


def header(path):
    import json

    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def read(path, name):
    entries, data = header(path)
    begin, end = entries[name]["data_offsets"]
    dtype = {"F32": "float32", "BF16": ml_dtypes.bfloat16, "F16": "float16"}[entries[name]["dtype"]]
    return np.frombuffer(data[begin:end], dtype).reshape(entries[name]["shape"])


def test_to_npz(model, tmp_path):
    sy.convert(model, tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as file:
        assert sorted(file.files) == sorted(sy.weights(model).addresses)
        for weight in sy.weights(model):
            np.testing.assert_array_equal(file[weight.address], weight.numpy())


def test_to_safetensors(model, tmp_path):
    path = tmp_path / "w.safetensors"
    sy.convert(model, path)
    entries, data = header(path)
    assert list(entries) == list(sy.weights(model).addresses)
    assert len(data) == sum(weight.nbytes for weight in sy.weights(model))
    for weight in sy.weights(model):
        np.testing.assert_array_equal(read(path, weight.address), weight.numpy())


def test_narrow_floats_are_kept_bit_for_bit(tmp_path):
    layer = keras.layers.Dense(3, dtype="bfloat16", name="dense")
    layer.build((None, 4))
    sy.convert(layer, tmp_path / "w.safetensors")
    got = read(tmp_path / "w.safetensors", "kernel")
    assert got.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(got.astype("float32"), sy.weights(layer)["kernel"].numpy())
    with pytest.raises(CheckpointError, match=r"npz keeps no bfloat16.*map="):
        sy.convert(layer, tmp_path / "w.npz")
    assert os.listdir(tmp_path) == ["w.safetensors"]


def test_what_is_in_parts_becomes_one(tmp_path, model):
    model.get_layer("a").enable_lora(2)
    factor = model.get_layer("a").lora_kernel_b
    factor.assign(np.ones(factor.shape))
    wanted = sy.weights(model)["a/kernel"].numpy()
    sy.convert(model, tmp_path / "w.npz", select="a/kernel")
    with np.load(tmp_path / "w.npz") as file:
        np.testing.assert_array_equal(file["a/kernel"], wanted)


def test_select_map_and_rename(model, tmp_path):
    sy.convert(
        model,
        tmp_path / "w.safetensors",
        select="**/kernel",
        map=lambda weight, array: (array * 2).astype("float16"),
        rename={"a": "first", "b": None},
    )
    entries, _ = header(tmp_path / "w.safetensors")
    assert list(entries) == ["first/kernel"]
    wanted = (sy.weights(model)["a/kernel"].numpy() * 2).astype("float16")
    np.testing.assert_array_equal(read(tmp_path / "w.safetensors", "first/kernel"), wanted)


@pytest.mark.parametrize(
    ("told", "error", "says"),
    [
        ({"rename": {"a": "c", "b": "c"}}, AddressError, "would both be called"),
        ({"map": lambda weight, array: 3}, sy.SteelyardError, "it gave a int"),
        ({"select": "nowhere"}, sy.errors.UnknownAddressError, "nowhere"),
    ],
)
def test_wrong_use_leaves_nothing(model, tmp_path, told, error, says):
    with pytest.raises(error, match=says):
        sy.convert(model, tmp_path / "w.safetensors", **told)
    assert os.listdir(tmp_path) == []


def test_an_unknown_ending(model, tmp_path):
    with pytest.raises(CheckpointError, match=r"one of .safetensors, .npz"):
        sy.convert(model, tmp_path / "w.docx")
