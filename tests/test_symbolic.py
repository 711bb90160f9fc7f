"""`sy.call` does by values what it does by symbols; both are tested where they are done."""

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy
from steelyard.errors import SourceError, UnknownAddressError

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
KERNEL = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")


def test_values_and_symbols_say_the_same():
    layer = keras.layers.Dense(3, "tanh")
    by_values = sy.call(layer, X, weights={"kernel": KERNEL})
    inputs = keras.Input((4,))
    model = keras.Model(inputs, sy.call(layer, inputs, weights={"kernel": KERNEL}))
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.stop_gradient(model(X))),
        ops.convert_to_numpy(ops.stop_gradient(by_values)),
        rtol=1e-6,
    )


def test_nothing_given_leaves_the_layer_in_the_graph_itself():
    layer = keras.layers.Dense(3, name="main")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, sy.call(layer, inputs, weights={}))
    assert model.layers[1] is layer


def test_a_keyword_may_be_named_like_our_own():
    class Named(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(4, 3), name="kernel")

        def call(self, x, layer=1.0):
            return ops.matmul(x, self.kernel) * layer

    got = sy.call(Named(), X, weights={"kernel": KERNEL}, layer=2.0)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.stop_gradient(got)), 2 * X @ KERNEL, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("given", [None, "dense", keras.layers.Dense, lambda x: x])
def test_what_is_no_layer(given):
    with pytest.raises(SourceError, match="calls a Keras layer or model"):
        sy.call(given, X, weights={"kernel": KERNEL})


@pytest.mark.parametrize("given", [None, KERNEL, [("kernel", KERNEL)]])
def test_weights_that_have_no_names(given):
    with pytest.raises(UnknownAddressError, match="is a dictionary from names to values"):
        sy.call(keras.layers.Dense(3), X, weights=given)
