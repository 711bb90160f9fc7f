"""Safetensors, and a Keras file in them: what is written comes back bit for bit."""

import json
import math

import h5py
import ml_dtypes
import numpy as np
import pytest
from tests.checkpoints.test_keras_out import tree_at, write_keras

import steelyard as sy
from steelyard.checkpoints import is_keras_file, write_safetensors
from steelyard.checkpoints._safetensors import open_safetensors
from steelyard.errors import CheckpointError

pytestmark = pytest.mark.no_keras

DTYPES = ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]
DTYPES += ["float16", "bfloat16", "float32", "float64", "complex64", "float8_e8m0fnu"]
DTYPES += ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (2, 3, 5), (1,) * 9]


def noise(rng, dtype, shape):
    """Any bits: NaN with a payload, the infinities and denormals are among them."""
    kind = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    bits = rng.integers(0, 2 if dtype == "bool" else 256, math.prod(shape) * kind.itemsize, "uint8")
    return bits.view(kind).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_safetensors_keep_every_bit(dtype, tmp_path):
    rng = np.random.default_rng(DTYPES.index(dtype))
    arrays = {f"of/{number}": noise(rng, dtype, shape) for number, shape in enumerate(SHAPES)}
    write_safetensors(tmp_path / "x.safetensors", arrays, arrays.values())
    sy.convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    found = sy.weights(tmp_path / "y.safetensors")
    assert found.addresses == tuple(arrays)
    for address, array in arrays.items():
        (got,) = found[address].stored().values()
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert got.tobytes() == array.tobytes()
    again = (tmp_path / "y.safetensors").read_bytes()
    assert again == (tmp_path / "x.safetensors").read_bytes()


def test_the_library_reads_it(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    sy.convert(write_keras(tmp_path / "x.keras"), tmp_path / "y.safetensors", select="a/**")
    sy.convert(tmp_path / "x.keras", tmp_path / "z.safetensors")
    found = numpy.load_file(tmp_path / "y.safetensors")
    assert sorted(found) == ["a/bias", "a/kernel"]
    with pytest.importorskip("safetensors").safe_open(tmp_path / "z.safetensors", "np") as file:
        assert {"a/kernel", "b/bias", "optimizer/vars/0"} <= set(file.keys())
        assert json.loads(file.metadata()["steelyard"])["version"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_keras_file_of_any_bits(tmp_path, seed):
    """HDF5 to safetensors and back: NaN, 0-d and empty arrays, and names that need escapes."""
    rng = np.random.default_rng(seed)
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        for number, dtype in enumerate(d for d in DTYPES if "float8" not in d):
            group = file.create_group(f"layers/own_{number}/vars")
            group.attrs["name"] = f'"ö"\\{number}'
            for key, shape in enumerate(SHAPES):
                data = group.create_dataset(str(key), data=noise(rng, dtype, shape))
                if dtype == "bfloat16":
                    data.attrs["dtype"] = dtype
    sy.convert(tmp_path / "x.weights.h5", tmp_path / "x.safetensors")
    sy.convert(tmp_path / "x.safetensors", tmp_path / "y.weights.h5")
    assert tree_at(tmp_path / "y.weights.h5") == tree_at(tmp_path / "x.weights.h5")


# --- a text that does not fit, or is an attack ----------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A Keras file, and safetensors made of it."""
    folder = tmp_path_factory.mktemp("kept")
    sy.convert(write_keras(folder / "x.keras"), folder / "x.safetensors")
    return folder / "x.safetensors"


def rewritten(path, folder, change, also=()):
    """The same file, where what the header says of Keras is changed, and arrays are added."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    told = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["steelyard"])
    source = open_safetensors(path)
    arrays = {name: source.raw(place) for name, place in told["weights"].items()} | dict(also)
    out = folder / "changed.safetensors"
    text = change(told)
    text = text if isinstance(text, str) else json.dumps(told)
    write_safetensors(out, arrays, arrays.values(), {"steelyard": text})
    return out


def _set(*keys, value):
    def change(told):
        for key in keys[:-1]:
            told = told[key]
        told[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda told: "no json",
        lambda told: "[" * 5000,
        lambda told: "{}",
        lambda told: "[]",
        lambda told: told["weights"].popitem() and None,
        _set("version", value=2),
        _set("weights", value=[]),
        _set("weights", "a/kernel", value=3),
        _set("weights", "a/kernel", value="layers/dense/vars/1"),
        _set("weights", "a/kernel", value="../x"),
        _set("weights", "a/kernel", value="a//b"),
        _set("weights", "a/kernel", value="x/" * 5000 + "x"),
        _set("weights", "more", value="layers/more"),
        _set("groups", "x", value=3),
        _set("groups", "/".join("x" * 5000), value=None),
        _set("files", "a/kernel", value="assets/x"),
        _set("texts", "../evil", value="x"),
        _set("texts", "config.json", value="["),
        _set("texts", "config.json", value=3),
    ],
)
def test_a_text_that_does_not_fit_is_none(kept, tmp_path, change):
    out = rewritten(kept, tmp_path, change)
    found = sy.weights(out)
    assert not is_keras_file(found.source)
    assert {"a/kernel", "b/kernel", "optimizer/vars/0"} <= set(found.addresses)
    with pytest.raises(CheckpointError, match="Build the model"):
        sy.convert(out, tmp_path / "y.keras")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "model.weights.h5", "C:x"])
def test_a_name_that_leads_out_is_never_written(kept, tmp_path, name):
    also = {"evil": np.zeros(3, "uint8")}
    out = rewritten(kept, tmp_path, _set("files", "evil", value=name), also)
    with pytest.raises(CheckpointError, match="Build the model"):
        sy.convert(out, tmp_path / "y.keras")


def test_one_that_fits_is_the_file(kept, tmp_path):
    out = rewritten(kept, tmp_path, lambda told: None)
    assert is_keras_file(sy.weights(out).source)
    sy.convert(out, tmp_path / "y.keras")
    assert tree_at(tmp_path / "y.keras") == tree_at(kept.with_name("x.keras"))


def test_two_things_at_one_place(kept, tmp_path):
    change = _set("groups", "layers/dense/vars/0", value="a group where an array is")
    out = rewritten(kept, tmp_path, change)
    with pytest.raises(CheckpointError, match="HDF5 cannot hold this"):
        sy.convert(out, tmp_path / "y.keras")
    assert not (tmp_path / "y.keras").exists()
