"""Models in which something is shared, in every way that users were seen to do it."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
ARRANGEMENTS: dict[str, Callable[[], keras.Model]] = {}


def arrangement(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    ARRANGEMENTS[build.__name__] = build
    return build


def dense(name: str = "shared") -> keras.layers.Dense:
    return layers.Dense(4, name=name, activation="tanh")


def around(layer: keras.Layer, name: str) -> keras.Model:
    """A model with the layer in it, and one of its own."""
    inputs = keras.Input((4,))
    return keras.Model(inputs, dense(f"{name}_out")(layer(inputs)), name=name)


def line(parts: list[keras.Layer], name: str) -> keras.Sequential:
    return keras.Sequential([keras.Input((4,)), *parts], name=name)


@arrangement
def outer_then_inner():
    layer, inputs = dense(), keras.Input((4,))
    return keras.Model(inputs, around(layer, "inner")(layer(inputs)))


@arrangement
def inner_then_outer():
    layer, inputs = dense(), keras.Input((4,))
    return keras.Model(inputs, layer(around(layer, "inner")(inputs)))


@arrangement
def two_inner_models():
    layer, inputs = dense(), keras.Input((4,))
    return keras.Model(inputs, around(layer, "b")(around(layer, "a")(inputs)))


@arrangement
def two_inner_models_side_by_side():
    layer, inputs = dense(), keras.Input((4,))
    return keras.Model(inputs, [around(layer, "a")(inputs), around(layer, "b")(inputs)])


@arrangement
def three_inner_models():
    layer, inputs = dense(), keras.Input((4,))
    hidden = around(layer, "b")(around(layer, "a")(inputs))
    return keras.Model(inputs, around(layer, "c")(hidden))


@arrangement
def two_levels_down():
    layer, inputs, middle = dense(), keras.Input((4,)), keras.Input((4,))
    inner = keras.Model(middle, dense("m")(around(layer, "deep")(middle)), name="middle")
    return keras.Model(inputs, layer(inner(layer(inputs))))


@arrangement
def a_whole_model():
    model, inputs = around(dense(), "part"), keras.Input((4,))
    return keras.Model(inputs, model(around(model, "inner")(model(inputs))))


@arrangement
def in_a_sequential_and_outside():
    layer, inputs = dense(), keras.Input((4,))
    inner = line([layer, dense("x"), dense("y")], "inner")
    return keras.Model(inputs, layer(inner(inputs)))


@arrangement
def in_two_sequentials():
    layer, inputs = dense(), keras.Input((4,))
    first = line([layer, dense("x")], "first")
    return keras.Model(inputs, line([dense("y"), layer], "second")(first(inputs)))


@arrangement
def in_a_sequential_of_sequentials():
    layer = dense()
    return line([line([dense("x"), layer], "first"), layer, line([layer], "second")], "whole")


@arrangement
def in_a_sequential_and_a_model_behind_it():
    layer, inputs = dense(), keras.Input((4,))
    inner = line([layer, around(layer, "model"), dense("x"), around(layer, "last")], "inner")
    return keras.Model(inputs, layer(inner(inputs)))


@arrangement
def in_a_wrapper_and_before():
    layer, inputs = dense(), keras.Input((4,))
    twice = layers.RepeatVector(2)(layer(inputs))
    return keras.Model(inputs, layers.Flatten()(layers.TimeDistributed(layer, name="td")(twice)))


@arrangement
def in_a_wrapper_and_behind():
    layer, inputs = dense(), keras.Input((4,))
    twice = layers.TimeDistributed(layer, name="td")(layers.RepeatVector(2)(inputs))
    return keras.Model(inputs, layer(layers.GlobalAveragePooling1D()(twice)))


@arrangement
def in_a_model_in_a_wrapper():
    layer, inputs = dense(), keras.Input((4,))
    wrapper = layers.TimeDistributed(around(layer, "inner"), name="td")
    twice = wrapper(layers.RepeatVector(2)(inputs))
    return keras.Model(inputs, layer(layers.GlobalAveragePooling1D()(twice)))


@arrangement
def two_models_cut_from_one_graph():
    inputs = keras.Input((4,))
    hidden = keras.ops.relu(dense()(inputs))
    encoder = keras.Model(inputs, hidden, name="encoder")
    whole = keras.Model(inputs, dense("out")(hidden), name="whole")
    return keras.Model(inputs, [encoder(inputs), whole(inputs), around(encoder, "more")(inputs)])


@arrangement
def a_siamese_tower():
    tower, left, right = around(dense(), "tower"), keras.Input((4,)), keras.Input((4,))
    return keras.Model([left, right], layers.Subtract()([tower(left), tower(right)]))


@arrangement
def two_kinds_of_layers_three_times():
    inputs, norm, layer = keras.Input((4,)), layers.BatchNormalization(name="norm"), dense()
    hidden = norm(layer(inputs))
    hidden = line([norm, layer], "inner")(hidden)
    return keras.Model(inputs, norm(around(layer, "more")(hidden)))


@keras.saving.register_keras_serializable("tests")
class Task(keras.Model):
    """Functional, but made by its own `__init__`, around a model that it is given."""

    def __init__(self, backbone, **kwargs):
        inputs = keras.Input((4,))
        super().__init__(inputs, dense("head")(backbone(inputs)), **kwargs)
        self.backbone = backbone

    def get_config(self):
        return {
            "name": self.name,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
        }

    @classmethod
    def from_config(cls, config):
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(backbone, name=config["name"])


@arrangement
def a_backbone_in_a_task_and_outside():
    backbone, inputs = around(dense(), "backbone"), keras.Input((4,))
    return keras.Model(inputs, [Task(backbone, name="task")(inputs), backbone(inputs)])


@keras.saving.register_keras_serializable("tests")
class Adversaries(keras.Model):
    """Subclassed: a generator and a critic that share a layer, and both in one."""

    def __init__(self, generator, critic, **kwargs):
        super().__init__(**kwargs)
        self.generator, self.critic = generator, critic
        self.combined = keras.Sequential([generator, critic])

    def call(self, x):
        return self.combined(x) + self.critic(x)

    def get_config(self):
        parts = {"generator": self.generator, "critic": self.critic}
        written = {k: keras.saving.serialize_keras_object(v) for k, v in parts.items()}
        return {"name": self.name, **written}

    @classmethod
    def from_config(cls, config):
        parts = (config.pop("generator"), config.pop("critic"))
        return cls(*map(keras.saving.deserialize_keras_object, parts), **config)


@arrangement
def generator_and_critic():
    layer = dense()
    model = Adversaries(around(layer, "generator"), around(layer, "critic"), name="gan")
    model(X)
    return model


@keras.saving.register_keras_serializable("tests")
class Twice(keras.layers.Layer):
    """Uses what it was given in a layer, and in a model, that it makes itself."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.wrapper = layers.TimeDistributed(inner)
        self.line = keras.Sequential([keras.Input((4,)), inner, inner])

    def build(self, shape):
        self.wrapper.build((None, 1, 4))

    def call(self, x):
        return self.wrapper(self.line(self.inner(x))[:, None])[:, 0]

    def get_config(self):
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("inner")), **config)


