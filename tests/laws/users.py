"""Layers and models as users write them, for the rows of the contract."""

import keras
from keras import ops

import steelyard as sy

register = keras.saving.register_keras_serializable(package="users")


@register
class TiedDecoder(sy.layers.Borrower):
    """The example of the guide: nothing else to write."""

    def __init__(self, encoder, **kwargs):
        super().__init__(**kwargs)
        self.kernel = self.borrow(encoder, "kernel")

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.kernel()))


@register
class WithConfig(TiedDecoder):
    """With a `get_config` of its own on top."""

    def __init__(self, encoder, power=1, **kwargs):
        super().__init__(encoder, **kwargs)
        self.power = power

    def call(self, x):
        return super().call(x) ** self.power

    def get_config(self):
        return {**super().get_config(), "power": self.power}


@register
class Norm(sy.layers.Borrower):
    """The squared norm of another layer's weight, for each row."""

    def __init__(self, of, weight="kernel", **kwargs):
        super().__init__(**kwargs)
        self.watched = self.borrow(of, weight)

    def call(self, x):
        number = ops.sum(ops.square(self.watched()))
        return ops.broadcast_to(number, (ops.shape(x)[0], 1))


@register
class ByName(keras.layers.Layer):
    """A plain Keras layer that names a weight by its address."""

    def __init__(self, address, **kwargs):
        super().__init__(**kwargs)
        self.address = address
        self.kernel_there = sy.ref(address)

    def call(self, x):
        number = ops.sum(ops.square(self.kernel_there()))
        return ops.broadcast_to(number, (ops.shape(x)[0], 1))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)

    def get_config(self):
        return {**super().get_config(), "address": self.address}


@register
class Stack(keras.layers.Layer):
    """Layers in a list, in a dictionary and as an attribute."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rows = [keras.layers.Dense(4), keras.layers.Dense(4)]
        self.named = {"a": keras.layers.Dense(4)}
        self.last = keras.layers.Dense(4)

    def build(self, input_shape):
        for layer in (*self.rows, self.named["a"], self.last):
            layer.build((None, 4))

    def call(self, x):
        for layer in (*self.rows, self.named["a"]):
            x = layer(x)
        return self.last(x)


@register
class Autoencoder(keras.Model):
    """A subclassed model with a tied decoder."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder = keras.layers.Dense(3)
        self.decoder = sy.layers.TiedDense(self.encoder)

    def call(self, x):
        return self.decoder(self.encoder(x))


@register
class Watched(keras.Model):
    """A subclassed model with or without an observer."""

    def __init__(self, watch, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(3)
        self.head = keras.layers.Dense(2)
        self.observer = sy.layers.WeightAnalyzer(self.hidden) if watch else None

    def call(self, x):
        y = self.head(self.hidden(x))
        return (y, self.observer(x)) if self.observer is not None else y


@register
class Head(sy.layers.Borrower):
    """Scores tokens with the variable of an embedding that is handed in."""

    def __init__(self, embedding_weights, **kwargs):
        super().__init__(**kwargs)
        self.table = self.borrow(sy.ref(embedding_weights))

    def call(self, x):
        return ops.matmul(x, self.table.T())


@register
class Part(sy.layers.Borrower):
    """`x @ (some columns of another layer's kernel)`."""

    def __init__(self, columns, **kwargs):
        super().__init__(**kwargs)
        self.columns = self.borrow(columns)

    def call(self, x):
        return ops.matmul(x, self.columns())


@register
class Together(keras.layers.Layer):
    """The penalty layer of keras#9100: adds a loss on two kernels, gives it by rows."""

    def call(self, kernels):
        overlap = ops.square(kernels[0] * kernels[1])
        self.add_loss(ops.sum(overlap))
        return ops.sum(overlap, axis=1)

    def compute_output_shape(self, shapes):
        return (shapes[0][0],)


@register
def apart(first, second):
    """A penalty on two weights: their squared distance."""
    return ops.sum(ops.square(first - second))


@register
def entries(value):
    """A penalty on one weight: the sum of its entries."""
    return ops.sum(value)


@register
def total(values):
    """A penalty on any number of weights: the sum of all entries."""
    return sum(ops.sum(value) for value in values)


@register
class Penalized(keras.Model):
    """Holds a penalty that it never calls, and may be called any number of times a step."""

    def __init__(self, strength=1.0, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength
        self.hidden = keras.layers.Dense(3, use_bias=False)
        self.head = keras.layers.Dense(3, use_bias=False)
        self.penalty = sy.layers.WeightPenalty(self.hidden, entries, strength)

    def call(self, x):
        return self.head(self.hidden(x))


def main_network():
    """Two dense layers, for another network to predict the weights of."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, activation="tanh", name="one"),
            keras.layers.Dense(2, name="two"),
        ],
        name="main",
    )


@register
class HyperNetwork(keras.Model):
    """The example of keras.io, whose `main.layers[0].kernel = predicted` Keras refuses."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.main = main_network()
        self.hyper = keras.layers.Dense(15)

    def call(self, x):
        flat = self.hyper(ops.mean(x, axis=0, keepdims=True))[0]
        given = {"one/kernel": ops.reshape(flat[:12], (4, 3)), "one/bias": flat[12:]}
        return sy.call(self.main, x, weights=given)


@register
def cubed(value):
    """A penalty of one's own."""
    return 0.01 * ops.sum(ops.abs(value) ** 3)


@register
def unit_columns(value):
    """A transformation of a kernel: columns of length 1."""
    return value / ops.norm(value, axis=0, keepdims=True)


@register
def sparse(value):
    """A transformation of a kernel: what is smaller than the mean is 0."""
    # Not the median, which Keras 3.13 takes otherwise on torch.
    size = ops.abs(value)
    return ops.where(size >= ops.mean(size), value, ops.zeros_like(value))
