"""The borrowing layers that the laws hold for: one row each in `CASES`.

To put a new layer under all laws, add a row. The classes stand here, in a module that a fresh
process can import, and none of them has a `get_config`.
"""

import operator
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

import steelyard as sy

# Of the input of every model, and of what most owners give. Even, so that two devices can share.
WIDTH, UNITS = 6, 4
# On a second version of Keras a few places will do: what differs there is Keras, not the place.
FEW = tuple(os.environ.get("LAWS_IN_PLACES", "").split())

Owners = dict[str, keras.Layer]


@keras.saving.register_keras_serializable(package="zoo")
class Through(sy.layers.Borrower):
    """`x @ kernel`."""

    def __init__(self, of, weight="kernel", **kwargs):
        super().__init__(**kwargs)
        self.matrix = self.borrow(of, weight)

    def call(self, x):
        return ops.matmul(x, ops.cast(self.matrix(), x.dtype))


@keras.saving.register_keras_serializable(package="zoo")
class FromTwo(sy.layers.Borrower):
    """`[x @ first, sum(x) * second]`, borrowed from two layers."""

    def __init__(self, first, second, **kwargs):
        super().__init__(**kwargs)
        self.first = self.borrow(first, "kernel")
        self.second = self.borrow(second, "bias")

    def call(self, x):
        first, second = ops.cast(self.first(), x.dtype), ops.cast(self.second(), x.dtype)
        total = ops.sum(x, axis=-1, keepdims=True)
        return ops.concatenate([ops.matmul(x, first), total * second], axis=-1)


@keras.saving.register_keras_serializable(package="zoo")
class Whole(sy.layers.Borrower):
    """`x @ kernel + bias`: two weights of one layer."""

    def __init__(self, of, **kwargs):
        super().__init__(**kwargs)
        self.of_kernel = self.borrow(of, "kernel")
        self.of_bias = self.borrow(of, "bias")

    def call(self, x):
        kernel, bias = ops.cast(self.of_kernel(), x.dtype), ops.cast(self.of_bias(), x.dtype)
        return ops.matmul(x, kernel) + bias


@keras.saving.register_keras_serializable(package="zoo")
class WithOwn(sy.layers.Borrower):
    """`(x @ kernel) * scale + shift`: the kernel is borrowed, the others are its own."""

    def __init__(self, of, shift=True, **kwargs):
        super().__init__(**kwargs)
        self.shift = shift
        self.kernel_of_other = self.borrow(of, "kernel")

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.offset = self.add_weight(shape=(1,), initializer="zeros", name="offset")

    def call(self, x):
        kernel = ops.cast(self.kernel_of_other(), x.dtype)
        return ops.matmul(x, kernel) * self.scale + self.offset


@keras.saving.register_keras_serializable(package="zoo")
class FromMany(sy.layers.Borrower):
    """`x @ (sum of the kernels)`, borrowed from a list of layers."""

    def __init__(self, layers, **kwargs):
        super().__init__(**kwargs)
        self.kernels = [self.borrow(layer, "kernel") for layer in layers]

    def call(self, x):
        return ops.matmul(x, ops.cast(sum(kernel() for kernel in self.kernels), x.dtype))


@keras.saving.register_keras_serializable(package="zoo")
def doubled(value):
    return value * 2


def tied(layer: keras.Layer, to: Any, **kwargs: Any) -> keras.Layer:
    """A stock layer whose kernel is another layer's."""
    return sy.tie(layer, "kernel", to=to, **kwargs)


@dataclass(frozen=True)
class Case:
    """A borrowing layer and what it must compute.

    Args:
        name: Of the row.
        owners: Makes the layers that are borrowed from, unbuilt, by name.
        borrow: Makes the borrower. Gets the owners, their outputs (empty where they have not been
            called) and the address of an owner in the model, with `{}` for its name.
        weights: What is borrowed: for each weight the name of its owner, and the attributes that
            lead to the variable from there.
        expected: The output, by NumPy: from the inputs, the borrowed values and the borrower's own
            weights.
        width: How many columns of the inputs the borrower takes.
        asks: What must have happened to the owners before the borrower is called: nothing, as it
            knows the shape of its output without them; "built"; or "called".
        places: Where it stands in the tests, if not everywhere: what differs from another row only
            in its arithmetic need not be carried to every place again.
    """

    name: str
    owners: Callable[[], Owners]
    borrow: Callable[[Owners, dict[str, Any], str], keras.Layer]
    weights: tuple[tuple[str, str], ...]
    expected: Callable[..., np.ndarray]
    width: int = WIDTH
    asks: str = "built"
    places: tuple[str, ...] = ()


