"""Section A of the access contract: reaching the other layer."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.users import ByName, Stack

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")


def norm(values):
    return float(np.sqrt(np.sum(np.square(np.asarray(values, "float64")))))


def kernel(layer):
    return np.array(ops.convert_to_numpy(layer.kernel))


def step(model, x=X, rate=0.1):
    """One step of `fit` that pulls every output towards 0."""
    zeros = [np.zeros(tuple(y.shape), "float32") for y in keras.tree.flatten(model(x))]
    loss = "mse" if len(zeros) == 1 else ["mse"] * len(zeros)
    model.compile(keras.optimizers.SGD(rate), loss)
    model.fit(x, zeros[0] if len(zeros) == 1 else zeros, batch_size=len(x), verbose=0)


def test_c01_the_output_of_a_layer_means_the_layer(elsewhere):
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(3, name="proj")(inputs)
    outputs = sy.layers.WeightAnalyzer(dense)(inputs)
    model = keras.Model(inputs, outputs)
    proj = model.get_layer("proj")
    np.testing.assert_allclose(model.predict(X, verbose=0), [[norm(kernel(proj))]] * 4, **CLOSE)
    was = norm(kernel(proj))
    step(model)
    assert norm(kernel(proj)) < was - 1e-3
    now = norm(kernel(proj))
    np.testing.assert_allclose(model.predict(X, verbose=0), [[now]] * 4, **CLOSE)
    there = elsewhere(model, X, add=["proj/kernel"])
    np.testing.assert_allclose(there.predicted[0], [[now]] * 4, **CLOSE)
    np.testing.assert_allclose(there.after[0], [[norm(kernel(proj) + 0.25)]] * 4, **CLOSE)


def test_c01_ref_takes_the_output_too():
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="proj")
    reference = sy.ref(layer(inputs), "kernel")
    assert reference.layer is layer
    np.testing.assert_allclose(ops.convert_to_numpy(reference()), kernel(layer))


def test_c02_unbuilt_is_an_error_that_names_the_layer_then_the_right_number():
    proj = keras.layers.Dense(3, name="proj")
    analyzer = sy.layers.WeightAnalyzer(proj)
    with pytest.raises(sy.SteelyardError, match="proj"):
        analyzer(X)
    with pytest.raises(sy.SteelyardError, match="proj"):
        analyzer.read()
    proj.build((None, 4))
    wanted = norm(kernel(proj))
    assert wanted > 0
    np.testing.assert_allclose(ops.convert_to_numpy(analyzer(X)), [[wanted]] * 4, **CLOSE)
    assert analyzer.read()["l2_norm"] == pytest.approx(wanted, rel=1e-5)


def test_c02_traced_before_it_is_built():
    inputs = keras.Input((4,))
    proj = keras.layers.Dense(3, name="proj")
    number = sy.layers.WeightAnalyzer(proj)(inputs)
    model = keras.Model(inputs, [number, proj(inputs)])
    np.testing.assert_allclose(model.predict(X, verbose=0)[0], [[norm(kernel(proj))]] * 4, **CLOSE)


@pytest.mark.parametrize("units", [None, 4])
def test_c03_a_decoder_is_built_before_its_encoder(units, elsewhere):
    encoder = keras.layers.Dense(3, name="encoder")
    code = keras.Input((3,))
    decoder = keras.Model(code, sy.layers.TiedDense(encoder, units, name="tied")(code), name="dec")
    assert not encoder.built
    inputs = keras.Input((4,))
    model = keras.Model(inputs, decoder(encoder(inputs)))

    def wanted(k, encoder_bias, bias):
        return (X @ k + encoder_bias) @ k.T + bias

    step(model)
    k, b = (np.array(ops.convert_to_numpy(w)) for w in (encoder.kernel, encoder.bias))
    tied = decoder.get_layer("tied")
    bias = ops.convert_to_numpy(tied.bias)
    assert np.abs(bias).max() > 1e-5, "the decoder's own bias trains"
    np.testing.assert_allclose(model.predict(X, verbose=0), wanted(k, b, bias), **CLOSE)
    assert model.count_params() == 4 * 3 + 3 + 4
    there = elsewhere(model, X, add=["encoder/kernel"])
    np.testing.assert_allclose(there.predicted[0], wanted(k, b, bias), **CLOSE)
    np.testing.assert_allclose(there.after[0], wanted(k + 0.25, b, bias), **CLOSE)


def houses():
    """One model with a weight behind every kind of door, and the address of each."""
    i = keras.Input((4,))
    inner = keras.Model(i, keras.layers.Dense(4, name="proj")(i), name="encoder")
    inputs = keras.Input((4,))
    x = inner(inputs)
    x = keras.layers.TimeDistributed(keras.layers.Dense(4), name="each")(x[:, None])[:, 0]
    x = Stack(name="stack")(x)
    x = keras.Sequential([keras.layers.Dense(4, name="in_line")], name="line")(x)
    return inputs, x


ADDRESSES = (
    "encoder/proj/kernel",
    "each/layer/kernel",
    "stack/rows/0/kernel",
    "stack/rows/1/kernel",
    "stack/named/a/kernel",
    "stack/last/kernel",
    "line/in_line/kernel",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_c04_by_path_through_any_nesting(address, elsewhere):
    inputs, x = houses()
    number = sy.layers.WeightAnalyzer(address, name="number")(x)
    model = keras.Model(inputs, number)
    weight = sy.weights(model)[address]
    assert weight.shape == (4, 4)
    weight.assign(np.arange(16.0).reshape(4, 4))
    wanted = norm(np.arange(16.0))
    np.testing.assert_allclose(model.predict(X, verbose=0), [[wanted]] * 4, **CLOSE)
    there = elsewhere(model, X, add=[address])
    np.testing.assert_allclose(there.predicted[0], [[wanted]] * 4, **CLOSE)
    np.testing.assert_allclose(there.after[0], [[norm(np.arange(16.0) + 0.25)]] * 4, **CLOSE)


def test_c04_every_weight_is_listed_once():
    inputs, x = houses()
    addresses = sy.weights(keras.Model(inputs, x)).addresses
    assert set(ADDRESSES) <= set(addresses)
    assert len(addresses) == len(set(addresses)) == 2 * len(ADDRESSES)


def tower(name):
    i = keras.Input((4,))
    return keras.Model(i, keras.layers.Dense(2, name="proj")(i), name=name)


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_c05_two_towers_with_the_same_inner_names(order):
    towers = {name: tower(name) for name in order}
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [towers["left"](inputs), towers["right"](inputs)])
    weights = sy.weights(model)
    names = {"left/proj/kernel", "left/proj/bias", "right/proj/kernel", "right/proj/bias"}
    assert set(weights.addresses) == names
    weights["left/proj/kernel"].assign(np.full((4, 2), 2.0))
    weights["right/proj/kernel"].assign(np.full((4, 2), 3.0))
    assert norm(kernel(towers["left"].get_layer("proj"))) == pytest.approx(2 * np.sqrt(8))
    assert norm(kernel(towers["right"].get_layer("proj"))) == pytest.approx(3 * np.sqrt(8))


def test_c06_the_same_addresses_before_and_after(elsewhere):
    keras.layers.Dense(1)  # the count in automatic names is one further here than there
    inputs, x = houses()
    model = keras.Model(inputs, x)
    weights = sy.weights(model)
    there = elsewhere(model, X)
    assert tuple(there.addresses) == weights.addresses
    for weight in weights:
        np.testing.assert_array_equal(weight.numpy(), np.float32(there.values[weight.address]))


def test_c07_a_layer_names_another_by_its_address(elsewhere):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="proj")(inputs)
    model = keras.Model(inputs, ByName("proj/kernel")(hidden))
    proj = model.get_layer("proj")
    wanted = norm(kernel(proj)) ** 2
    np.testing.assert_allclose(model.predict(X, verbose=0), [[wanted]] * 4, **CLOSE)
    was = kernel(proj)
    step(model, rate=0.01)
    assert np.abs(kernel(proj) - was).max() > 1e-4
    there = elsewhere(model, X, add=["proj/kernel"])
    wanted = [[norm(kernel(proj) + 0.25) ** 2]] * 4
    np.testing.assert_allclose(there.after[0], wanted, **CLOSE)


def test_c07_bound_by_hand():
    i = keras.Input((3,))
    watcher = ByName("proj/kernel", name="watcher")
    inner = keras.Model(i, watcher(i), name="inner")
    inputs = keras.Input((4,))
    proj = keras.layers.Dense(3, name="proj")
    model = keras.Model(inputs, inner(proj(inputs)))
    assert not watcher.kernel_there.is_bound
    assert sy.bind(model) is model
    assert watcher.kernel_there.is_bound
    assert watcher.kernel_there.address == "proj/kernel"
    alone = inner.predict(np.ones((2, 3)), verbose=0)
    np.testing.assert_allclose(alone, [[norm(kernel(proj)) ** 2]] * 2, **CLOSE)


def test_c07_an_address_that_is_not_there():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="proj")(inputs)
    model = keras.Model(inputs, ByName("prj/kernel")(hidden))
    with pytest.raises(sy.SteelyardError, match="proj/kernel"):
        model(X)


def test_c08_a_handle_on_the_model_at_any_time(elsewhere):
    inputs = keras.Input((4,))
    proj = keras.layers.Dense(3, name="proj")
    observer = sy.layers.WeightAnalyzer(proj, name="observer")
    model = keras.Model(inputs, [observer(inputs), proj(inputs)])
    before = model.count_params(), len(model.layers), len(observer.weights)
    observer.of_model = sy.weights(model)
    observer.another = sy.ref(proj, "bias")
    observer.some = [sy.ref("proj/kernel"), {"bias": sy.ref(proj, "bias")}]
    assert (model.count_params(), len(model.layers), len(observer.weights)) == before
    step(model)
    there = elsewhere(model, X)
    np.testing.assert_allclose(there.predicted[0], [[norm(kernel(proj))]] * 4, **CLOSE)
