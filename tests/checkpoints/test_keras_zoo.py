"""Models that Keras saves: the file lists the same weights as the live model does."""

import zipfile

import keras
import numpy as np
import pytest
from keras import layers as L

import steelyard as sy
from steelyard.checkpoints._keras_files import open_hdf5_checkpoint

# What Keras writes is the same on each backend.
pytestmark = pytest.mark.in_turn


def _functional():
    x = keras.Input((8,))
    y = L.Dense(6, activation="relu", name="first")(x)
    y = L.Dense(6, use_bias=False)(y)
    y = L.BatchNormalization(scale=False)(y) + y
    return keras.Model(x, L.Dense(3)(keras.ops.relu(y)))


def _sequential():
    return keras.Sequential(
        [keras.Input((8,)), *[L.Dense(4) for _ in range(12)], L.LayerNormalization()]
    )


def _nested():
    x = keras.Input((8,))
    inner = keras.Sequential([L.Dense(5), L.Dense(4, trainable=False)], name="inner")
    z = keras.Input((4,))
    deep = keras.Model(z, keras.Sequential([L.Dense(2)], name="deepest")(z), name="deep")
    return keras.Model(x, deep(inner(x)))


def _attention():
    x = keras.Input((5, 8))
    y = L.MultiHeadAttention(2, 3, name="mha")(x, x)
    y = L.GroupQueryAttention(3, 4, 2, use_bias=False)(y, y)
    y = L.Attention(use_scale=True, score_mode="concat")([y, y])
    return keras.Model(x, L.AdditiveAttention()([y, y]))


def _recurrent():
    x = keras.Input((5, 4))
    y = L.Bidirectional(L.LSTM(3, return_sequences=True))(x)
    y = L.Bidirectional(
        L.GRU(3, return_sequences=True),
        backward_layer=L.GRU(3, return_sequences=True, go_backwards=True, use_bias=False),
    )(y)
    y = L.TimeDistributed(L.Dense(4, use_bias=False))(y)
    y = L.SimpleRNN(3, return_sequences=True, use_bias=False)(y)
    y = L.RNN([L.LSTMCell(2), L.GRUCell(3), L.LSTMCell(4)], return_sequences=True)(y)
    return keras.Model(x, L.GRU(2, reset_after=False)(y))


def _convolutions():
    x = keras.Input((12, 12, 3))
    y = L.Conv2D(4, 3)(x)
    y = L.DepthwiseConv2D(3, use_bias=False)(y)
    y = L.SeparableConv2D(4, 3)(y)
    y = L.GroupNormalization(2)(L.PReLU()(y))
    y = L.Conv2DTranspose(2, 3)(y)
    y = L.Reshape((-1, 4))(y)
    y = L.SeparableConv1D(3, 2)(L.DepthwiseConv1D(2)(L.Conv1D(4, 2)(y)))
    return keras.Model(x, L.RMSNormalization()(L.Conv1DTranspose(3, 2)(y)))


def _volumes():
    x = keras.Input((3, 8, 8, 8))
    y = L.Conv3DTranspose(2, 2)(L.Conv3D(4, 2)(x))
    return keras.Model(x, L.ConvLSTM2D(3, 2)(y))


def _tables():
    x = keras.Input((5,))
    y = L.Embedding(11, 6)(x)
    y = L.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d")(y)
    return keras.Model(x, L.Dropout(0.1)(L.Dense(3)(y)))


def _lora():
    model = keras.Sequential(
        [keras.Input((8,)), L.Dense(6), L.EinsumDense("ab,bc->ac", 5, bias_axes="c")]
    )
    for layer in model.layers:
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    return model


def _quantized(mode):
    def build():
        x = keras.Input((5,))
        y = L.Embedding(11, 8)(x)
        y = L.Dense(6)(L.Dense(7, use_bias=False)(y))
        y = L.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes="de")(y)
        model = keras.Model(x, y)
        model.quantize(mode)
        return model

    return build


