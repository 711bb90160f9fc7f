"""References: what they take, what they give, how they are written, and what they refuse."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy
from steelyard import errors

CLOSE = dict(rtol=1e-5, atol=1e-6)
X = np.ones((2, 4), "float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def dense(name="proj", units=3):
    layer = keras.layers.Dense(units, name=name)
    layer.build((None, 4))
    layer.kernel.assign(np.arange(4.0 * units).reshape(4, units))
    return layer


# --- What it takes --------------------------------------------------------------------------------


def targets():
    layer = keras.layers.Dense(3, name="proj")
    output = layer(keras.Input((4,)))
    yield "layer", layer, layer
    yield "output", output, layer
    yield "reference", sy.ref(layer), layer


@pytest.mark.parametrize("kind", ["layer", "output", "reference"])
def test_takes(kind):
    (target, layer), *_ = [(t, layer) for name, t, layer in targets() if name == kind]
    reference = sy.ref(target)
    assert reference.layer is layer
    np.testing.assert_array_equal(array(reference()), array(layer.kernel))


def test_takes_a_variable():
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="proj")
    model = keras.Model(inputs, layer(inputs))
    for variable, name in ((layer.bias, "proj/bias"), (layer.kernel, "proj/kernel")):
        reference = sy.ref(variable)
        assert reference.shape == tuple(variable.shape)
        np.testing.assert_array_equal(array(reference()), array(variable))
        holder = sy.layers.WeightAnalyzer(reference, "max_abs")
        holder(inputs)
        sy.bind(keras.Model(inputs, [holder(inputs), model(inputs)]))
        assert holder.weight.address.endswith(name)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (3, "int"),
        (None, "NoneType"),
        (keras.layers.Dense, "class Dense itself"),
        (np.zeros(3), "ndarray"),
        ([], "list"),
        ("", "str"),
    ],
)
def test_refuses_what_holds_no_weight(target, said):
    with pytest.raises(errors.TargetError, match=said) as caught:
        sy.ref(target)
    assert "a layer" in str(caught.value), "it says what it takes"


def test_refuses_a_tensor_that_no_layer_made():
    with pytest.raises(errors.TargetError, match="no weights"):
        sy.ref(keras.Input((4,)) * 2.0)


@pytest.mark.parametrize("weight", ["", None, 3])
def test_refuses_a_weight_that_is_no_name(weight):
    with pytest.raises(errors.TargetError, match="weight"):
        sy.ref(dense(), weight)


def test_an_input_layer_holds_no_weights():
    with pytest.raises(sy.SteelyardError, match="input"):
        sy.ref(keras.Input((4,), name="input"))()


# --- Which weight ---------------------------------------------------------------------------------


def test_an_unknown_weight_names_the_nearest():
    with pytest.raises(errors.UnknownAddressError, match="'kernel'") as caught:
        sy.ref(dense(), "kernal")()
    assert "proj" in str(caught.value)


def test_an_unbuilt_owner_is_named():
    with pytest.raises(errors.UnbuiltOwnerError, match=r"'later'.*not\s+built"):
        sy.ref(keras.layers.Dense(3, name="later"))()


def test_an_ambiguous_name_lists_them():
    heads = keras.layers.MultiHeadAttention(2, 2, name="heads")
    heads.build((None, 3, 4), (None, 3, 4))
    with pytest.raises(errors.AmbiguousAddressError, match="query/kernel") as caught:
        sy.ref(heads, "kernel")()
    assert "value/kernel" in str(caught.value)
    assert sy.ref(heads, "query/kernel").shape == (4, 2, 2)


@pytest.mark.parametrize(
    ("layer", "shape", "weight", "attribute"),
    [
        (lambda: keras.layers.LSTM(3), (None, 5, 2), "recurrent_kernel", "cell.recurrent_kernel"),
        (lambda: keras.layers.LSTM(3), (None, 5, 2), "kernel", "cell.kernel"),
        (lambda: keras.layers.LSTM(3), (None, 5, 2), "cell/kernel", "cell.kernel"),
        (
            lambda: keras.layers.Bidirectional(keras.layers.GRU(3, name="gru")),
            (None, 5, 2),
            "forward_layer/cell/kernel",
            "forward_layer.cell.kernel",
        ),
        (
            lambda: keras.layers.TimeDistributed(keras.layers.Dense(3)),
            (None, 5, 2),
            "layer/kernel",
            "layer.kernel",
        ),
        (
            lambda: keras.layers.SeparableConv2D(3, 2),
            (None, 5, 5, 2),
            "pointwise_kernel",
            "pointwise_kernel",
        ),
        (
            lambda: keras.layers.BatchNormalization(),
            (None, 4),
            "moving_mean",
            "moving_mean",
        ),
    ],
)
def test_a_deep_weight(layer, shape, weight, attribute):
    layer = layer()
    layer.build(shape)
    variable = layer
    for name in attribute.split("."):
        variable = getattr(variable, name)
    reference = sy.ref(layer, weight)
    assert reference.shape == tuple(variable.shape)
    np.testing.assert_array_equal(array(reference()), array(variable))


# --- What it gives --------------------------------------------------------------------------------


def test_reads_the_live_value():
    layer = dense()
    reference = sy.ref(layer, "bias")
    layer.bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(array(reference()), [1.0, 2.0, 3.0])
    layer.bias.assign([4.0, 5.0, 6.0])
    np.testing.assert_array_equal(array(reference()), [4.0, 5.0, 6.0])


def test_what_was_read_does_not_change_later():
    layer = dense()
    was = sy.ref(layer)()
    copied = array(was)
    layer.kernel.assign(array(layer.kernel) + 1)
    np.testing.assert_array_equal(array(was), copied)


def test_stored_is_the_variable_itself():
    layer = dense()
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones((2, 3)))
    np.testing.assert_array_equal(array(sy.ref(layer, stored=True)()), array(layer._kernel))
    assert np.abs(array(sy.ref(layer)()) - array(layer._kernel)).max() > 1e-3


def test_stored_codes():
    layer = dense()
    value = array(sy.ref(layer)())
    layer.quantize("int8")
    codes = sy.ref(layer, stored=True)
    assert codes.dtype == "int8"
    assert array(codes()).dtype == "int8"
    assert sy.ref(layer).dtype == "float32"
    np.testing.assert_allclose(array(sy.ref(layer)()), value, atol=0.1)


def gradient_reaches(stop_gradient):
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="proj")
    analyzer = sy.layers.WeightAnalyzer(sy.ref(layer, stop_gradient=stop_gradient))
    other = keras.layers.Dense(1)(inputs)  # so that there is something to train in any case
    model = keras.Model(inputs, [analyzer(inputs), other, layer(inputs)])
    was = array(layer.kernel)
    model.compile(keras.optimizers.SGD(0.1), ["mse", "mse", None])
    model.fit(X, [np.zeros((2, 1)), np.zeros((2, 1)), np.zeros((2, 3))], verbose=0)
    return bool(np.abs(array(layer.kernel) - was).max() > 1e-4)


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_stop_gradient(stop_gradient):
    assert gradient_reaches(stop_gradient) is not stop_gradient


def test_stop_gradient_may_read_from_outside_the_model():
    owner = dense("elsewhere")
    inputs = keras.Input((4,))
    number = sy.layers.WeightAnalyzer(sy.ref(owner, stop_gradient=True))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs) * number)
    model.compile("sgd", "mse")
    was = array(owner.kernel)
    model.fit(X, np.zeros((2, 1)), verbose=0)
    np.testing.assert_array_equal(array(owner.kernel), was)


def test_in_its_own_dtype_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((4,))
        layer = keras.layers.Dense(3, name="proj")
        seen = []

        class Reader(sy.layers.Borrower):
            def __init__(self, of, **kwargs):
                super().__init__(**kwargs)
                self.of = self.borrow(of)

            def call(self, x):
                seen.append(keras.backend.standardize_dtype(self.of().dtype))
                return x

        keras.Model(inputs, Reader(layer)(layer(inputs)))(X)
    finally:
        keras.config.set_dtype_policy("float32")
    assert set(seen) == {"float32"}


# --- Outside its model ----------------------------------------------------------------------------


def outside(**kwargs):
    inputs = keras.Input((4,), name="inputs")
    owner = dense("elsewhere")
    number = sy.layers.WeightAnalyzer(owner, **kwargs)(inputs)
    return owner, keras.Model(inputs, keras.layers.Dense(1)(inputs) * number, name="reader")


def test_the_owner_is_in_another_model():
    inputs = keras.Input((4,))
    owner = keras.layers.Dense(3, name="elsewhere")
    keras.Model(inputs, owner(inputs))
    other = keras.Input((4,))
    model = keras.Model(other, sy.layers.WeightAnalyzer(owner)(other), name="reader")
    wanted = np.sqrt(np.sum(np.square(array(owner.kernel))))
    np.testing.assert_allclose(model.predict(X, verbose=0), [[wanted]] * 2, **CLOSE)
    model.compile("sgd", "mse")
    with pytest.raises(errors.ForeignOwnerError, match=r"'reader'.*'elsewhere'"):
        model.fit(X, np.zeros((2, 1)), verbose=0)


def test_read_from_outside_it_is_still_live():
    owner, model = outside(metrics="max_abs")
    before = model.predict(X, verbose=0)
    owner.kernel.assign(2 * array(owner.kernel))
    np.testing.assert_allclose(model.predict(X, verbose=0), 2 * before, **CLOSE)


def test_outside_any_model_an_address_is_not_found():
    reference = sy.ref("proj/kernel")
    assert not reference.is_bound
    assert reference.layer is None
    with pytest.raises(errors.UnboundReferenceError, match="proj/kernel"):
        reference()
    with pytest.raises(errors.UnboundReferenceError, match="bind"):
        _ = reference.shape


def test_an_unknown_address_names_the_nearest():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="projection")(inputs)
    model = keras.Model(inputs, sy.layers.WeightAnalyzer("projecton/kernel")(hidden))
    with pytest.raises(errors.AddressError, match="projection/kernel"):
        model(X)


# --- Views ----------------------------------------------------------------------------------------

VIEWS = {
    "[0]": lambda r: r[0],
    "[-1]": lambda r: r[-1],
    "[:, 1]": lambda r: r[:, 1],
    "[1:3]": lambda r: r[1:3],
    "[:, :2]": lambda r: r[:, :2],
    "[::2]": lambda r: r[::2],
    "[::-1]": lambda r: r[::-1],
    "[..., 0]": lambda r: r[..., 0],
    "[:, None]": lambda r: r[:, None],
    "[[0, 2]]": lambda r: r[[0, 2]],
    ".T": lambda r: r.T,
    ".T[:2]": lambda r: r.T[:2],
    "[:, :2].T": lambda r: r[:, :2].T,
    "[1:][0]": lambda r: r[1:][0],
    "[np.int64(1)]": lambda r: r[np.int64(1)],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_is_what_numpy_gives(view):
    layer = dense()
    seen = view(sy.ref(layer))
    wanted = view(array(layer.kernel))
    assert seen.shape == wanted.shape
    np.testing.assert_array_equal(array(seen()), wanted)
    layer.kernel.assign(10 + array(layer.kernel))
    np.testing.assert_array_equal(array(seen()), wanted + 10)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_is_written_and_read_back(view):
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="proj")
    hidden = layer(inputs)
    analyzer = sy.layers.WeightAnalyzer(view(sy.ref(layer)), metrics=["l2_norm", "max"])
    model = keras.Model(inputs, analyzer(hidden))
    twin = keras.models.model_from_json(json.dumps(json.loads(model.to_json())))
    twin.get_layer("proj").kernel.assign(np.arange(12.0).reshape(4, 3))
    wanted = view(np.arange(12.0).reshape(4, 3))
    row = [np.sqrt(np.sum(wanted**2)), wanted.max()]
    np.testing.assert_allclose(twin.predict(X, verbose=0), [row] * 2, **CLOSE)


def test_a_view_trains_its_part():
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="proj")
    analyzer = sy.layers.WeightAnalyzer(sy.ref(layer)[:, :1])
    model = keras.Model(inputs, analyzer(layer(inputs)))
    was = array(layer.kernel)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, np.zeros((2, 1)), verbose=0)
    moved = np.abs(array(layer.kernel) - was).max(axis=0)
    assert moved[0] > 1e-3
    np.testing.assert_array_equal(moved[1:], 0)


@pytest.mark.parametrize("index", ["a", 1.5, True, {}])
def test_refuses_an_index_that_is_none(index):
    with pytest.raises(errors.TargetError, match="indexed"):
        sy.ref(dense())[index]


def test_refuses_an_index_beyond_the_shape():
    seen = sy.ref(dense())[7]
    with pytest.raises(sy.SteelyardError, match=r"\(4, 3\)"):
        _ = seen.shape
    with pytest.raises(sy.SteelyardError, match=r"\(4, 3\)"):
        seen()


def test_a_reference_is_no_sequence():
    with pytest.raises(TypeError):
        iter(sy.ref(dense()))


# --- What it says of itself -----------------------------------------------------------------------


def test_says_what_it_is():
    layer = dense()
    reference = sy.ref(layer)
    assert reference.shape == (4, 3)
    assert reference.dtype == "float32"
    assert reference.address == "proj/kernel"
    assert reference.layer is layer
    assert reference.is_bound
    text = repr(reference)
    for part in ("proj/kernel", "(4, 3)", "float32", "bound"):
        assert part in text


def test_says_what_is_wrong_with_it():
    assert "not bound" in repr(sy.ref("proj/kernel"))
    assert "not built" in repr(sy.ref(keras.layers.Dense(3, name="later")))


@pytest.mark.parametrize(
    ("reference", "part"),
    [
        (lambda r: r[:, :3], "[:, :3]"),
        (lambda r: r.T[0], ".T[0]"),
        (lambda r: sy.ref(r.layer, stored=True), "stored"),
        (lambda r: sy.ref(r.layer, stop_gradient=True), "stop_gradient"),
    ],
)
def test_says_how_it_reads(reference, part):
    assert part in repr(reference(sy.ref(dense())))


# --- Written and read back ------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class Plain(keras.layers.Layer):
    """A plain Keras layer that is handed a reference, and hands it to Keras in its config."""

    def __init__(self, of, **kwargs):
        super().__init__(**kwargs)
        self.of = sy.ref(of)

    def call(self, x):
        return x * ops.sum(self.of())

    def get_config(self):
        return {**super().get_config(), "of": self.of}


def plain():
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(4, name="proj")
    return keras.Model(inputs, Plain(sy.ref(layer))(layer(inputs)))


def through(model, way, folder):
    if way == "load":
        model.save(folder / "model.keras")
        return keras.models.load_model(folder / "model.keras")
    if way == "clone":
        return keras.models.clone_model(model)
    if way == "config":
        return keras.Model.from_config(model.get_config())
    if way == "json":
        return keras.models.model_from_json(model.to_json())
    return copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("way", ["load", "clone", "config", "json", "deepcopy", "pickle"])
def test_in_the_config_of_a_plain_layer(way, tmp_path):
    model = plain()
    twin = through(model, way, tmp_path)
    original, own = model.get_layer("proj"), twin.get_layer("proj")
    was = array(original.kernel)
    own.bias.assign(np.ones(4))
    own.kernel.assign(np.eye(4))
    np.testing.assert_allclose(twin.predict(X, verbose=0), np.full((2, 4), 2 * 4.0), **CLOSE)
    np.testing.assert_array_equal(array(original.kernel), was)


def test_a_config_is_json():
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="proj")
    analyzer = sy.layers.WeightAnalyzer(sy.ref(layer, "bias", stop_gradient=True)[1:])
    keras.Model(inputs, analyzer(layer(inputs)))
    config = analyzer.get_config()
    assert json.loads(json.dumps(config)) == config


def test_flags_are_written(tmp_path):
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="proj")
    watch = sy.ref(layer, stored=True, stop_gradient=True)
    analyzer = sy.layers.WeightAnalyzer(watch, name="watch")
    model = keras.Model(inputs, [analyzer(inputs), layer(inputs)])
    model.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    text = repr(twin.get_layer("watch").weight)
    assert "stored" in text and "stop_gradient" in text


def test_another_shape_than_was_saved_says_both():
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="proj")
    model = keras.Model(inputs, sy.layers.WeightAnalyzer(layer)(layer(inputs)))
    config = json.loads(model.to_json())
    for described in config["config"]["layers"]:
        if described["class_name"] == "Dense":
            described["config"]["units"] = 5
    twin = None
    with pytest.raises(errors.ShapeMismatchError, match=r"\(4, 5\).*\(4, 3\)"):
        twin = keras.models.model_from_json(json.dumps(config))
        twin(X)


def test_a_notebook_shows_what_a_reference_is():
    layer = keras.layers.Dense(2, name="proj")
    layer.build((None, 3))
    shown = sy.ref(layer).T._repr_html_()
    assert shown.startswith("<table") and "(2, 3)" in shown and ">bound<" in shown
    assert "unreadable" in sy.ref("a<b/kernel")._repr_html_()
    assert "a&lt;b/kernel" in sy.ref("a<b/kernel")._repr_html_()
