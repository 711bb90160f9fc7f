"""The parametrized weights that the laws hold for: one row each in `CASES`.

To put a new parametrization under all laws, add a row to `WAYS` and name it in `PAIRS`. The classes
stand here, in a module that a fresh process can import.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

import steelyard as sy

ps = sy.parametrizations
register = keras.saving.register_keras_serializable(package="parametrized")


# --- Layers and models as users write them --------------------------------------------------------


@register
class Listed(keras.layers.Layer):
    """`x @ parts[0] + x @ parts[1]`: weights of one name, in a list."""

    def build(self, input_shape):
        shape = (input_shape[-1], 3)
        self.parts = [self.add_weight(shape=shape, name="part") for _ in range(2)]

    def call(self, x):
        return ops.matmul(x, self.parts[0]) + ops.matmul(x, self.parts[1])


@register
class Block(keras.layers.Layer):
    """A layer that makes another one, and has no `get_config` of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(3, name="made")

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, x):
        return ops.tanh(self.inner(x))


@register
class Net(keras.Model):
    """A subclassed model."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(4, activation="tanh")
        self.second = keras.layers.Dense(3)

    def call(self, x):
        return self.second(self.first(x))


@register
class Always(keras.layers.Layer):
    """A layer that parametrizes a layer of its own, in its `__init__`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(3)
        sy.parametrize(self.inner, "kernel", ps.WeightNorm())

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, x):
        return self.inner(x)


@register
class OnBuild(keras.layers.Layer):
    """A layer that parametrizes a weight of its own, in its `build`."""

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 3), name="kernel")
        sy.parametrize(self, "kernel", ps.WeightNorm())

    def call(self, x):
        return ops.matmul(x, self.kernel)


@dataclass(frozen=True)
class Kind:
    """A layer whose weight is parametrized.

    Args:
        layer: Makes it, unbuilt.
        weight: The address of the weight from there.
        shape: Of one sample.
        tokens: Whether the inputs are whole numbers.
        twice: Whether the layer takes its input twice.
    """

    layer: Callable[[], keras.Layer]
    weight: str
    shape: tuple[int, ...] = (4,)
    tokens: bool = False
    twice: bool = False


def named(kind: type[keras.Layer], *args: Any, **kwargs: Any) -> Callable[[], keras.Layer]:
    return lambda: kind(*args, name="subject", **kwargs)


KINDS = {
    "dense": Kind(named(keras.layers.Dense, 3), "kernel"),
    "einsum": Kind(named(keras.layers.EinsumDense, "abc,cd->abd", (None, 3)), "kernel", (2, 4)),
    "embedding": Kind(named(keras.layers.Embedding, 7, 3), "embeddings", (2,), tokens=True),
    "conv1d": Kind(named(keras.layers.Conv1D, 3, 2), "kernel", (4, 2)),
    "conv2d": Kind(named(keras.layers.Conv2D, 3, 2), "kernel", (3, 3, 2)),
    "depthwise": Kind(named(keras.layers.DepthwiseConv2D, 2), "kernel", (3, 3, 2)),
    "lstm": Kind(named(keras.layers.LSTM, 3), "cell/recurrent_kernel", (3, 2)),
    "gru": Kind(named(keras.layers.GRU, 3), "cell/recurrent_kernel", (3, 2)),
    "attention": Kind(
        named(keras.layers.MultiHeadAttention, 2, 3), "query/kernel", (2, 4), twice=True
    ),
    "bidirectional": Kind(
        lambda: keras.layers.Bidirectional(keras.layers.LSTM(2), name="subject"),
        "forward_layer/cell/recurrent_kernel",
        (3, 2),
    ),
    "time": Kind(
        lambda: keras.layers.TimeDistributed(keras.layers.Dense(3), name="subject"),
        "layer/kernel",
        (2, 4),
    ),
    "listed": Kind(named(Listed), "parts/0"),
    "block": Kind(named(Block), "inner/kernel"),
    "subclassed": Kind(named(Net), "first/kernel"),
}


# --- Parametrizations as users write them ---------------------------------------------------------


@register
def squashed(value):
    """A plain function."""
    return 0.5 * ops.tanh(value)


