"""`sy.tie`: another layer's weight in the place of a layer's own. The laws are in `tests/laws`."""

import copy
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from tests.turns import mine

import steelyard as sy
from steelyard.errors import ShapeMismatchError, SubstituteError, TargetError, UnknownAddressError

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")


def array(value):
    return np.array(ops.convert_to_numpy(value))


def three():
    """`a` and `c` take five columns to three, `b` three to five."""
    inputs = keras.Input((5,))
    a, b, c = (keras.layers.Dense(n, name=name) for n, name in ((3, "a"), (5, "b"), (3, "c")))
    model = keras.Model(inputs, [b(a(inputs)), c(inputs)])
    return model, a, b, c


def fit(model, x=X, epochs=2, **kwargs):
    targets = [np.zeros(tuple(y.shape), "float32") for y in keras.tree.flatten(model(x))]
    model.compile(keras.optimizers.Adam(0.01), ["mse"] * len(targets))
    model.fit(x, targets, epochs=epochs, batch_size=len(x), verbose=0, **kwargs)


def again(model, folder):
    model.save(folder / "again.keras")
    return keras.models.load_model(folder / "again.keras")


# --- every stock layer ----------------------------------------------------------------------------

SEQUENCE = np.random.default_rng(1).normal(size=(4, 6, 3)).astype("float32")
IMAGE = np.random.default_rng(2).normal(size=(2, 6, 6, 3)).astype("float32")
TOKENS = np.array([[0, 1, 2], [3, 4, 5]])
L = keras.layers
PAIRS = {
    "Dense": (lambda n: L.Dense(3, name=n), "kernel", X),
    "EinsumDense": (lambda n: L.EinsumDense("ab,bc->ac", 3, bias_axes="c", name=n), "kernel", X),
    "Embedding": (lambda n: L.Embedding(7, 3, name=n), "embeddings", TOKENS),
    "Conv1D": (lambda n: L.Conv1D(4, 3, name=n), "kernel", SEQUENCE),
    "Conv2D": (lambda n: L.Conv2D(4, 3, name=n), "kernel", IMAGE),
    "Conv2DTranspose": (lambda n: L.Conv2DTranspose(4, 3, name=n), "kernel", IMAGE),
    "DepthwiseConv2D": (lambda n: L.DepthwiseConv2D(3, name=n), "kernel", IMAGE),
    "SeparableConv1D": (lambda n: L.SeparableConv1D(4, 3, name=n), "pointwise_kernel", SEQUENCE),
    "LSTM": (lambda n: L.LSTM(4, name=n), "recurrent_kernel", SEQUENCE),
    "GRU": (lambda n: L.GRU(4, name=n), "cell/kernel", SEQUENCE),
    "SimpleRNN": (lambda n: L.SimpleRNN(4, name=n), "cell/recurrent_kernel", SEQUENCE),
    "Bidirectional": (
        lambda n: L.Bidirectional(L.LSTM(4), name=n),
        "forward_layer/cell/kernel",
        SEQUENCE,
    ),
    "TimeDistributed": (lambda n: L.TimeDistributed(L.Dense(4), name=n), "layer/kernel", SEQUENCE),
    "MultiHeadAttention": (
        lambda n: Attention(name=n),
        "attention/value/kernel",
        SEQUENCE,
    ),
    "LayerNormalization": (lambda n: L.LayerNormalization(name=n), "gamma", X),
    "BatchNormalization": (lambda n: L.BatchNormalization(name=n), "beta", X),
    "PReLU": (lambda n: L.PReLU(name=n), "alpha", X),
}