def dense(*names: str) -> Callable[[], Owners]:
    return lambda: {name: keras.layers.Dense(UNITS, name=name) for name in names}


KERNEL = (("proj", "kernel"),)


def norm(x, values, own):
    return np.full((len(x), 1), np.sqrt(np.sum(np.square(values[0]))))


def norm_and_mean(x, values, own):
    number = np.sqrt(np.sum(np.square(values[0]))), np.mean(values[0])
    return np.tile(number, (len(x), 1))


CASES = (
    Case(
        "analyzer",
        dense("proj"),
        lambda owners, outputs, at: sy.layers.WeightAnalyzer(
            owners["proj"], metrics=["l2_norm", "mean"], name="borrower"
        ),
        KERNEL,
        norm_and_mean,
        asks="",
    ),
    Case(
        "tied",
        dense("proj"),
        lambda owners, outputs, at: sy.layers.TiedDense(
            owners["proj"], activation="tanh", name="borrower"
        ),
        KERNEL,
        lambda x, values, own: np.tanh(x @ values[0].T + own[0]),
        width=UNITS,
    ),
    Case(
        "tied with units",
        dense("proj"),
        lambda owners, outputs, at: sy.layers.TiedDense(
            owners["proj"], WIDTH, "relu", name="borrower"
        ),
        KERNEL,
        lambda x, values, own: np.maximum(x @ values[0].T + own[0], 0),
        width=UNITS,
        asks="",
    ),
    Case(
        "tied untransposed",
        dense("proj"),
        lambda owners, outputs, at: sy.layers.TiedDense(
            owners["proj"], transpose=False, use_bias=False, name="borrower"
        ),
        KERNEL,
        lambda x, values, own: x @ values[0],
    ),
    Case(
        "tied embedding",
        lambda: {"table": keras.layers.Embedding(8, UNITS, name="table")},
        lambda owners, outputs, at: sy.layers.TiedDense(
            owners["table"], weight="embeddings", name="borrower"
        ),
        (("table", "embeddings"),),
        lambda x, values, own: x @ values[0].T + own[0],
        width=UNITS,
    ),
    Case(
        "user's own",
        dense("proj"),
        lambda owners, outputs, at: Through(owners["proj"], name="borrower"),
        KERNEL,
        lambda x, values, own: x @ values[0],
    ),
    Case(
        "two owners",
        dense("one", "two"),
        lambda owners, outputs, at: FromTwo(owners["one"], second=owners["two"], name="borrower"),
        (("one", "kernel"), ("two", "bias")),
        lambda x, values, own: np.concatenate(
            [x @ values[0], np.sum(x, axis=1, keepdims=True) * values[1]], axis=1
        ),
    ),
    Case(
        "two weights",
        dense("proj"),
        lambda owners, outputs, at: Whole(owners["proj"], name="borrower"),
        (("proj", "kernel"), ("proj", "bias")),
        lambda x, values, own: x @ values[0] + values[1],
    ),
    Case(
        "deep in LSTM",
        lambda: {"lstm": keras.layers.LSTM(UNITS, name="lstm")},
        lambda owners, outputs, at: Through(
            owners["lstm"], weight="recurrent_kernel", name="borrower"
        ),
        (("lstm", "cell.recurrent_kernel"),),
        lambda x, values, own: x @ values[0],
        width=UNITS,
    ),
    Case(
        "deep in attention",
        lambda: {"heads": keras.layers.MultiHeadAttention(2, 2, name="heads")},
        lambda owners, outputs, at: sy.layers.WeightAnalyzer(
            owners["heads"], weight="query/kernel", name="borrower"
        ),
        (("heads", "query_dense.kernel"),),
        norm,
        asks="",
    ),
    Case(
        "own weights",
        dense("proj"),
        lambda owners, outputs, at: WithOwn(owners["proj"], shift=False, name="borrower"),
        KERNEL,
        lambda x, values, own: (x @ values[0]) * own[0] + own[1],
    ),
    Case(
        "list of layers",
        dense("one", "two", "three"),
        lambda owners, outputs, at: FromMany(list(owners.values()), name="borrower"),
        (("one", "kernel"), ("two", "kernel"), ("three", "kernel")),
        lambda x, values, own: x @ sum(values),
    ),
    Case(
        "by output",
        dense("proj"),
        lambda owners, outputs, at: sy.layers.WeightAnalyzer(outputs["proj"], name="borrower"),
        KERNEL,
        norm,
        asks="called",
    ),
    Case(
        "by variable",
        dense("proj"),
        lambda owners, outputs, at: sy.layers.TiedDense(owners["proj"].kernel, name="borrower"),
        KERNEL,
        lambda x, values, own: x @ values[0].T + own[0],
        width=UNITS,
    ),
    Case(
        "by address",
        dense("proj"),
        lambda owners, outputs, at: sy.layers.WeightAnalyzer(
            at.format("proj") + "/kernel", name="borrower"
        ),
        KERNEL,
        norm,
        asks="",
    ),
    Case(
        "slice",
        dense("proj"),
        lambda owners, outputs, at: Through(
            sy.ref(owners["proj"], "kernel")[:, :2], name="borrower"
        ),
        KERNEL,
        lambda x, values, own: x @ values[0][:, :2],
    ),
    Case(
        "transpose",
        dense("proj"),
        lambda owners, outputs, at: Through(sy.ref(owners["proj"], "kernel").T, name="borrower"),
        KERNEL,
        lambda x, values, own: x @ values[0].T,
        width=UNITS,
    ),
    Case(
        "tie",
        dense("proj"),
        lambda owners, outputs, at: tied(
            keras.layers.Dense(UNITS, name="borrower"), owners["proj"]
        ),
        KERNEL,
        lambda x, values, own: x @ values[0] + own[0],
        asks="",
    ),
    Case(
        "tie transposed",
        dense("proj"),
        lambda owners, outputs, at: tied(
            keras.layers.Dense(WIDTH, "tanh", name="borrower"),
            sy.ref(owners["proj"]),
            transform="transpose",
        ),
        KERNEL,
        lambda x, values, own: np.tanh(x @ values[0].T + own[0]),
        width=UNITS,
        asks="",
    ),
    Case(
        "tie to embedding",
        lambda: {"table": keras.layers.Embedding(8, UNITS, name="table")},
        lambda owners, outputs, at: tied(
            keras.layers.Dense(8, use_bias=False, name="borrower"),
            sy.ref(owners["table"], "embeddings").T,
        ),
        (("table", "embeddings"),),
        lambda x, values, own: x @ values[0].T,
        width=UNITS,
        asks="",
        places=("after", "siblings", "both_in_block"),
    ),
    Case(
        "tie by function",
        dense("proj"),
        lambda owners, outputs, at: tied(
            keras.layers.EinsumDense("ab,bc->ac", UNITS, bias_axes="c", name="borrower"),
            owners["proj"],
            transform=doubled,
        ),
        KERNEL,
        lambda x, values, own: x @ (2 * values[0]) + own[0],
        asks="",
        places=("after", "siblings", "both_in_block"),
    ),
    Case(
        "tie by address",
        dense("proj"),
        lambda owners, outputs, at: tied(
            keras.layers.Dense(UNITS, name="borrower"), sy.ref(at.format("proj") + "/kernel")
        ),
        KERNEL,
        lambda x, values, own: x @ values[0] + own[0],
        asks="",
    ),
)
BY_NAME = {case.name: case for case in CASES}


