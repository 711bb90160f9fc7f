"""`sy.clone_model`: the options of Keras's own, and models that share nothing."""

import keras
import numpy as np
import pytest
from tests.saving.arrangements import ARRANGEMENTS, X, around, dense, fit, predicted

import steelyard as sy


class Unregistered(keras.layers.Layer):
    """A user's own layer that Keras has never heard of, with one inside."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("inner")), **config)


def test_users_own_classes_need_no_registration():
    layer, inputs = Unregistered(Unregistered(dense(), name="i"), name="own"), keras.Input((4,))
    model = keras.Model(inputs, layer.inner(layer(around(layer.inner.inner, "model")(inputs))))
    clone = sy.clone_model(model)
    assert len(clone.weights) == len(model.weights) == 4
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(predicted(clone)[0], predicted(model)[0], rtol=1e-5)


def test_on_given_inputs():
    model, mine = ARRANGEMENTS["in_a_wrapper_and_before"](), keras.Input((4,), name="mine")
    clone = sy.clone_model(model, input_tensors=mine)
    assert clone.input is mine
    assert len(clone.weights) == len(model.weights)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(predicted(clone)[0], predicted(model)[0], rtol=1e-5)
    cut = keras.Model(mine, clone.get_layer("td").output)  # no other graph is in the way
    assert cut.output_shape == (None, 2, 4)


def test_a_clone_function_is_asked_once_for_each_layer():
    model, asked = ARRANGEMENTS["in_a_model_in_a_wrapper"](), []

    def renamed(layer):
        asked.append(layer.name)
        config = layer.get_config()
        return type(layer).from_config({**config, "name": f"new_{config['name']}"})

    clone = sy.clone_model(model, clone_function=renamed)
    assert sorted(asked) == sorted({*asked})
    assert {"td", "shared", "inner_out"} <= {*asked}
    assert sy.weights(clone).addresses == tuple(
        address.replace("td", "new_td")
        .replace("shared", "new_shared")
        .replace("inner_", "new_inner_")
        for address in sy.weights(model).addresses
    )
    assert clone.get_layer("new_td").layer.layers[1] is clone.get_layer("new_shared")


def test_a_clone_function_that_keeps_the_layers():
    model = ARRANGEMENTS["two_inner_models"]()
    clone = sy.clone_model(model, clone_function=lambda layer: layer)
    assert clone is not model
    assert [id(w) for w in clone.weights] == [id(w) for w in model.weights]


def test_a_call_function():
    def with_dropout(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        if isinstance(layer, keras.layers.Dense):
            outputs = keras.layers.Dropout(0.5)(outputs)
        return outputs

    model = ARRANGEMENTS["inner_then_outer"]()
    clone = sy.clone_model(model, call_function=with_dropout)
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in clone.layers) == 1
    assert sum(isinstance(x, keras.layers.Dropout) for x in clone.get_layer("inner").layers) == 2
    line = keras.Sequential([keras.Input((4,)), dense()])
    with pytest.raises(ValueError, match="not supported with Sequential"):
        sy.clone_model(line, call_function=with_dropout)


def test_a_subclassed_model_has_no_options():
    with pytest.raises(ValueError, match="only supported for Sequential"):
        sy.clone_model(ARRANGEMENTS["generator_and_critic"](), clone_function=lambda x: x)
    with pytest.raises(sy.errors.SourceError, match="Received: Dense"):
        sy.clone_model(dense())


def test_what_is_frozen_stays_frozen(tmp_path):
    model = ARRANGEMENTS["two_inner_models"]()
    model.get_layer("a").trainable = False
    model.get_layer("b").get_layer("shared").trainable = True
    sy.save_model(model, tmp_path / "model.keras")
    for made in (sy.clone_model(model), sy.load_model(tmp_path / "model.keras")):
        for name in ("a", "b"):
            assert made.get_layer(name).trainable is model.get_layer(name).trainable
        assert len(made.trainable_weights) == len(model.trainable_weights)


def test_references_lead_to_the_clones_own_layers(tmp_path):
    layer, inputs = dense(), keras.Input((4,))
    hidden = layer(around(layer, "inner")(inputs))
    number = sy.layers.WeightAnalyzer(layer, name="number")(hidden)
    decoded = sy.layers.TiedDense(layer, name="decoder")(hidden)
    model = fit(keras.Model(inputs, [decoded, number]))
    sy.save_model(model, tmp_path / "model.keras")
    clone = sy.clone_model(model)
    clone.set_weights(model.get_weights())
    loaded = [f(tmp_path / "model.keras") for f in (sy.load_model, keras.saving.load_model)]
    for made in (clone, *loaded):
        for a, b in zip(predicted(made), predicted(model), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        made.get_layer("shared").kernel.assign(np.ones((4, 4), "float32"))
        np.testing.assert_allclose(predicted(made)[1], 4.0, rtol=1e-5)
    assert not np.allclose(predicted(model)[1], 4.0)


def test_a_model_that_was_never_built():
    model = keras.Sequential([dense("a"), dense("b")])
    clone = sy.clone_model(model)
    assert not clone.built
    assert clone(X).shape == (8, 4)
    assert not model.built
