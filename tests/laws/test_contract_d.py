"""Section D of the access contract: penalties, losses, metrics."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.users import Penalized, Together, apart

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
ZEROS = np.zeros((6, 3), "float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor), "float64")


def kernel(model, name):
    return array(model.get_layer(name).kernel)


def randomize(model):
    draw = np.random.default_rng(5)
    for variable in model.weights:
        variable.assign(draw.normal(0, 0.5, variable.shape))
    return model


def step(model, loss=None, rate=0.1, **kwargs):
    """One step of `fit`; of the penalties alone, if no loss is given."""
    model.compile(keras.optimizers.SGD(rate), loss, **kwargs)
    y = [ZEROS] * len(model.outputs) if isinstance(loss, list) else ZEROS
    return model.fit(X, y, batch_size=6, verbose=0)


def dense(name):
    return keras.layers.Dense(3, use_bias=False, name=name)


# --- Penalties ------------------------------------------------------------------------------------


def with_layer_of_the_issue():
    inputs = keras.Input((4,))
    one, two = dense("one"), dense("two")
    both = one(inputs) + two(inputs)
    kernels = [sy.value(one, "kernel"), sy.value(two, "kernel")]
    return randomize(keras.Model(inputs, [both, Together(name="together")(kernels)]))


def overlap(one, two):
    return np.sum((one * two) ** 2, axis=1)


def test_c36_a_penalty_on_two_kernels_in_the_functional_api(elsewhere):
    model = with_layer_of_the_issue()
    one, two = kernel(model, "one"), kernel(model, "two")
    np.testing.assert_allclose(array(model(X)[1]), overlap(one, two), **CLOSE)
    step(model)
    np.testing.assert_allclose(kernel(model, "one"), one - 0.2 * one * two**2, **CLOSE)
    np.testing.assert_allclose(kernel(model, "two"), two - 0.2 * two * one**2, **CLOSE)
    one, two = kernel(model, "one"), kernel(model, "two")
    np.testing.assert_allclose(array(model(X)[1]), overlap(one, two), **CLOSE)
    there = elsewhere(model, X, add=["one/kernel"])
    np.testing.assert_allclose(there.predicted[1], overlap(one, two), **CLOSE)
    np.testing.assert_allclose(there.after[1], overlap(one + 0.25, two), **CLOSE)
    assert sorted(there.addresses) == ["one/kernel", "two/kernel"]


def test_c36_is_live_in_a_clone():
    model = with_layer_of_the_issue()
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    twin.get_layer("one").kernel.assign(np.ones((4, 3)))
    wanted = overlap(np.ones((4, 3)), kernel(twin, "two"))
    np.testing.assert_allclose(array(twin(X)[1]), wanted, **CLOSE)
    one, two = kernel(model, "one"), kernel(model, "two")
    np.testing.assert_allclose(array(model(X)[1]), overlap(one, two), **CLOSE)
    step(twin)
    np.testing.assert_allclose(kernel(model, "two"), two)
    assert np.abs(kernel(twin, "two") - two).max() > 1e-3


def pulled_together(strength=1.0):
    inputs = keras.Input((4,))
    one, two = dense("one"), dense("two")
    both = one(inputs) + two(inputs)
    outputs = sy.layers.WeightPenalty([one, two], apart, strength, name="penalty")(both)
    return randomize(keras.Model(inputs, outputs))


def test_c37_a_penalty_layer_on_two_layers(elsewhere):
    model = pulled_together(0.5)
    one, two = kernel(model, "one"), kernel(model, "two")
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ (one + two), **CLOSE)
    history = step(model).history["loss"]
    np.testing.assert_allclose(history, [0.5 * np.sum((one - two) ** 2)], **CLOSE)
    np.testing.assert_allclose(kernel(model, "one"), one - 0.1 * (one - two), **CLOSE)
    np.testing.assert_allclose(kernel(model, "two"), two - 0.1 * (two - one), **CLOSE)
    one, two = kernel(model, "one"), kernel(model, "two")
    there = elsewhere(model, X, add=["two/kernel"], losses=True)
    np.testing.assert_allclose(there.losses, [0.5 * np.sum((one - two) ** 2)], **CLOSE)
    moved = 0.5 * np.sum((one - two - 0.25) ** 2)
    np.testing.assert_allclose(vars(there)["losses after"], [moved], **CLOSE)


def test_c37_the_loaded_model_goes_on_training(tmp_path):
    model = pulled_together()
    step(model)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    one, two = kernel(model, "one"), kernel(model, "two")
    model.fit(X, ZEROS, batch_size=6, verbose=0)
    np.testing.assert_allclose(kernel(model, "one"), one - 0.2 * (one - two), **CLOSE)
    np.testing.assert_allclose(kernel(model, "two"), two - 0.2 * (two - one), **CLOSE)


def test_c37_held_by_a_subclassed_model(elsewhere):
    model = Penalized(strength=2.0)
    model(X)
    was = array(model.hidden.kernel)
    there = elsewhere(model, X, add=["hidden/kernel"], losses=True)
    wanted = [np.sum(was), np.sum(was + 0.25)]
    np.testing.assert_allclose([*there.losses, *vars(there)["losses after"]], wanted, **CLOSE)
    np.testing.assert_allclose(step(model).history["loss"], [2 * np.sum(was)], **CLOSE)
    np.testing.assert_allclose(array(model.hidden.kernel), was - 0.2, **CLOSE)


def test_c40_a_penalty_in_the_loss_as_a_layer(tmp_path):
    inputs = keras.Input((4,))
    d = dense("d")
    outputs = sy.layers.WeightPenalty(d, "l2", 0.5)(d(inputs))
    model = randomize(keras.Model(inputs, outputs))
    was = kernel(model, "d")
    loss = np.mean((X @ was) ** 2) + 0.5 * 0.01 * np.sum(was**2)
    np.testing.assert_allclose(step(model, "mse").history["loss"], [loss], **CLOSE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    now = kernel(model, "d")
    loss = np.mean((X @ now) ** 2) + 0.5 * 0.01 * np.sum(now**2)
    np.testing.assert_allclose(loaded.evaluate(X, ZEROS, verbose=0), loss, **CLOSE)
    for each in (model, loaded):
        each.fit(X, ZEROS, batch_size=6, verbose=0)
    assert np.abs(kernel(loaded, "d") - now).max() > 1e-4
    np.testing.assert_allclose(kernel(loaded, "d"), kernel(model, "d"), **CLOSE)


def test_c64_a_penalty_by_closure():
    """Keras's own way, as long as the layer is in the model; it stays right beside ours."""
    inputs = keras.Input((4,))
    d = dense("d")

    class Closure(keras.layers.Layer):
        def call(self, x):
            self.add_loss(ops.sum(d.kernel))
            return x

    outputs = sy.layers.WeightPenalty(d, lambda value: ops.sum(value))(Closure()(d(inputs)))
    model = randomize(keras.Model(inputs, outputs))
    was = kernel(model, "d")
    np.testing.assert_allclose(step(model).history["loss"], [2 * np.sum(was)], **CLOSE)
    np.testing.assert_allclose(kernel(model, "d"), was - 0.2, **CLOSE)


