"""Section G of the access contract: transforming weights, on each call."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws import layer as laws
from tests.laws.users import sparse, unit_columns

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(8, 3)).astype("float32")


def array(value):
    return np.array(ops.convert_to_numpy(value)).astype("float64")


def model_of(layer):
    inputs = keras.Input((4,))
    return keras.Model(inputs, layer(inputs))


def stored(layer):
    return sy.weights(layer)["kernel"].stored()["kernel"].astype("float64")


def step(model, rate, x=X, y=Y):
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(x, y, batch_size=len(x), verbose=0)


def slope(loss, value):
    found = np.zeros_like(value)
    for place in np.ndindex(value.shape):
        by = np.zeros_like(value)
        by[place] = 1e-6
        found[place] = (loss(value + by) - loss(value - by)) / 2e-6
    return found


@pytest.mark.parametrize("size", [1.0, 40.0, 1e-3], ids=["as it is", "large", "small"])
def test_c58_the_gradient_through_spectral_norm(size):
    layer = keras.layers.Dense(3, use_bias=False, name="dense")
    model = model_of(layer)
    layer.kernel.assign(np.random.default_rng(2).normal(size=(4, 3)) * size)
    sy.parametrize(layer, "kernel", sy.parametrizations.SpectralNorm())

    def loss(value):
        return np.mean(np.square(X @ (value / np.linalg.norm(value, 2)) - Y))

    # Also where a few steps were taken, and the vector that goes along with them is not exact.
    for _ in range(4):
        was = stored(layer)
        true = slope(loss, was)
        rate = 0.05 * size**2
        step(model, rate)
        moved = (was - stored(layer)) / rate
        cosine = np.sum(moved * true) / np.linalg.norm(moved) / np.linalg.norm(true)
        assert cosine > 0.9999
        assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(true), rel=1e-2)
        # The true gradient is orthogonal to the weight: its size changes nothing.
        assert abs(np.sum(moved * was)) < 1e-2 * np.linalg.norm(moved) * np.linalg.norm(was)


def test_c58_saved_and_loaded(elsewhere):
    layer = keras.layers.Dense(3, name="dense")
    model = model_of(layer)
    sy.parametrize(layer, "kernel", sy.parametrizations.SpectralNorm())
    step(model, 1.0)
    there = elsewhere(model, X, add=["dense/bias"])
    np.testing.assert_allclose(there.predicted[0], model.predict(X, verbose=0), **CLOSE)
    assert np.linalg.norm(there.values["dense/kernel"], 2) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(np.subtract(there.after[0], there.predicted[0]), 0.25, rtol=1e-3)


TRANSFORMED = {
    "normalized": (unit_columns, lambda w: w / np.linalg.norm(w, axis=0)),
    "masked": (sparse, lambda w: w * (np.abs(w) >= np.mean(np.abs(w)))),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_c59_a_kernel_that_is_transformed_in_each_call(name, elsewhere):
    function, formula = TRANSFORMED[name]
    layer = keras.layers.Dense(3, use_bias=False, name="dense")
    model = model_of(layer)
    sy.parametrize(layer, "kernel", function)
    was = stored(layer)
    for given in (model(X), model.predict(X, verbose=0)):
        np.testing.assert_allclose(array(given), X @ formula(was), **CLOSE)
    np.testing.assert_array_equal(stored(layer), was)
    true = slope(lambda value: np.mean(np.square(X @ formula(value) - Y)), was)
    step(model, 0.5)
    np.testing.assert_allclose(was - stored(layer), 0.5 * true, rtol=2e-3, atol=1e-5)
    wanted = X @ formula(stored(layer))
    np.testing.assert_allclose(array(model(X)), wanted, **CLOSE)
    np.testing.assert_allclose(elsewhere(model, X).predicted[0], wanted, **CLOSE)


def test_c59_of_a_layer_inside_a_wrapper():
    inputs = keras.Input((5, 4))
    wrapper = keras.layers.TimeDistributed(keras.layers.Dense(3, use_bias=False), name="each")
    model = keras.Model(inputs, wrapper(inputs))
    sy.parametrize(wrapper, "layer/kernel", unit_columns)
    x = np.random.default_rng(3).normal(size=(2, 5, 4)).astype("float32")
    kernel = stored(wrapper.layer)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), x @ (kernel / np.linalg.norm(kernel, axis=0)), **CLOSE
    )


@pytest.mark.parametrize(
    "made",
    [lambda: unit_columns, sy.parametrizations.SpectralNorm, sy.parametrizations.WeightNorm],
    ids=["function", "SpectralNorm", "WeightNorm"],
)
def test_c60_nothing_of_a_trace_is_left_after_fit(made):
    layer = keras.layers.Dense(3, name="dense")
    model = model_of(layer)
    sy.parametrize(layer, "kernel", made())
    for _ in range(2):
        step(model, 0.1)
        wanted = X @ sy.weights(layer)["kernel"].numpy() + array(layer.bias)
        np.testing.assert_allclose(array(layer(X)), wanted, **CLOSE)
        np.testing.assert_allclose(array(layer._kernel), array(layer.kernel), **CLOSE)
        np.testing.assert_allclose(
            array(ops.matmul(X, layer.kernel)), wanted - array(layer.bias), **CLOSE
        )
        model.evaluate(X, Y, verbose=0)
        model.predict(X, verbose=0)
        np.testing.assert_allclose(array(keras.Sequential([layer])(X)), wanted, **CLOSE)


@pytest.mark.skipif(laws.BACKEND != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_c75_spectral_norm_on_replicas(trained):
    said = trained("mirrored")["parametrized: conv2d spectral"]
    assert "error" not in said, said["error"]
    assert said["moved"] > 1e-5
    np.testing.assert_allclose(said["output"], said["should be"], rtol=5e-3, atol=5e-3)
    for two, one in zip(said["values"], said["of one"], strict=True):
        np.testing.assert_allclose(two, one, **CLOSE)
