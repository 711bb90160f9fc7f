"""`sy.save_model`: what the file is, and that it is written whole or not at all."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from tests.saving import arrangements
from tests.saving.arrangements import ARRANGEMENTS, around, dense, fit, predicted

import steelyard as sy
from steelyard.saving import _save


def parts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def plain():
    inputs = keras.Input((4,))
    return keras.Model(inputs, dense("b")(dense("a")(inputs)), name="plain")


PLAIN = {
    "plain": plain,
    "siamese": ARRANGEMENTS["a_siamese_tower"],
    "wrapper": ARRANGEMENTS["in_a_wrapper_and_before"],
    "sequentials": lambda: arrangements.line([dense(), around(dense("x"), "y")], "line"),
}


@pytest.mark.parametrize("build", PLAIN.values(), ids=PLAIN)
def test_where_keras_is_right_the_file_is_what_keras_writes(build, tmp_path):
    model = fit(build())
    model.save(tmp_path / "keras.keras")
    sy.save_model(model, tmp_path / "ours.keras")
    theirs, ours = parts(tmp_path / "keras.keras"), parts(tmp_path / "ours.keras")
    assert ours.keys() == theirs.keys()
    assert json.loads(ours["config.json"]) == json.loads(theirs["config.json"])
    assert json.loads(ours["metadata.json"]).keys() == json.loads(theirs["metadata.json"]).keys()
    assert {path.name for path in tmp_path.iterdir()} == {"keras.keras", "ours.keras"}


def test_an_old_file_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    sy.save_model(plain(), path)
    before = path.read_bytes()
    model = ARRANGEMENTS["two_inner_models"]()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    for place in ("replace_parts", "noted"):
        with monkeypatch.context() as patch:
            patch.setattr(_save, place, full_disk)
            with pytest.raises(OSError, match="No space left"):
                sy.save_model(model, path)
    with monkeypatch.context() as patch:
        patch.setattr(keras.layers.Dense, "save_own_variables", full_disk)
        with pytest.raises(OSError, match="No space left"):
            sy.save_model(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    sy.save_model(model, path)
    assert len(sy.load_model(path).weights) == len(model.weights)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("says", "replaced"), [("n", False), ("y", True)])
def test_overwriting_is_asked_for_as_keras_asks(says, replaced, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_bytes(b"mine")
    monkeypatch.setattr("builtins.input", lambda *_: says)
    sy.save_model(plain(), str(path), overwrite=False)
    assert (path.read_bytes() != b"mine") is replaced


def test_what_a_link_points_at_is_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.keras").write_bytes(b"old")
    link = tmp_path / "link.keras"
    link.symlink_to(tmp_path / "data" / "model.keras")
    sy.save_model(plain(), link)
    assert link.is_symlink()
    assert len(sy.load_model(link).weights) == 4


def test_paths_of_all_kinds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = plain()
    for path in ("model.keras", Path("model.keras"), "weird name # ü.keras"):
        sy.save_model(model, path)
        assert len(sy.load_model(path).weights) == 4
    with pytest.raises(sy.SteelyardError, match=r"ends in `.keras`.*Received: 'model.zip'"):
        sy.save_model(model, "model.zip")
    with pytest.raises(FileNotFoundError, match="no folder 'nowhere'"):
        sy.save_model(model, "nowhere/model.keras")
    with pytest.raises(sy.errors.SourceError, match="Received: Dense"):
        sy.save_model(dense(), "model.keras")


def test_the_older_format_is_written_if_it_loses_nothing(tmp_path):
    model = ARRANGEMENTS["a_siamese_tower"]()
    sy.save_model(model, tmp_path / "model.h5")
    loaded = sy.load_model(tmp_path / "model.h5")
    np.testing.assert_allclose(predicted(loaded)[0], predicted(model)[0], rtol=1e-5)

    shared = ARRANGEMENTS["in_a_wrapper_and_before"]()
    with pytest.raises(sy.errors.SharingError, match=r"layer 'shared'.*cannot carry"):
        sy.save_model(shared, tmp_path / "shared.h5")
    model.get_layer("tower").get_layer("shared").kernel.constraint = keras.constraints.NonNeg()
    with pytest.raises(sy.errors.SharingError, match="a constraint or regularizer"):
        sy.save_model(model, tmp_path / "shared.h5")
    with pytest.raises(sy.errors.SharingError, match="disk of this machine"):
        sy.save_model(shared, "gs://bucket/model.keras")
    assert not (tmp_path / "shared.h5").exists()


@keras.saving.register_keras_serializable("tests")
class Fixed(keras.Model):
    """Functional, made by an `__init__` that is given nothing."""

    def __init__(self, units=4, **kwargs):
        inputs = keras.Input((4,))
        super().__init__(inputs, keras.layers.Dense(units, name="p")(inputs), **kwargs)
        self.units = units

    def get_config(self):
        return {"name": self.name, "units": self.units}


def test_a_layer_that_a_class_makes_anew_is_not_shared_silently(tmp_path):
    fixed, inputs = Fixed(name="fixed"), keras.Input((4,))
    model = keras.Model(inputs, fixed.get_layer("p")(fixed(inputs)), name="outer")
    with pytest.raises(sy.errors.SharingError, match=r"'p' and 'fixed/p' in 'outer'.*\(Fixed\)"):
        sy.save_model(model, tmp_path / "model.keras")
    with pytest.raises(sy.errors.SharingError, match="'p' and 'fixed/p' are one layer"):
        sy.clone_model(model)
    assert not list(tmp_path.iterdir())


def test_a_model_with_its_parts_as_attributes_is_no_trouble(tmp_path):
    """Keras drops what is held beside the graph; all of it is in the graph as well."""
    inputs, code = keras.Input((4,)), keras.Input((4,))
    encode, decode = dense("encode"), dense("decode")
    hidden = encode(inputs)
    model = keras.Model(inputs, decode(hidden), name="autoencoder")
    model.encoder = keras.Model(inputs, hidden, name="encoder")
    model.decoder = keras.Model(code, decode(code), name="decoder")
    fit(model)
    for saved in (model, model.encoder, model.decoder):
        path = tmp_path / f"{saved.name}.keras"
        sy.save_model(saved, path)
        loaded = sy.load_model(path)
        np.testing.assert_allclose(predicted(loaded)[0], predicted(saved)[0], rtol=1e-5)
    clone = sy.clone_model(model)
    assert len(clone.weights) == 4


def test_models_in_models_in_models(tmp_path):
    """Each holds the one before, and the same layer; and the outermost holds them all again."""
    layer = dense()
    models = [around(layer, "m0")]
    for depth in range(1, 8):
        inputs = keras.Input((4,))
        models.append(keras.Model(inputs, models[-1](layer(inputs)), name=f"m{depth}"))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [inner(inputs) for inner in models])
    sy.save_model(model, tmp_path / "model.keras")
    loaded, clone = sy.load_model(tmp_path / "model.keras"), sy.clone_model(model)
    assert len(loaded.weights) == len(clone.weights) == len(model.weights) == 4
    clone.set_weights(model.get_weights())
    for made in (loaded, clone):
        for a, b in zip(predicted(made), predicted(model), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
