"""A weight that is parametrized by hand, compiled functions, and gradients, on any backend."""

import keras
import numpy as np
from keras import ops


class Parametrized:
    """Keeps the originals and the state of one weight, as a layer would."""

    def __init__(self, parametrization, value, dtype="float32"):
        value = np.asarray(value)
        parametrization.check(value.shape)
        inverse = getattr(parametrization, "right_inverse", lambda value: value)
        originals = inverse(ops.convert_to_tensor(value, dtype))
        originals = originals if isinstance(originals, tuple) else (originals,)
        assert len(originals) == max(len(parametrization.names), 1)
        self.parametrization = parametrization
        self.originals = [keras.Variable(o, dtype=dtype) for o in originals]
        self.renew()

    def renew(self):
        arrays = [ops.convert_to_numpy(ops.cast(o, "float32")) for o in self.originals]
        state = self.parametrization.initial_state(*arrays)
        self.state = {
            k: keras.Variable(v, trainable=False, dtype=v.dtype) for k, v in state.items()
        }

    def assign(self, *values):
        """Behind the state's back."""
        for variable, value in zip(self.originals, values, strict=True):
            variable.assign(value)

    def tensors(self):
        return [read(o) for o in self.originals], {k: read(v) for k, v in self.state.items()}

    def function(self, training):
        """Originals and state -> used tensor and next state; pure."""
        parametrization = self.parametrization

        def used(originals, state):
            new = parametrization.update(*originals, **state) if training else {}
            new = {k: ops.stop_gradient(v) for k, v in new.items()}
            value = parametrization.forward(*originals, **{**state, **new})
            return value, {k: new.get(k, v) for k, v in state.items()}

        return used

    def used(self, training=False, jit=False):
        function = self.function(training)
        value, state = (compiled(function) if jit else function)(*self.tensors())
        for name, entry in state.items():
            assert tuple(entry.shape) == tuple(self.state[name].shape)
            assert keras.backend.standardize_dtype(entry.dtype) == self.state[name].dtype
            self.state[name].assign(entry)
        return ops.convert_to_numpy(ops.cast(value, "float32"))

    def gradients(self, direction, training=False, jit=False):
        """Of the sum of used · direction, for each original."""
        return gradients(self.loss(direction, training), self.tensors()[0], jit)

    def second_gradients(self, direction, other):
        """Of the sum of other · the gradient in the first original, for each original."""
        first = gradient_function(self.loss(direction), again=True)
        return gradients(lambda o: dot(first(o)[0], other), self.tensors()[0])

    def loss(self, direction, training=False):
        function, state = self.function(training), self.tensors()[1]
        return lambda originals: dot(function(originals, state)[0], direction)


def read(variable):
    # TensorFlow's own is a variable as well.
    value = variable.value
    return value.read_value() if hasattr(value, "read_value") else value


def compiled(function):
    """By XLA where the backend has it."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def dot(tensor, direction):
    return ops.sum(tensor * ops.convert_to_tensor(direction, tensor.dtype))


def gradients(loss, tensors, jit=False):
    graded = gradient_function(loss)
    if keras.backend.backend() == "torch":
        tensors = [t.detach().clone().requires_grad_(True) for t in tensors]
    grads = (compiled(graded) if jit else graded)(tensors)
    return [ops.convert_to_numpy(ops.cast(g, "float32")) for g in grads]


def gradient_function(loss, again=False):
    """Tensors -> the gradient of the loss in each; `again`: it will be differentiated itself."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def graded(tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = loss(tensors)
            return tape.gradient(value, tensors)

        return graded
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(loss)
    import torch

    return lambda tensors: torch.autograd.grad(loss(tensors), tensors, create_graph=again)


def differences(function, value, direction, step=1e-6):
    """The gradient of sum(function(value) · direction) in float64, by central differences."""
    value = np.asarray(value, "float64")
    grad = np.zeros_like(value)
    for index in np.ndindex(value.shape):
        moved = value.copy()
        moved[index] += step
        above = np.sum(function(moved) * direction)
        moved[index] -= 2 * step
        grad[index] = (above - np.sum(function(moved) * direction)) / (2 * step)
    return grad


def cosine(a, b):
    a, b = np.ravel(a).astype("float64"), np.ravel(b).astype("float64")
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def reread(parametrization):
    """Through Keras's own way of writing objects down, by way of JSON."""
    import json

    written = json.loads(json.dumps(keras.saving.serialize_keras_object(parametrization)))
    return keras.saving.deserialize_keras_object(written)