class Halved:
    """The least that is asked for. It cannot be written down."""

    def forward(self, value):
        return value / 2


@register
class Scaled:
    """An object with a way back, and a config."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, value):
        return value * self.factor

    def right_inverse(self, value):
        return value / self.factor

    def get_config(self):
        return {"factor": self.factor}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"Scaled({self.factor})"


@register
class Shifted(ps.Parametrization):
    """Derived from the base: no `get_config`, no way back."""

    def __init__(self, by, times=2.0):
        self.by = by
        self.times = times

    def forward(self, value):
        return self.times * value + self.by


@dataclass(frozen=True)
class Way:
    """A parametrization, and what it must give.

    Args:
        make: Makes it.
        formula: From what is stored (originals, then state) to the weight, by NumPy.
        keeps: Whether a weight of any value stays what it was.
        exact: How near the formula is, in proportion.
    """

    make: Callable[[], Any]
    formula: Callable[..., np.ndarray]
    keeps: bool = False
    exact: float = 1e-5


def matrix(value):
    return value.reshape(-1, value.shape[-1])


def spectral(value, u):
    return value / np.linalg.svd(matrix(value), compute_uv=False)[0]


def weight_norm(v, g):
    return v / np.sqrt(np.sum(v**2, axis=tuple(range(v.ndim - 1)), keepdims=True)) * g


def per_filter(v, g):
    """`WeightNorm(axis=(-2, -1))`, as of a depthwise kernel."""
    return v / np.sqrt(np.sum(v**2, axis=(0, 1), keepdims=True)) * g


def orthogonal(value):
    flat = matrix(value)
    wide = flat.shape[0] < flat.shape[1]
    q, r = np.linalg.qr(flat.T if wide else flat)
    q = q * np.sign(np.diag(r))
    return (q.T if wide else q).reshape(value.shape)


def masked(value, mask, step=None):
    return value * mask


def standardize(value):
    axes = tuple(range(value.ndim - 1))
    centered = value - value.mean(axes, keepdims=True)
    return centered / np.sqrt((centered**2).mean(axes, keepdims=True) + 1e-10)


HALF = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]])

WAYS = {
    "spectral": Way(ps.SpectralNorm, spectral, exact=1e-3),
    "weight norm": Way(ps.WeightNorm, weight_norm, keeps=True),
    "weight norm of filters": Way(lambda: ps.WeightNorm((-2, -1)), per_filter, keeps=True),
    "orthogonal": Way(ps.Orthogonal, orthogonal),
    "low rank": Way(lambda: ps.LowRank(2), lambda a, b: a @ b),
    "fixed mask": Way(lambda: ps.Mask(HALF), masked),
    "mask of four": Way(lambda: ps.Mask(np.tri(4)), masked),
    "mask": Way(lambda: ps.Mask(sparsity=0.5), masked),
    "scheduled mask": Way(
        lambda: ps.Mask(schedule=ps.PolynomialDecay(0.0, 0.75, 0, 2, frequency=1)), masked, True
    ),
    "mask of two in four": Way(lambda: ps.Mask(n_m=(2, 4)), masked),
    "standardize": Way(ps.Standardize, standardize, exact=1e-4),
    "chain": Way(
        lambda: ps.Chain(ps.WeightNorm(), ps.Mask(sparsity=0.5)),
        lambda v, g, mask: weight_norm(v, g) * mask,
    ),
    "function": Way(lambda: squashed, lambda value: 0.5 * np.tanh(value)),
    "forward only": Way(Halved, lambda value: value / 2),
    "with a way back": Way(lambda: Scaled(4.0), lambda value: value * 4, keeps=True),
    "derived": Way(lambda: Shifted(0.1), lambda value: 2 * value + 0.1),
}

PAIRS = {
    "dense": tuple(w for w in WAYS if w not in ("weight norm of filters", "mask of four")),
    "einsum": ("spectral", "low rank"),
    "embedding": ("weight norm", "function"),
    "conv1d": ("orthogonal", "standardize"),
    "conv2d": ("spectral", "low rank"),
    "depthwise": ("weight norm of filters", "mask"),
    "lstm": ("orthogonal", "weight norm"),
    "gru": ("spectral", "scheduled mask"),
    "attention": ("spectral",),
    "bidirectional": ("orthogonal",),
    "time": ("chain", "with a way back"),
    "listed": ("weight norm", "mask of two in four"),
    "block": ("spectral", "low rank"),
    "subclassed": ("derived", "mask of four", "low rank"),
}


@dataclass(frozen=True)
class Case:
    """One parametrized weight of one layer."""

    name: str
    kind: Kind
    way: Way

    @property
    def address(self) -> str:
        """Of the weight, in a model."""
        return f"subject/{self.kind.weight}"


CASES = [
    Case(f"{kind} {way}", KINDS[kind], WAYS[way]) for kind, ways in PAIRS.items() for way in ways
]
BY_NAME = {case.name: case for case in CASES}
WRITABLE = [case for case in CASES if case.way is not WAYS["forward only"]]


# --- Models ---------------------------------------------------------------------------------------


def around(kind: Kind, layer: keras.Layer) -> keras.Model:
    """A model of a layer."""
    inputs = keras.Input(kind.shape, dtype="int32" if kind.tokens else "float32")
    return keras.Model(inputs, layer(inputs, inputs) if kind.twice else layer(inputs))


def plain(case: Case) -> keras.Model:
    """The model with nothing parametrized; each weight has a value that shows."""
    return randomize(around(case.kind, case.kind.layer()))


def after(case: Case) -> keras.Model:
    """The same, parametrized when it was built."""
    model = plain(case)
    sy.parametrize(model.get_layer("subject"), case.kind.weight, case.way.make())
    return model


def before(case: Case) -> keras.Model:
    """Parametrized before it was built."""
    layer = case.kind.layer()
    sy.parametrize(layer, case.kind.weight, case.way.make())
    return around(case.kind, layer)


def randomize(model: keras.Model, seed: int = 3) -> keras.Model:
    """Gives each weight of a model in which nothing is parametrized a value that shows."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype == "float32":
            variable.assign(generator.normal(0.1, 0.5, variable.shape))
    return model


