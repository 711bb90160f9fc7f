"""A Keras file written again, without Keras: streamed, whole or not at all, and nothing lost."""

import io
import json
import os
import weakref
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest

import steelyard as sy
from steelyard.errors import CheckpointError, SteelyardError

pytestmark = pytest.mark.no_keras

DENSE = {"class_name": "Dense", "module": "keras.layers", "registered_name": None}
CONFIG = {
    "class_name": "Sequential",
    "module": "keras",
    "config": {"layers": [{**DENSE, "config": {"name": n, "units": 3}} for n in ("a", "b")]},
    "compile_config": {"loss": "mse"},
}
KERNEL = np.arange(12, dtype="float32").reshape(4, 3)
BF16 = KERNEL.astype(ml_dtypes.bfloat16)


def fill(file):
    """What Keras writes of a model of two layers and an optimizer."""
    for key, name, kernel in (("dense", "a", KERNEL), ("dense_1", "b", BF16)):
        group = file.create_group(f"layers/{key}/vars")
        group.attrs["name"] = name
        group.create_dataset("0", data=kernel)
        group.create_dataset("1", data=np.zeros(3, "float32"))
    file["layers/dense_1/vars/0"].attrs["dtype"] = "bfloat16"
    group = file.create_group("optimizer/vars")
    group.attrs["name"] = "adam"
    group.create_dataset("0", data=np.int64(7))
    group.create_dataset("1", data=np.zeros((0, 3), "float32"))
    file.create_group("vars").attrs["name"] = "sequential"


@pytest.fixture
def weights_h5(tmp_path):
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    return path


@pytest.fixture
def keras_file(tmp_path):
    return write_keras(tmp_path / "x.keras")


def write_keras(path, config=CONFIG, how=zipfile.ZIP_STORED, **others):
    inside = io.BytesIO()
    with h5py.File(inside, "w") as file:
        fill(file)
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1", "date_saved": "today"}')
        archive.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        archive.writestr("model.weights.h5", inside.getvalue())
        for name, data in others.items():
            archive.writestr(name.replace("__", "/"), data)
    return path


def tree(file):
    """Groups, datasets bit for bit, attributes."""
    found = {}

    def visit(name, thing):
        held = None
        if isinstance(thing, h5py.Dataset):
            held = thing.shape, str(thing.dtype), np.array(thing).tobytes()
        found[name] = held, {key: str(value) for key, value in thing.attrs.items()}

    file.visititems(visit)
    return found


def tree_at(path):
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return tree(file)
    with zipfile.ZipFile(path) as archive, h5py.File(archive.open("model.weights.h5")) as file:
        return tree(file)


def left_of(folder):
    return sorted(os.listdir(folder))


# --- what is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_all_of_it_is_there_again(tmp_path, how):
    extra = {"assets__layers__words__vocabulary.txt": bytes(range(256)) * 9000}
    source = write_keras(tmp_path / "x.keras", how=how, **extra)
    sy.convert(source, tmp_path / "s.safetensors")
    for path, origin in (("y.keras", source), ("z.keras", tmp_path / "s.safetensors")):
        sy.convert(origin, tmp_path / path)
        assert tree_at(tmp_path / path) == tree_at(source)
        with zipfile.ZipFile(source) as before, zipfile.ZipFile(tmp_path / path) as after:
            assert after.testzip() is None
            assert after.namelist() == before.namelist()
            for name in set(before.namelist()) - {"model.weights.h5"}:
                assert after.read(name) == before.read(name)
    assert (tmp_path / "y.keras").read_bytes() == (tmp_path / "z.keras").read_bytes()


@pytest.mark.parametrize("by", ["", ".safetensors"])
def test_a_file_of_weights(weights_h5, tmp_path, by):
    source = weights_h5
    if by:
        sy.convert(source, tmp_path / "x.safetensors")
        source = tmp_path / "x.safetensors"
    sy.convert(source, tmp_path / "y.weights.h5")
    assert tree_at(tmp_path / "y.weights.h5") == tree_at(weights_h5)
    with pytest.raises(CheckpointError, match=r"has the config of its model, and the source has"):
        sy.convert(source, tmp_path / "y.keras")


def test_a_zip_is_no_hdf5_where_one_could_begin(tmp_path):
    """HDF5 may begin at byte 512 of a file, and so may a member of a zip."""
    config = json.dumps(CONFIG).encode()
    path = write_keras(tmp_path / "x.keras", config)
    at = path.read_bytes().index(b"\x89HDF")
    begin = 512 if at <= 512 else 1024
    write_keras(path, config + b" " * (begin - at))
    assert path.read_bytes().index(b"\x89HDF") == begin
    assert "a/kernel" in sy.weights(path)


def test_a_file_becomes_a_file_of_weights(keras_file, tmp_path):
    sy.convert(keras_file, tmp_path / "y.weights.h5")
    assert tree_at(tmp_path / "y.weights.h5") == tree_at(keras_file)


def test_an_unzipped_file(keras_file, tmp_path):
    folder = tmp_path / "folder"
    zipfile.ZipFile(keras_file).extractall(folder)
    sy.convert(folder, tmp_path / "y.keras")
    assert tree_at(tmp_path / "y.keras") == tree_at(keras_file)
    (folder / "assets").mkdir()
    with pytest.raises(CheckpointError, match="other files too"):
        sy.convert(folder, tmp_path / "z.keras")


