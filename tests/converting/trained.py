"""Models that were trained on scikit-learn's digits, with what editors of Keras files lose."""

import keras
import numpy as np
from keras import layers as L
from sklearn.datasets import load_digits

import steelyard as sy

# What JAX would compile for half a minute is left out there; files do not depend on the backend.
SMALL = keras.backend.backend() == "jax"


@keras.saving.register_keras_serializable(package="test_converting")
class Block(L.Layer):
    """A layer that holds others in its attributes."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = L.Dense(units)
        self.steps = [L.Dense(units, use_bias=False), L.LayerNormalization()]

    def build(self, shape):
        self.inner.build(shape)
        shape = (*shape[:-1], self.units)
        for step in self.steps:
            step.build(shape)

    def call(self, x):
        x = self.inner(x)
        for step in self.steps:
            x = step(x)
        return x

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="test_converting")
class Subclassed(keras.Model):
    """A model of a class of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flat = L.Flatten()
        self.blocks = [Block(6), Block(6)]
        self.head = L.Dense(10)

    def call(self, x):
        x = self.flat(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def composite():
    """Layers in layers, one that is shared, one in bfloat16, and a random generator."""
    x = keras.Input((8, 8), name="digit")
    y = L.Dense(8)(L.Flatten()(x)) if SMALL else _features(x)
    shared = L.Dense(y.shape[-1], name="shared")
    y = shared(shared(y))
    y = keras.Sequential([L.Dense(8), L.Dropout(0.1, seed=1)], name="inner")(y)
    y = y if SMALL else L.Bidirectional(L.LSTM(4), name="both")(y)
    y = L.Dense(8, dtype="bfloat16", name="narrow")(y)
    return keras.Model(x, L.Dense(10, name="head")(y if SMALL else Block(8, name="block")(y)))


def _features(x):
    y = L.BatchNormalization()(L.Conv2D(4, 3, activation="relu")(L.Reshape((8, 8, 1))(x)))
    y = L.Reshape((6, 24))(y)
    return L.MultiHeadAttention(2, 3, name="attention")(y, y)


def lora():
    model = keras.Sequential(
        [keras.Input((8, 8)), L.Flatten(), L.Dense(8, name="wide"), L.Dense(10, name="head")]
    )
    model.get_layer("wide").enable_lora(2)
    return model


def parametrized():
    model = keras.Sequential(
        [keras.Input((8, 8)), L.Flatten(), L.Dense(8, name="wide"), L.Dense(10, name="head")]
    )
    sy.parametrize(model, "wide/kernel", sy.parametrizations.WeightNorm())
    return model


KINDS = {
    "composite": composite,
    "subclassed": Subclassed,
    "lora": lora,
    "quantized": lora,
    "parametrized": parametrized,
}
if SMALL:
    del KINDS["subclassed"], KINDS["parametrized"]


def digits():
    images, labels = load_digits(return_X_y=True)
    return (images.reshape(-1, 8, 8)[:96] / 16).astype("float32"), labels[:96]


def trained(kind):
    model = KINDS[kind]()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(0.01)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=True, jit_compile=False)
    model.fit(*digits(), batch_size=48, verbose=0, shuffle=False)
    if kind == "quantized":
        model.quantize("int8")
    return model


def outputs(model):
    return keras.ops.convert_to_numpy(model(digits()[0], training=False)).astype("float32")


def state(model):
    """All that a file should bring back, by name."""
    told = {"outputs": outputs(model)}
    kept = [one for one in model.variables if "seed" not in one.name]  # Keras does not save all
    for number, weight in enumerate(kept):
        told[f"variable/{number}"] = _array(weight)
    if model.optimizer is not None:
        for number, weight in enumerate(model.optimizer.variables):
            told[f"optimizer/{number}"] = _array(weight)
        told["loss"] = np.array(str(getattr(model, "loss", None).__class__.__name__))
    return told


def _array(variable):
    found = keras.ops.convert_to_numpy(variable)
    return found.astype("float32") if found.dtype.name == "bfloat16" else found