def _attention_in(mode):
    def build():
        x = keras.Input((5, 8))
        y = L.MultiHeadAttention(2, 3, value_dim=4, name="mha")(x, x)
        model = keras.Model(x, L.GroupQueryAttention(3, 4, 2, use_bias=False)(y, y))
        model.quantize(mode)
        return model

    return build


def _lora_and_codes():
    model = keras.Sequential([keras.Input((8,)), L.Dense(6), L.Dense(5)])
    model.layers[0].enable_lora(2)
    model.quantize("int8")
    return model


def _reversible():
    x = keras.Input((5,))
    table = L.ReversibleEmbedding(11, 6, tie_weights=False)
    model = keras.Model(x, table(table(x), reverse=True))
    model.quantize("int8")
    return model


def _frozen():
    model = _functional()
    model.layers[1].trainable = False
    return model


def _all_frozen():
    model = _nested()
    model.trainable = False
    return model


def _half():
    x = keras.Input((8,), dtype="bfloat16")
    return keras.Model(x, L.Dense(3, dtype="bfloat16")(L.Dense(4, dtype="float16")(x)))


def _fitted():
    model = _functional()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.zeros((4, 8)), np.zeros((4, 3)), verbose=0)
    return model


ZOO = {
    "functional": _functional,
    "sequential": _sequential,
    "nested": _nested,
    "attention": _attention,
    "recurrent": _recurrent,
    "convolutions": _convolutions,
    "volumes": _volumes,
    "tables": _tables,
    "lora": _lora,
    "int8": _quantized("int8"),
    "int4": _quantized("int4"),
    "float8": _quantized("float8"),
    "attention in int8": _attention_in("int8"),
    "attention in int4": _attention_in("int4"),
    "lora and codes": _lora_and_codes,
    "reversible": _reversible,
    "frozen": _frozen,
    "all frozen": _all_frozen,
    "half": _half,
    "fitted": _fitted,
}


