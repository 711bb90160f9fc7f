"""Numbers of `WeightAnalyzer(log=True)` in the logs of `fit` and `evaluate`."""

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.layer import BACKEND

import steelyard as sy

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
ZEROS = np.zeros((6, 3), "float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor), "float64")


def norm(layer):
    return pytest.approx(np.linalg.norm(array(layer.kernel)), rel=1e-5)


def held(log=True):
    """A model that holds an analyzer and does not call it."""

    class Held(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(3)
            self.watch = sy.layers.WeightAnalyzer(self.hidden, log=log, name="watch")

        def call(self, x):
            return self.hidden(x)

    model = Held()
    model(X)
    return model


def functional(**kwargs):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="hidden")
    outputs = hidden(inputs)
    return keras.Model(inputs, [outputs, sy.layers.WeightAnalyzer(hidden, **kwargs)(outputs)])


def fit(model, **kwargs):
    loss = "mse" if len(keras.tree.flatten(model(X))) == 1 else ["mse", None]
    model.compile(keras.optimizers.SGD(0.1), loss)
    y = ZEROS if loss == "mse" else [ZEROS, ZEROS[:, :1]]
    return model.fit(X, y, batch_size=4, shuffle=False, verbose=0, **kwargs).history


def test_of_an_analyzer_that_is_never_called():
    model = held()
    history = fit(model, epochs=2)
    assert history["watch_l2_norm"][-1] == norm(model.hidden)
    assert history["watch_l2_norm"][0] != history["watch_l2_norm"][1]


def test_without_log_nothing_is_logged():
    assert set(fit(held(log=False))) == {"loss"}
    assert functional().metrics == []


def test_each_analyzer_has_names_of_its_own():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3)
    outputs = hidden(inputs)
    numbers = [
        sy.layers.WeightAnalyzer(hidden, ["mean", "std"], log=True)(outputs),
        sy.layers.WeightAnalyzer(hidden, "mean", log=True)(outputs),
    ]
    model = keras.Model(inputs, [outputs, *numbers])
    names = [metric.name for metric in model.metrics]
    assert len(set(names)) == 3
    assert all(name.startswith("weight_analyzer") for name in names)


def test_in_the_progress_bar(capsys):
    model = functional(log=True, name="watch")
    model.compile("sgd", ["mse", None])
    model.fit(X, [ZEROS, ZEROS[:, :1]], verbose=2)
    assert "watch_l2_norm: " in capsys.readouterr().out


def test_no_gradient_comes_of_it():
    logged, plain = functional(log=True), functional()
    plain.set_weights(logged.get_weights())
    for model in (logged, plain):
        fit(model)
    for a, b in zip(logged.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_leaves_no_trace_in_files(tmp_path):
    logged, plain = functional(log=True, name="watch"), functional(name="watch")
    fit(logged)
    assert logged.get_layer("watch").weights == [] and logged.count_params() == 15
    assert len(logged.weights) == len(plain.weights)

    def groups(model, name):
        model.save_weights(tmp_path / name)
        found = []
        with h5py.File(tmp_path / name) as file:
            file.visit(lambda path: found.append(path))
        return [path for path in found if not path.startswith("optimizer")]

    assert groups(logged, "a.weights.h5") == groups(plain, "b.weights.h5")
    plain.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(array(plain(X)[0]), array(logged(X)[0]), rtol=1e-6)


@pytest.mark.parametrize("way", ["saved", "cloned"])
def test_a_copy_logs_its_own_weight(way, tmp_path):
    model = functional(log=True, name="watch")
    if way == "saved":
        model.save(tmp_path / "model.keras")
        twin = keras.models.load_model(tmp_path / "model.keras")
    else:
        twin = keras.models.clone_model(model)
    history = fit(twin, epochs=2)
    assert history["watch_l2_norm"][-1] == norm(twin.get_layer("hidden"))
    assert history["watch_l2_norm"][-1] != norm(model.get_layer("hidden"))


def test_of_a_layer_in_a_nested_model():
    i = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="hidden")
    inner = keras.Model(i, hidden(i))
    inputs = keras.Input((4,))
    outputs = inner(inputs)
    number = sy.layers.WeightAnalyzer(hidden, log=True, name="watch")(outputs)
    model = keras.Model(inputs, [outputs, number])
    assert fit(model)["watch_l2_norm"] == [norm(hidden)]


def test_of_a_frozen_layer_outside_the_model():
    outside = keras.layers.Dense(3)
    outside.build((None, 4))
    outside.trainable = False
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3)(inputs)
    number = sy.layers.WeightAnalyzer(outside, log=True, name="watch")(outputs)
    model = keras.Model(inputs, [outputs, number])
    assert fit(model)["watch_l2_norm"] == [norm(outside)]
    outside.kernel.assign(np.ones((4, 3)))
    logs = model.test_on_batch(X, [ZEROS, ZEROS[:, :1]], return_dict=True)
    assert logs["watch_l2_norm"] == norm(outside)


def test_of_what_is_worked_out_from_another_weight():
    model = functional(log=True, name="watch")
    sy.parametrize(model.get_layer("hidden"), "kernel", sy.parametrizations.WeightNorm())
    history = fit(model, epochs=2)["watch_l2_norm"]
    used = array(sy.ref(model.get_layer("hidden"))())
    assert history[-1] == pytest.approx(np.linalg.norm(used), rel=1e-5)
    assert history[0] != history[1]


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX hands values over as arguments")
def test_no_number_where_nobody_can_know_it():
    """In a loop of the user's own, whose values we cannot find: not a stale number."""
    import jax

    model = held()
    (metric,) = model.metrics
    assert float(metric.result()) == norm(model.hidden)
    assert np.isnan(jax.jit(lambda: metric.result())())
    assert np.isnan(jax.jit(lambda: metric.stateless_result([]))())