def inputs(kind: Kind, rows: int = 8) -> np.ndarray:
    """The inputs of all laws."""
    generator = np.random.default_rng(5)
    if kind.tokens:
        return generator.integers(0, 7, (rows, *kind.shape)).astype("int32")
    return generator.normal(size=(rows, *kind.shape)).astype("float32")


def output(model: keras.Model, x: np.ndarray, predict: bool = False) -> np.ndarray:
    """What a model computes, in float64."""
    given = model.predict(x, verbose=0) if predict else model(x)
    return np.asarray(ops.convert_to_numpy(ops.cast(given, "float32"))).astype("float64")


def stored(case: Case, model: keras.Model) -> list[np.ndarray]:
    """What is stored of the weight: originals, then state."""
    parts = sy.weights(model)[case.address].stored()
    return [np.asarray(part).astype("float64") for part in parts.values()]


def effective(case: Case, model: keras.Model) -> np.ndarray:
    """What the weight must be, by NumPy."""
    return case.way.formula(*stored(case, model))


def should_be(case: Case, model: keras.Model, x: np.ndarray) -> np.ndarray:
    """What the model must compute: as one with nothing parametrized and these weights."""
    twin = around(case.kind, case.kind.layer())
    there = sy.weights(model)
    for weight in sy.weights(twin):
        is_it = weight.address == case.address
        weight.assign(effective(case, model) if is_it else there[weight.address].numpy())
    return output(twin, x)


def targets(case: Case) -> np.ndarray:
    """What the models are trained towards."""
    shape = output(plain(case), inputs(case.kind)).shape
    return np.random.default_rng(6).normal(size=shape).astype("float32")


def fit(
    case: Case,
    model: keras.Model,
    rate: float = 0.05,
    epochs: int = 1,
    by: Callable[..., Any] = keras.Model.fit,
    **kwargs: Any,
) -> None:
    """Gradient descent; one step an epoch."""
    x = inputs(case.kind)
    model.compile(keras.optimizers.SGD(rate), "mse", **kwargs)
    by(model, x, targets(case), batch_size=len(x), epochs=epochs, shuffle=False, verbose=0)
