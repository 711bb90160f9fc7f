"""`sy.convert` to what Keras loads: another process gets the very same model."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
from tests.converting.trained import KINDS, outputs, trained

import steelyard as sy
from steelyard.errors import AddressError, CheckpointError, ShapeMismatchError, SteelyardError

ROOT = Path(__file__).parent.parent.parent
# A file of weights has no config, and these need one to be built as they are.
PLAIN = [kind for kind in KINDS if kind not in ("quantized", "lora", "parametrized")]


def halved(weight, array):
    return array.astype("float16") if array.dtype == "float32" else array


def zeroed(weight, array):
    array[0] = 0
    return array


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trained models as Keras saves them, what was made of them, and what a process loads."""
    folder = tmp_path_factory.mktemp("converted")
    (folder / "loaded").mkdir()
    for kind in KINDS:
        keras.utils.set_random_seed(1)
        model = trained(kind)
        model.save(folder / f"{kind}.keras")
        shutil.copy(folder / f"{kind}.keras", folder / "loaded" / f"{kind}-saved.keras")
        _convert(folder, kind)
    for kind in PLAIN:
        sy.convert(folder / f"{kind}.keras", folder / "loaded" / f"{kind}.weights.h5")
    source, loaded = folder / "composite.keras", folder / "loaded"
    sy.convert(source, loaded / "halved.keras", map=halved)
    sy.convert(source, loaded / "zeroed.keras", select="inner/**/kernel", map=zeroed)
    sy.convert(source, loaded / "bare.keras", rename={"optimizer": None})
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    told = {"KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-m", "tests.converting.loader", str(loaded)],
        cwd=ROOT,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _convert(folder, kind):
    source, loaded = folder / f"{kind}.keras", folder / "loaded"
    sy.convert(source, loaded / f"{kind}.keras")
    sy.convert(source, folder / f"{kind}.safetensors")
    sy.convert(folder / f"{kind}.safetensors", folder / f"{kind}-again.keras")


def loaded(folder, name):
    with np.load(folder / "loaded" / f"{name}.npz") as file:
        return dict(file)


def saved(folder, kind):
    return loaded(folder, f"{kind}-saved")


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_loads_the_same_model(folder, kind):
    """Weights below composite layers, bfloat16, optimizer and loss: all that a file can carry."""
    found = loaded(folder, kind)
    wanted = saved(folder, kind)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("kind", PLAIN)
