"""Section C of the access contract, by `sy.value`: ties by an op on a weight."""

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor), "float64")


def tied():
    inputs = keras.Input((4,))
    d = keras.layers.Dense(4, use_bias=False, name="d")
    hidden = keras.layers.Dense(4, use_bias=False, name="hidden")(d(inputs))
    return keras.Model(inputs, ops.matmul(hidden, sy.value(d, "kernel")))


def wanted(model, plus=0.0):
    hidden = array(model.get_layer("hidden").kernel)
    kernel = array(model.get_layer("d").kernel) + plus
    return X @ kernel @ hidden @ kernel


def by_clone(model, folder):
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    return twin


def by_config(model, folder):
    twin = keras.Model.from_config(model.get_config())
    twin.set_weights(model.get_weights())
    return twin


def by_load(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def itself(model, folder):
    return model


@pytest.mark.parametrize("way", [itself, by_clone, by_config, by_load])
def test_c33_a_tie_by_an_op_is_live(way, tmp_path):
    model = way(tied(), tmp_path)
    assert len(model.weights) == 2
    np.testing.assert_allclose(model.predict(X, batch_size=2, verbose=0), wanted(model), **CLOSE)
    model.get_layer("d").kernel.assign(array(model.get_layer("d").kernel) + 0.5)
    np.testing.assert_allclose(model.predict(X, batch_size=2, verbose=0), wanted(model), **CLOSE)


@pytest.mark.parametrize("way", [itself, by_clone, by_load])
def test_c33_both_uses_train_the_one_weight(way, tmp_path):
    model = way(tied(), tmp_path)
    kernel, hidden = (array(model.get_layer(name).kernel) for name in ("d", "hidden"))
    # Of the sum of all outputs: once for each of the two places at which the kernel stands.
    ones = np.ones((6, 4))
    slope = X.T @ (ones @ kernel.T @ hidden.T) + (X @ kernel @ hidden).T @ ones
    model.compile(keras.optimizers.SGD(0.01), lambda y, p: ops.sum(p, axis=-1) * 6)
    model.fit(X, np.zeros((6, 4)), batch_size=6, verbose=0)
    np.testing.assert_allclose(
        array(model.get_layer("d").kernel), kernel - 0.01 * slope, rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(model.predict(X, verbose=0), wanted(model), rtol=1e-3, atol=1e-4)


def test_c33_in_a_fresh_process(elsewhere):
    model = tied()
    there = elsewhere(model, X, add=["d/kernel"])
    np.testing.assert_allclose(there.predicted[0], wanted(model), **CLOSE)
    np.testing.assert_allclose(there.after[0], wanted(model, plus=0.25), **CLOSE)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_c45_by_op_in_the_compute_dtype(policy):
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((4,))
        d = keras.layers.Dense(4, use_bias=False, name="d")
        kernel = sy.value(d(inputs), "kernel", dtype="compute")
        model = keras.Model(inputs, ops.matmul(d.output, ops.transpose(kernel)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert kernel.dtype == policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(model(X).dtype) == kernel.dtype
    was = array(d.kernel)
    np.testing.assert_allclose(array(model(X)), X @ was @ was.T, rtol=0.05, atol=0.1)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, np.zeros((6, 4)), batch_size=6, verbose=0)
    now = array(d.kernel)
    assert d.kernel.dtype == "float32" and np.abs(now - was).max() > 1e-3
    np.testing.assert_allclose(array(model(X)), X @ now @ now.T, rtol=0.05, atol=0.1)
