"""`WeightAnalyzer`: numbers about another layer's weight, one row per sample."""

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy
from steelyard import errors

X = np.ones((5, 4), "float32")
KERNEL = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
METRICS = sy.metrics.in_graph()


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def owner(kernel=KERNEL):
    layer = keras.layers.Dense(kernel.shape[1], name="owner")
    layer.build((None, kernel.shape[0]))
    layer.kernel.assign(kernel)
    return layer


def model_of(metrics, kernel=KERNEL, **kwargs):
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(kernel.shape[1], name="owner")
    analyzer = sy.layers.WeightAnalyzer(layer, metrics, name="analyzer", **kwargs)
    model = keras.Model(inputs, analyzer(layer(inputs)))
    layer.kernel.assign(kernel)
    return model


@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_is_the_one_of_the_catalog(metric):
    wanted = float(getattr(sy.metrics, metric)(KERNEL))
    model = model_of(metric)
    np.testing.assert_allclose(model.predict(X, verbose=0), [[wanted]] * 5, rtol=1e-4, atol=1e-6)
    assert model.get_layer("analyzer").read() == {metric: pytest.approx(wanted, rel=1e-4)}


def test_several_metrics_in_the_order_given():
    names = ("max", "l1_norm", "min")
    model = model_of(names)
    wanted = [KERNEL.max(), np.abs(KERNEL).sum(), KERNEL.min()]
    got = model.predict(X, verbose=0)
    assert got.shape == (5, 3)
    assert got.dtype == "float32"
    np.testing.assert_allclose(got, [wanted] * 5, rtol=1e-5)
    assert list(model.get_layer("analyzer").read()) == list(names)


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(sy.SteelyardError, match="'l2_norm'"):
        sy.layers.WeightAnalyzer(owner(), "l2_nrom")
    with pytest.raises(sy.SteelyardError, match="There are"):
        sy.layers.WeightAnalyzer(owner(), ["l2_norm", "zzz"])


@pytest.mark.parametrize("metrics", [[], (), None, 3])
def test_no_metric_is_an_error(metrics):
    with pytest.raises((sy.SteelyardError, TypeError)):
        sy.layers.WeightAnalyzer(owner(), metrics)


@pytest.mark.parametrize("rows", [1, 5, 7])
@pytest.mark.parametrize("batch", [1, 2, 32])
def test_one_row_per_sample_in_any_batches(rows, batch):
    got = model_of("l2_norm").predict(np.ones((rows, 4)), batch_size=batch, verbose=0)
    np.testing.assert_allclose(got, [[np.linalg.norm(KERNEL)]] * rows, rtol=1e-5)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 2, 4)])
def test_called_on_any_tensor(shape):
    analyzer = sy.layers.WeightAnalyzer(owner(), "max_abs")
    assert array(analyzer(np.ones((5, *shape)))).shape == (5, 1)


@pytest.mark.parametrize("nest", [list, tuple, dict])
def test_called_on_a_nest(nest):
    analyzer = sy.layers.WeightAnalyzer(owner(), ["max_abs", "mean"])
    value = {"a": X, "b": X[:, :1]} if nest is dict else nest([X, X[:, :1]])
    assert array(analyzer(value)).shape == (5, 2)


def test_called_on_integers():
    analyzer = sy.layers.WeightAnalyzer(owner(), "max_abs")
    got = array(analyzer(np.ones((5, 4), "int32")))
    assert got.dtype == "float32"
    np.testing.assert_allclose(got, [[np.abs(KERNEL).max()]] * 5, rtol=1e-6)


def test_read_is_outside_any_graph_and_live():
    layer = owner()
    analyzer = sy.layers.WeightAnalyzer(layer, ["l1_norm", "zero_fraction"])
    assert analyzer.read()["zero_fraction"] == 0.0
    layer.kernel.assign(np.zeros((4, 3)))
    assert analyzer.read() == {"l1_norm": 0.0, "zero_fraction": 1.0}
    assert all(type(number) is float for number in analyzer.read().values())


def test_trains_through_the_number():
    model = model_of("l2_norm")
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = np.linalg.norm(array(model.get_layer("owner").kernel))
    model.fit(X, np.zeros((5, 1)), epochs=3, batch_size=5, verbose=0)
    after = np.linalg.norm(array(model.get_layer("owner").kernel))
    assert after < 0.9 * before


def test_a_zero_weight_has_a_finite_gradient():
    model = model_of("l2_norm", kernel=np.zeros((4, 3), "float32"))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, np.ones((5, 1)), batch_size=5, verbose=0)
    assert np.all(np.isfinite(array(model.get_layer("owner").kernel)))


def test_evaluates():
    model = model_of("l2_norm")
    model.compile("sgd", "mse", metrics=["mae"])
    loss, mae = model.evaluate(X, np.zeros((5, 1)), batch_size=2, verbose=0)
    assert mae == pytest.approx(np.linalg.norm(KERNEL), rel=1e-5)
    assert loss == pytest.approx(np.linalg.norm(KERNEL) ** 2, rel=1e-4)


def test_a_spectral_number_of_a_vector_says_the_shape():
    layer = owner()
    with pytest.raises(errors.ShapeMismatchError, match=r"\(3,\)"):
        sy.layers.WeightAnalyzer(layer, "spectral_norm", weight="bias")(X)


def test_of_a_weight_with_more_axes():
    layer = keras.layers.Conv2D(3, 2, name="conv")
    layer.build((None, 5, 5, 2))
    analyzer = sy.layers.WeightAnalyzer(layer, ["l2_norm", "spectral_norm"])
    kernel = array(layer.kernel).reshape(-1, 3)
    wanted = [np.linalg.norm(kernel), np.linalg.norm(kernel, 2)]
    np.testing.assert_allclose(array(analyzer(X)), [wanted] * 5, rtol=1e-4)


def test_the_output_shape_is_known_before_the_weight():
    inputs = keras.Input((4,))
    later = keras.layers.Dense(3, name="later")
    y = sy.layers.WeightAnalyzer(later, ["mean", "max", "min"])(inputs)
    assert y.shape == (None, 3)
    assert y.dtype == "float32"
    assert not later.built


def test_its_config_has_its_arguments():
    analyzer = sy.layers.WeightAnalyzer(owner(), ("mean", "max"), weight="bias", name="watch")
    config = analyzer.get_config()
    assert list(config["metrics"]) == ["mean", "max"]
    assert config["weight"] == "bias"
    assert config["name"] == "watch"
    assert "of" in config
