"""Models that Keras saves: the file lists the same weights as the live model does."""

import keras
import numpy as np
import pytest
from keras import layers as L

import steelyard as sy
from steelyard.checkpoints._keras_files import open_hdf5_checkpoint


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
    return keras.Model(x, L.Dropout(0.1)(L.SpectralNormalization(L.Dense(3))(y)))


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
    "lora and codes": _lora_and_codes,
    "reversible": _reversible,
    "frozen": _frozen,
    "all frozen": _all_frozen,
    "half": _half,
    "fitted": _fitted,
}


def _randomized(model):
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if keras.backend.is_float_dtype(variable.dtype) and "scale" not in variable.name:
            if variable.name not in ("g_idx",) and "amax" not in variable.name:
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