@keras.saving.register_keras_serializable(package="test_tie")
class Attention(keras.layers.Layer):
    """Attends to itself, so that a model of one input can hold it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = L.MultiHeadAttention(2, 3, name="attention")

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x):
        return self.attention(x, x)


@pytest.mark.parametrize(
    ("kind", "when"),
    [
        (kind, when)
        for i, kind in enumerate(PAIRS)
        for k, when in enumerate(("before", "after"))
        if mine(i + k)
    ],
)
def test_any_stock_layer_built_or_not(kind, when, tmp_path):
    make, weight, x = PAIRS[kind]
    owner, reader = make("owner"), make("reader")
    if when == "before":
        assert sy.tie(reader, weight, to=sy.ref(owner, weight)) is reader
    inputs = keras.Input(x.shape[1:], dtype="int32" if x is TOKENS else "float32")
    model = keras.Model(inputs, [owner(inputs), reader(inputs)])
    plain = model.count_params()
    if when == "after":
        plain_in = model.predict(x, verbose=0)
        sy.tie(reader, weight, to=sy.ref(owner, weight))
        plain -= (
            sy.weights(owner)
            .select(f"**/{weight.split('/')[-1]}")[
                sy.ref(owner, weight).address.removeprefix("owner/")
            ]
            .size
        )
        assert model.count_params() == plain
        assert np.shape(model.predict(x, verbose=0)[1]) == plain_in[1].shape
    check_tied(model, x, weight)
    fit(model, x)
    check_tied(model, x, weight)
    loaded = again(model, tmp_path)
    for got, wanted in zip(loaded.predict(x, verbose=0), model.predict(x, verbose=0), strict=True):
        np.testing.assert_allclose(got, wanted, **CLOSE)
    assert len(loaded.weights) == len(model.weights)
    check_tied(loaded, x, weight)
    clone = keras.models.clone_model(model)
    assert len(clone.weights) == len(model.weights)
    check_tied(clone, x, weight)


def check_tied(model, x, weight):
    """With equal other weights both layers give the same, also after the owner has changed."""
    owner, reader = model.get_layer("owner"), model.get_layer("reader")
    others = {w.address: w for w in sy.weights(owner)}
    tied = sy.ref(owner, weight).address.removeprefix("owner/")
    kept = {w.address: w.numpy() for w in sy.weights(model)}
    for own in sy.weights(reader, "**"):
        if own.address != tied and own.address in others:
            own.assign(others[own.address].numpy())
    variable = others[tied]
    for shift in (0.0, 0.5):
        variable.assign(variable.numpy() + shift)
        one, two = model.predict(x, verbose=0)
        np.testing.assert_allclose(two, one, **CLOSE)
        np.testing.assert_allclose(array(model(x)[1]), one, **CLOSE)
    for address, value in kept.items():
        sy.weights(model)[address].assign(value)


# --- one owner ------------------------------------------------------------------------------------


def test_one_copy_on_disk_and_one_slot_of_the_optimizer(tmp_path):
    model, a, _, c = three()
    sy.tie(c, "kernel", to=a)
    fit(model)
    assert [v.path for v in model.weights].count("c/kernel") == 0
    moments = [v for v in model.optimizer.variables if tuple(v.shape) == (5, 3)]
    assert len(moments) == 2  # of Adam, for one kernel
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    shapes = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                shapes.append(item.shape)
                if isinstance(item, h5py.Dataset) and name.startswith("layers")
                else None
            )
        )
    assert shapes.count((5, 3)) == 1


def test_the_gradients_of_both_uses_add_up():
    inputs = keras.Input((5,))
    a, c = keras.layers.Dense(3, name="a"), keras.layers.Dense(3, name="c")
    model = keras.Model(inputs, [a(inputs), c(inputs)])
    sy.tie(c, "kernel", to=a)
    was = array(a.kernel)
    model.compile(keras.optimizers.SGD(1.0), ["mse", "mse"], loss_weights=[1.0, 2.0])
    model.fit(X, [np.zeros((8, 3))] * 2, batch_size=8, verbose=0)
    slope = 3 * 2 * X.T @ (X @ was) / (8 * 3)
    np.testing.assert_allclose(was - array(a.kernel), slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("compiled", ["predict", "fit"])
def test_tied_after_the_model_was_compiled(compiled):
    model, a, _, c = three()
    if compiled == "fit":
        fit(model)
    model.predict(X, verbose=0)
    if compiled == "fit":
        with pytest.warns(UserWarning, match="begins anew"):
            sy.tie(c, "kernel", to=a)
    else:
        sy.tie(c, "kernel", to=a)
    wanted = X @ array(a.kernel) + array(c.bias)
    np.testing.assert_allclose(model.predict(X, verbose=0)[1], wanted, **CLOSE)
    if compiled == "fit":
        model.fit(X, [np.zeros((8, 5)), np.zeros((8, 3))], verbose=0)
    else:
        fit(model)
    wanted = X @ array(a.kernel) + array(c.bias)
    np.testing.assert_allclose(model.predict(X, verbose=0)[1], wanted, **CLOSE)


# --- chains and circles ---------------------------------------------------------------------------


def test_a_tie_of_a_tie_follows(tmp_path):
    model, a, b, c = three()
    sy.tie(b, "kernel", to=sy.ref(a), transform="transpose")
    sy.tie(c, "kernel", to=sy.ref(b), transform="transpose")
    for twin in (model, again(model, tmp_path), keras.models.clone_model(model)):
        own = twin.get_layer("a").kernel
        own.assign(np.arange(15.0).reshape(5, 3))
        np.testing.assert_array_equal(array(twin.get_layer("c").kernel), array(own))
        assert twin.count_params() == 15 + 3 + 5 + 3


def test_tying_the_owner_takes_its_readers_along(tmp_path):
    model, a, b, c = three()
    sy.tie(b, "kernel", to=sy.ref(a), transform="transpose")
    sy.tie(a, "kernel", to=c)
    for twin in (model, again(model, tmp_path)):
        own = twin.get_layer("c").kernel
        own.assign(np.arange(15.0).reshape(5, 3))
        np.testing.assert_array_equal(array(twin.get_layer("b").kernel), array(own).T)


@pytest.mark.parametrize("built", [True, False])
def test_a_circle_is_refused(built):
    model, a, b, c = three()
    if not built:
        a, b, c = (keras.layers.Dense(3, name=name) for name in "abc")
    how = "transpose" if built else None
    sy.tie(b, "kernel", to=sy.ref(a), transform=how)
    sy.tie(c, "kernel", to=sy.ref(b), transform=how)
    if built:
        for target in (b, c):
            with pytest.raises(SubstituteError, match="worked out from this one"):
                sy.tie(a, "kernel", to=target, transform=how)
        assert len(model.weights) == 4
        model.predict(X, verbose=0)
    else:
        sy.tie(a, "kernel", to=c)
        with pytest.raises(SubstituteError, match="worked out from this one"):
            for layer in (a, b, c):
                layer.build((None, 3))


def test_a_layer_is_not_tied_to_itself():
    _, a, _, _ = three()
    with pytest.raises(SubstituteError, match="worked out from this one"):
        sy.tie(a, "kernel", to=a)
    assert type(a) is keras.layers.Dense


def test_tied_twice_is_refused_and_baked_is_free():
    _, a, _, c = three()
    sy.tie(c, "kernel", to=a)
    other = keras.layers.Dense(3)
    other.build((None, 5))
    with pytest.raises(SubstituteError, match=r"sy\.bake"):
        sy.tie(c, "kernel", to=other)
    np.testing.assert_array_equal(array(c.kernel), array(a.kernel))
    sy.tie(c, "kernel", to=a)  # as it is already
    sy.bake(c, "kernel")
    assert type(c) is keras.layers.Dense
    assert [v.name for v in c.weights] == ["kernel", "bias"]
    sy.tie(c, "kernel", to=other)
    np.testing.assert_array_equal(array(c.kernel), array(other.kernel))


def test_the_class_of_a_tied_layer_makes_plain_ones():
    _, a, _, c = three()
    sy.tie(c, "kernel", to=a)
    assert isinstance(c, keras.layers.Dense)
    assert type(type(c)(4)) is keras.layers.Dense


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (dict(to="b"), ShapeMismatchError, r"\(5, 3\).*\(3, 5\)"),
        (dict(to="a", transform="transpose"), ShapeMismatchError, r"\(5, 3\).*\(3, 5\)"),
        (dict(to="a", transform="T"), SubstituteError, "'transpose'"),
        (dict(to="a", weight="kernal"), UnknownAddressError, "kernel"),
        (dict(to=7), TargetError, "int"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_has_changed(arguments, error, says):
    model, a, b, c = three()
    before = [v.path for v in model.weights]
    layers = dict(a=a, b=b, c=c)
    arguments = {"weight": "kernel", **arguments}
    to = arguments.pop("to")
    with pytest.raises(error, match=says):
        sy.tie(c, arguments.pop("weight"), to=layers.get(to, to), **arguments)
    assert [v.path for v in model.weights] == before
    assert type(c) is keras.layers.Dense
    assert sy.references(model) == []


def test_a_shape_that_does_not_fit_is_said_when_the_owner_is_built():
    owner, reader = keras.layers.Dense(4, name="owner"), keras.layers.Dense(3, name="reader")
    sy.tie(reader, "kernel", to=owner)
    inputs = keras.Input((5,))
    reader(inputs)
    owner(inputs)
    with pytest.raises(ShapeMismatchError, match=r"\(5, 3\).*\(5, 4\)"):
        reader(X)


def test_not_while_the_model_trains():
    model, a, _, c = three()
    seen = []

    class Ties(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            with pytest.raises(SubstituteError, match="being trained"):
                sy.tie(c, "kernel", to=a)
            seen.append(batch)

    fit(model, callbacks=[Ties()])
    assert seen
    assert len(model.weights) == 6


# --- what else happens to a model -----------------------------------------------------------------


def test_by_addresses_in_a_model(tmp_path):
    model, _, _, _ = three()
    sy.tie(model, "c/kernel", to="a/kernel")
    for twin in (model, again(model, tmp_path)):
        twin.get_layer("a").kernel.assign(np.ones((5, 3)))
        np.testing.assert_array_equal(array(twin.get_layer("c").kernel), np.ones((5, 3)))


def test_the_addresses_of_a_tied_weight():
    model, a, b, c = three()
    sy.tie(c, "kernel", to=a)
    sy.tie(b, "kernel", to=sy.ref(a).T)
    weights = sy.weights(model)
    assert weights.addresses == ("a/kernel", "a/bias", "b/bias", "c/bias")
    assert weights.size == model.count_params()
    assert weights["c/kernel"].address == "a/kernel"
    np.testing.assert_array_equal(weights["b/kernel"].numpy(), array(a.kernel).T)
    assert weights.select("b/kernel").one().shape == (3, 5)
    weights["c/kernel"].assign(np.ones((5, 3)))
    np.testing.assert_array_equal(array(b.kernel), np.ones((3, 5)))
    assert [str(r) for r in sy.references(model)] == [
        "b borrows a/kernel (bound)",
        "c borrows a/kernel (bound)",
    ]


def test_lora_of_the_reader_is_its_own(tmp_path):
    model, a, _, c = three()
    sy.tie(c, "kernel", to=a)
    c.enable_lora(2)  # before anything is compiled
    for factor in (c.lora_kernel_a, c.lora_kernel_b):
        factor.assign(np.random.default_rng(3).normal(size=factor.shape))

    def wanted(model):
        a, c = model.get_layer("a"), model.get_layer("c")
        delta = array(c.lora_kernel_a) @ array(c.lora_kernel_b)
        return X @ (array(a.kernel) + delta) + array(c.bias)

    np.testing.assert_allclose(model.predict(X, verbose=0)[1], wanted(model), **CLOSE)
    assert a.kernel.trainable
    fit(model)
    np.testing.assert_allclose(model.predict(X, verbose=0)[1], wanted(model), **CLOSE)
    loaded = again(model, tmp_path)
    np.testing.assert_allclose(loaded.predict(X, verbose=0)[1], wanted(model), **CLOSE)
    loaded.get_layer("a").kernel.assign(np.ones((5, 3)))
    np.testing.assert_allclose(loaded.predict(X, verbose=0)[1], wanted(loaded), **CLOSE)


def test_lora_and_int8_of_the_owner_show_through(tmp_path):
    model, a, b, c = three()
    sy.tie(c, "kernel", to=a)
    sy.tie(b, "kernel", to=sy.ref(a).T)
    plain = [array(y) for y in model(X)]  # what is compiled before `enable_lora` misses it
    a.enable_lora(2)
    a.lora_kernel_b.assign(np.ones((2, 3)))
    value = sy.weights(model)["a/kernel"].numpy()
    np.testing.assert_allclose(model.predict(X, verbose=0)[1], X @ value + array(c.bias), **CLOSE)
    a.lora_kernel_b.assign(np.zeros((2, 3)))
    model.quantize("int8")
    assert c.quantization_mode is None
    got = model.predict(X, verbose=0)
    np.testing.assert_allclose(got[1], plain[1], atol=0.1)
    value = sy.weights(model)["a/kernel"].numpy()
    np.testing.assert_allclose(got[1], X @ value + array(c.bias), **CLOSE)
    np.testing.assert_allclose(again(model, tmp_path).predict(X, verbose=0)[1], got[1], **CLOSE)


def test_a_quantized_reader_is_refused():
    model, a, _, c = three()
    c.quantize("int8")
    was = model.predict(X, verbose=0)[1]
    with pytest.raises(SubstituteError, match="quantize then"):
        sy.tie(c, "kernel", to=a)
    np.testing.assert_array_equal(model.predict(X, verbose=0)[1], was)


def test_a_reader_saved_without_its_owner_keeps_the_value(tmp_path):
    model, a, b, _ = three()
    sy.tie(b, "kernel", to=sy.ref(a).T)
    code = keras.Input((3,))
    decoder = keras.Model(code, b(code))
    wanted = decoder.predict(X[:, :3], verbose=0)
    loaded = again(decoder, tmp_path)
    np.testing.assert_allclose(loaded.predict(X[:, :3], verbose=0), wanted, **CLOSE)
    twice = again(loaded, tmp_path)
    np.testing.assert_allclose(twice.predict(X[:, :3], verbose=0), wanted, **CLOSE)
    fit(twice, X[:, :3])
    assert model.count_params() == 15 + 3 + 5 + 18


def test_weights_of_an_untied_model_do_not_slip_in(tmp_path):
    plain, *_ = three()
    plain.save_weights(tmp_path / "plain.weights.h5")
    model, a, _, c = three()
    sy.tie(c, "kernel", to=a)
    model.save_weights(tmp_path / "tied.weights.h5")
    was = array(a.kernel)
    with pytest.raises(ValueError, match=r"stores only bias itself"):
        model.load_weights(tmp_path / "plain.weights.h5")
    a.kernel.assign(np.zeros((5, 3)))
    model.load_weights(tmp_path / "tied.weights.h5")
    np.testing.assert_array_equal(array(c.kernel), was)


@keras.saving.register_keras_serializable(package="test_tie")
class Untold(keras.layers.Layer):
    """Makes layers of which its config says nothing."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = keras.layers.Dense(5, name="one")
        self.two = keras.layers.Dense(5, name="two")

    def call(self, x):
        return self.two(self.one(x))


