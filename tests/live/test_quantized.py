"""Quantized weights read as what the layer multiplies with, by its outputs and by NumPy."""

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers, ops

from steelyard.errors import QuantizationError
from steelyard.live._effective import effective, stored

VERSION = tuple(int(part) for part in keras.__version__.split(".")[:2])
BACKEND = keras.backend.backend()
since_314 = pytest.mark.skipif(VERSION < (3, 14), reason="groups and awq came with Keras 3.14")

EQUATIONS = {
    # equation: (output shape, input shape, bias axes)
    "ab,bc->ac": (5, (7, 6), "c"),
    "ab,cb->ac": (5, (7, 6), "c"),
    "abc,cde->abde": ((None, 3, 4), (2, 9, 7), "de"),
    "abcd,cde->abe": ((None, 5), (2, 20, 3, 4), "e"),
    "abc,bcd->abd": ((3, 4), (16, 3, 7), "d"),
    "abc,dce->abed": ((None, 5, 3), (2, 9, 7), None),
}  # None with an ellipsis: up to 3.15 Keras fails to quantize these


def own(layer, name):
    return next(v for v in layer.weights if v.name == name)


def value_of(layer, name="kernel"):
    return ops.convert_to_numpy(effective(layer, name, own(layer, name)))


def raw(layer, name="kernel"):
    return {
        key: ops.convert_to_numpy(v.value)
        for key, v in stored(layer, name, own(layer, name)).items()
    }


def weight_only(mode, block_size=None):
    """Codes for the weights and floats for the inputs, so that outputs compare exactly."""
    if mode == "int8":
        return keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
    sizes = {} if VERSION < (3, 14) else {"block_size": block_size}
    return keras.quantizers.Int4QuantizationConfig(activation_quantizer=None, **sizes)


def quantize(layer, mode, block_size=None):
    layer.quantize(mode, config=weight_only(mode, block_size))
    return layer


def dense(inputs=7, units=5, **kwargs):
    layer = layers.Dense(units, bias_initializer="normal", **kwargs)
    layer.build((None, inputs))
    return layer


def einsum_dense(equation):
    output, shape, bias_axes = EQUATIONS[equation]
    layer = layers.EinsumDense(equation, output, bias_axes=bias_axes, bias_initializer="normal")
    layer.build((None, *shape[1:]))
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    return layer, x


def add_lora(layer, weight="kernel"):
    """LoRA whose B is not zero, and whose alpha is not its rank."""
    layer.enable_lora(2, lora_alpha=3)
    b = getattr(layer, f"lora_{weight}_b")
    b.assign(np.random.default_rng(2).normal(size=b.shape))
    a = ops.convert_to_numpy(getattr(layer, f"lora_{weight}_a"))
    return 1.5 * (a @ ops.convert_to_numpy(b))


def nibbles(packed, length, axis, signed=True):
    """An independent unpacking: the low half of each byte first."""
    packed = np.moveaxis(packed, axis, 0).astype("int16")
    pairs = [(packed & 15), ((packed >> 4) & 15)]
    codes = np.stack(pairs, axis=1).reshape(-1, *packed.shape[1:])[:length]
    codes = np.where(codes > 7, codes - 16, codes) if signed else codes
    return np.moveaxis(codes, 0, axis)


def output_of(layer, x, **kwargs):
    return ops.convert_to_numpy(layer(x, **kwargs))


