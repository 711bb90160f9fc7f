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


def gan_parts():
    noise, image = keras.Input((2,)), keras.Input((4,))
    generator = keras.Model(noise, keras.layers.Dense(4, name="made")(noise), name="generator")
    judged = keras.layers.Dense(1, name="judge")(image)
    return generator, keras.Model(image, judged, name="discriminator")


def test_c16_a_flag_that_a_compiled_model_has_not_seen():
    generator, discriminator = gan_parts()
    discriminator.compile("sgd", "mse")
    discriminator.train_on_batch(X, np.ones((4, 1)))
    discriminator.trainable = False
    noise = keras.Input((2,))
    gan = keras.Model(noise, discriminator(generator(noise)))
    gan.compile("sgd", "mse")
    gan.train_on_batch(X[:, :2], np.ones((4, 1)))
    (finding,) = sy.audit(discriminator)
    assert (finding.code, finding.address) == ("stale-trainable", "")
    assert "next trace" in finding.message
    assert "stop training judge/kernel, judge/bias" in finding.message
    assert "compile" in finding.fix
    assert sy.audit(gan) == []
    # What was said: another batch size makes a new trace, in which nothing trains.
    was = array(discriminator.get_layer("judge").kernel)
    if keras.backend.backend() == "jax":
        with pytest.raises(ValueError):
            discriminator.train_on_batch(X[:3], np.ones((3, 1)))
    else:
        discriminator.train_on_batch(X[:3], np.ones((3, 1)))
        np.testing.assert_array_equal(array(discriminator.get_layer("judge").kernel), was)
    # Trainable again for its own step, and frozen in the other model: nothing to find.
    discriminator.trainable = True
    assert sy.audit(discriminator) == []


class Aside:
    """An object of a user, in which Keras does not look."""

    def __init__(self, *things):
        self.things = things


class Keeps(keras.layers.Layer):
    """Holds a layer and a variable, with which it computes."""

    def __init__(self, keep, take, **kwargs):
        super().__init__(**kwargs)
        dense = keras.layers.Dense(4, name="inside")
        self.kept = keep(dense, keras.Variable(np.ones(4, "float32"), name="scale"))
        self.take = take

    def call(self, x):
        dense, variable = self.take(self.kept)
        return dense(x) * variable


@pytest.mark.parametrize(
    ("keep", "take", "way"),
    [
        (lambda *both: Aside(*both), lambda k: k.things, ("things/0", "things/1")),
        (
            lambda *both: {"a": [Aside(*both)]},
            lambda k: k["a"][0].things,
            ("a/0/things/0", "a/0/things/1"),
        ),
        (
            lambda *both: [Aside({"d": both[0]}), Aside(both[1])],
            lambda k: (k[0].things[0]["d"], k[1].things[0]),
            ("0/things/0/d", "1/things/0"),
        ),
    ],
    ids=["object", "object in containers", "containers in objects"],
)
def test_c17_what_keras_does_not_track_is_named_with_where_it_is(keep, take, way):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Keeps(keep, take, name="keeps")(inputs))
    assert model.weights == []
    found = {finding.address: finding for finding in sy.audit(model)}
    assert set(found) == {f"keeps/kept/{part}" for part in way}
    layer, variable = (found[f"keeps/kept/{part}"] for part in way)
    assert layer.code == "untracked-layer"
    assert "Dense 'inside'" in layer.message
    assert variable.code == "untracked-variable"
    assert "scale" in variable.message


@pytest.mark.parametrize(
    ("keep", "take"),
    [
        (lambda *both: list(both), lambda k: k),
        (lambda *both: {"a": both}, lambda k: k["a"]),
        (lambda *both: [{"b": [both]}], lambda k: k[0]["b"][0]),
    ],
    ids=["list", "tuple in a dictionary", "deep"],
)
def test_c17_what_keras_tracks_is_no_finding(keep, take):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Keeps(keep, take, name="keeps")(inputs))
    assert len(model.weights) == 3
    assert sy.audit(model) == []
