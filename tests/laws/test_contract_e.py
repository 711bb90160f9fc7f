"""Section E of the access contract: dtype, LoRA, quantization."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.users import Norm

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
HALF = ["mixed_float16", "mixed_bfloat16"]


def array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor)).astype("float64")


@pytest.fixture(params=HALF)
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def fit(model, rate=0.01, epochs=1):
    zeros = [np.zeros(tuple(y.shape), "float32") for y in keras.tree.flatten(model(X))]
    loss = "mse" if len(zeros) == 1 else ["mse"] * len(zeros)
    model.compile(keras.optimizers.SGD(rate), loss)
    y = zeros[0] if len(zeros) == 1 else zeros
    model.fit(X, y, batch_size=4, epochs=epochs, verbose=0)


def tied(observer=sy.layers.WeightAnalyzer):
    inputs = keras.Input((4,))
    encoder = keras.layers.Dense(4, name="encoder")
    code = encoder(inputs)
    decoder = sy.layers.TiedDense(encoder, use_bias=False, name="decoder")
    return keras.Model(inputs, [decoder(code), observer(encoder, name="observer")(code)])


def test_c44_a_norm_beyond_half_precision(policy):
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(1, use_bias=False, name="dense")
    x = dense(inputs)
    model = keras.Model(inputs, [sy.layers.WeightAnalyzer(dense)(x), Norm(dense)(x), x])
    dense.kernel.assign(np.full((4, 1), 250_000.0))
    number, squared, _ = model.predict(np.zeros((3, 4)), verbose=0)
    np.testing.assert_array_equal(np.asarray(number, "float32"), np.full((3, 1), 500_000.0))
    np.testing.assert_allclose(np.asarray(squared, "float64"), 2.5e11, rtol=1e-6)
    assert sy.ref(dense).dtype == "float32"


def test_c44_digits_beyond_half_precision(policy):
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(1, use_bias=False, name="dense")
    model = keras.Model(inputs, sy.layers.WeightAnalyzer(dense, "max_abs")(dense(inputs)))
    dense.kernel.assign(np.full((4, 1), 1.0001))
    np.testing.assert_allclose(model.predict(X, verbose=0), np.float32(1.0001), rtol=1e-6)


def test_c45_a_tied_op_in_the_compute_dtype(policy):
    model = tied()
    decoder, encoder = model.get_layer("decoder"), model.get_layer("encoder")
    assert decoder.compute_dtype == policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(model(X)[0].dtype) == decoder.compute_dtype
    encoder.kernel.assign(np.random.default_rng(1).normal(size=(4, 4)))

    def wanted():
        kernel = array(encoder.kernel)
        return (X @ kernel + array(encoder.bias)) @ kernel.T

    np.testing.assert_allclose(array(model(X)[0]), wanted(), rtol=0.05, atol=0.1)
    was = array(encoder.kernel)
    fit(model, epochs=4)
    assert np.abs(array(encoder.kernel) - was).max() > 1e-4
    assert encoder.kernel.dtype == "float32"
    np.testing.assert_allclose(array(model(X)[0]), wanted(), rtol=0.05, atol=0.1)


def with_lora(layer, weight="kernel"):
    layer.enable_lora(2)
    getattr(layer, f"lora_{weight}_b").assign(np.random.default_rng(2).normal(size=(2, 4)))
    first, second = (array(getattr(layer, f"lora_{weight}_{part}")) for part in "ab")
    return layer.lora_alpha / layer.lora_rank * first @ second


def test_c46_the_norm_of_a_layer_with_lora():
    model = tied()
    encoder = model.get_layer("encoder")
    base = array(encoder.kernel)
    effective = base + with_lora(encoder)
    truth = np.sqrt(np.sum(effective**2))
    assert abs(truth - np.sqrt(np.sum(base**2))) > 1e-2
    outputs, number = model.predict(X, verbose=0)
    np.testing.assert_allclose(number, [[truth]] * 4, **CLOSE)
    np.testing.assert_allclose(outputs, X @ effective @ effective.T, rtol=1e-3, atol=1e-4)
    fit(model)
    np.testing.assert_allclose(array(encoder._kernel), base)  # LoRA freezes it
    now = base + encoder.lora_alpha / 2 * array(encoder.lora_kernel_a) @ array(
        encoder.lora_kernel_b
    )
    assert np.abs(now - effective).max() > 1e-4, "the factors train"
    np.testing.assert_allclose(
        model.predict(X, verbose=0)[1], [[np.sqrt(np.sum(now**2))]] * 4, **CLOSE
    )


def test_c47_the_kernel_of_a_layer_with_lora():
    dense = keras.layers.Dense(4, name="dense")
    dense.build((None, 4))
    base = array(dense.kernel)
    delta = with_lora(dense)
    weight = sy.weights(dense)["kernel"]
    assert weight.address == "kernel"
    np.testing.assert_allclose(array(weight.variable), base, **CLOSE)
    np.testing.assert_allclose(weight.numpy(), base + delta, **CLOSE)
    weight.assign(np.eye(4))
    np.testing.assert_allclose(weight.numpy(), np.eye(4), **CLOSE)
    np.testing.assert_allclose(array(dense(X)), X + array(dense.bias), **CLOSE)
    np.testing.assert_allclose(array(sy.ref(dense)()), np.eye(4), **CLOSE)
    np.testing.assert_allclose(array(weight.variable), np.eye(4) - delta, **CLOSE)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_c48_quantize_a_tied_model(mode):
    model = tied()
    encoder = model.get_layer("encoder")
    encoder.bias.assign(np.zeros(4))
    reference = sy.ref(encoder, "kernel")
    plain = array(reference())
    model.quantize(mode)
    assert encoder.quantization_mode == mode
    truth = array(encoder(np.eye(4, dtype="float32")))  # the kernel that the layer itself uses
    np.testing.assert_allclose(truth, plain, atol=0.2)
    np.testing.assert_allclose(array(reference()), truth, rtol=1e-3, atol=1e-3)
    norm = np.sqrt(np.sum(truth**2))
    outputs, number = model.predict(X, verbose=0)
    np.testing.assert_allclose(number, [[norm]] * 4, rtol=2e-3)
    assert model.get_layer("observer").read()["l2_norm"] == pytest.approx(norm, rel=2e-3)
    code = array(encoder(X))
    np.testing.assert_allclose(outputs, code @ truth.T, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_c48_save_a_quantized_tied_model(mode, elsewhere):
    model = tied()
    model.quantize(mode)
    wanted = model.predict(X, verbose=0)
    there = elsewhere(model, X)
    np.testing.assert_allclose(there.predicted[0], wanted[0], **CLOSE)
    np.testing.assert_allclose(there.predicted[1], wanted[1], **CLOSE)


def test_c48_quantized_with_lora():
    model = tied()
    encoder = model.get_layer("encoder")
    with_lora(encoder)
    model.quantize("int8")
    encoder.bias.assign(np.zeros(4))
    truth = array(encoder(np.eye(4, dtype="float32")))
    number = model.predict(X, verbose=0)[1]
    np.testing.assert_allclose(number, [[np.sqrt(np.sum(truth**2))]] * 4, rtol=5e-3)


def test_c50_save_a_tied_model_with_lora(elsewhere):
    model = tied()
    encoder = model.get_layer("encoder")
    with_lora(encoder)
    fit(model)
    wanted = model.predict(X, verbose=0)
    there = elsewhere(model, X, add=["encoder/kernel"])
    np.testing.assert_allclose(there.predicted[0], wanted[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(there.predicted[1], wanted[1], **CLOSE)
    weight = sy.weights(model)["encoder/kernel"]
    weight.assign(weight.numpy() + 0.25)
    np.testing.assert_allclose(there.after[0], model.predict(X, verbose=0)[0], rtol=1e-3, atol=1e-4)