# --- Numbers in the logs --------------------------------------------------------------------------


class Seen(keras.callbacks.Callback):
    """What the logs of each batch and epoch say, beside NumPy's number of the weight then."""

    def __init__(self):
        super().__init__()
        self.batches, self.epochs = [], []

    def note(self, logs, to):
        to.append((float(logs["watch_l2_norm"]), np.linalg.norm(kernel(self.model, "d"))))

    def on_train_batch_end(self, batch, logs=None):
        self.note(logs, self.batches)

    def on_epoch_end(self, epoch, logs=None):
        self.note(logs, self.epochs)


def watched(**kwargs):
    inputs = keras.Input((4,))
    d = dense("d")
    outputs = d(inputs)
    number = sy.layers.WeightAnalyzer(d, log=True, name="watch", **kwargs)(outputs)
    return randomize(keras.Model(inputs, [outputs, number]))


@pytest.mark.parametrize("compiled", [{}, {"jit_compile": False}, {"run_eagerly": True}])
def test_c41_a_weight_statistic_in_logs_and_history(compiled):
    model, seen = watched(), Seen()
    model.compile(keras.optimizers.SGD(0.1), ["mse", None], **compiled)
    history = model.fit(
        X, [ZEROS, ZEROS[:, :1]], batch_size=4, epochs=3, verbose=0, callbacks=[seen]
    ).history["watch_l2_norm"]
    assert (len(seen.batches), len(seen.epochs), len(history)) == (6, 3, 3)
    said, was = np.transpose(seen.batches + seen.epochs)
    np.testing.assert_allclose(said, was, rtol=1e-5)
    assert np.ptp(said[:6]) > 1e-3, "a stale number would show nothing"
    np.testing.assert_allclose(history, said[6:], rtol=1e-6)
    np.testing.assert_allclose(history[-1], np.linalg.norm(kernel(model, "d")), rtol=1e-5)


