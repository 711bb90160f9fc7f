"""How do I use the weights of another layer inside mine?

The question as people ask it: a custom layer, and a second one that looks at the first one's
kernel. Only the import of `WeightAnalyzer` is new. Run it with any backend:

    KERAS_BACKEND=jax python examples/the_question.py
"""

import os
import subprocess
import sys
import tempfile

import keras
import numpy as np

from steelyard.layers import WeightAnalyzer


@keras.saving.register_keras_serializable(package="the_question")
class CustomDense(keras.layers.Layer):
    def __init__(self, units=32, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.kernel) + self.bias

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def norm_of_kernel(model):
    """What the analyzer must say, computed by NumPy."""
    return float(np.linalg.norm(keras.ops.convert_to_numpy(model.get_layer("dense").kernel)))


def show(what, model, data):
    said = model.predict(data, verbose=0)
    assert said.shape == (len(data), 1)  # one number, in each row
    expected = norm_of_kernel(model)
    np.testing.assert_allclose(said, expected, rtol=1e-5)
    print(f"{what:<34} {said[0, 0]:.6f}   by NumPy {expected:.6f}")


def main():
    data = np.random.default_rng(0).normal(size=(70, 10)).astype("float32")

    inputs = keras.Input(shape=(10,))
    dense = CustomDense(32, name="dense")(inputs)  # the *output* of the layer, as in the question
    norm = WeightAnalyzer(dense)(inputs)
    model = keras.Model(inputs, norm)  # the analyzer is the only output
    show("the output was handed over", model, data)

    layer = CustomDense(32, name="dense")
    by_layer = keras.Model(inputs, WeightAnalyzer(layer)(layer(inputs)))
    show("the layer was handed over", by_layer, data)

    model.compile("adam", "mse")  # pull the norm toward 1: the gradient reaches the kernel
    model.fit(data, np.ones((70, 1)), epochs=20, verbose=0)
    show("after training toward 1", model, data)

    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    show("its clone", clone, data)
    clone.get_layer("dense").kernel.assign(2 * clone.get_layer("dense").kernel)
    show("the clone's kernel, doubled", clone, data)
    show("the model is as it was", model, data)

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        subprocess.run([sys.executable, __file__, path], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        loaded = keras.models.load_model(sys.argv[1])
        show("loaded in a fresh process", loaded, np.zeros((3, 10), "float32"))
    else:
        main()
