"""`CalledWith`: `sy.call` in a functional graph; what a model with it does is in `tests/laws`."""

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy
from steelyard.errors import (
    QuantizationError,
    ShapeMismatchError,
    TargetError,
    UnboundReferenceError,
    UnknownAddressError,
)

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
KERNEL = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(ops.stop_gradient(tensor)))


def callers(model):
    return [layer for layer in model.layers if isinstance(layer, sy.layers.CalledWith)]


def test_one_caller_for_all_calls_of_a_layer():
    x = keras.Input((4,))
    one, two = keras.layers.Dense(3, name="one"), keras.layers.Dense(3, name="two")
    y = sy.call(one, x, weights={"kernel": KERNEL}) + sy.call(one, x, weights={"bias": np.ones(3)})
    model = keras.Model(x, y + sy.call(two, x, weights={"kernel": KERNEL}))
    assert [layer.name for layer in callers(model)] == ["one_called", "two_called"]
    assert len(model.weights) == 4
    kernel = array(one.kernel)
    np.testing.assert_allclose(array(model(X)), 2 * X @ KERNEL + X @ kernel + 1, **CLOSE)


def test_a_name_that_is_taken():
    x = keras.Input((4,))
    y = keras.layers.Dense(4, name="main_called")(x)
    main = keras.layers.Dense(3, name="main")
    model = keras.Model(x, sy.call(main, y, weights={"bias": [0.0, 1.0, 2.0]}))
    assert [layer.name for layer in callers(model)] == ["main_called_1"]


def test_called_itself_upstream_or_beside():
    x = keras.Input((4,))
    layer = keras.layers.Dense(4, name="main")
    inner = layer(x)
    model = keras.Model(x, sy.call(layer, inner, weights={"kernel": np.eye(4)}))
    assert sy.weights(model).addresses == ("main/kernel", "main/bias")
    np.testing.assert_allclose(array(model(X)), X @ array(layer.kernel), **CLOSE)
    # Its plain output is used nowhere: the layer is a part of the model all the same.
    other = keras.layers.Dense(3, name="beside")
    other(x)
    model = keras.Model(x, sy.call(other, x, weights={"kernel": KERNEL}))
    assert sy.weights(model).addresses == ("beside/kernel", "beside/bias")
    assert len(keras.models.clone_model(model).weights) == 2


def test_called_itself_afterwards():
    """The one order in which a copy would have the layer twice; that is said instead."""
    x = keras.Input((4,))
    layer = keras.layers.Dense(3, name="main")
    given = sy.call(layer, x, weights={"kernel": KERNEL})
    model = keras.Model(x, given + layer(x))
    assert len(model.weights) == 2
    wanted = X @ KERNEL + X @ array(layer.kernel)
    np.testing.assert_allclose(array(model(X)), wanted, **CLOSE)
    for copy in (keras.models.clone_model, lambda m: m.get_config(), lambda m: m.to_json()):
        with pytest.raises(TargetError, match=r"'main_called/layer'.*Call it itself before"):
            copy(model)
    # A model without the plain call has the layer once.
    assert len(keras.models.clone_model(keras.Model(x, given)).weights) == 2


def test_a_layer_of_another_model():
    base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="proj")])
    x = keras.Input((4,))
    model = keras.Model(x, sy.call(base.get_layer("proj"), x, weights={"kernel": KERNEL}))
    assert sy.weights(model).addresses == ("proj_called/layer/kernel", "proj_called/layer/bias")
    assert model.weights[0] is base.weights[0]


def test_a_layer_that_is_not_built():
    x = keras.Input((4,))
    layer = keras.layers.Dense(3, bias_initializer="ones")
    model = keras.Model(x, sy.call(layer, x, weights={"kernel": KERNEL}))
    np.testing.assert_allclose(array(model(X)), X @ KERNEL + 1, **CLOSE)
    assert np.abs(array(layer.kernel)).min() > 0


def test_what_cannot_be_is_said_when_the_model_is_made():
    x = keras.Input((4,))
    layer = keras.layers.Dense(3, name="main")
    with pytest.raises(UnknownAddressError, match="Did you mean 'kernel'"):
        sy.call(layer, x, weights={"kernle": KERNEL})
    with pytest.raises(ShapeMismatchError, match=r"\(4, 3\).*\(2, 2\)"):
        sy.call(layer, x, weights={"kernel": ops.reshape(ops.mean(x * 2, axis=0), (2, 2))})
    with pytest.raises(ShapeMismatchError, match=r"\(4, 3\).*\(None, 4\)"):
        sy.call(layer, x, weights={"kernel": x})
    with pytest.raises(TargetError, match=r"sy\.value"):
        sy.call(layer, x, weights={"kernel": keras.Variable(KERNEL)})


