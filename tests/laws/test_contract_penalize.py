"""Rows C39 and C84 of the access contract: a penalty on a model that is built already."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws import layer as laws
from tests.laws.users import cubed

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-6)
X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(8, 2)).astype("float32")


def array(value):
    return np.array(ops.convert_to_numpy(value))


def built(regularizer=None, name=None):
    """`hidden` and `head`, each with or without a regularizer from the start."""
    inputs = keras.Input((4,))
    told = {"kernel_regularizer": regularizer}
    hidden = keras.layers.Dense(3, activation="tanh", name="hidden", **told)(inputs)
    outputs = keras.layers.Dense(2, name="head", **told)(hidden)
    model = keras.Model(inputs, outputs, name=name)
    generator = np.random.default_rng(2)
    model.set_weights([generator.normal(size=w.shape) for w in model.get_weights()])
    return model


def fit(model, epochs=3, optimizer=None, y=Y):
    model.compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model.fit(X, y, batch_size=8, epochs=epochs, verbose=0).history["loss"]


def losses(model):
    return [float(array(loss)) for loss in model.losses]


def check_same(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


class Of(keras.regularizers.Regularizer):
    """A function as a regularizer: Keras 3.13 takes no plain one."""

    def __init__(self, function):
        self.function = function

    def __call__(self, value):
        return self.function(value)


@pytest.mark.parametrize("penalty", ["l2", keras.regularizers.L1L2(0.01, 0.02), cubed])
def test_c39_as_if_it_had_been_built_with_it(penalty):
    model, known = built(), built(Of(cubed) if penalty is cubed else penalty)
    assert sy.penalize(model, "**/kernel", penalty) is model
    assert losses(model) == pytest.approx(losses(known), rel=1e-5)
    assert len(model.losses) == 2
    np.testing.assert_allclose(fit(model), fit(known), rtol=1e-4)
    check_same(model, known)


def test_c39_on_a_model_that_was_trained():
    model, known = built(), built(keras.regularizers.L2(0.1))
    fit(model, optimizer=keras.optimizers.SGD(0.1))
    known.set_weights(model.get_weights())
    known.compile(keras.optimizers.SGD(0.1), "mse")
    sy.penalize(model, "**/kernel", keras.regularizers.L2(0.1))
    for one in (model, known):  # the first has its compiled steps and goes on with them
        one.fit(X, Y, batch_size=8, epochs=3, verbose=0)
    check_same(model, known)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(
        known.evaluate(X, Y, verbose=0), rel=1e-4
    )


def test_c39_on_a_pretrained_part():
    inputs = keras.Input((4,))
    base = built()
    base.name = "base"
    model = keras.Model(inputs, keras.layers.Dense(2, name="top")(base(inputs)))
    sy.penalize(model, "base/**/kernel", "l2", strength=2.0)
    kernels = [array(layer.kernel) for layer in (base.get_layer("hidden"), base.get_layer("head"))]
    wanted = [2 * 0.01 * np.sum(kernel**2) for kernel in kernels]
    assert sorted(losses(model)) == pytest.approx(sorted(wanted), rel=1e-5)
    fit(model)


def test_c39_counted_once_however_often_the_layer_is_called():
    first, second = keras.Input((4,)), keras.Input((4,))
    layer = keras.layers.Dense(2, name="shared")
    model = keras.Model([first, second], layer(first) + layer(second) + layer(first))
    sy.penalize(model, "shared/kernel", "l2")
    wanted = 0.01 * np.sum(array(layer.kernel) ** 2)
    assert losses(model) == pytest.approx([wanted], rel=1e-5)
    model([X, X])
    assert losses(model) == pytest.approx([wanted], rel=1e-5)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = array(model([X, X]))
    told = model.fit([X, X], y, batch_size=8, verbose=0).history["loss"]
    assert told == pytest.approx([wanted], rel=1e-4)


def test_c39_of_what_the_layer_computes_with():
    model = built()
    layer = model.get_layer("hidden")
    sy.parametrize(layer, "kernel", sy.parametrizations.SpectralNorm())
    sy.penalize(model, "hidden/kernel", sum_of_squares)
    kernel = sy.weights(model)["hidden/kernel"]
    used = kernel.stored()["kernel"] / np.linalg.norm(kernel.stored()["kernel"], 2)
    assert losses(model) == pytest.approx([np.sum(used**2)], rel=1e-2)
    fit(model)
    used = kernel.stored()["kernel"] / np.linalg.norm(kernel.stored()["kernel"], 2)
    assert losses(model) == pytest.approx([np.sum(used**2)], rel=1e-2)


def sum_of_squares(value):
    return ops.sum(ops.square(value))


def test_c39_not_while_the_weight_is_frozen():
    model = built()
    sy.penalize(model, "hidden/kernel", "l2")
    model.get_layer("hidden").trainable = False
    assert losses(model) == []
    model.get_layer("hidden").trainable = True
    assert len(losses(model)) == 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_c39_in_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = built()
    finally:
        keras.config.set_dtype_policy("float32")
    hidden = model.get_layer("hidden").kernel
    hidden.assign(np.full((4, 3), 300.0))  # whose squares half precision cannot hold
    sy.penalize(model, "hidden/kernel", "l2")
    assert losses(model) == pytest.approx([0.01 * 12 * 300.0**2], rel=1e-5)


def test_c39_works_compiled():
    model, known = built(), built("l2")
    sy.penalize(model, "**/kernel", "l2")
    for one in (model, known):
        one.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=laws.BACKEND != "torch")
        one.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    check_same(model, known)


def test_c39_in_references():
    model = built()
    sy.penalize(model, "**/kernel", "l2")
    told = [str(reference) for reference in sy.references(model)]
    assert len(told) == 2
    assert all(reference.is_bound for reference in sy.references(model))
    assert any("hidden" in text and "kernel" in text for text in told)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """What penalized models say in a fresh process, and what they said here."""
    folder = tmp_path_factory.mktemp("penalized")
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", Y)
    made = {"named": "l2", "object": keras.regularizers.L1L2(0.01, 0.02), "function": cubed}
    wanted = {}
    for name, penalty in made.items():
        model = built()
        sy.penalize(model, "**/kernel", penalty, strength=3.0)
        model.save(folder / f"{name}.keras")
        was = losses(model)
        fit(model, epochs=1, optimizer=keras.optimizers.SGD(0.1))
        wanted[name] = (was, model.get_weights())
    return wanted, laws.in_process("tests.laws.penalized_fresh", str(folder))


@pytest.mark.parametrize("name", ["named", "object", "function"])
def test_c84_saved_and_loaded_in_a_fresh_process(name, fresh):
    (was, weights), said = fresh[0][name], fresh[1][name]
    assert "error" not in said, said["error"]
    assert said["losses"] == pytest.approx(was, rel=1e-5)
    assert len(said["references"]) == 2
    for there, here in zip(said["weights"], weights, strict=True):
        np.testing.assert_allclose(there, here, **CLOSE)


@pytest.mark.parametrize("way", laws.COPIES)
def test_c84_copied(way, tmp_path):
    model = built()
    sy.penalize(model, "**/kernel", "l2")
    made = {
        "from_config": lambda: type(model).from_config(model.get_config()),
        "from_json": lambda: keras.models.model_from_json(model.to_json()),
    }
    twin = made[way]() if way in made else laws.COPIES[way](model, tmp_path)
    twin.set_weights(model.get_weights())
    assert losses(twin) == pytest.approx(losses(model), rel=1e-5)
    twin.get_layer("hidden").kernel.assign(np.zeros((4, 3)))
    assert losses(twin) != pytest.approx(losses(model), rel=1e-3)
    fit(twin)


def test_c84_a_file_of_weights_goes_in_and_out(tmp_path):
    model, plain = built(), built()
    sy.penalize(model, "**/kernel", "l2")
    fit(model)
    model.save_weights(tmp_path / "a.weights.h5")
    plain.load_weights(tmp_path / "a.weights.h5")
    check_same(model, plain)


def frozen(model):
    model.get_layer("head").trainable = False


REFUSED = [
    ("**/kernel", "l2", frozen, "1 of 2 weights.*'head/kernel'.*do nothing"),
    ("**/gamma", "l2", None, "gamma"),
    ("**/kernel", ops.abs, None, r"scalar.*'hidden/kernel'.*\(4, 3\)"),
    ("**/kernel", keras.constraints.NonNeg(), None, "A penalty is a Keras regularizer"),
    ("**/kernel", keras.regularizers.L2, None, "A penalty is a Keras regularizer"),
    ("**/kernel", 0.1, None, "A penalty is a Keras regularizer.*0.1"),
    ("**/kernel", None, None, "A penalty is a Keras regularizer.*None"),
]


@pytest.mark.parametrize(("pattern", "penalty", "prepare", "says"), REFUSED)
def test_c39_refused_and_nothing_has_changed(pattern, penalty, prepare, says):
    model = built()
    if prepare is not None:
        prepare(model)
    with pytest.raises(sy.SteelyardError, match=says):
        sy.penalize(model, pattern, penalty)
    assert losses(model) == []
    assert all(type(layer) is keras.layers.Dense for layer in model.layers[1:])
    assert sy.references(model) == []


class Late(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        sy.penalize(self.model, "**/kernel", "l2")


def test_c39_not_while_the_model_trains():
    model = built()
    model.compile("sgd", "mse")
    with pytest.raises(sy.SteelyardError, match="being trained"):
        model.fit(X, Y, verbose=0, callbacks=[Late()])
    assert losses(model) == []
