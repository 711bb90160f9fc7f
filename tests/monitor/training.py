"""Real trainings on scikit-learn's digits, the same each time."""

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES[:512] / 16).astype("float32")
LABELS = LABELS[:512].astype("int32")


def model(optimizer="adam", **compiled):
    """Everything with a state of its own: statistics, seeds, momenta."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((64,), name="pixels")
    x = layers.Reshape((8, 8, 1))(inputs)
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.3, name="drop")(layers.Flatten()(x))
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    net = keras.Model(inputs, layers.Dense(10, name="head")(x), name="digits")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer, loss, metrics=["accuracy"], **compiled)
    return net


def fit(net, *callbacks, epochs=2, **given):
    data = dict(x=IMAGES, y=LABELS) | given
    return net.fit(**data, batch_size=64, epochs=epochs, verbose=0, callbacks=list(callbacks))


def weights(net):
    return [np.array(weight) for weight in net.get_weights()]


class Keep(keras.callbacks.Callback):
    """Keeps the weights after each batch, by the plain ways of Keras."""

    def __init__(self):
        super().__init__()
        self.start, self.steps = None, []

    def on_train_begin(self, logs=None):
        self.start = self._now()

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self._now())

    def _now(self):
        kernels = {layer.name: layer for layer in self.model.layers}
        return {
            name: np.array(kernels[name].kernel.value) if name in kernels else None
            for name in ("conv", "hidden", "head")
        }
