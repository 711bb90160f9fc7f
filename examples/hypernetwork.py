"""A network that predicts the weights of another one: a hypernetwork (Ha, Dai and Le 2016).

Eight cameras photograph digits, and each wires its pixels in an order of its own. One small network
for all eight does badly. Here a second one predicts the first kernel of it from the number of the
camera, and `sy.call` runs it with that kernel. Run it with any backend:

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
    pixels, camera = (
        keras.Input((64,), name="pixels"),
        keras.Input((), name="camera", dtype="int32"),
    )
    code = ops.mean(keras.layers.Embedding(CAMERAS, 16)(camera), axis=0, keepdims=True)
    kernel = ops.reshape(keras.layers.Dense(64 * UNITS, name="hyper")(code), (64, UNITS))
    main = main_network()
    main.get_layer("features").kernel.trainable = False  # never used: each camera gets its own
    scores = sy.call(main, pixels, weights={"features/kernel": kernel})
    return keras.Model([pixels, camera], scores)


def train(model, x, y):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss)
    model.fit(x, y, batch_size=BATCH, epochs=4, shuffle=False, verbose=0)
    return model


def show(what, model, x, y):
    scores = model.predict(x, batch_size=BATCH, verbose=0)
    right = float(np.mean(np.argmax(scores, axis=-1) == y))
    print(f"{what:<44} {right:.1%} of new photographs right")
    return right


def main():
    keras.utils.set_random_seed(0)
    digits = load_digits()
    pictures = (digits.data / 16).astype("float32")
    wiring = [np.random.default_rng(c).permutation(64) for c in range(CAMERAS)]
    pixels, camera, answers = photographs(pictures[:1437], digits.target[:1437], wiring)
    new_pixels, new_camera, new_answers = photographs(pictures[1437:], digits.target[1437:], wiring)

    one_for_all = train(main_network(), pixels, answers)
    badly = show("one network for all cameras", one_for_all, new_pixels, new_answers)
    model = train(with_hypernetwork(), [pixels, camera], answers)
    well = show(
        "its kernel predicted for each camera", model, [new_pixels, new_camera], new_answers
    )
    assert well > badly + 0.1

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
    again = show("the same, loaded from a file", loaded, [new_pixels, new_camera], new_answers)
    assert again == well


if __name__ == "__main__":
    main()
