"""A functional model with `sy.call` in it is a model like any other."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws import called
from tests.laws import layer as laws

import steelyard as sy

BACKEND = keras.backend.backend()
CLOSE = dict(rtol=2e-4, atol=2e-5)
NAMES = pytest.mark.parametrize("name", called.MODELS)


def output(model, x=None):
    x = called.inputs() if x is None else x
    return np.asarray(ops.convert_to_numpy(model(x)), "float32")


def values(model):
    return {weight.address: weight.numpy() for weight in sy.weights(model)}


def expected(name, model):
    """The output, by NumPy, of those that are one dense layer."""
    now, x = values(model), called.inputs()
    given, kept = called.addresses(name)
    mean = x.mean(0, keepdims=True)
    kernel = (mean @ now["hyper/kernel"] + now["hyper/bias"]).reshape(called.WIDTH, 3)
    y = np.tanh(x @ kernel + now[kept])
    if name == "twice":
        return y + np.tanh(2 * x @ -kernel + 1)
    if name == "alone":
        return y
    return np.concatenate([y, np.tanh(x @ now[given] + now[kept])], axis=1)


@pytest.mark.parametrize("name", ["alone", "called_before", "twice", "a_part"])
def test_computes_with_the_predicted_kernel(name):
    model = called.randomized(name)
    np.testing.assert_allclose(output(model), expected(name, model), **CLOSE)
    np.testing.assert_allclose(
        model.predict(called.inputs(), verbose=0), expected(name, model), **CLOSE
    )


@NAMES
def test_every_weight_is_owned_once(name):
    model = called.randomized(name)
    given, kept = called.addresses(name)
    listed = sy.weights(model).addresses
    assert {given, kept} <= set(listed)
    assert len(listed) == len(model.weights) == len({id(v) for v in model.weights})
    assert sum(layer.count_params() for layer in model.layers) == model.count_params()


@NAMES
def test_trains(name):
    model = called.randomized(name)
    was = values(model)
    losses = called.train(model, epochs=3).history["loss"]
    assert losses[-1] < losses[0]
    now = values(model)
    given, kept = called.addresses(name)
    for address in ("hyper/kernel", "hyper/bias", kept):
        assert np.abs(now[address] - was[address]).max() > 1e-5, address
    moved = np.abs(now[given] - was[given]).max() > 1e-6
    assert moved == (name in called.AT), "only a plain call trains the weight that is given"
    if name == "a_model":
        statistics = "main_called/layer/block/norm/moving_mean"
        assert np.abs(now[statistics] - was[statistics]).max() > 1e-5
        model(called.inputs())
        assert len(model.losses) == 1


@pytest.mark.parametrize("name", ["called_before", "a_model", "recurrent"])
@pytest.mark.skipif(BACKEND == "torch", reason="torch.compile needs minutes, and a compiler")
def test_trains_under_xla(name):
    plain, compiled = called.randomized(name), called.randomized(name)
    called.train(plain, jit_compile=False)
    called.train(compiled, jit_compile=True)
    for address, value in values(plain).items():
        np.testing.assert_allclose(values(compiled)[address], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["alone", "a_model", "called_before"])
def test_mixed_precision(name, policy):
    plain = called.randomized(name)
    keras.config.set_dtype_policy(policy)
    try:
        model = called.randomized(name)
        if name == "a_model":  # TensorFlow adds no losses of two dtypes, `sy.call` or not
            model.get_layer("main_called").layer.get_layer("block").layers[
                0
            ].activity_regularizer = None
        half = model(called.inputs())
        assert keras.backend.standardize_dtype(half.dtype) == policy.removeprefix("mixed_")
        assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
        np.testing.assert_allclose(output(model), output(plain), atol=0.05)
        losses = called.train(model, epochs=3).history["loss"]
        assert losses[-1] < losses[0]
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param(name, way, id=f"{name}-{way}")
        for name in called.MODELS
        for way in laws.COPIES
        if way in ("cloned", "loaded") or name in ("alone", "called_before")
    ],
)
def test_copied(name, way, tmp_path):
    model = called.randomized(name)
    twin = copied(model, way, tmp_path)
    was = output(model)
    np.testing.assert_allclose(output(twin), was, **CLOSE)
    assert sy.weights(twin).addresses == sy.weights(model).addresses
    assert not {id(v) for v in model.variables} & {id(v) for v in twin.variables}
    _, kept = called.addresses(name)
    for each in (twin, model):
        sy.weights(each)[kept].assign(sy.weights(each)[kept].numpy() + 0.25)
        assert np.abs(output(each) - was).max() > 1e-3
    np.testing.assert_allclose(output(twin), output(model), **CLOSE)
    was = values(model)
    called.train(twin)
    for address, value in values(model).items():
        np.testing.assert_array_equal(value, was[address])


def copied(model, way, folder):
    if way in ("from_config", "from_json"):
        if way == "from_json":
            twin = keras.models.model_from_json(model.to_json())
        else:
            twin = type(model).from_config(model.get_config())
        twin.set_weights(model.get_weights())
        return twin
    return laws.COPIES[way](model, folder)


@NAMES
def test_loaded_in_a_fresh_process(name, elsewhere):
    model = called.randomized(name)
    called.train(model)
    _, kept = called.addresses(name)
    x = called.inputs()
    wanted = model.predict(x, verbose=0)
    there = elsewhere(model, x, add=[kept])
    np.testing.assert_allclose(there.predicted[0], wanted, **CLOSE)
    assert there.addresses == list(sy.weights(model).addresses)
    sy.weights(model)[kept].assign(sy.weights(model)[kept].numpy() + 0.25)
    np.testing.assert_allclose(there.after[0], model.predict(x, verbose=0), **CLOSE)
    assert np.abs(np.subtract(there.after[0], wanted)).max() > 1e-3


@pytest.mark.parametrize("name", ["alone", "called_before", "a_model"])
def test_exported(name, tmp_path):
    model = called.randomized(name)
    x = called.inputs(rows=1)  # torch exports a program for one row, of any layer
    np.testing.assert_allclose(laws.exported(model, tmp_path)(x), output(model, x), **CLOSE)


@NAMES
def test_frozen(name):
    model = called.randomized(name)
    holder = model.layers[[layer.name for layer in model.layers].index("main_called")]
    holder.trainable = False
    was = values(model)
    called.train(model)
    _, kept = called.addresses(name)
    moved = np.abs(values(model)[kept] - was[kept]).max() > 1e-6
    assert moved == (name in called.AT), "what is borrowed is frozen by its owner only"
