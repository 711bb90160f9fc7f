"""Sharing in the access contract: layers used in several models, and what is put on variables."""

import keras
import numpy as np
import pytest
from keras import layers
from tests.saving.arrangements import X
from tests.saving.process import loaded_elsewhere  # noqa: F401

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
KERNEL = np.random.default_rng(1).normal(size=(4, 4)).astype("float32")


def array(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor), "float64")


def linear(name):
    return layers.Dense(4, use_bias=False, name=name)


def around(layer, name):
    inputs = keras.Input((4,))
    return keras.Model(inputs, layer(inputs), name=name)


def sub_model_and_model(layer, inputs):
    return layer(around(layer, "inner")(inputs))


def model_and_sub_model(layer, inputs):
    return around(layer, "inner")(layer(inputs))


def two_sub_models(layer, inputs):
    return around(layer, "second")(around(layer, "first")(inputs))


def wrapped(layer, inputs):
    twice = layers.TimeDistributed(layer, name="wrapper")(layers.RepeatVector(2)(inputs))
    return layer(layers.GlobalAveragePooling1D()(twice))


def wrapped_later(layer, inputs):
    twice = layers.RepeatVector(2)(layer(inputs))
    return layers.GlobalAveragePooling1D()(layers.TimeDistributed(layer, name="wrapper")(twice))


SHARED = {
    "C29 sub-model and model": sub_model_and_model,
    "C29 model and sub-model": model_and_sub_model,
    "C29 two sub-models": two_sub_models,
    "C30 wrapper and model": wrapped,
    "C30 model and wrapper": wrapped_later,
}
C29 = [name for name in SHARED if name.startswith("C29")]
C30 = [name for name in SHARED if name.startswith("C30")]


def squared(name):
    """In each arrangement the one layer is applied twice: the model is `x @ K @ K`."""
    layer, inputs = linear("shared"), keras.Input((4,))
    model = keras.Model(inputs, SHARED[name](layer, inputs))
    layer.kernel.assign(KERNEL)
    return model


def step(model, rate=0.01):
    """One step of gradient descent to zero outputs; what it is by hand."""
    kernel = array(model.weights[0])
    outputs = X @ kernel @ kernel
    back = 2.0 * outputs / outputs.size
    by_hand = kernel - rate * ((X @ kernel).T @ back + X.T @ (back @ kernel.T))
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(X, np.zeros_like(X), batch_size=len(X), verbose=0)
    return by_hand


def check(model, kernel):
    """One weight, of this value, in both places; training moves it by the sum of both gradients."""
    assert len(model.weights) == 1
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ kernel @ kernel, **CLOSE)
    wanted = step(model)
    assert np.abs(wanted - kernel).max() > 1e-3
    np.testing.assert_allclose(array(model.weights[0]), wanted, **CLOSE)


def saved(name, tmp_path, elsewhere):
    model = squared(name)
    kernel = step(model)
    np.testing.assert_allclose(array(model.weights[0]), kernel, **CLOSE)
    sy.save_model(model, tmp_path / "model.keras")
    for by in ("steelyard", "keras"):
        there = elsewhere(tmp_path / "model.keras", by)
        np.testing.assert_allclose(there.predicted[0], X @ kernel @ kernel, **CLOSE)
        assert there.addresses == list(sy.weights(model).addresses)
    check(sy.load_model(tmp_path / "model.keras"), kernel)


@pytest.mark.parametrize("name", C29)
def test_c29_a_layer_in_a_sub_model_and_the_model(name, tmp_path, loaded_elsewhere):  # noqa: F811
    saved(name, tmp_path, loaded_elsewhere)


@pytest.mark.parametrize("name", C30)
def test_c30_a_layer_and_time_distributed_of_it(name, tmp_path, loaded_elsewhere):  # noqa: F811
    saved(name, tmp_path, loaded_elsewhere)


@pytest.mark.parametrize("name", SHARED)
def test_c78_a_clone_of_a_model_with_a_shared_layer(name):
    model = squared(name)
    clone = sy.clone_model(model)
    own = array(clone.weights[0])
    assert not np.allclose(own, KERNEL)  # freshly initialized, as by Keras
    check(clone, own)
    np.testing.assert_allclose(array(model.weights[0]), KERNEL)


def test_c84_constraint_and_regularizer_on_a_built_variable(tmp_path):
    inputs = keras.Input((4,))
    layer = linear("layer")
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign(np.abs(KERNEL))
    layer.kernel.constraint = keras.constraints.NonNeg()
    layer.kernel.regularizer = keras.regularizers.L1(0.5)
    sy.save_model(model, tmp_path / "model.keras")
    loaded = sy.load_model(tmp_path / "model.keras")
    kernel = np.abs(KERNEL).astype("float64")
    np.testing.assert_allclose(array(loaded.losses[0]), 0.5 * kernel.sum(), rtol=1e-5)

    loaded.compile(keras.optimizers.SGD(1.0), "mse")
    loaded.fit(X, np.zeros_like(X), batch_size=len(X), verbose=0)
    gradient = X.T @ (2.0 * X @ kernel / X.size) + 0.5
    wanted = np.maximum(kernel - gradient, 0.0)
    assert (wanted == 0.0).any()
    np.testing.assert_allclose(array(loaded.weights[0]), wanted, **CLOSE)