@arrangement
def in_a_class_that_does_what_it_likes():
    layer, inputs = dense(), keras.Input((4,))
    twice = Twice(layer, name="twice")
    return keras.Model(inputs, twice(around(layer, "inner")(layer(twice(inputs)))))


def inputs_of(model: keras.Model, x: np.ndarray = X) -> object:
    count = len(getattr(model, "inputs", None) or [x])
    return x if count == 1 else [x * (n + 1) for n in range(count)]


def predicted(model: keras.Model) -> list[np.ndarray]:
    given = model.predict(inputs_of(model), verbose=0)
    return [np.asarray(y) for y in keras.tree.flatten(given)]


def fit(model: keras.Model, epochs: int = 1) -> keras.Model:
    """Trains, with momenta; a model that was compiled goes on as it was."""
    targets = [np.full(y.shape, 0.5, "float32") for y in predicted(model)]
    if not model.compiled:
        losses = "mse" if len(targets) == 1 else ["mse"] * len(targets)
        # What is asked here is who is who, not how XLA runs it, which takes TensorFlow seconds.
        jit = False if keras.backend.backend() == "tensorflow" else "auto"
        model.compile(keras.optimizers.Adam(0.02), losses, jit_compile=jit)
    y = targets[0] if len(targets) == 1 else targets
    model.fit(inputs_of(model), y, batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    return model
