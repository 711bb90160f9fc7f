"""`Borrower`: whatever arguments a subclass takes, there is nothing else to write."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy
from steelyard import errors

CLOSE = dict(rtol=1e-5, atol=1e-6)
X = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
register = keras.saving.register_keras_serializable(package="borrowers")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


class Base(sy.layers.Borrower):
    """Gives `x @ kernel`, times what `factor` says."""

    def factor(self):
        return 1.0

    def call(self, x):
        return ops.matmul(x, self.matrix()) * self.factor()


@register
class Positional(Base):
    def __init__(self, of, power, **kwargs):
        super().__init__(**kwargs)
        self.matrix, self.power = self.borrow(of), power

    def factor(self):
        return self.power


@register
class Keyword(Base):
    def __init__(self, *, of, power=3.0, **kwargs):
        super().__init__(**kwargs)
        self.matrix, self.power = self.borrow(of), power

    def factor(self):
        return self.power


@register
class Several(sy.layers.Borrower):
    """Takes its layers as `*layers`."""

    def __init__(self, power, *layers, last=1.0, **kwargs):
        super().__init__(**kwargs)
        self.power, self.last = power, last
        self.matrices = [self.borrow(layer) for layer in layers]

    def call(self, x):
        return ops.matmul(x, sum(matrix() for matrix in self.matrices)) * self.power * self.last


@register
class NoKwargs(Base):
    def __init__(self, of, power=2.0):
        super().__init__()
        self.matrix, self.power = self.borrow(of), power

    def factor(self):
        return self.power


@register
class Activated(Base):
    def __init__(self, of, activation=None, initializer="zeros", regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.matrix = self.borrow(of)
        self.activation = keras.activations.get(activation)
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)

    def build(self, input_shape):
        self.offset = self.add_weight(
            shape=(1,),
            initializer=self.initializer,
            regularizer=self.regularizer,
            name="offset",
        )

    def call(self, x):
        return self.activation(super().call(x) + self.offset)


@register
class Nested(Base):
    """Takes its layer in a dictionary, beside other things."""

    def __init__(self, parts, **kwargs):
        super().__init__(**kwargs)
        self.power = parts["power"][0]
        self.matrix = self.borrow(parts["layers"]["main"])

    def factor(self):
        return self.power


@register
class WithConfig(Base):
    def __init__(self, of, power=1.0, **kwargs):
        super().__init__(**kwargs)
        self.matrix, self.power = self.borrow(of), power

    def factor(self):
        return self.power

    def get_config(self):
        return {**super().get_config(), "power": self.power}

    @classmethod
    def from_config(cls, config):
        return super().from_config(dict(config))


@register
class ByReference(Base):
    """Makes the reference itself and borrows it."""

    def __init__(self, of, **kwargs):
        super().__init__(**kwargs)
        self.matrix = self.borrow(sy.ref(of, "kernel"))


@register
class Twice(sy.layers.Borrower):
    """Borrows the same weight twice, once without its gradient."""

    def __init__(self, of, **kwargs):
        super().__init__(**kwargs)
        self.live = self.borrow(of)
        self.still = self.borrow(of, stop_gradient=True)

    def call(self, x):
        return ops.matmul(x, self.live() + self.still())


@register
class Deeper(Positional):
    """A subclass of a subclass, with an argument more."""

    def __init__(self, of, extra=1.0, **kwargs):
        super().__init__(of, 2.0, **kwargs)
        self.extra = extra

    def factor(self):
        return super().factor() * self.extra


@register
def doubled(x):
    return 2 * x


def dense(name="owner"):
    return keras.layers.Dense(4, use_bias=False, name=name)


ROWS = {
    "positional": (lambda a, b: Positional(a, 2.0), lambda k, b: X @ k * 2),
    "keyword": (lambda a, b: Keyword(of=a, power=0.5), lambda k, b: X @ k * 0.5),
    "default": (lambda a, b: Keyword(of=a), lambda k, b: X @ k * 3),
    "star": (lambda a, b: Several(2.0, a, b, last=3.0), lambda k, b: X @ (k + b) * 6),
    "star of one": (lambda a, b: Several(2.0, a), lambda k, b: X @ k * 2),
    "no kwargs": (lambda a, b: NoKwargs(a, 4.0), lambda k, b: X @ k * 4),
    "activation": (
        lambda a, b: Activated(a, "relu", "ones"),
        lambda k, b: np.maximum(X @ k + 1, 0),
    ),
    "function": (lambda a, b: Activated(a, doubled), lambda k, b: X @ k * 2),
    "initializer": (
        lambda a, b: Activated(a, initializer=keras.initializers.Constant(3.0)),
        lambda k, b: X @ k + 3,
    ),
    "regularizer": (
        lambda a, b: Activated(a, regularizer=keras.regularizers.L2(0.5)),
        lambda k, b: X @ k,
    ),
    "in a dictionary": (
        lambda a, b: Nested({"power": [2.0], "layers": {"main": a}}),
        lambda k, b: X @ k * 2,
    ),
    "config on top": (lambda a, b: WithConfig(a, power=5.0), lambda k, b: X @ k * 5),
    "its own reference": (lambda a, b: ByReference(a), lambda k, b: X @ k),
    "twice": (lambda a, b: Twice(a), lambda k, b: X @ k * 2),
    "a subclass of one": (lambda a, b: Deeper(a, extra=3.0), lambda k, b: X @ k * 6),
    "a reference": (lambda a, b: Positional(sy.ref(a).T, 2.0), lambda k, b: X @ k.T * 2),
    "an address": (lambda a, b: Positional("owner", 2.0), lambda k, b: X @ k * 2),
}


def model_of(row):
    inputs = keras.Input((4,))
    a, b = dense("owner"), dense("other")
    ya, yb = a(inputs), b(inputs)
    return keras.Model(inputs, [ROWS[row][0](a, b)(inputs), ya, yb])


def check(row, model):
    for name, seed in (("owner", 3), ("other", 4)):
        draw = np.random.default_rng(seed)
        model.get_layer(name).kernel.assign(draw.normal(size=(4, 4)))
    kernels = [array(model.get_layer(name).kernel) for name in ("owner", "other")]
    np.testing.assert_allclose(array(model(X)[0]), ROWS[row][1](*kernels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("row", ROWS)
def test_any_arguments(row):
    check(row, model_of(row))


@pytest.mark.parametrize("way", ["load", "clone", "config", "json"])
@pytest.mark.parametrize("row", ROWS)
def test_any_arguments_come_back(row, way, tmp_path):
    model = model_of(row)
    if way == "load":
        model.save(tmp_path / "model.keras")
        twin = keras.models.load_model(tmp_path / "model.keras")
    elif way == "clone":
        twin = keras.models.clone_model(model)
    elif way == "config":
        twin = keras.Model.from_config(model.get_config())
    else:
        twin = keras.models.model_from_json(json.dumps(json.loads(model.to_json())))
    assert twin.count_params() == model.count_params()
    check(row, twin)
    assert (
        array(model.get_layer("owner").kernel).tolist()
        != array(twin.get_layer("owner").kernel).tolist()
    )


@pytest.mark.parametrize("row", ROWS)
def test_owns_nothing_that_it_borrows(row):
    model = model_of(row)
    borrower = model.layers[-1]
    for layer in model.layers:
        if isinstance(layer, sy.layers.Borrower):
            borrower = layer
    lent = {id(v) for name in ("owner", "other") for v in model.get_layer(name).variables}
    assert not lent & {id(v) for v in borrower.variables}
    assert model.count_params() == 32 + borrower.count_params()


def test_name_dtype_and_trainable_come_back():
    inputs = keras.Input((4,))
    owner = dense()
    layer = Positional(owner, 2.0, name="mine", dtype="float16", trainable=False)
    model = keras.Model(inputs, layer(owner(inputs)))
    twin = keras.models.clone_model(model).get_layer("mine")
    assert twin.compute_dtype == "float16"
    assert twin.trainable is False


def test_name_comes_back_without_kwargs():
    inputs = keras.Input((4,))
    owner = dense()
    layer = NoKwargs(owner)
    layer.trainable = False
    model = keras.Model(inputs, layer(owner(inputs)))
    twin = keras.Model.from_config(model.get_config())
    assert [one.name for one in twin.layers] == [one.name for one in model.layers]
    assert twin.get_layer(layer.name).trainable is False


def test_wrong_arguments_are_pythons_own_error():
    with pytest.raises(TypeError, match="of"):
        Positional()


@pytest.mark.parametrize("target", [3, None, np.zeros(3), keras.layers.Dense])
def test_borrows_from_layers_only(target):
    with pytest.raises(errors.TargetError):
        Positional(target, 1.0)


def test_reading_before_the_owner_is_built_names_it():
    with pytest.raises(errors.UnbuiltOwnerError, match="owner"):
        Positional(dense(), 1.0)(X)


def test_the_owner_may_not_be_built_when_the_borrower_is_made():
    owner = dense()
    layer = Positional(owner, 1.0)
    owner(X)
    np.testing.assert_allclose(array(layer(X)), X @ array(owner.kernel), **CLOSE)


def test_called_several_times():
    inputs, more = keras.Input((4,)), keras.Input((4,))
    owner = dense()
    layer = Positional(owner, 1.0)
    y = owner(inputs)
    model = keras.Model([inputs, more], [layer(inputs), layer(more), y])
    twin = keras.models.clone_model(model)
    twin.get_layer("owner").kernel.assign(np.eye(4))
    first, second, _ = twin([X, 2 * X])
    np.testing.assert_allclose(array(first), X, **CLOSE)
    np.testing.assert_allclose(array(second), 2 * X, **CLOSE)


def test_masks_pass_through_the_edge_that_it_adds():
    ids = keras.Input((3,), dtype="int32")
    owner = dense()
    vectors = keras.layers.Embedding(5, 4, mask_zero=True)(ids)
    owner(keras.layers.GlobalAveragePooling1D()(vectors))

    seen = []

    class Masked(Base):
        def __init__(self, of, **kwargs):
            super().__init__(**kwargs)
            self.matrix = self.borrow(of)
            self.supports_masking = True

        def call(self, x, mask=None):
            seen.append(mask)
            return super().call(x)

    model = keras.Model(ids, Masked(owner)(vectors))
    seen.clear()
    model(np.array([[1, 2, 0]]))
    assert array(seen[-1]).tolist() == [[True, True, False]]


def test_wrapped_with_weights_of_its_own(tmp_path):
    inputs = keras.Input((3, 4))
    owner = dense()
    y = owner(inputs)
    wrapped = keras.layers.TimeDistributed(Activated(owner, initializer="ones"), name="each")
    model = keras.Model(inputs, [wrapped(inputs), y])
    model.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    x = np.ones((2, 3, 4), "float32")
    np.testing.assert_allclose(array(twin(x)[0]), array(model(x)[0]), **CLOSE)
    assert twin.count_params() == model.count_params() == 17


@register
class Pair(keras.Model):
    """Writes the config of its halves through a function of its own."""

    def __init__(self, left, right, **kwargs):
        super().__init__(**kwargs)
        self.left, self.right = left, right

    def call(self, x):
        return self.right(self.left(x))

    def get_config(self):
        return {**super().get_config(), **self._halves()}

    def _halves(self):
        return {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("left", "right")
        }

    @classmethod
    def from_config(cls, config):
        for name in ("left", "right"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def test_in_a_model_that_writes_its_config_through_functions(tmp_path):
    i, j = keras.Input((4,)), keras.Input((4,))
    owner = dense()
    left = keras.Model(i, owner(i), name="left")
    model = Pair(left, keras.Model(j, Positional(owner, 1.0)(j), name="right"))
    wanted = array(model(X))
    model.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(twin(X)), wanted, **CLOSE)
    assert twin.count_params() == 16
    twin.left.get_layer("owner").kernel.assign(np.eye(4))
    np.testing.assert_allclose(array(twin(X)), X, **CLOSE)


def test_a_half_saved_alone_takes_its_weight_along(tmp_path):
    i, j = keras.Input((4,)), keras.Input((4,))
    owner = dense()
    left = keras.Model(i, owner(i))
    right = keras.Model(j, Positional(owner, 2.0)(j), name="right")
    keras.Model(i, right(left(i)))(X)
    right.save(tmp_path / "right.keras")
    twin = keras.models.load_model(tmp_path / "right.keras")
    np.testing.assert_allclose(array(twin(X)), 2 * X @ array(owner.kernel), **CLOSE)
    owner.kernel.assign(np.zeros((4, 4)))
    assert np.abs(array(twin(X))).max() > 1e-2, "it has a copy of its own"
