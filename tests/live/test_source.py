import contextlib
import cProfile

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers

import steelyard as sy
from steelyard.errors import (
    QuantizationError,
    ShapeMismatchError,
    SteelyardError,
    UnknownAddressError,
)
from steelyard.live import LiveSource
from steelyard.source import EditableSource, WeightSource


@keras.saving.register_keras_serializable(package="test_source")
class Block(layers.Layer):
    """Sublayers and variables wherever a user may keep them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(3)
        self.rest = [layers.Dense(3), (layers.Dense(3), layers.Dense(3))]
        self.named = {"a": layers.Dense(3), "b/c": layers.Dense(3)}
        self._hidden = layers.Dense(3)

    def build(self, shape):
        self.alpha = self.add_weight(shape=())
        self.scales = [self.add_weight(shape=(3,)), self.add_weight(shape=(3,))]
        self.add_weight(shape=(1,), name="same")
        self.add_weight(shape=(2,), name="same", trainable=False)
        self.add_weight(shape=(3,), name="same")
        for layer in self.chain:
            layer.build(shape)

    @property
    def chain(self):
        return [self.first, self.rest[0], *self.rest[1], *self.named.values(), self._hidden]

    def call(self, x):
        for layer in self.chain:
            x = layer(x)
        return x * self.alpha


@keras.saving.register_keras_serializable(package="test_source")
class Wrap(layers.Wrapper):
    def build(self, shape=None):
        self.layer.build(shape)
        self.built = True

    def call(self, x):
        return self.layer(x)


def tower(name):
    inputs = keras.Input((3,))
    x = layers.Dense(3, name="proj")(inputs)
    x = Block(name="block")(x)
    return keras.Model(inputs, layers.Dense(3, name="out")(x), name=name)


def zoo(order=(0, 1)):
    """Every way of nesting in one model; `order` is that of building the two towers."""
    towers = {i: tower(f"tower_{i}") for i in order}
    x = inputs = keras.Input((4, 3), name="inputs")
    x = layers.TimeDistributed(towers[0], name="steps")(x)
    x = Wrap(layers.TimeDistributed(towers[1], name="inner"), name="wrap")(x)
    x = layers.Add(name="add")([x, layers.MultiHeadAttention(2, 3, name="attention")(x, x)])
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both")(x)
    cells = [layers.GRUCell(3), layers.LSTMCell(3)]
    x = layers.RNN(cells, return_sequences=True, name="stack")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.SeparableConv1D(4, 2, name="separable")(x)
    x = layers.SpectralNormalization(layers.Dense(3), name="spectral")(x)
    x = layers.Dropout(0.1, name="drop")(x)
    return keras.Model(inputs, x, name="zoo")


def sequential(*held, size=3):
    return keras.Sequential([keras.Input((size,)), *held])


def value(shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


# --- Addresses -----------------------------------------------------------------------------------


def test_each_weight_is_there_once():
    model = zoo()
    weights = sy.weights(model)
    assert len(set(weights.addresses)) == len(weights) == len(model.weights)
    assert {id(w.variable) for w in weights} == {id(v) for v in model.weights}
    assert weights.size == model.count_params()
    trainable = {id(w.variable) for w in weights if w.trainable}
    assert trainable == {id(v) for v in model.trainable_weights}


def test_an_address_is_the_way_there():
    model = zoo()
    weights = sy.weights(model)
    wrapped = model.get_layer("wrap").layer.layer
    both = model.get_layer("both")
    for address, variable in {
        "steps/layer/proj/kernel": model.get_layer("steps").layer.get_layer("proj").kernel,
        "wrap/layer/layer/proj/bias": wrapped.get_layer("proj").bias,
        "wrap/layer/layer/block/rest/1/0/kernel": wrapped.get_layer("block").rest[1][0].kernel,
        "steps/layer/block/named/b%2Fc/bias": model.layers[1]
        .layer.get_layer("block")
        .named["b/c"]
        .bias,
        "wrap/layer/layer/block/hidden/bias": wrapped.get_layer("block")._hidden.bias,
        "wrap/layer/layer/block/alpha": wrapped.get_layer("block").alpha,
        "wrap/layer/layer/block/scales/1": wrapped.get_layer("block").scales[1],
        "both/forward_layer/cell/kernel": both.forward_layer.cell.kernel,
        "both/backward_layer/cell/recurrent_kernel": both.backward_layer.cell.recurrent_kernel,
        "stack/cell/cells/1/bias": model.get_layer("stack").cell.cells[1].bias,
        "separable/pointwise_kernel": model.get_layer("separable").pointwise_kernel,
        "spectral/layer/kernel": model.get_layer("spectral").layer.kernel,
        "spectral/vector_u": model.get_layer("spectral").vector_u,
    }.items():
        assert weights[address].variable is variable, address
    assert weights.select("attention/*/kernel").addresses == tuple(
        f"attention/{part}/kernel" for part in ("query", "key", "value", "attention_output")
    )


def test_inner_names_may_repeat():
    def half(name):
        inputs = keras.Input((3,))
        return keras.Model(inputs, layers.Dense(3, name="proj")(inputs), name=name)

    def whole(first, second):
        halves = {name: half(name) for name in (first, second)}
        inputs = keras.Input((3,))
        return keras.Model(inputs, halves["b"](halves["a"](inputs)))

    expected = ("a/proj/kernel", "a/proj/bias", "b/proj/kernel", "b/proj/bias")
    assert sy.weights(whole("a", "b")).addresses == expected
    assert sy.weights(whole("b", "a")).addresses == expected


@pytest.mark.parametrize("frozen", [False, True])
def test_saving_and_loading_changes_no_address(tmp_path, frozen):
    model = zoo()
    if frozen:
        model.get_layer("steps").trainable = False
    before = sy.weights(model)
    model.save(tmp_path / "zoo.keras")
    loaded = keras.models.load_model(tmp_path / "zoo.keras")  # in a process that counted on
    after = sy.weights(loaded)
    assert after.addresses == before.addresses
    for weight in before:
        np.testing.assert_array_equal(after[weight.address].numpy(), weight.numpy())
    trainable = {id(w.variable) for w in after if w.trainable}
    assert trainable == {id(v) for v in loaded.trainable_weights}


def test_neither_the_order_of_building_nor_other_models_change_an_address():
    expected = sy.weights(zoo()).addresses
    tower("other")
    assert sy.weights(zoo(order=(1, 0))).addresses == expected
    assert sy.weights(keras.models.clone_model(zoo())).addresses == expected


def test_a_subclassed_model_comes_back_the_same(tmp_path):
    @keras.saving.register_keras_serializable(package="test_source")
    class Net(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.blocks = [Block(), Block()]
            self._head = layers.Dense(2)
            self.by_name = {"x": tower("x")}

        def call(self, inputs):
            for block in (*self.blocks, self.by_name["x"]):
                inputs = block(inputs)
            return self._head(inputs)

    net = Net()
    net(np.zeros((1, 3), "float32"))
    net.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    weights = sy.weights(net)
    assert {"blocks/1/rest/0/kernel", "head/bias", "by_name/x/proj/kernel"} <= set(
        weights.addresses
    )
    assert sy.weights(loaded).addresses == weights.addresses
    assert {id(w.variable) for w in weights} == {id(v) for v in net.weights}


def test_a_layers_addresses_start_at_it():
    model = zoo()
    inner = sy.weights(model.get_layer("steps").layer)
    assert inner.addresses[:2] == ("proj/kernel", "proj/bias")
    built = layers.Dense(2)
    built.build((None, 3))
    assert sy.weights(built).addresses == ("kernel", "bias")


def test_a_shared_layer_answers_to_each_address():
    shared = sequential(layers.Dense(3, name="proj"))

    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.left = [shared]
            self.right = shared
            self.deep = Wrap(Wrap(shared))

    model = Two()
    weights = sy.weights(model)
    assert weights.addresses == ("right/proj/kernel", "right/proj/bias")
    for address in ("left/0/proj/kernel", "deep/layer/layer/proj/kernel"):
        assert weights[address] == weights["right/proj/kernel"]
    assert len(weights.select("left/**")) == 2
    assert len(weights) == len(model.weights)


def test_layers_shared_within_shared_layers_answer_too():
    inner = sequential(layers.Dense(3, name="proj"))

    class Twice(layers.Layer):
        def __init__(self, layer):
            super().__init__()
            self.a = layer
            self.b = layer

    root = Twice(Twice(Twice(inner)))
    weights = sy.weights(root)
    assert len(weights) == 2
    for address in ("a/a/a", "b/b/b", "b/a/b", "a/b/a"):
        assert weights[f"{address}/proj/kernel"].address == "a/a/a/proj/kernel"


def test_many_ways_to_a_weight_are_not_all_listed():
    class Twice(layers.Layer):
        def __init__(self, layer):
            super().__init__()
            self.a, self.b = layer, layer

    layer = inner = layers.Dense(2)
    for _ in range(12):
        layer = Twice(layer)
    inner.build((None, 2))
    assert len(sy.weights(layer)["/".join("a" * 12) + "/kernel"].spec.aliases) == 31


def test_a_variable_in_two_layers_belongs_to_the_one_that_made_it():
    class Borrows(layers.Layer):
        def __init__(self, owner, **kwargs):
            super().__init__(**kwargs)
            self.kernel = owner.kernel

    owner = layers.Dense(3, name="owner")
    owner.build((None, 3))

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.borrower = Borrows(owner)
            self.owner = owner

    weights = sy.weights(Net())
    assert set(weights.addresses) == {"owner/kernel", "owner/bias"}
    assert weights["borrower/kernel"].address == "owner/kernel"


def test_layer_classes():
    weights = sy.weights(zoo())
    dense = weights.select(layer=layers.Dense)
    assert {w.layer for w in dense} == {"Dense"}
    assert {w.layer for w in weights.select(layer=Block)} == {"Block"}
    assert len(weights.select(layer="Block")) == len(weights.select(layer=Block)) == 12
    assert len(weights.select(layer=layers.Layer)) == len(weights)
    assert {w.layer for w in weights.select(layer=(layers.LSTMCell, "GRUCell"))} == {
        "LSTMCell",
        "GRUCell",
    }


def test_what_training_moves():
    model = sequential(layers.Dense(3, name="a"), layers.BatchNormalization(name="n"))
    assert sy.weights(model).select(trainable=False).addresses == (
        "n/moving_mean",
        "n/moving_variance",
    )
    model.layers[0].trainable = False
    assert not sy.weights(model)["a/kernel"].trainable
    assert sy.weights(model)["n/gamma"].trainable
    model.trainable = False
    assert not any(w.trainable for w in sy.weights(model))


def test_seeds_and_metrics_are_no_weights():
    model = sequential(layers.Dropout(0.5), layers.Dense(2, name="d"))
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(value((4, 3)), value((4, 2)), verbose=0)
    assert sy.weights(model).addresses == ("d/kernel", "d/bias")


# --- Values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "read_as"),
    [
        ("float64", "float64"),
        ("float32", "float32"),
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("float8_e4m3fn", "float32"),
        ("float8_e5m2", "float32"),
        ("int32", "int32"),
        ("int8", "int8"),
        ("uint8", "uint8"),
        ("bool", "bool"),
    ],
)
def test_dtypes(dtype, read_as):
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless a process asks for it before all else.")
    layer = layers.Layer()
    layer.w = layer.add_weight(
        shape=(2, 3),
        name="w",
        dtype=dtype,
        trainable=dtype.startswith(("float", "bfloat")),
        # TensorFlow's own ones come in no float8.
        initializer=lambda shape, dtype: keras.ops.cast(keras.ops.ones(shape, "float32"), dtype),
    )
    weight = sy.weights(layer)["w"]
    assert weight.dtype == dtype
    array = weight.numpy()
    assert (array.dtype.name, array.shape) == (read_as, (2, 3))
    np.testing.assert_array_equal(array.astype("float32"), np.ones((2, 3)))
    raw = weight.stored()["w"]
    known = dtype.startswith(("bfloat16", "float8"))
    assert raw.dtype == np.dtype(getattr(ml_dtypes, dtype) if known else dtype)
    assert weight.nbytes == raw.nbytes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_read_shares_nothing_with_the_model(dtype):
    layer = layers.Dense(2, dtype=dtype)
    layer.build((None, 3))
    weight = sy.weights(layer)["kernel"]
    before = weight.numpy()
    weight.numpy()[:] = 7
    weight.stored()["kernel"][:] = 7
    np.testing.assert_array_equal(weight.numpy(), before)


def test_reading_follows_the_model():
    model = sequential(layers.Dense(2, name="d"))
    weight = sy.weights(model)["d/kernel"]
    model.compile("sgd", "mse")
    before = weight.numpy()
    model.fit(value((4, 3)), value((4, 2)), verbose=0)
    assert not np.array_equal(weight.numpy(), before)
    model.layers[0].kernel.assign(np.ones((3, 2)))
    np.testing.assert_array_equal(weight.numpy(), np.ones((3, 2)))


def test_mixed_precision_reads_what_is_stored():
    layer = layers.Dense(2, dtype="mixed_float16")
    layer.build((None, 3))
    layer.kernel.assign(np.full((3, 2), 100_000.0))
    assert sy.weights(layer)["kernel"].dtype == "float32"
    assert sy.weights(layer)["kernel"].numpy().max() == 100_000


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantized_weight_shows_its_shape_and_values(mode):
    model = sequential(layers.Dense(7, name="d"), size=16)
    weight = sy.weights(model)["d/kernel"]
    before = weight.numpy()
    model.quantize(mode)
    np.testing.assert_allclose(weight.numpy(), before, atol=0.1)  # held since before
    weight = sy.weights(model)["d/kernel"]
    assert (weight.shape, weight.dtype, weight.size) == ((16, 7), "int8", 112)
    assert weight.numpy().shape == (16, 7)
    assert weight.numpy().dtype == "float32"
    stored = weight.stored()
    assert stored["kernel"].dtype == "int8"
    assert weight.nbytes == stored["kernel"].nbytes == (112 if mode == "int8" else 64)
    assert "kernel_scale" in stored
    assert "d/kernel_scale" in sy.weights(model)
    with pytest.raises(QuantizationError, match=f"int8 codes .{mode}.*before `quantize`"):
        weight.assign(before)


# --- Assigning -----------------------------------------------------------------------------------


def test_assigning_a_plain_weight():
    model = zoo()
    for address in ("steps/layer/proj/kernel", "both/forward_layer/cell/bias", "norm/gamma"):
        weight = sy.weights(model)[address]
        new = value(weight.shape)
        weight.assign(new)
        np.testing.assert_array_equal(weight.numpy(), new)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight.variable), new)
    weight.assign(keras.ops.ones(weight.shape))
    weight.assign([2.0] * 3)
    np.testing.assert_array_equal(weight.numpy(), [2, 2, 2])
    scalar = sy.weights(model)["steps/layer/block/alpha"]
    scalar.assign(3)
    assert scalar.numpy() == 3


@pytest.mark.parametrize(
    ("layer", "name", "shape"),
    [
        (lambda: layers.Dense(5), "kernel", (None, 4)),
        (lambda: layers.EinsumDense("ab,bc->ac", output_shape=5), "kernel", (None, 4)),
        (lambda: layers.Embedding(9, 4), "embeddings", (None,)),
        (lambda: layers.Conv2D(3, 2), "kernel", (None, 8, 8, 4)),
    ],
    ids=["Dense", "EinsumDense", "Embedding", "Conv2D"],
)
def test_assigning_under_lora_moves_the_base(layer, name, shape):
    layer = layer()
    layer.build(shape)
    layer.enable_lora(2, lora_alpha=3)
    weights = sy.weights(layer)
    factors = [weights[f"lora_{name}_{factor}"] for factor in "ab"]
    for factor in factors:
        factor.assign(value(factor.shape))
    before = [factor.numpy() for factor in factors]
    weight = weights[name]
    assert weight.address == name
    base = keras.ops.convert_to_numpy(weight.variable)
    np.testing.assert_allclose(
        weight.numpy(), base + 1.5 * (before[0] @ before[1]), rtol=1e-5, atol=1e-6
    )
    assert set(weight.stored()) == {name, f"lora_{name}_a", f"lora_{name}_b"}
    new = value(weight.shape)
    weight.assign(new)
    np.testing.assert_allclose(weight.numpy(), new, atol=1e-5)
    assert not np.allclose(keras.ops.convert_to_numpy(weight.variable), new)
    for factor, array in zip(factors, before, strict=True):
        np.testing.assert_array_equal(factor.numpy(), array)


@pytest.mark.parametrize("shape", [(4, 2), (2, 3), (), (1, 3, 2)])
def test_another_shape_is_refused(shape):
    layer = layers.Dense(2)
    layer.build((None, 3))
    weight = sy.weights(layer)["kernel"]
    before = weight.numpy()
    with pytest.raises(ShapeMismatchError) as caught:
        weight.assign(np.zeros(shape))
    assert "'kernel' has the shape (3, 2)" in str(caught.value)
    assert f"shape {shape}" in str(caught.value)
    np.testing.assert_array_equal(weight.numpy(), before)


def test_what_a_layer_works_out_in_its_own_way_is_not_guessed():
    class Positive(layers.Layer):
        def build(self, shape=None):
            self._gain = self.add_weight(shape=(3,), name="gain", initializer="ones")

        @property
        def gain(self):
            return keras.ops.exp(self._gain)

    layer = Positive()
    layer.build()
    weight = sy.weights(layer)["gain"]
    with pytest.raises(SteelyardError, match=r"weight\.variable\.assign"):
        weight.assign(np.zeros(3))
    weight.variable.assign(np.zeros(3))
    np.testing.assert_array_equal(weight.numpy(), np.ones(3))


# --- The source itself ---------------------------------------------------------------------------


def test_it_keeps_the_protocol():
    layer = layers.Dense(2)
    layer.build((None, 3))
    source = LiveSource(layer)
    assert isinstance(source, WeightSource)
    assert isinstance(source, EditableSource)
    assert source.read("kernel").shape == (3, 2)  # without a listing first
    with pytest.raises(UnknownAddressError, match="Did you mean 'kernel'"):
        source.read("kernle")


def test_a_weight_that_comes_later_is_found():
    layer = layers.Dense(2)
    layer.build((None, 3))
    source = LiveSource(layer)
    source.specs()
    layer.enable_lora(1)
    assert source.read("lora_kernel_a").shape == (3, 1)


def test_the_work_of_listing_is_linear():
    def calls(count):
        holder = layers.Layer()
        holder.blocks = [layers.Dense(2) for _ in range(count)]
        for block in holder.blocks:
            block.build((None, 2))
        profile = cProfile.Profile()
        weights = profile.runcall(sy.weights, holder)
        assert len(weights) == 2 * count
        return sum(row.callcount for row in profile.getstats())

    assert calls(500) < 11 * calls(50)


def quantized(mode):
    yield sequential(layers.Dense(7, name="w"), size=16), "w/kernel"
    yield sequential(layers.Dense(1, name="w"), size=5), "w/kernel"
    einsum = layers.EinsumDense("abc,cde->abde", output_shape=(None, 3, 5), name="w")
    yield keras.Sequential([keras.Input((4, 6)), einsum]), "w/kernel"
    yield keras.Sequential([keras.Input((4,)), layers.Embedding(9, 5, name="w")]), "w/embeddings"
    attention = layers.MultiHeadAttention(2, 3, name="w")
    x = keras.Input((4, 6))
    yield keras.Model(x, attention(x, x)), "w/attention_output/kernel"


@pytest.mark.in_turn
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
@pytest.mark.parametrize("which", range(5))
def test_the_listed_shape_is_that_of_the_value(mode, which):
    model, address = list(quantized(mode))[which]
    shape = sy.weights(model)[address].shape
    with contextlib.suppress(NotImplementedError):
        model.quantize(mode)
    for weight in sy.weights(model):
        assert weight.shape == weight.numpy().shape
    assert sy.weights(model)[address].shape == shape


def test_codes_that_wait_for_their_calibration_have_the_shape_of_the_float_weight():
    layer = layers.Dense(7)
    layer.build((None, 16))
    layer.quantize("gptq", config=keras.quantizers.GPTQConfig(dataset=[], tokenizer=None))
    weights = sy.weights(layer)
    for weight in weights:
        assert weight.shape == weight.numpy().shape
    assert weights["kernel"].dtype == "float32"
    assert weights["quantized_kernel"].dtype == "uint8"
    assert weights["quantized_kernel"].shape == (16, 7)


def test_who_borrows_which_is_told_to_a_notebook():
    body = layers.Dense(4, name="body")
    decoder = sy.layers.TiedDense(body, name="decoder")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, decoder(body(inputs)))
    (link,) = sy.weights(model).source.links()
    assert (link.holder, link.target, link.is_bound) == ("decoder", "body/kernel", True)
    shown = sy.weights(model)._repr_html_()
    assert "<summary><b>decoder</b>" in shown and "<i>borrows</i> <a href=" in shown
    assert sy.weights(body).source.links() == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_view_is_what_is_read(dtype):
    layer = layers.Dense(3, dtype=dtype)
    layer.build((None, 4))
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones((2, 3)))
    source = LiveSource(layer)
    source.specs()
    for address in ("kernel", "bias", "lora_kernel_a"):
        seen, read = source.view(address), source.read(address)
        assert seen.dtype == read.dtype and np.array_equal(seen, read)
    before = np.array(source.view("bias"))
    layer.bias.assign(np.ones(3))
    assert not np.array_equal(source.view("bias"), before)
