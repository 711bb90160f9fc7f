"""A network that predicts the weights of another one: a hypernetwork (Ha, Dai and Le 2016).

Eight cameras photograph digits, and each wires its pixels in an order of its own. One small network
for all eight does badly. Here a second one predicts its first layer's weights from the number of
the camera, and `sy.call` runs it with these. Run it with any backend:

    KERAS_BACKEND=torch python examples/hypernetwork.py
"""

import os
import tempfile

import keras
import numpy as np
from keras import ops
from sklearn.datasets import load_digits

import steelyard as sy

CAMERAS, BATCH, UNITS = 8, 32, 12


def photographs(pictures, answers, wiring):
    """Each picture by each camera, in batches of one camera."""
    rows = np.random.default_rng(1).permutation(len(pictures))[: len(pictures) // BATCH * BATCH]
    batches = [(part, c) for part in np.split(rows, len(rows) // BATCH) for c in range(CAMERAS)]
    pixels = np.concatenate([pictures[part][:, wiring[c]] for part, c in batches])
    camera = np.repeat([c for _, c in batches], BATCH)
    return pixels, camera, np.concatenate([answers[part] for part, _ in batches])


def main_network():
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(UNITS, "relu", name="features"),
            keras.layers.Dense(10, name="scores"),
        ],
        name="main",
    )


def with_hypernetwork():
    pixels = keras.Input((64,), name="pixels")
    camera = keras.Input((), name="camera", dtype="int32")
    code = ops.mean(keras.layers.Embedding(CAMERAS, 16)(camera), axis=0, keepdims=True)
    predicted = keras.layers.Dense(65 * UNITS, name="hyper")(code)
    kernel, bias = ops.split(ops.reshape(predicted, (65, UNITS)), [64])
    main = main_network()
    main.get_layer("features").trainable = False  # its own weights are never used
    given = {"features/kernel": kernel, "features/bias": ops.squeeze(bias, 0)}
    return keras.Model([pixels, camera], sy.call(main, pixels, weights=given))


def train(model, x, y):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss)
    model.fit(x, y, batch_size=BATCH, epochs=4, shuffle=False, verbose=0)
    return model


def show(what, model, x, y):
    scores = model.predict(x, batch_size=BATCH, verbose=0)
    right = float(np.mean(np.argmax(scores, axis=-1) == y))
    print(f"{what:<36} {right:.1%} of new photographs right")
    return right


def main():
    keras.utils.set_random_seed(0)
    digits = load_digits()
    pictures = (digits.data / 16).astype("float32")
    wiring = [np.random.default_rng(c).permutation(64) for c in range(CAMERAS)]
    pixels, camera, answers = photographs(pictures[:1437], digits.target[:1437], wiring)
    new, new_camera, new_answers = photographs(pictures[1437:], digits.target[1437:], wiring)

    one_for_all = train(main_network(), pixels, answers)
    badly = show("one network for all cameras", one_for_all, new, new_answers)
    model = train(with_hypernetwork(), [pixels, camera], answers)
    well = show("its first layer predicted for each", model, [new, new_camera], new_answers)
    assert well > badly + 0.1

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
    again = show("the same, loaded from a file", loaded, [new, new_camera], new_answers)
    assert again == well


if __name__ == "__main__":
    main()