# --- Where a borrower and its owners can stand ----------------------------------------------------


def feed(owner: keras.Layer, x: Any) -> Any:
    """Calls an owner on what it takes, made from inputs of shape (batch, WIDTH)."""
    if isinstance(owner, keras.layers.Embedding):
        return owner(ops.cast(ops.absolute(x), "int32"))
    if isinstance(owner, keras.layers.LSTM):
        return owner(ops.expand_dims(x, -1))
    if isinstance(owner, keras.layers.MultiHeadAttention):
        sequence = ops.expand_dims(x, -1)
        return owner(sequence, sequence)
    return owner(x)


def joined(outputs: dict[str, Any]) -> Any:
    """One column for each owner, from its output of any shape."""
    flat = [ops.mean(y, axis=tuple(range(1, len(y.shape)))) for y in outputs.values()]
    return ops.stack(flat, axis=-1)


def build(owner: keras.Layer) -> None:
    if isinstance(owner, keras.layers.LSTM):
        owner.build((None, WIDTH, 1))
    elif isinstance(owner, keras.layers.MultiHeadAttention):
        owner.build((None, WIDTH, 1), (None, WIDTH, 1))
    else:
        owner.build((None, WIDTH))


def made(case: Case, owners: Owners, outputs: dict[str, Any] | None = None, at: str = "{}") -> Any:
    if case.asks == "built" and not any(owner.built for owner in owners.values()):
        for owner in owners.values():
            build(owner)
    return case.borrow(owners, outputs or {}, at)


