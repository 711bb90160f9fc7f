"""Section B of the access contract: ownership, counting, freezing."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.users import Norm, TiedDecoder

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor), "float64")


def autoencoder():
    inputs = keras.Input((4,))
    encoder = keras.layers.Dense(3, name="encoder")
    code = encoder(inputs)
    outputs = TiedDecoder(encoder, name="decoder")(code)
    return keras.Model(inputs, [outputs, Norm(encoder, name="observer")(code)])


def fit(model, **kwargs):
    zeros = [np.zeros(tuple(y.shape), "float32") for y in model(X)]
    model.compile(keras.optimizers.SGD(0.01), ["mse"] * len(zeros))
    return model.fit(X, zeros, batch_size=4, verbose=0, **kwargs)


def test_c12_each_parameter_is_counted_where_it_is():
    model = autoencoder()
    counts = {layer.name: layer.count_params() for layer in model.layers}
    assert counts["decoder"] == counts["observer"] == 0
    assert counts["encoder"] == 4 * 3 + 3
    assert sum(counts.values()) == model.count_params() == 15
    lines = []
    model.summary(print_fn=lines.append)
    assert "15 (" in "".join(lines)
    tied = sy.layers.TiedDense(model.get_layer("encoder"))
    tied.build((None, 3))
    assert tied.count_params() == 4


def test_c13_the_users_own_weight_decay():
    model = autoencoder()
    loop = sum(
        float(np.sum(np.square(array(w))))
        for layer in model.layers
        for w in layer.trainable_weights
    )
    encoder = model.get_layer("encoder")
    truth = np.sum(np.square(array(encoder.kernel))) + np.sum(np.square(array(encoder.bias)))
    assert loop == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize("name", ["observer", "decoder"])
def test_c14_freezing_the_borrower_freezes_nothing_else(name):
    model = autoencoder()
    model.get_layer(name).trainable = False
    encoder = model.get_layer("encoder")
    assert encoder.trainable
    assert len(model.trainable_variables) == 2
    was = array(encoder.kernel)
    fit(model)
    assert np.abs(array(encoder.kernel) - was).max() > 1e-4


def test_c14_freezing_the_owner_stops_it_for_all():
    model = autoencoder()
    encoder = model.get_layer("encoder")
    encoder.trainable = False
    assert model.trainable_variables == []
    was = array(encoder.kernel)
    fit(model)
    np.testing.assert_array_equal(array(encoder.kernel), was)


@pytest.mark.parametrize("frozen", [False, True])
def test_c15_the_norm_of_a_frozen_layer(frozen):
    inputs = keras.Input((4,))
    normed = keras.layers.BatchNormalization(name="normed")
    dense = keras.layers.Dense(3, name="dense")
    dense.trainable = normed.trainable = not frozen
    x = dense(normed(inputs))
    of = [sy.layers.WeightAnalyzer(dense), sy.layers.WeightAnalyzer(dense, weight="bias")]
    of += [sy.layers.WeightAnalyzer(normed, weight="moving_variance")]
    model = keras.Model(inputs, [layer(x) for layer in of])
    dense.bias.assign([3.0, 4.0, 0.0])
    normed.moving_variance.assign([2.0, 2.0, 2.0, 2.0])
    numbers = [float(y[0, 0]) for y in model.predict(X, verbose=0)]
    truth = [np.sqrt(np.sum(np.square(array(dense.kernel)))), 5.0, 4.0]
    np.testing.assert_allclose(numbers, truth, rtol=1e-5)


def test_c18_a_reference_owns_nothing_and_is_kept(elsewhere):
    model = autoencoder()
    observer = model.get_layer("observer")
    assert observer.weights == observer.variables == []
    assert not any(isinstance(v, keras.layers.Layer) for v in vars(observer).values())
    kernel = array(model.get_layer("encoder").kernel)
    there = elsewhere(model, X, add=["encoder/kernel"])
    np.testing.assert_allclose(there.predicted[1], [[np.sum(kernel**2)]] * 4, **CLOSE)
    np.testing.assert_allclose(there.after[1], [[np.sum((kernel + 0.25) ** 2)]] * 4, **CLOSE)
    clone = keras.models.clone_model(model)
    own = clone.get_layer("encoder").kernel
    own.assign(np.full((4, 3), 2.0))
    np.testing.assert_allclose(clone.predict(X, verbose=0)[1], [[48.0]] * 4, **CLOSE)
    np.testing.assert_allclose(model.predict(X, verbose=0)[1], [[np.sum(kernel**2)]] * 4, **CLOSE)


@pytest.mark.parametrize("hold", ["attribute", "list", "dictionary", "tuple"])
def test_c18_however_a_plain_layer_holds_it(hold):
    held = {
        "attribute": lambda r: r,
        "list": lambda r: [r],
        "dictionary": lambda r: {"of": r},
        "tuple": lambda r: (r,),
    }[hold]

    class Holder(keras.layers.Layer):
        def __init__(self, of, **kwargs):
            super().__init__(**kwargs)
            self.held = held(sy.ref(of, "kernel"))

        def call(self, x):
            (reference,) = keras.tree.flatten(self.held)
            return x * ops.sum(reference())

    inputs = keras.Input((4,))
    owner = keras.layers.Dense(3, name="owner")
    holder = Holder(owner)
    y = owner(inputs)
    model = keras.Model(inputs, [holder(inputs), y])
    assert holder.weights == []
    holder.trainable = False
    assert owner.trainable
    assert len(model.variables) == 2
    was = array(owner.kernel)
    np.testing.assert_allclose(model.predict(X, verbose=0)[0], X * was.sum(), **CLOSE)
    fit(model)
    assert np.abs(array(owner.kernel) - was).max() > 1e-5
