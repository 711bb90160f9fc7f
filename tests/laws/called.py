"""Functional models with `sy.call` in them.

Each model predicts weights for a main layer from its input, which has 5 columns.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

import steelyard as sy

WIDTH = 5


def inputs(rows: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, WIDTH)).astype("float32")


def predicted(x, *shape):
    """A tensor of this shape, predicted from the mean of a batch."""
    size = int(np.prod(shape))
    mean = ops.mean(x, axis=0, keepdims=True)
    hyper = keras.layers.Dense(size, bias_initializer="random_normal", name="hyper")
    return ops.reshape(ops.cast(hyper(mean), "float32"), shape)


def alone():
    x = keras.Input((WIDTH,))
    main = keras.layers.Dense(3, "tanh", name="main")
    return keras.Model(x, sy.call(main, x, weights={"kernel": predicted(x, WIDTH, 3)}))


def called_before():
    x = keras.Input((WIDTH,))
    main = keras.layers.Dense(3, "tanh", name="main")
    plain = main(x)
    given = sy.call(main, x, weights={"kernel": predicted(x, WIDTH, 3)})
    return keras.Model(x, keras.layers.Concatenate(name="both")([given, plain]))


def twice():
    x = keras.Input((WIDTH,))
    main = keras.layers.Dense(3, "tanh", name="main")
    kernel = predicted(x, WIDTH, 3)
    first = sy.call(main, x, weights={"kernel": kernel})
    second = sy.call(main, x * 2, weights={"kernel": -kernel, "bias": np.ones(3)})
    return keras.Model(x, first + second)


def a_part():
    x = keras.Input((WIDTH,))
    block = keras.Sequential([keras.layers.Dense(3, "tanh", name="main")], name="block")
    plain = block(x)
    main = block.get_layer("main")
    given = sy.call(main, x, weights={"kernel": predicted(x, WIDTH, 3)})
    return keras.Model(x, keras.layers.Concatenate(name="both")([given, plain]))


def a_model():
    y = keras.Input((WIDTH,))
    block = keras.Sequential(
        [
            keras.layers.Dense(4, activity_regularizer="l2", name="proj"),
            keras.layers.BatchNormalization(name="norm"),
        ],
        name="block",
    )
    main = keras.Model(y, keras.layers.Dense(3, "tanh", name="head")(block(y)), name="main")
    x = keras.Input((WIDTH,))
    kernel = predicted(x, WIDTH, 4)
    return keras.Model(x, sy.call(main, x, weights={"block/proj/kernel": kernel}))


def recurrent():
    x = keras.Input((WIDTH,))
    steps = ops.expand_dims(x, -1)
    main = keras.layers.LSTM(3, name="main")
    mask = ops.greater(x, -1.0)
    kernel = predicted(x, 3, 12)
    given = sy.call(main, steps, weights={"recurrent_kernel": kernel}, mask=mask, training=False)
    return keras.Model(x, given)


def attention():
    x = keras.Input((WIDTH,))
    steps = ops.reshape(x, (-1, WIDTH, 1))
    main = keras.layers.MultiHeadAttention(1, 2, name="main")
    kernel = predicted(x, 1, 1, 2)
    given, scores = sy.call(
        main,
        steps,
        steps * 2,
        weights={"query/kernel": kernel},
        return_attention_scores=True,
        use_causal_mask=True,
    )
    return keras.Model(x, keras.layers.Flatten(name="flat")(given) + ops.mean(scores))


MODELS: dict[str, Callable[[], keras.Model]] = {
    made.__name__: made
    for made in (alone, called_before, twice, a_part, a_model, recurrent, attention)
}

# The weight of `main` that is given, and one that is not; where `main` is in the model.
GIVEN = {
    "a_model": ("block/proj/kernel", "head/bias"),
    "recurrent": ("cell/recurrent_kernel", "cell/kernel"),
    "attention": ("query/kernel", "value/kernel"),
}
AT = {"called_before": "main", "a_part": "block/main"}


def addresses(name: str) -> tuple[str, str]:
    """The given weight and one that is not, by their addresses in the model."""
    at = AT.get(name, "main_called/layer")
    given, kept = GIVEN.get(name, ("kernel", "bias"))
    return f"{at}/{given}", f"{at}/{kept}"


def randomized(name: str) -> keras.Model:
    """A model whose weights are all far from 0 and from each other."""
    model = MODELS[name]()
    rng = np.random.default_rng(1)
    for weight in sy.weights(model):
        weight.assign(rng.uniform(0.1, 0.5, weight.shape))
    return model


def train(model: keras.Model, rows: int = 6, epochs: int = 2, **kwargs) -> keras.callbacks.History:
    x = inputs(rows)
    y = np.zeros((rows, *model.output_shape[1:]), "float32")
    model.compile(keras.optimizers.SGD(0.05), "mse", **kwargs)
    return model.fit(x, y, batch_size=rows, epochs=epochs, shuffle=False, verbose=0)