class Tower(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = L.Dense(4)
        self.blocks = [L.Dense(4) for _ in range(11)]
        self.att = L.MultiHeadAttention(2, 3)
        self._hidden = L.Dense(4, name="chosen")
        self.body = keras.Sequential([L.Dense(3), L.BatchNormalization()])
        self.drop = L.Dropout(0.1)

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.drop(self.body(self._hidden(self.att(x, x))))


class Scaled(L.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")
        self.inner = L.Dense(3)
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x * self.scale)


def _randomized(model):
    rng = np.random.default_rng(1)
    for variable in model.weights:
        helps = any(part in variable.name for part in ("scale", "g_idx", "amax"))
        if keras.backend.is_float_dtype(variable.dtype) and not helps:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def _same(source, live, certain=True):
    """Each weight of the live model is in the file, with the same value; LoRA's are merged."""
    wanted = {w.address: w for w in live if "lora_" not in w.address}
    specs = {spec.address: spec for spec in source.specs()}
    assert list(specs) == list(wanted)
    for address, weight in wanted.items():
        spec, live_spec = specs[address], weight.spec
        assert (spec.shape, spec.dtype) == (live_spec.shape, live_spec.dtype), address
        assert spec.stored_shape == live_spec.stored_shape, address
        assert spec.trainable == live_spec.trainable, address
        if certain:
            assert source.naming[address] == "exact", address
            assert (spec.layer, spec.axes) == (live_spec.layer, live_spec.axes), address
        found = source.read(address)
        assert found.dtype == weight.numpy().dtype, address
        np.testing.assert_allclose(found, weight.numpy(), rtol=1e-6, atol=1e-7, err_msg=address)


@pytest.mark.parametrize("kind", ZOO)
def test_file_lists_what_the_model_has(kind, tmp_path):
    model = _randomized(ZOO[kind]()) if kind != "lora and codes" else ZOO[kind]()
    model.save(tmp_path / "x.keras")
    source = open_hdf5_checkpoint(tmp_path / "x.keras")
    _same(source, sy.weights(model))
    assert source.findings == ()
    assert source.note == ""
    source.close()


def test_subclassed_model_has_the_addresses_of_its_attributes(tmp_path):
    model = Tower()
    model(np.zeros((1, 2, 5)))
    _randomized(model)
    model.save(tmp_path / "x.keras")
    source = open_hdf5_checkpoint(tmp_path / "x.keras")
    wanted = {w.address: w for w in sy.weights(model)}
    # In the alphabet `stem` and `_hidden` come after Keras's own `layers`: their names are lost.
    lost = {"dense/kernel", "dense/bias", "chosen/kernel", "chosen/bias"}
    inferred = {address for address, naming in source.naming.items() if naming == "inferred"}
    assert source.naming.keys() - inferred == lost
    assert inferred == {address for address in wanted if not address.startswith(("stem", "chosen"))}
    assert "inferred and 4 unknown" in source.note
    for address in inferred:
        np.testing.assert_array_equal(source.read(address), wanted[address].numpy())


def test_what_nothing_says_is_said_to_be_unknown(tmp_path):
    x = keras.Input((4,))
    model = keras.Model(x, Scaled(name="mine")(x))
    model.save(tmp_path / "x.keras")
    source = open_hdf5_checkpoint(tmp_path / "x.keras")
    assert source.naming == {
        "mine/vars/0": "unknown",
        "mine/inner/kernel": "inferred",
        "mine/inner/bias": "inferred",
    }
    assert source.stored_path["mine/vars/0"] == "layers/scaled/vars/0"
    assert source.specs()[0].layer == "Scaled"
    np.testing.assert_array_equal(
        source.read("mine/vars/0"), sy.weights(model)["mine/scale"].numpy()
    )


def test_a_class_of_the_same_name_is_not_taken_for_keras_own(tmp_path):
    @keras.saving.register_keras_serializable("elsewhere")
    class Dense(L.Layer):
        def build(self, shape):
            self.a = self.add_weight(shape=(2, 2), name="a")
            self.b = self.add_weight(shape=(2,), name="b")

        def call(self, x):
            return x

    x = keras.Input((4,))
    keras.Model(x, Dense(name="d")(x)).save(tmp_path / "x.keras")
    source = open_hdf5_checkpoint(tmp_path / "x.keras")
    assert source.naming == {"d/vars/0": "unknown", "d/vars/1": "unknown"}


@pytest.mark.parametrize("kind", ["functional", "nested", "recurrent", "attention", "fitted"])
def test_weights_alone_give_the_same_addresses_but_none_as_certain(kind, tmp_path):
    model = _randomized(ZOO[kind]())
    model.save_weights(tmp_path / "x.weights.h5")
    source = open_hdf5_checkpoint(tmp_path / "x.weights.h5")
    assert "exact" not in source.naming.values()
    live = sy.weights(model)
    for address, naming in source.naming.items():
        if naming == "inferred":
            np.testing.assert_array_equal(source.read(address), live[address].numpy())
    assert len(source.specs()) == len(live)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_codes_without_a_config_are_never_values(kind, tmp_path):
    model = ZOO[kind]()
    model.save_weights(tmp_path / "x.weights.h5")
    source = open_hdf5_checkpoint(tmp_path / "x.weights.h5")
    coded = [s.address for s in source.specs() if s.dtype == "int8" and "zero" not in s.address]
    assert coded
    for address in coded:
        try:
            found = source.read(address)
        except sy.errors.QuantizationError:
            continue
        np.testing.assert_allclose(found, sy.weights(model)[address].numpy(), rtol=1e-6)


def test_shards_are_one_source(tmp_path):
    model = _randomized(_sequential())
    model.save_weights(tmp_path / "x.weights.json", max_shard_size=3e-7)
    assert len(list(tmp_path.glob("*.h5"))) > 2
    source = open_hdf5_checkpoint(tmp_path / "x.weights.json")
    live = sy.weights(model)
    assert set(source.naming) == set(live.addresses)
    for address in live.addresses:
        np.testing.assert_array_equal(source.read(address), live[address].numpy())


def test_an_unzipped_file_and_a_deflated_one_read_alike(tmp_path):
    model = _randomized(_functional())
    model.save(tmp_path / "x.keras")
    with zipfile.ZipFile(tmp_path / "x.keras") as archive:
        archive.extractall(tmp_path / "folder")
        with zipfile.ZipFile(tmp_path / "y.zip", "w", zipfile.ZIP_DEFLATED) as other:
            for name in archive.namelist():
                other.writestr(name, archive.read(name))
    for path in ("folder", "y.zip"):
        _same(open_hdf5_checkpoint(tmp_path / path), sy.weights(model))


@pytest.mark.parametrize("kind", ["functional", "nested", "recurrent", "attention", "frozen"])
def test_legacy_file_says_the_names_itself(kind, tmp_path):
    model = _randomized(ZOO[kind]())
    model.save(tmp_path / "x.h5")
    source = open_hdf5_checkpoint(tmp_path / "x.h5")
    live = sy.weights(model)
    assert set(source.naming) == set(live.addresses)
    for address in live.addresses:
        np.testing.assert_array_equal(source.read(address), live[address].numpy())
        spec = next(s for s in source.specs() if s.address == address)
        assert (spec.trainable, spec.layer) == (live[address].trainable, live[address].layer)


@pytest.mark.parametrize("kind", ["lora", "int8", "lora and codes", "attention in int8"])
def test_legacy_file_gives_what_the_layer_computes_with(kind, tmp_path):
    model = ZOO[kind]()
    model.save(tmp_path / "x.h5")
    source = open_hdf5_checkpoint(tmp_path / "x.h5")
    live = sy.weights(model)
    assert set(source.naming) == set(live.addresses)
    for address in live.addresses:
        wanted = live[address].numpy()
        try:
            found = source.read(address)
        except sy.errors.QuantizationError:
            assert kind == "attention in int8"
            continue
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=address)
        assert source.stored(address).keys() == live[address].stored().keys()