def close(actual, expected, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


# --- Dense ---------------------------------------------------------------------------------------


def test_dense_int8_with_default_activations():
    layer = dense()
    kernel, bias = value_of(layer), value_of(layer, "bias")
    layer.quantize("int8")
    parts = raw(layer)
    assert parts["kernel"].dtype == "int8" and np.abs(parts["kernel"]).max() > 100
    assert list(parts) == ["kernel", "kernel_scale"]
    close(value_of(layer), parts["kernel"].astype("float32") / parts["kernel_scale"], rtol=1e-6)
    close(value_of(layer), kernel, atol=np.abs(kernel).max() / 127)
    # Rows of the identity are quantized without loss.
    close(output_of(layer, np.eye(7, dtype="float32")) - bias, value_of(layer))
    close(value_of(layer, "bias"), bias, rtol=0)
    close(value_of(layer, "kernel_scale"), parts["kernel_scale"], rtol=0)


@pytest.mark.in_turn
@pytest.mark.parametrize("inputs, units", [(7, 5), (6, 4), (1, 4), (5, 1)])
@pytest.mark.parametrize(
    "block", [None, pytest.param(2, marks=since_314), pytest.param(4, marks=since_314)]
)
def test_dense_int4(inputs, units, block):
    layer = dense(inputs, units)
    # Signs that alternate: Keras's groups lose what lies far on one side of zero.
    signs = np.where(np.arange(inputs) % 2, 1, -1)[:, None]
    layer.kernel.assign(np.abs(value_of(layer)) * signs)
    kernel, bias = value_of(layer), value_of(layer, "bias")
    quantize(layer, "int4", block)
    parts = raw(layer)
    axis, length = (0, inputs) if VERSION < (3, 14) else (1, units)
    codes = nibbles(parts["kernel"], length, axis).astype("float32")
    if block:
        groups = np.arange(inputs) // block
        expected = (codes - parts["kernel_zero"][groups]) * parts["kernel_scale"][groups]
        assert list(parts) == ["kernel", "kernel_scale", "kernel_zero", "g_idx"]
    else:
        expected = codes / parts["kernel_scale"]
        assert list(parts) == ["kernel", "kernel_scale"]
    assert value_of(layer).shape == (inputs, units) and value_of(layer).dtype == "float32"
    close(value_of(layer), expected, rtol=1e-6)
    close(value_of(layer), kernel, atol=np.ptp(kernel) / 7)
    close(output_of(layer, np.eye(inputs, dtype="float32")) - bias, value_of(layer))


@pytest.mark.parametrize("inputs", [6, 200])
def test_dense_int4_as_it_comes(inputs):
    layer = dense(inputs)
    kernel, bias = value_of(layer), value_of(layer, "bias")
    layer.quantize("int4")
    close(value_of(layer), kernel, atol=np.ptp(kernel) / 7)
    close(output_of(layer, np.eye(inputs, dtype="float32")) - bias, value_of(layer))


@since_314
def test_groups_that_are_not_in_order():
    layer = quantize(dense(6, 4), "int4", 2)
    layer.g_idx.assign([2, 0, 1, 1, 0, 2])
    bias = value_of(layer, "bias")
    close(output_of(layer, np.eye(6, dtype="float32")) - bias, value_of(layer))


CASES = [("int8", None), ("int4", None), pytest.param("int4", 2, marks=since_314)]


@pytest.mark.parametrize("mode, block", CASES)
def test_dense_lora_on_codes(mode, block):
    layer = quantize(dense(), mode, block)
    bare, bias = value_of(layer), value_of(layer, "bias")
    delta = add_lora(layer)
    close(value_of(layer), bare + delta)
    close(output_of(layer, np.eye(7, dtype="float32")) - bias, value_of(layer))
    first, *_, a, b = raw(layer)
    assert (first, a, b) == ("kernel", "lora_kernel_a", "lora_kernel_b")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float64"])
@pytest.mark.parametrize("mode, block", CASES)
def test_narrow_policies_read_as_float32(mode, block, policy):
    if policy == "float64" and BACKEND == "jax":
        pytest.skip("JAX runs without 64-bit numbers here")
    layer = dense(dtype=policy)
    kernel = value_of(layer).astype("float64")
    quantize(layer, mode, block)
    assert value_of(layer).dtype == ("float64" if policy == "float64" else "float32")
    if not block:
        close(value_of(layer), kernel, atol=np.ptp(kernel) / (7 if mode == "int4" else 127))
    if mode == "int8":
        parts = {key: part.astype("float64") for key, part in raw(layer).items()}
        rtol = 1e-12 if policy == "float64" else 1e-6
        close(value_of(layer), parts["kernel"] / parts["kernel_scale"], rtol=rtol, atol=0)


def test_a_quantized_layer_is_read_in_full_inside_a_mixed_layer():
    layer = quantize(dense(dtype="mixed_bfloat16"), "int8")
    seen = []

    class Reader(layers.Layer):
        def call(self, x):
            seen.append(effective(layer, "kernel", own(layer, "kernel")))
            return x

    Reader(dtype="mixed_bfloat16")(np.ones((1, 1), "float32"))
    close(ops.convert_to_numpy(seen[-1]), value_of(layer), rtol=0, atol=0)


# --- EinsumDense ---------------------------------------------------------------------------------


def bias_of(layer):
    return 0 if layer.bias is None else value_of(layer, "bias")


@pytest.mark.in_turn
@pytest.mark.parametrize("mode, block", CASES)
@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_dense(equation, mode, block):
    layer, x = einsum_dense(equation)
    kernel = value_of(layer)
    quantize(layer, mode, block)
    value = value_of(layer)
    assert value.shape == kernel.shape and value.dtype == "float32"
    if not block:
        close(value, kernel, atol=np.ptp(kernel) / (7 if mode == "int4" else 127))
    expected = np.einsum(equation, x, value) + bias_of(layer)
    close(output_of(layer, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode, block", CASES)
def test_einsum_dense_lora_on_codes(mode, block):
    layer, x = einsum_dense("abc,cde->abde")
    quantize(layer, mode, block)
    bare = value_of(layer)
    delta = add_lora(layer)
    close(value_of(layer), bare + delta)
    expected = np.einsum("abc,cde->abde", x, value_of(layer)) + bias_of(layer)
    close(output_of(layer, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode, block", CASES)
def test_a_kernel_that_came_from_a_file(tmp_path, mode, block):
    layer, x = einsum_dense("abcd,cde->abe")
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    quantize(layer, mode, block)
    model.save(tmp_path / "model.keras")
    (loaded,) = keras.models.load_model(tmp_path / "model.keras").layers
    close(value_of(loaded), value_of(layer), rtol=0, atol=0)


# --- Embedding and ReversibleEmbedding -----------------------------------------------------------


def embedding(rows=6, columns=5, kind=layers.Embedding, **kwargs):
    layer = kind(rows, columns, embeddings_initializer="normal", **kwargs)
    layer.build()
    for variable in layer.weights:  # signs that alternate along the embedding
        signs = np.where(np.arange(columns) % 2, 1, -1)
        signs = signs if variable.name == "embeddings" else signs[:, None]
        variable.assign(np.abs(ops.convert_to_numpy(variable.value)) * signs)
    return layer


@pytest.mark.in_turn
@pytest.mark.parametrize("lora", [False, True], ids=["bare", "lora"])
@pytest.mark.parametrize("columns", [5, 4, 1])
@pytest.mark.parametrize("mode, block", CASES)
def test_embedding(mode, block, columns, lora):
    layer = embedding(columns=columns)
    table = value_of(layer, "embeddings")
    quantize(layer, mode, block)
    parts = raw(layer, "embeddings")
    delta = add_lora(layer, "embeddings") if lora else 0
    value = value_of(layer, "embeddings")
    codes = parts["embeddings"]
    if mode == "int4":
        codes = nibbles(codes, columns, axis=1).astype("float32")
    scale = parts["embeddings_scale"]
    if block:
        groups = np.arange(columns) // block
        expected = (codes - parts["embeddings_zero"][:, groups]) * scale[:, groups]
    else:
        expected = codes / scale[:, None]
    close(value, expected + delta)
    close(value, table + delta, atol=np.ptp(table) / (7 if mode == "int4" else 127))
    close(output_of(layer, np.arange(6)), value)


@pytest.mark.in_turn
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("mode, block", CASES)
def test_reversible_embedding(mode, block, tied):
    layer = embedding(kind=layers.ReversibleEmbedding, tie_weights=tied)
    names = ["embeddings"] if tied else ["embeddings", "reverse_embeddings"]
    before = {name: value_of(layer, name) for name in names}
    quantize(layer, mode, block)
    for name in names:
        assert value_of(layer, name).dtype == "float32"
        tolerance = np.ptp(before[name]) / (7 if mode == "int4" else 127)
        close(value_of(layer, name), before[name], atol=tolerance)
    close(output_of(layer, np.arange(6)), value_of(layer, "embeddings"))
    back = value_of(layer, "embeddings").T if tied else value_of(layer, "reverse_embeddings")
    close(output_of(layer, np.eye(5, dtype="float32"), reverse=True), back)
    if not tied:
        assert f"{names[1]}_scale" in raw(layer, names[1])


@pytest.mark.parametrize("mode, block", CASES)
def test_reversible_embedding_with_lora(mode, block):
    layer = embedding(kind=layers.ReversibleEmbedding, tie_weights=False)
    quantize(layer, mode, block)
    forward, back = value_of(layer, "embeddings"), value_of(layer, "reverse_embeddings")
    delta = add_lora(layer, "embeddings")
    close(value_of(layer, "embeddings"), forward + delta)
    close(value_of(layer, "reverse_embeddings"), back, rtol=0, atol=0)
    close(output_of(layer, np.arange(6)), value_of(layer, "embeddings"))
    close(output_of(layer, np.eye(5, dtype="float32"), reverse=True), back)


# --- float8 --------------------------------------------------------------------------------------


def to_float8(kernel, scale, dtype="float32"):
    scaled = np.clip(kernel.astype(dtype) / scale.astype(dtype), -448, 448)
    return scaled.astype(ml_dtypes.float8_e4m3fn).astype(dtype) * scale.astype(dtype)


@pytest.mark.parametrize("kind", ["dense", "einsum"])
def test_float8(kind):
    layer = dense() if kind == "dense" else einsum_dense("ab,cb->ac")[0]
    kernel = value_of(layer)
    layer.quantize("float8")
    close(value_of(layer), to_float8(kernel, np.float32(1)), rtol=0, atol=0)
    # A scale that cuts off what is large, as after some steps of training.
    scale = np.float32(np.abs(kernel).max() / 448 / 2)
    layer.kernel_scale.assign(scale)
    expected = to_float8(kernel, scale)
    assert np.abs(expected - kernel).max() > 0.1
    close(value_of(layer), expected, rtol=1e-6, atol=0)
    x = np.eye(kernel.shape[0 if kind == "dense" else 1], dtype="float32")
    bias = value_of(layer, "bias").astype(ml_dtypes.bfloat16).astype("float32")
    product = value_of(layer) if kind == "dense" else value_of(layer).T
    close(output_of(layer, x) - bias, product, atol=1e-6)
    assert list(raw(layer)) == ["kernel", "kernel_scale"]


def test_float8_rounds_in_the_compute_dtype():
    layer = dense(dtype="mixed_bfloat16")
    kernel = value_of(layer)
    layer.quantize("float8")
    layer.kernel_scale.assign(0.013)
    value = value_of(layer)
    assert value.dtype == "float32"
    bfloat16 = to_float8(kernel, np.float32(0.013), ml_dtypes.bfloat16).astype("float32")
    close(value, bfloat16, rtol=0, atol=0)
    x = np.eye(7, dtype="float32")
    layer.bias.assign(np.zeros(5))
    close(output_of(layer, x).astype("float32"), value, rtol=0, atol=0)


def test_float8_with_lora_has_no_value():
    layer = dense()
    layer.enable_lora(2)
    layer.quantize("float8")
    with pytest.raises(NotImplementedError):
        layer(np.eye(7, dtype="float32"))
    with pytest.raises(QuantizationError, match=r"Dense.*'float8' with LoRA.*'kernel'"):
        value_of(layer)
    assert "lora_kernel_a" not in raw(layer) and "kernel_scale" in raw(layer)


# --- gptq and awq --------------------------------------------------------------------------------


def calibration(mode, **kwargs):
    config = keras.quantizers.GPTQConfig if mode == "gptq" else keras.quantizers.AWQConfig
    tokens = [np.random.default_rng(0).integers(0, 10, size=64)]
    return config(dataset=tokens, tokenizer="unused", sequence_length=8, num_samples=4, **kwargs)


class Block(layers.Layer):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x)


CALIBRATED = {
    "dense": (lambda: layers.Dense(5, bias_initializer="normal"), "abc,cd->abd"),
    "queries": (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3)), "abc,cde->abde"),
}
MODES = [
    ("gptq", {"weight_bits": 4, "group_size": -1}),
    ("gptq", {"weight_bits": 4, "group_size": 3}),
    ("gptq", {"weight_bits": 4, "group_size": 3, "activation_order": True}),
    ("gptq", {"weight_bits": 8, "group_size": 3}),
    ("gptq", {"weight_bits": 3, "group_size": -1}),
    pytest.param("awq", {"group_size": -1}, marks=since_314),
    pytest.param("awq", {"group_size": 3}, marks=since_314),
]


def calibrated(kind, mode, settings):
    """A layer of 9 inputs and 5 or 6 outputs, calibrated in a small model; and its float kernel."""
    inner = CALIBRATED[kind][0]()
    table, block = layers.Embedding(10, 9, embeddings_initializer="normal"), Block(inner)
    model = keras.Sequential([keras.Input((8,), dtype="int32"), table, block])
    signs = np.where(np.arange(9) % 2, 1, -1).reshape(-1, *(1 for _ in inner.kernel.shape[1:]))
    inner.kernel.assign(np.abs(value_of(inner)) * signs)
    kernel = value_of(inner)
    structure = {"pre_block_layers": [table], "sequential_blocks": [block]}
    model.get_quantization_layer_structure = lambda mode: structure
    model.quantize(mode, config=calibration(mode, **settings))
    return inner, kernel


@pytest.mark.in_turn
@pytest.mark.parametrize("mode, settings", MODES)
@pytest.mark.parametrize("kind", CALIBRATED)
def test_after_calibration(kind, mode, settings):
    layer, kernel = calibrated(kind, mode, settings)
    bits = settings.get("weight_bits", 4)
    if "activation_order" not in settings:
        close(value_of(layer), kernel, atol=2 * np.ptp(kernel) / (2**bits - 1))
    if mode == "awq":  # the calibration of so small a model finds nothing to protect
        layer.awq_scales.assign(np.linspace(0.5, 2, 9))
    parts = raw(layer)
    value = value_of(layer)
    assert parts["kernel"].dtype == "uint8" and value.dtype == "float32"
    zero = "kernel_zero" if kind == "dense" else "zero_point"
    columns, rows = parts["kernel_scale"].shape[0], 9
    codes = parts["kernel"]
    if bits == 4:
        codes = nibbles(codes, columns, axis=0, signed=False)
    groups = parts["g_idx"].astype("int32")
    assert codes.shape == (columns, rows) and groups.max() == parts["kernel_scale"].shape[1] - 1
    expected = (codes - parts[zero].astype("float32")[:, groups]) * parts["kernel_scale"][:, groups]
    if mode == "awq":
        expected = expected / parts["awq_scales"]
    close(value, expected.T.reshape(kernel.shape))
    x = np.random.default_rng(0).normal(size=(2, 11, 9)).astype("float32")
    bias = 0 if layer.bias is None else value_of(layer, "bias")
    close(output_of(layer, x), np.einsum(CALIBRATED[kind][1], x, value) + bias)


@pytest.mark.parametrize("mode", ["gptq", pytest.param("awq", marks=since_314)])
def test_before_calibration(mode):
    layer = dense()
    kernel, bias = value_of(layer), value_of(layer, "bias")
    layer.quantize(mode, config=calibration(mode))
    candidates = [v for v in layer.weights if v.name == "kernel"]
    assert len(candidates) == 2  # the float kernel, and the codes to come
    for variable in candidates:
        close(ops.convert_to_numpy(effective(layer, "kernel", variable)), kernel, rtol=0, atol=0)
        (only,) = stored(layer, "kernel", variable).values()
        assert only.dtype == "float32"
    close(output_of(layer, np.eye(7, dtype="float32")) - bias, kernel)


@pytest.mark.parametrize("mode", ["gptq", pytest.param("awq", marks=since_314)])
def test_these_modes_leave_lora_out_as_the_layer_does(mode):
    layer = dense()
    kernel, bias = value_of(layer), value_of(layer, "bias")
    add_lora(layer)
    layer.quantize(mode, config=calibration(mode))
    close(value_of(layer), kernel, rtol=0, atol=0)
    close(output_of(layer, np.eye(7, dtype="float32")) - bias, kernel)
    assert list(raw(layer)) == ["kernel"]


def test_built_for_codes_that_never_came():
    layer = layers.Dense(4, dtype="gptq/4/-1_from_float32", name="empty")
    layer.build((None, 6))
    with pytest.raises(QuantizationError, match=r"'empty' \(Dense.*'gptq'.*neither calibrated"):
        value_of(layer)


# --- What we do not know -------------------------------------------------------------------------


class Codes(layers.Layer):
    """A user's own quantized layer."""

    def build(self, shape):
        add = {"initializer": "ones", "trainable": False}
        self.codes = self.add_weight(name="kernel", shape=(shape[-1], 2), dtype="int8", **add)
        self.kernel_scale = self.add_weight(name="kernel_scale", shape=(2,), **add)
        self.kernel_zero = self.add_weight(name="kernel_zero", shape=(2,), dtype="int8", **add)
        self.steps = self.add_weight(name="steps", shape=(), dtype="int32", **add)


class DeclaredCodes(Codes):
    @property
    def kernel(self):
        return ops.cast(self.codes, "float32") / 8


class OtherCodes(Codes):
    @property
    def kernel(self):
        return ops.convert_to_tensor(self.codes)


def own_codes(kind):
    layer = kind(dtype="int8_from_float32", name="mine")
    layer.build((None, 3))
    return layer


@pytest.mark.parametrize("kind", [Codes, OtherCodes])
def test_an_unknown_class_raises_instead_of_giving_codes(kind):
    layer = own_codes(kind)
    with pytest.raises(QuantizationError) as raised:
        value_of(layer)
    for word in ("'mine'", kind.__name__, "'int8'", "'kernel'", "property", "stored"):
        assert word in str(raised.value)
    assert list(raw(layer)) == ["kernel", "kernel_scale", "kernel_zero"]
    for name in ("kernel_scale", "kernel_zero", "steps"):
        assert value_of(layer, name).max() == 1


def test_a_class_that_says_what_its_codes_mean():
    close(value_of(own_codes(DeclaredCodes)), np.full((3, 2), 1 / 8))


def test_an_unknown_mode_of_a_known_class(monkeypatch):
    layer = quantize(dense(name="odd"), "int8")
    monkeypatch.setattr(layers.Dense, "quantization_mode", "int2")
    with pytest.raises(QuantizationError, match=r"'odd' \(Dense\).*'kernel'.*'int2'.*Dense: int8"):
        value_of(layer)
    assert value_of(layer, "bias").dtype == "float32"
    assert list(raw(layer)) == ["kernel", "kernel_scale"]


def test_a_subclass_of_a_known_class():
    class Mine(layers.Dense):
        pass

    layer = Mine(5)
    layer.build((None, 7))
    kernel = value_of(layer)
    layer.quantize("int8", type_check=False)
    close(value_of(layer), kernel, atol=np.abs(kernel).max() / 127)


def test_float_weights_of_a_layer_that_only_carries_the_policy():
    layer = layers.LayerNormalization(dtype="int8_from_float32")
    layer.build((None, 3))
    close(value_of(layer, "gamma"), np.ones(3))