@pytest.mark.parametrize("deep", [False, True])
def test_inside_a_layer_that_says_nothing_of_its_parts(deep, tmp_path):
    inputs = keras.Input((5,))
    block = Untold(name="block")
    outputs = block(inputs)
    model = keras.Model(inputs, outputs)
    if deep:
        outer = keras.Input((5,))
        model = keras.Model(outer, model(outer))
    sy.tie(block.two, "kernel", to=block.one)
    fit(model)
    for twin in (again(model, tmp_path), copy.deepcopy(model)):
        np.testing.assert_allclose(twin.predict(X, verbose=0), model.predict(X, verbose=0), **CLOSE)
        assert len(twin.weights) == 3
    assert len(keras.models.clone_model(model).weights) == 3


def test_what_a_save_would_lose_is_refused(tmp_path):
    """The tie is older than the layer that hides it, so that nobody could be told."""

    class Hides(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden = HIDDEN

        def call(self, x):
            return self.hidden(x)

    owner, HIDDEN = keras.layers.Dense(5, name="owner"), keras.layers.Dense(5, name="hidden")
    sy.tie(HIDDEN, "kernel", to=owner)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, [owner(inputs), Hides()(inputs)])
    with pytest.raises(ValueError, match=r"the saved config would not say so"):
        model.save(tmp_path / "model.keras")