def test_a_file_of_weights_is_loaded_into_a_model(folder, kind):
    found = loaded(folder, f"{kind}.weights")
    np.testing.assert_array_equal(found["outputs"], saved(folder, kind)["outputs"])


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def objects(path, folder):
    """Everything in the HDF5 of a `.keras`: groups, datasets bit for bit, attributes."""
    inside = folder / f"{path.stem}.h5"
    inside.write_bytes(members(path)["model.weights.h5"])
    found = {}

    def visit(name, thing):
        attributes = {key: str(value) for key, value in thing.attrs.items()}
        is_group = isinstance(thing, h5py.Group)
        held = None if is_group else (thing.shape, str(thing.dtype), np.array(thing).tobytes())
        found[name] = (held, attributes)

    with h5py.File(inside) as file:
        visit("", file)
        file.visititems(visit)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_all_but_the_bytes_of_the_zip_is_the_same(folder, kind, tmp_path):
    source, out = folder / f"{kind}.keras", folder / "loaded" / f"{kind}.keras"
    before, after = members(source), members(out)
    assert list(after) == list(before)
    for part in ("config.json", "metadata.json"):
        assert after[part] == before[part]
    assert objects(out, tmp_path) == objects(source, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_by_way_of_safetensors_it_is_the_same_file(folder, kind):
    straight = folder / "loaded" / f"{kind}.keras"
    assert (folder / f"{kind}-again.keras").read_bytes() == straight.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_safetensors_of_a_keras_file_is_that_file(folder, kind):
    source = sy.weights(folder / f"{kind}.keras")
    found = sy.weights(folder / f"{kind}.safetensors")
    assert found.specs == source.specs
    for weight in source:
        for name, array in weight.stored().items():
            got = found[weight.address].stored()[name]
            assert (got.dtype, got.tobytes()) == (array.dtype, array.tobytes())
    changes = sy.diff(source.select("head/**"), found.select("head/**"))
    assert changes.identical


def test_only_what_is_selected_is_mapped(folder):
    found, wanted = loaded(folder, "zeroed"), saved(folder, "composite")
    changed = [n for n in wanted if not np.array_equal(found[n], wanted[n])]
    assert len(changed) == 2
    assert "outputs" in changed
    (kernel,) = (found[name] for name in changed if name != "outputs")
    assert kernel.shape[1] == 8
    assert not kernel[0].any()
    assert kernel[1:].all()


def test_half_precision(folder):
    found, wanted = loaded(folder, "halved"), saved(folder, "composite")
    np.testing.assert_allclose(found["outputs"], wanted["outputs"], atol=0.05)
    for name, array in wanted.items():
        if name.startswith("variable/") and array.dtype == "float32":
            np.testing.assert_array_equal(found[name], array.astype("float16").astype("float32"))
    weights = sy.weights(folder / "loaded" / "halved.keras")
    assert {weight.dtype for weight in weights} == {"float16", "bfloat16"}


def test_without_the_optimizer(folder):
    found, wanted = loaded(folder, "bare"), saved(folder, "composite")
    np.testing.assert_array_equal(found["outputs"], wanted["outputs"])
    assert found["loss"] == wanted["loss"]
    size = (folder / "loaded" / "bare.keras").stat().st_size
    assert size < 0.8 * (folder / "composite.keras").stat().st_size


def test_codes_stay_codes(folder, tmp_path):
    source = folder / "quantized.keras"
    halves = lambda weight, array: array / 2  # noqa: E731
    with pytest.raises(SteelyardError, match=r"'wide/kernel' is stored in parts \(kernel, kernel_"):
        sy.convert(source, tmp_path / "x.keras", map=halves)
    with pytest.raises(ValueError, match="read-only"):
        sy.convert(source, tmp_path / "x.keras", map=zeroed)
    assert os.listdir(tmp_path) == []
    sy.convert(source, tmp_path / "x.keras", select="**/bias", map=lambda weight, array: array + 1)
    before, after = sy.weights(source), sy.weights(tmp_path / "x.keras")
    assert after["wide/kernel"].dtype == "int8"
    np.testing.assert_array_equal(before["wide/kernel"].numpy(), after["wide/kernel"].numpy())
    np.testing.assert_array_equal(before["wide/bias"].numpy() + 1, after["wide/bias"].numpy())


def test_by_address_codes_become_values(folder, tmp_path):
    """Who reads them by name does not know that they are codes."""
    wanted = sy.weights(folder / "quantized.keras")["wide/kernel"].numpy()
    for out in ("x.npz", "x.safetensors"):
        sy.convert(folder / "quantized.keras", tmp_path / out, rename={"head": "top"})
        np.testing.assert_array_equal(sy.weights(tmp_path / out)["wide/kernel"].numpy(), wanted)
    assert "top/bias" in sy.weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("out", "told", "error", "says"),
    [
        ("x.keras", {"select": "head/**"}, SteelyardError, r"chooses 2 of its \d+ weights"),
        ("x.keras", {"rename": {"head": "top"}}, AddressError, "leave the optimizer out"),
        ("x.keras", {"rename": {"optimizer/vars/1": None}}, AddressError, "leave the optimizer"),
        ("x.keras", {"rename": {"optimizer": "o"}}, AddressError, "leave the optimizer out"),
        ("x.keras", {"map": lambda w, a: a.reshape(-1)[:1]}, ShapeMismatchError, "which has"),
        ("x.keras", {"map": lambda w, a: a.astype("float8_e4m3fn")}, CheckpointError, "no float8"),
        ("x.weights.h5", {"map": lambda w, a: a.astype(object)}, CheckpointError, "no object"),
        ("x.keras", {"map": lambda w, a: a.tolist()}, SteelyardError, "it gave a list"),
        ("x.keras", {"map": lambda w, a: 1 / 0}, ZeroDivisionError, ""),
    ],
)
def test_wrong_use_leaves_nothing(folder, tmp_path, out, told, error, says):
    assert ml_dtypes  # its dtypes have names once it is there
    with pytest.raises(error, match=says):
        sy.convert(folder / "composite.keras", tmp_path / out, **told)
    assert os.listdir(tmp_path) == []