def test_c41_in_validation_and_evaluate():
    model = watched(metrics=["l2_norm", "max_abs"])
    model.compile(keras.optimizers.SGD(0.1), ["mse", None])
    targets = [ZEROS, ZEROS[:, :1]]
    history = model.fit(
        X, targets, batch_size=3, epochs=2, verbose=0, validation_data=(X, targets)
    ).history
    for name, number in (("l2_norm", np.linalg.norm), ("max_abs", lambda k: np.abs(k).max())):
        now = number(kernel(model, "d"))
        np.testing.assert_allclose(history[f"watch_{name}"][-1], now, rtol=1e-5)
        np.testing.assert_allclose(history[f"val_watch_{name}"][-1], now, rtol=1e-5)
        said = model.evaluate(X, targets, batch_size=4, verbose=0, return_dict=True)
        np.testing.assert_allclose(said[f"watch_{name}"], now, rtol=1e-5)
        said = model.test_on_batch(X, targets, return_dict=True)
        np.testing.assert_allclose(said[f"watch_{name}"], now, rtol=1e-5)


def test_c42_a_metric_beside_those_of_the_user():
    model = watched()
    model.compile(keras.optimizers.SGD(0.1), ["mse", None], metrics=[["mae"], None])
    targets = [ZEROS, ZEROS[:, :1]]
    logs = model.fit(X, targets, batch_size=3, epochs=2, verbose=0).history
    assert {"loss", "watch_l2_norm"} < set(logs) and any("mae" in name for name in logs)
    said = model.train_on_batch(X, targets, return_dict=True)
    np.testing.assert_allclose(said["watch_l2_norm"], np.linalg.norm(kernel(model, "d")), rtol=1e-5)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("batch", [1, 4, 32])
def test_c43_a_weight_statistic_as_an_output(log, batch):
    inputs = keras.Input((4,))
    d = dense("d")
    number = sy.layers.WeightAnalyzer(d, ["l2_norm", "mean"], log=log)(d(inputs))
    model = randomize(keras.Model(inputs, number))
    value = kernel(model, "d")
    wanted = [[np.linalg.norm(value), np.mean(value)]] * 6
    np.testing.assert_allclose(model.predict(X, batch_size=batch, verbose=0), wanted, **CLOSE)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    targets = np.zeros((6, 2))
    loss = np.mean(np.square(wanted))
    scored = model.evaluate(X, targets, batch_size=batch, verbose=0)
    np.testing.assert_allclose(np.ravel(scored)[0], loss, **CLOSE)
    model.fit(X, targets, batch_size=batch, verbose=0)
    value = kernel(model, "d")
    wanted = [[np.linalg.norm(value), np.mean(value)]] * 6
    np.testing.assert_allclose(model.predict(X, batch_size=batch, verbose=0), wanted, **CLOSE)