def test_a_constant_or_a_symbolic_value_with_a_constant_input():
    task = keras.Input((12,))
    layer = keras.layers.Dense(3, use_bias=False)
    kernel = ops.reshape(ops.mean(task, axis=0), (4, 3))
    model = keras.Model(task, sy.call(layer, ops.convert_to_tensor(X), weights={"kernel": kernel}))
    got = model(np.tile(KERNEL.reshape(1, 12), (6, 1)))
    np.testing.assert_allclose(array(got), X @ KERNEL, **CLOSE)


def test_the_value_of_another_layer():
    """What the message about variables says to do, does."""
    x = keras.Input((4,))
    one, two = keras.layers.Dense(3, name="one"), keras.layers.Dense(3, name="two")
    plain = one(x)
    given = sy.call(two, x, weights={"kernel": 2 * sy.value(one, "kernel")})
    model = keras.Model(x, plain + given)
    one.kernel.assign(KERNEL)
    np.testing.assert_allclose(array(model(X)), 3 * X @ KERNEL, **CLOSE)


def test_masks_go_through():
    words = keras.Input((3,), dtype="int32")
    table = keras.layers.Embedding(5, 4, mask_zero=True)
    memory = keras.layers.LSTM(3, name="memory")
    found = sy.call(table, words, weights={"embeddings": np.eye(5, 4)})
    kernel = np.random.default_rng(2).normal(size=(4, 12)).astype("float32")
    model = keras.Model(words, sy.call(memory, found, weights={"cell/kernel": kernel}))
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    table(ids)
    table.embeddings.assign(np.eye(5, 4))
    memory.cell.kernel.assign(kernel)
    np.testing.assert_allclose(array(model(ids)), array(memory(table(ids))), **CLOSE)


def test_training_is_handed_down_and_can_be_fixed():
    x = keras.Input((4,))
    free, fixed = keras.layers.BatchNormalization(), keras.layers.BatchNormalization()
    given = {"gamma": np.ones(4)}
    y = sy.call(free, x, weights=given) + sy.call(fixed, x, weights=given, training=False)
    model = keras.Model(x, y)
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((6, 4)), batch_size=6, verbose=0)
    np.testing.assert_allclose(array(free.moving_mean), X.mean(0) * 0.01, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(array(fixed.moving_mean), np.zeros(4))


def test_a_quantized_model_says_which_weight_is_codes():
    x = keras.Input((4,))
    layer = keras.layers.Dense(3, name="main")
    model = keras.Model(x, sy.call(layer, x, weights={"kernel": KERNEL}))
    model.quantize("int8")
    with pytest.raises(QuantizationError, match="'kernel' of layer 'main'"):
        model(X)


def test_inside_another_model():
    x = keras.Input((4,))
    layer = keras.layers.Dense(3, name="main")
    inner = keras.Model(x, layer(x) + sy.call(layer, x, weights={"kernel": KERNEL}), name="inner")
    outer = keras.Model(x, inner(x * 2))
    twin = keras.models.clone_model(outer)
    twin.set_weights(outer.get_weights())
    for model in (outer, twin):
        assert len(model.weights) == 2
    wanted = 2 * X @ (KERNEL + array(layer.kernel))
    np.testing.assert_allclose(array(outer(X)), wanted, **CLOSE)
    np.testing.assert_allclose(array(twin(X)), wanted, **CLOSE)


def test_a_caller_by_itself_does_not_know_its_layer():
    x = keras.Input((4,))
    layer = keras.layers.Dense(3, name="main")
    model = keras.Model(x, layer(x) + sy.call(layer, x, weights={"kernel": KERNEL}))
    (caller,) = callers(model)
    assert caller.called() is layer
    assert caller.weights == []
    config = keras.saving.serialize_keras_object(caller)
    config["config"]["of"]["config"]["target"].pop("lender", None)
    alone = keras.saving.deserialize_keras_object(config)
    with pytest.raises(UnboundReferenceError, match="main"):
        alone.called()