def test_application_is_named_to_the_last_weight(tmp_path):
    model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=4)
    model.save(tmp_path / "x.keras")
    _same(open_hdf5_checkpoint(tmp_path / "x.keras"), sy.weights(model))


def test_it_is_a_source_for_everything_else(tmp_path):
    model = _functional()
    model.save(tmp_path / "x.keras")
    source = open_hdf5_checkpoint(tmp_path / "x.keras")
    assert sy.weights(source).select("**/kernel", layer=L.Dense).addresses
    assert len(sy.measure(source, "l2_norm")) == len(sy.weights(model))
    with pytest.raises(sy.errors.UnknownAddressError, match="Did you mean 'first/kernel'"):
        source.read("first/kernl")


def _shared_deep():
    x = keras.Input((4,))
    shared = L.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((4,)), shared, L.Dense(4)], name="inner")
    return keras.Model(x, shared(inner(x)))


def _shared_models():
    x = keras.Input((4,))
    core = keras.Sequential([keras.Input((4,)), L.Dense(4), L.Dense(4)], name="core")
    a = keras.Sequential([keras.Input((4,)), core, L.Dense(4)], name="a")
    return keras.Model(x, core(a(x)))


def _shared_wrapped():
    x = keras.Input((3, 4))
    shared = L.Dense(4, name="shared")
    return keras.Model(x, L.TimeDistributed(shared, name="time")(shared(x)))


@pytest.mark.parametrize("build", [_shared_deep, _shared_models, _shared_wrapped])
def test_what_is_shared_is_listed_once_at_its_shortest_address(build, tmp_path):
    model = _randomized(build())
    model.save(tmp_path / "x.keras")
    source = open_hdf5_checkpoint(tmp_path / "x.keras")
    live = sy.weights(model)
    _same(source, live)
    for spec in source.specs():
        assert set(spec.aliases) == set(live[spec.address].spec.aliases)
    assert any(spec.aliases for spec in source.specs())