def after(case: Case, **kwargs: Any) -> keras.Model:
    """The borrower is called after its owners."""
    x = keras.Input((WIDTH,), name="x")
    owners = case.owners()
    outputs = {name: feed(owner, x) for name, owner in owners.items()}
    y = made(case, owners, outputs)(x[:, : case.width])
    return keras.Model(x, [y, joined(outputs)], **kwargs)


def before(case: Case) -> keras.Model:
    """The borrower is called before its owners are even built."""
    x = keras.Input((WIDTH,), name="x")
    owners = case.owners()
    y = made(case, owners)(x[:, : case.width])
    return keras.Model(x, [y, joined({name: feed(owner, x) for name, owner in owners.items()})])


def alone(case: Case) -> keras.Model:
    """Only the borrower's output is an output of the model."""
    x = keras.Input((WIDTH,), name="x")
    owners = case.owners()
    outputs = {name: feed(owner, x) for name, owner in owners.items()}
    return keras.Model(x, made(case, owners, outputs)(x[:, : case.width]))


def owner_inside(case: Case) -> keras.Model:
    """The owners are in an inner model."""
    i = keras.Input((WIDTH,))
    owners = case.owners()
    outputs = {name: feed(owner, i) for name, owner in owners.items()}
    inner = keras.Model(i, joined(outputs), name="inner")
    x = keras.Input((WIDTH,), name="x")
    below = inner(x)
    y = made(case, owners, outputs, "inner/{}")(x[:, : case.width])
    return keras.Model(x, [y, below])


def borrower_inside(case: Case) -> keras.Model:
    """The borrower is in an inner model, which is made before the owners are called."""
    i = keras.Input((case.width,))
    owners = case.owners()
    inner = keras.Model(i, made(case, owners)(i), name="inner")
    x = keras.Input((WIDTH,), name="x")
    outputs = {name: feed(owner, x) for name, owner in owners.items()}
    return keras.Model(x, [inner(x[:, : case.width]), joined(outputs)])


def siblings(case: Case) -> keras.Model:
    """The owners are in one inner model, the borrower in another."""
    i, j = keras.Input((WIDTH,)), keras.Input((case.width,))
    owners = case.owners()
    outputs = {name: feed(owner, i) for name, owner in owners.items()}
    left = keras.Model(i, joined(outputs), name="left")
    right = keras.Model(j, made(case, owners, outputs, "left/{}")(j), name="right")
    x = keras.Input((WIDTH,), name="x")
    below = left(x)
    return keras.Model(x, [right(x[:, : case.width]), below])


def both_inside(case: Case) -> keras.Model:
    """Both are in the same inner model."""
    inner = after(case, name="inner")
    x = keras.Input((WIDTH,), name="outer_x")
    return keras.Model(x, inner(x))