def test_chunks_and_big_endian_numbers(tmp_path):
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "a"
        group.create_dataset("0", data=KERNEL, chunks=(2, 3), compression="gzip")
        group.create_dataset("1", data=np.arange(3, dtype=">f4"))
    sy.convert(tmp_path / "x.weights.h5", tmp_path / "y.weights.h5")
    with h5py.File(tmp_path / "y.weights.h5") as file:
        np.testing.assert_array_equal(file["layers/dense/vars/0"], KERNEL)
        np.testing.assert_array_equal(file["layers/dense/vars/1"], np.arange(3))


def test_without_the_optimizer(keras_file, tmp_path):
    sy.convert(keras_file, tmp_path / "y.keras", rename={"optimizer": None})
    wanted = {k: v for k, v in tree_at(keras_file).items() if not k.startswith("optimizer")}
    assert tree_at(tmp_path / "y.keras") == wanted
    sy.convert(tmp_path / "y.keras", tmp_path / "z.keras", rename={"optimizer": None})
    assert tree_at(tmp_path / "z.keras") == wanted
    sy.convert(keras_file, tmp_path / "s.safetensors", rename={"optimizer": None})
    sy.convert(tmp_path / "s.safetensors", tmp_path / "w.keras")
    assert tree_at(tmp_path / "w.keras") == wanted


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_another_dtype(keras_file, tmp_path, dtype):
    sy.convert(keras_file, tmp_path / "y.keras", map=lambda w, a: a.astype(dtype))
    kernel = sy.weights(tmp_path / "y.keras")["a/kernel"]
    assert kernel.dtype == dtype
    np.testing.assert_array_equal(kernel.numpy(), KERNEL)


def test_one_array_at_a_time(keras_file, tmp_path):
    alive = []

    def watched(weight, array):
        assert not any(one() is not None for one in alive)
        array = array.astype("float16")
        alive.append(weakref.ref(array))
        return array

    for out in ("y.keras", "y.weights.h5", "y.safetensors", "y.npz"):
        alive.clear()
        sy.convert(keras_file, tmp_path / out, map=watched)
        assert len(alive) == 4


# --- what is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["y.keras", "y.weights.h5", "y.safetensors"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_breaks_off_leaves_nothing(keras_file, tmp_path, out, error):
    seen = []

    def breaks_off(weight, array):
        seen.append(weight.address)
        if len(seen) == 3:
            raise error("enough")
        return array

    with pytest.raises(error, match="enough"):
        sy.convert(keras_file, tmp_path / out, map=breaks_off)
    assert left_of(tmp_path) == ["x.keras"]


@pytest.mark.parametrize("made", [os.link, os.symlink, None])
def test_never_in_place(keras_file, tmp_path, made):
    before = keras_file.read_bytes()
    out = keras_file if made is None else tmp_path / "y.keras"
    if made:
        made(keras_file, out)
    with pytest.raises(CheckpointError, match="is there already"):
        sy.convert(keras_file, out, map=lambda weight, array: array * 0)
    assert keras_file.read_bytes() == before


def test_a_source_without_structure(tmp_path):
    np.savez(tmp_path / "x.npz", **{"a/kernel": KERNEL})
    with pytest.raises(CheckpointError, match=r"Build the model.*sy.copy_weights\(source, model\)"):
        sy.convert(tmp_path / "x.npz", tmp_path / "x.keras")
    with pytest.raises(SteelyardError, match=r"select.*chooses 1 of its 4 weights"):
        sy.convert(write_keras(tmp_path / "x.keras"), tmp_path / "y.keras", select="a/kernel")
    assert left_of(tmp_path) == ["x.keras", "x.npz"]


def _soft(file):
    file["more"] = h5py.SoftLink("/layers/dense/vars/0")


def _external(file):
    file["more"] = h5py.ExternalLink("/etc/passwd", "/x")


def _alias(file):
    file["layers/more"] = file["layers/dense"]


def _words(file):
    file["layers/dense/vars/words"] = "these are words"


def _attribute(file):
    file["layers/dense/vars"].attrs["more"] = 3


def _attribute_of_data(file):
    file["layers/dense/vars/0"].attrs["more"] = 3


@pytest.mark.parametrize(
    ("add", "says"),
    [
        (_soft, "'more': a soft link"),
        (_external, "'more': an external link"),
        (_alias, "the same object as"),
        (_words, "holds no numbers"),
        (_attribute, "attributes that Keras does not write"),
        (_attribute_of_data, "attributes that Keras does not write"),
    ],
)
def test_what_would_be_lost_is_said(weights_h5, tmp_path, add, says):
    with h5py.File(weights_h5, "a") as file:
        add(file)
    with pytest.raises(CheckpointError, match=says):
        sy.convert(weights_h5, tmp_path / "y.weights.h5")
    assert left_of(tmp_path) == ["x.weights.h5"]
    sy.convert(weights_h5, tmp_path / "y.safetensors")  # by address, there is nothing to lose


def test_a_config_or_name_that_is_an_attack(tmp_path):
    for name, told in (
        ("deep", {"config": b"[" * 5000}),
        ("out", {"..__..__evil": b"x"}),
    ):
        source = write_keras(tmp_path / f"{name}.keras", **told)
        with pytest.raises(CheckpointError, match="cannot be written as a Keras file"):
            sy.convert(source, tmp_path / "y.keras")
    assert left_of(tmp_path) == ["deep.keras", "out.keras"]
