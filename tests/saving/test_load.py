"""`sy.load_model`: whatever Keras opens, and clear words for what cannot be loaded."""

import json
import zipfile

import keras
import numpy as np
import pytest
from tests.saving.arrangements import ARRANGEMENTS, around, dense, fit, predicted

import steelyard as sy
from steelyard.saving._archive import read_part, replace_parts
from steelyard.saving._config import is_functional, mentions, objects


class Unregistered(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, x):
        return x * self.scale


def shared(layer=None):
    layer, inputs = layer or dense(), keras.Input((4,))
    return keras.Model(inputs, layer(around(layer, "inner")(inputs)))


@pytest.mark.parametrize("end", ["keras", "h5"])
def test_files_of_keras(end, tmp_path):
    model = ARRANGEMENTS["a_siamese_tower"]()
    model.compile("sgd", keras.losses.MeanSquaredError())
    path = tmp_path / f"model.{end}"
    model.save(path)
    loaded = sy.load_model(str(path))
    np.testing.assert_allclose(predicted(loaded)[0], predicted(model)[0], rtol=1e-5)
    assert loaded.compiled
    assert not sy.load_model(path, compile=False).compiled


def test_the_arguments_of_keras(tmp_path):
    path = tmp_path / "model.keras"
    model = fit(shared(Unregistered(name="own")))
    sy.save_model(model, path)
    with pytest.raises(TypeError, match="Unregistered"):
        sy.load_model(path)
    known = {"Unregistered": Unregistered}
    loaded = sy.load_model(path, custom_objects=known)
    np.testing.assert_allclose(predicted(loaded)[0], predicted(model)[0], rtol=1e-5)
    assert loaded.compiled
    assert not sy.load_model(path, custom_objects=known, compile=False).compiled

    layer, inputs = keras.layers.Lambda(lambda x: x * 2.0), keras.Input((4,))
    sy.save_model(keras.Model(inputs, layer(inputs)), path)
    with pytest.raises(ValueError, match="lambda"):
        sy.load_model(path)
    assert predicted(sy.load_model(path, safe_mode=False))[0].shape == (8, 4)


def test_no_such_file(tmp_path):
    for name in ("none.keras", "none.txt"):
        with pytest.raises(ValueError, match=name):
            sy.load_model(tmp_path / name)


def notes_changed(path, change):
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read("metadata.json"))
    change(metadata["steelyard"])
    replace_parts(path, {"metadata.json": metadata})


def test_a_file_of_a_newer_steelyard(tmp_path):
    sy.save_model(shared(), tmp_path / "model.keras")
    notes_changed(tmp_path / "model.keras", lambda notes: notes.update(version=2))
    with pytest.raises(sy.errors.SharingError, match="newer Steelyard"):
        sy.load_model(tmp_path / "model.keras")


SHARED = ["two_levels_down", "a_whole_model", "in_a_model_in_a_wrapper", "three_inner_models"]
SHARED += ["in_a_sequential_and_a_model_behind_it", "in_a_class_that_does_what_it_likes"]


@pytest.mark.in_turn
@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("name", SHARED)
def test_a_keras_that_makes_models_in_another_way(name, shift, tmp_path):
    """The number of a call is wrong then, and Keras fails, or leaves layers out of the model."""
    path, model = tmp_path / "model.keras", fit(ARRANGEMENTS[name]())
    sy.save_model(model, path)
    config = read_part(path, "config.json")
    for inner in (found["config"] for found in objects(config)):
        called = (
            {x["name"] for x in inner["layers"] if x["inbound_nodes"]}
            if is_functional(inner)
            else ()
        )
        for layer in called:
            own = [mention for mention, _ in mentions(inner) if mention[0] == layer]
            least = min(mention[1] for mention in own)
            for mention in own:
                mention[1] += shift - least
    replace_parts(path, {"config.json": config})
    loaded = sy.load_model(path)
    assert len(loaded.weights) == len(model.weights)
    assert sy.weights(loaded).addresses == sy.weights(model).addresses
    for a, b in zip(predicted(loaded), predicted(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    fit(model)
    fit(loaded)
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_model_that_comes_out_other_than_it_was_saved(tmp_path):
    sy.save_model(shared(), tmp_path / "model.keras")
    notes_changed(tmp_path / "model.keras", lambda notes: notes.update(weights=6))
    with pytest.raises(sy.errors.SharingError, match=r"saved with 6 weights.*were 4 in"):
        sy.load_model(tmp_path / "model.keras")