def test_some_weights_of_a_keras_file_are_a_model_no_more(folder, tmp_path):
    some = tmp_path / "some.safetensors"
    sy.convert(folder / "quantized.keras", some, select="wide/kernel")
    wanted = sy.weights(folder / "quantized.keras")["wide/kernel"].numpy()
    np.testing.assert_array_equal(sy.weights(some)["wide/kernel"].numpy(), wanted)
    with pytest.raises(CheckpointError, match=r"sy.copy_weights\(source, model\)"):
        sy.convert(some, tmp_path / "some.keras")


def test_a_live_model(tmp_path):
    model = trained("lora")
    with pytest.raises(SteelyardError, match=r"sy.save_model\(model, 'model.keras'\)"):
        sy.convert(model, tmp_path / "x.keras")
    with pytest.raises(SteelyardError, match="convert that file"):
        sy.convert(model, tmp_path / "x.weights.h5", map=halved)
    assert os.listdir(tmp_path) == []
    sy.convert(model, tmp_path / "x.weights.h5")
    assert os.listdir(tmp_path) == ["x.weights.h5"]
    wanted = outputs(model)
    other = trained("lora")
    other.load_weights(tmp_path / "x.weights.h5")
    np.testing.assert_allclose(outputs(other), wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(CheckpointError, match="is there already"):
        sy.convert(model, tmp_path / "x.weights.h5")


def test_shards_become_one_file(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8)), keras.layers.Flatten(), *(keras.layers.Dense(64) for _ in range(5))]
    )
    model.save_weights(tmp_path / "x.weights.json", max_shard_size=2e-5)
    assert len(list(tmp_path.glob("*.h5"))) > 1
    sy.convert(tmp_path / "x.weights.json", tmp_path / "one.weights.h5")
    wanted = outputs(model)
    model.set_weights([np.zeros(weight.shape) for weight in model.weights])
    model.load_weights(tmp_path / "one.weights.h5")
    np.testing.assert_array_equal(outputs(model), wanted)


def test_a_legacy_file_is_told_where_to_go(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.save(tmp_path / "x.h5")
    with pytest.raises(CheckpointError, match=r"legacy .h5.*load_model, and save the model"):
        sy.convert(tmp_path / "x.h5", tmp_path / "x.weights.h5")
    sy.convert(tmp_path / "x.h5", tmp_path / "x.safetensors")
    assert sy.diff(model, sy.weights(tmp_path / "x.safetensors")).identical


def test_what_a_layer_keeps_in_files_of_its_own(tmp_path):
    """The vocabulary of a lookup is beside the weights."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("keras.layers.StringLookup keeps its table in TensorFlow")
    words = keras.layers.StringLookup()
    words.adapt(["a", "b", "a"])
    model = keras.Sequential([keras.Input((2,), dtype="string"), words])
    model.save(tmp_path / "x.keras")
    names = zipfile.ZipFile(tmp_path / "x.keras").namelist()
    assert any(name.startswith("assets/") for name in names)
    sy.convert(tmp_path / "x.keras", tmp_path / "x.safetensors")
    sy.convert(tmp_path / "x.safetensors", tmp_path / "y.keras")
    assert members(tmp_path / "y.keras").keys() == members(tmp_path / "x.keras").keys()
    found = keras.models.load_model(tmp_path / "y.keras")
    assert found.layers[0].get_vocabulary() == words.get_vocabulary()
    assert json.loads(members(tmp_path / "y.keras")["config.json"])