def owner_wrapped(case: Case) -> keras.Model:
    """The owners are in `TimeDistributed` wrappers."""
    x = keras.Input((WIDTH,), name="x")
    owners = case.owners()
    outputs = {}
    for name, owner in owners.items():
        steps = ops.cast(ops.absolute(x), "int32") if "table" in owners else x
        steps = ops.expand_dims(steps, -1) if "lstm" in owners else steps
        outputs[name] = keras.layers.TimeDistributed(owner, name=f"each_{name}")(steps[:, None])
    y = made(case, owners, {}, "each_{}/layer")(x[:, : case.width])
    return keras.Model(x, [y, joined(outputs)])


def borrower_wrapped(case: Case) -> keras.Model:
    """The borrower is in a `TimeDistributed` wrapper."""
    x = keras.Input((WIDTH,), name="x")
    owners = case.owners()
    outputs = {name: feed(owner, x) for name, owner in owners.items()}
    wrapper = keras.layers.TimeDistributed(made(case, owners, outputs), name="each")
    return keras.Model(x, [wrapper(x[:, None, : case.width])[:, 0], joined(outputs)])


@keras.saving.register_keras_serializable(package="zoo")
class Block(keras.layers.Layer):
    """Holds the owners of a case as attributes."""

    def __init__(self, case, **kwargs):
        super().__init__(**kwargs)
        self.case = case
        self.owners = BY_NAME[case].owners()

    def build(self, input_shape):
        for owner in self.owners.values():
            if not owner.built:
                build(owner)

    def call(self, x):
        return joined({name: feed(owner, x) for name, owner in self.owners.items()})

    def get_config(self):
        return {**super().get_config(), "case": self.case}


def in_block(case: Case) -> keras.Model:
    """The owners are attributes of a layer of the user's."""
    x = keras.Input((WIDTH,), name="x")
    block = Block(case.name, name="block")
    below = block(x)
    y = made(case, block.owners, {}, "block/owners/{}")(x[:, : case.width])
    return keras.Model(x, [y, below])


@keras.saving.register_keras_serializable(package="zoo")
class BlockOfBoth(Block):
    """Holds the owners of a case, and their borrower, as attributes."""

    def __init__(self, case, **kwargs):
        super().__init__(case, **kwargs)
        self.borrower = made(BY_NAME[case], self.owners, {}, "block/owners/{}")

    def build(self, input_shape):
        super().build(input_shape)
        self.borrower.build((None, BY_NAME[self.case].width))

    def call(self, x):
        below = super().call(x)
        return self.borrower(x[:, : BY_NAME[self.case].width]), below


def both_in_block(case: Case) -> keras.Model:
    """The owners and the borrower are attributes of a layer of the user's."""
    x = keras.Input((WIDTH,), name="x")
    return keras.Model(x, list(BlockOfBoth(case.name, name="block")(x)))


@keras.saving.register_keras_serializable(package="zoo")
class Subclassed(keras.Model):
    """The owners and the borrower are attributes of a subclassed model."""

    def __init__(self, case, **kwargs):
        super().__init__(**kwargs)
        self.case = case
        self.owners = BY_NAME[case].owners()
        self.borrower = made(BY_NAME[case], self.owners, {}, "owners/{}")

    def call(self, x):
        below = joined({name: feed(owner, x) for name, owner in self.owners.items()})
        return self.borrower(x[:, : BY_NAME[self.case].width]), below

    def get_config(self):
        return {**super().get_config(), "case": self.case}


def subclassed(case: Case) -> keras.Model:
    model = Subclassed(case.name)
    model(np.zeros((1, WIDTH), "float32"))
    return model


@keras.saving.register_keras_serializable(package="zoo")
class Pair(keras.Model):
    """A subclassed model of two functional halves, with the config that the Keras guides write."""

    def __init__(self, left, right, **kwargs):
        super().__init__(**kwargs)
        self.left = left
        self.right = right

    def call(self, x):
        below = self.left(x)
        return self.right(x[:, : self.right.input_shape[-1]]), below

    def get_config(self):
        halves = {"left": self.left, "right": self.right}
        halves = {key: keras.saving.serialize_keras_object(half) for key, half in halves.items()}
        return {**super().get_config(), **halves}

    @classmethod
    def from_config(cls, config):
        for key in ("left", "right"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)


