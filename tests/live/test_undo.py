import keras
import numpy as np
import pytest
from keras import layers

from steelyard.errors import SteelyardError
from steelyard.live import Undo, bring_back


def holder(dtype="float32"):
    layer = layers.Layer()
    layer.a = layer.add_weight(shape=(3,), name="a", dtype=dtype, trainable=False)
    layer.b = layer.add_weight(shape=(), name="b", dtype=dtype, trainable=False)
    layer.built = True
    return layer


def array(variable):
    return np.array(keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float64")))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float8_e4m3fn", "int8"])
def test_what_was_there_comes_back(dtype):
    layer = holder()
    layer.a.assign([1.1, -2.3, 3.7])
    other = layers.Layer()
    other.a = other.add_weight(
        shape=(3,),
        name="a",
        dtype=dtype,
        trainable=False,
        initializer=lambda shape, dtype: keras.ops.cast(layer.a.value, dtype),
    )
    before = array(other.a)
    undo = Undo()
    undo.keep(other.a)
    for _ in range(2):
        other.a.assign(keras.ops.cast(keras.ops.ones(3), dtype))
        undo.keep(other.a)  # the first time counts
    assert not np.array_equal(array(other.a), before)
    undo.put_back()
    np.testing.assert_array_equal(array(other.a), before)


def test_only_those_named():
    layer = holder()
    undo = Undo()
    before = array(layer.a), array(layer.b)
    undo.keep(layer.a)
    undo.keep(layer.b)
    layer.a.assign([5, 5, 5])
    layer.b.assign(5)
    undo.put_back([layer.b])
    assert (array(layer.a)[0], array(layer.b)) == (5, before[1])
    undo.put_back()
    np.testing.assert_array_equal(array(layer.a), before[0])


def test_in_a_mixed_layer_the_full_value_comes_back():
    class Mixed(layers.Layer):
        def build(self, shape):
            self.a = self.add_weight(shape=(), name="a", initializer="ones")

        def call(self, x):
            undo = Undo()
            undo.keep(self.a)
            self.a.assign(0)
            undo.put_back()
            return x

    layer = Mixed(dtype="mixed_float16")
    layer.build((1,))
    layer.a.assign(1.0001)
    layer(np.ones((1, 1), "float32"))
    assert abs(array(layer.a) - 1.0001) < 1e-6


def test_a_variable_without_a_value_is_refused():
    layer = holder()
    bring_back(layer, [layer.a, layer.b])
    layer.a._value = None
    with pytest.raises(SteelyardError, match="has no value now"):
        bring_back(layer, [layer.a])
