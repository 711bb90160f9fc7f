"""Real trainings on scikit-learn's digits, the same each time."""

import keras
import numpy as np
from keras import layers
from keras.ops import convert_to_numpy
from sklearn.datasets import load_digits

IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES[:512] / 16).astype("float32")
LABELS = LABELS[:512].astype("int32")
KERNELS = ("conv", "hidden", "head")


def model(optimizer="adam", convolution=True, **compiled):
    """Everything with a state of its own: statistics, seeds, momenta."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((64,), name="pixels")
    if convolution:
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
    keras.utils.set_random_seed(4)
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
        kernels = {layer.name: layer.kernel for layer in self.model.layers if layer.name in KERNELS}
        return {name: np.array(convert_to_numpy(kernel)) for name, kernel in kernels.items()}