def halves(case: Case) -> keras.Model:
    """A subclassed model holds one functional model with the owners, another with the borrower."""
    i, j = keras.Input((WIDTH,)), keras.Input((case.width,))
    owners = case.owners()
    outputs = {name: feed(owner, i) for name, owner in owners.items()}
    left = keras.Model(i, joined(outputs), name="left")
    model = Pair(left, keras.Model(j, made(case, owners, outputs, "left/{}")(j), name="right"))
    model(np.zeros((1, WIDTH), "float32"))
    return model


PLACES = {
    function.__name__: function
    for function in (
        after,
        before,
        alone,
        owner_inside,
        borrower_inside,
        siblings,
        both_inside,
        owner_wrapped,
        borrower_wrapped,
        in_block,
        both_in_block,
        subclassed,
        halves,
    )
}


def fits(case: Case, place: str) -> bool:
    """Whether the case can be written down like this, and is."""
    if not FEW and case.places and place not in case.places:
        return False
    if FEW and place not in FEW:
        return False
    if case.asks == "called":
        return place not in (
            "before",
            "borrower_inside",
            "owner_wrapped",
            "in_block",
            "both_in_block",
            "subclassed",
        )
    return not (place == "owner_wrapped" and case.name == "deep in attention")


# --- Reading a model, by means of Keras alone ----------------------------------------------------


def layers_in(model: keras.Model) -> dict[str, keras.Layer]:
    return {layer.name: layer for layer in model._flatten_layers()}


def owners_in(case: Case, model: keras.Model) -> Owners:
    there = layers_in(model)
    return {name: there[name] for name in case.owners()}


def borrower_in(model: keras.Model) -> keras.Layer:
    return layers_in(model)["borrower"]


def output(model: keras.Model, x: np.ndarray, predict: bool = False) -> np.ndarray:
    """What the borrower gives in this model."""
    given = model.predict(x, verbose=0) if predict else model(x)
    first = given[0] if isinstance(given, (list, tuple)) else given
    return np.asarray(ops.convert_to_numpy(first))


def variables(case: Case, model: keras.Model) -> list[keras.Variable]:
    """The borrowed variables, read off their owners."""
    owners = owners_in(case, model)
    return [operator.attrgetter(way)(owners[name]) for name, way in case.weights]


def array(value: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(value)).astype("float64")


def values(case: Case, model: keras.Model) -> list[np.ndarray]:
    """The borrowed values; of Dense and Embedding also under LoRA and after `quantize("int8")`."""
    owners = owners_in(case, model)
    return [value(owners[name], way) for name, way in case.weights]


def value(owner: keras.Layer, way: str) -> np.ndarray:
    if way not in ("kernel", "embeddings"):
        return array(operator.attrgetter(way)(owner).value)
    base = array(getattr(owner, f"_{way}").value)
    if owner.quantization_mode == "int8":
        scale = array(getattr(owner, f"{way}_scale").value)
        base = base / (scale[:, None] if way == "embeddings" else scale)
    if owner.lora_enabled:
        first, second = (array(getattr(owner, f"lora_{way}_{part}").value) for part in "ab")
        base = base + owner.lora_alpha / owner.lora_rank * first @ second
    return base


def should_be(case: Case, model: keras.Model, x: np.ndarray) -> np.ndarray:
    """What it must give: NumPy's answer from the weights that are in the model now."""
    own = [np.asarray(w, "float64") for w in borrower_in(model).get_weights()]
    return case.expected(x[:, : case.width].astype("float64"), values(case, model), own)


def shift(case: Case, model: keras.Model, by: float = 0.25) -> None:
    """Changes every weight that is borrowed."""
    for variable in variables(case, model):
        variable.assign(variable + by)


def randomize(model: keras.Model, seed: int = 0) -> keras.Model:
    """Other values than 0 in every weight, so that none can be left out unseen."""
    draw = np.random.default_rng(seed)
    for variable in model.weights:
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(draw.normal(0, 0.5, variable.shape))
    return model


def inputs(rows: int = 4, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, (rows, WIDTH)).astype("float32")
