"""`sy.value` and its layer: a weight as a tensor of a functional graph."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.layer import BACKEND, exported

import steelyard as sy
from steelyard import errors

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor), "float64")


def encoder(units=4):
    inputs = keras.Input((4,), name="x")
    layer = keras.layers.Dense(units, use_bias=False, name="encoder")
    return inputs, layer, layer(inputs)


# --- Which graph ----------------------------------------------------------------------------------


def test_shape_and_dtype_are_exact():
    _, layer, output = encoder(3)
    for kernel in (sy.value(layer), sy.value(output), sy.value(sy.ref(layer))):
        assert (kernel.shape, kernel.dtype) == ((4, 3), "float32")
    assert sy.value(sy.ref(layer)[:, :2].T).shape == (2, 4)
    assert sy.value(layer, dtype="float16").dtype == "float16"


def test_a_layer_that_is_in_no_graph():
    layer = keras.layers.Dense(3, name="idle")
    with pytest.raises(errors.TargetError, match=r"'idle'.*on=tensor"):
        sy.value(layer)
    layer(X)
    with pytest.raises(errors.TargetError, match=r"'idle'.*sy\.ref"):
        sy.value(layer)
    inputs = keras.Input((4,))
    assert sy.value(layer, on=inputs).shape == (4, 3)
    with pytest.raises(errors.UnbuiltOwnerError, match="'later'"):
        sy.value(keras.layers.Dense(3, name="later"), on=inputs)


def test_what_is_no_symbolic_tensor():
    _, layer, _ = encoder()
    with pytest.raises(errors.TargetError, match="ndarray"):
        sy.value(layer, on=X)
    with pytest.raises(errors.UnknownAddressError, match="'kernel'"):
        sy.value(layer, "krnel")
    with pytest.raises(errors.TargetError, match="int"):
        sy.value(3)
    with pytest.raises(errors.TargetError, match="on=tensor"):
        sy.value("encoder/kernel")


def test_a_layer_of_a_nested_model():
    i, layer, output = encoder()
    inner = keras.Model(i, output, name="inner")
    assert sy.value(layer).shape == (4, 4)  # the graph of the inner model itself
    outer = keras.Input((4,), name="outer")
    code = inner(outer)
    with pytest.raises(errors.TargetError, match=r"'encoder'.*'x'; 'outer'.*on=tensor"):
        sy.value(layer)
    model = keras.Model(outer, ops.matmul(code, sy.value(layer, on=code)))
    kernel = array(layer.kernel)
    got = model.predict(X, batch_size=4, verbose=0)
    np.testing.assert_allclose(got, X @ kernel @ kernel, **CLOSE)
    twin = keras.models.clone_model(model)
    kernel = array(twin.get_layer("inner").get_layer("encoder").kernel)
    np.testing.assert_allclose(array(twin(X)), X @ kernel @ kernel, **CLOSE)
    by_address = sy.value("inner/encoder/kernel", on=code)
    np.testing.assert_allclose(
        array(keras.Model(outer, ops.matmul(code, by_address))(X)), array(model(X)), **CLOSE
    )


def test_the_owner_joins_the_model():
    """Though nothing else of the graph needs it."""
    inputs, layer, _ = encoder()
    model = keras.Model(inputs, ops.matmul(inputs, sy.value(layer, on=inputs)))
    assert [weight.address for weight in sy.weights(model)] == ["encoder/kernel"]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    was = array(layer.kernel)
    model.fit(X, np.zeros((6, 4)), verbose=0)
    assert np.abs(array(layer.kernel) - was).max() > 1e-3


def test_a_layer_called_in_two_graphs():
    shared = keras.layers.Dense(3, name="shared")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared(a)
    assert sy.value(shared).shape == (4, 3)
    shared(shared.kernel.shape[0] * a)
    assert sy.value(shared).shape == (4, 3)  # twice, but on the same inputs
    other = shared(b)
    with pytest.raises(errors.TargetError, match="'a'; 'b'"):
        sy.value(shared)
    model = keras.Model(b, ops.matmul(other, ops.transpose(sy.value(shared, on=other))))
    kernel = array(shared.kernel)
    np.testing.assert_allclose(array(model(X)), X @ kernel @ kernel.T, **CLOSE)


# --- Which weight ---------------------------------------------------------------------------------

ROWS = np.random.default_rng(1).normal(size=(3, 5, 4)).astype("float32")


@pytest.mark.parametrize(
    ("layer", "weight", "shape"),
    [
        (lambda x: keras.layers.MultiHeadAttention(2, 3)(x, x), "query/kernel", (4, 2, 3)),
        (lambda x: keras.layers.LSTM(3)(x), "recurrent_kernel", (3, 12)),
        (lambda x: keras.layers.Bidirectional(keras.layers.GRU(3))(x), None, (3, 9)),
        (lambda x: keras.layers.TimeDistributed(keras.layers.Dense(2))(x), "layer/kernel", (4, 2)),
    ],
)
def test_weights_deep_in_a_layer(layer, weight, shape):
    inputs = keras.Input((5, 4))
    output = layer(inputs)
    weight = weight or "forward_layer/cell/recurrent_kernel"
    number = ops.sum(ops.square(sy.value(output, weight)))
    summed = ops.sum(output, axis=tuple(range(1, len(output.shape))))
    model = keras.Model(inputs, summed * 0 + number)
    (found,) = [w for w in sy.weights(model) if w.address.endswith(weight) and w.shape == shape]
    wanted = np.sum(found.numpy().astype("float64") ** 2)
    np.testing.assert_allclose(model.predict(ROWS, batch_size=2, verbose=0), [wanted] * 3, **CLOSE)


def times_kernel(**kwargs):
    inputs, layer, output = encoder()
    return layer, keras.Model(inputs, ops.matmul(output, sy.value(layer, **kwargs)))


def test_with_lora():
    layer, model = times_kernel()
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones((2, 4)))
    whole = array(layer._kernel) + layer.lora_alpha / 2 * array(layer.lora_kernel_a) @ np.ones(
        (2, 4)
    )
    np.testing.assert_allclose(array(model(X)), X @ whole @ whole, **CLOSE)


def test_quantized():
    layer, model = times_kernel()
    was = array(model(X))
    model.quantize("int8")
    truth = array(layer(np.eye(4, dtype="float32")))
    np.testing.assert_allclose(array(model(X)), array(layer(X)) @ truth, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(array(model(X)), was, atol=0.2)


def test_the_weight_is_never_cast_unless_asked_to():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs, layer, _ = encoder(1)
        number = ops.sqrt(ops.sum(ops.square(sy.value(layer))))
        model = keras.Model(inputs, ops.sum(inputs, axis=1) * 0 + number)
    finally:
        keras.config.set_dtype_policy("float32")
    layer.kernel.assign(np.full((4, 1), 250_000.0))
    got = model.predict(X, batch_size=4, verbose=0)
    np.testing.assert_allclose(got, [500_000.0] * 6, rtol=1e-6)


# --- What becomes of it ---------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [{"jit_compile": True}, {"run_eagerly": True}])
def test_the_gradient_is_right(compiled):
    if BACKEND == "torch" and "jit_compile" in compiled:
        pytest.skip("torch.compile has its own compiler, which not every machine has")
    layer, model = times_kernel()
    kernel = array(layer.kernel)
    ones = np.ones((6, 4))
    slope = X.T @ (ones @ kernel.T) + (X @ kernel).T @ ones
    model.compile(keras.optimizers.SGD(0.01), lambda y, p: 6 * ops.sum(p, axis=-1), **compiled)
    model.fit(X, np.zeros((6, 4)), batch_size=6, verbose=0)
    np.testing.assert_allclose(array(layer.kernel), kernel - 0.01 * slope, rtol=1e-3, atol=1e-4)


def test_with_stop_gradient():
    layer, model = times_kernel(stop_gradient=True)
    kernel = array(layer.kernel)
    slope = X.T @ (np.ones((6, 4)) @ kernel.T)
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        each.compile(keras.optimizers.SGD(0.01), lambda y, p: 6 * ops.sum(p, axis=-1))
        each.fit(X, np.zeros((6, 4)), batch_size=6, verbose=0)
        now = array(each.get_layer("encoder").kernel)
        np.testing.assert_allclose(now, kernel - 0.01 * slope, rtol=1e-3, atol=1e-4)


def test_owns_nothing():
    _, model = times_kernel(name="kernel_of_it")
    assert len(model.weights) == 1
    assert model.get_layer("kernel_of_it").count_params() == 0
    (record,) = sy.references(model)
    assert (record.holder, record.target, record.is_bound) == (
        "kernel_of_it",
        "encoder/kernel",
        True,
    )


def test_an_export_computes_the_same(tmp_path):
    layer, model = times_kernel()
    artifact = exported(model, tmp_path)
    kernel = array(layer.kernel)
    np.testing.assert_allclose(artifact(X[:1]), X[:1] @ kernel @ kernel, **CLOSE)
    if BACKEND != "torch":  # Keras 3.15 exports each weight as a constant of the torch program
        artifact.shift(kernel)
        kernel = kernel + 0.25
        np.testing.assert_allclose(artifact(X[:1]), X[:1] @ kernel @ kernel, rtol=1e-3, atol=1e-4)


def test_masks_end_here(recwarn):
    ids = keras.Input((4,), dtype="int32")
    table = keras.layers.Embedding(5, 3, mask_zero=True)
    scores = ops.matmul(table(ids), ops.transpose(sy.value(table, "embeddings", on=ids)))
    sy.value(table, "embeddings")
    assert scores.shape == (None, 4, 5)
    assert not [w for w in recwarn if "mask" in str(w.message)]
