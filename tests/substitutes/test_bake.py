"""`sy.bake`: a plain weight again."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.parametrized import Scaled, squashed

import steelyard as sy
from steelyard.errors import SubstituteError, UnknownAddressError

ps = sy.parametrizations
CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")


def array(value):
    return np.array(ops.convert_to_numpy(value))


def dense(**kwargs):
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="dense", **kwargs)
    return layer, keras.Model(inputs, layer(inputs))


def fit(model, epochs=1):
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, Y, batch_size=len(X), epochs=epochs, verbose=0)


EVERY = [
    ps.SpectralNorm(),
    ps.WeightNorm(),
    ps.Orthogonal(),
    ps.LowRank(2),
    ps.Mask(sparsity=0.5),
    ps.Standardize(),
    ps.Chain(ps.LowRank(2), ps.Mask(sparsity=0.5)),
    Scaled(4.0),
    squashed,
]


@pytest.mark.in_turn
@pytest.mark.filterwarnings("ignore:The trainable weights of model")
@pytest.mark.parametrize("parametrization", EVERY, ids=lambda p: getattr(p, "__name__", repr(p)))
def test_computes_as_before_and_is_a_plain_layer(parametrization, tmp_path):
    layer, model = dense()
    names = [v.name for v in layer.weights]
    held = set(vars(layer))
    sy.parametrize(layer, "kernel", parametrization)
    fit(model)
    was, value = array(model(X)), sy.weights(model)["dense/kernel"].numpy()

    assert sy.bake(layer, "kernel") is layer

    assert type(layer) is keras.layers.Dense
    assert set(vars(layer)) - held <= {"_steelyard_substitutes"}
    assert sy.parametrizations_of(layer) == ()
    assert [v.name for v in layer.weights] == [v.name for v in layer.trainable_weights] == names
    np.testing.assert_array_equal(array(layer.kernel), value)
    np.testing.assert_allclose(array(model(X)), was, **CLOSE)
    fit(model)
    assert np.abs(array(layer.kernel) - value).max() > 1e-4
    np.testing.assert_allclose(
        model.predict(X, verbose=0), X @ array(layer.kernel) + array(layer.bias), **CLOSE
    )

    _, plain = dense()
    model.save_weights(tmp_path / "a.weights.h5")
    plain.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(array(plain(X)), array(model(X)), **CLOSE)
    model.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert type(loaded.get_layer("dense")) is keras.layers.Dense
    np.testing.assert_allclose(array(loaded(X)), array(model(X)), **CLOSE)


def test_of_several_on_each_other():
    layer, model = dense()
    sy.parametrize(layer, "kernel", ps.WeightNorm())
    sy.parametrize(layer, "kernel", ps.Mask(sparsity=0.5))
    was = array(model(X))
    sy.bake(layer, "kernel")
    assert type(layer) is keras.layers.Dense
    assert [v.name for v in layer.weights] == ["kernel", "bias"]
    np.testing.assert_allclose(array(model(X)), was, **CLOSE)


def test_of_one_of_two_weights():
    layer, model = dense(bias_initializer="ones")
    sy.parametrize(layer, "kernel", ps.SpectralNorm())
    sy.parametrize(layer, "bias", squashed)
    was = array(model(X))
    sy.bake(layer, "kernel")
    assert sy.parametrizations_of(layer, "kernel") == ()
    assert sy.parametrizations_of(layer, "bias") == (squashed,)
    np.testing.assert_allclose(array(model(X)), was, **CLOSE)
    sy.bake(layer, "bias")
    assert type(layer) is keras.layers.Dense
    np.testing.assert_allclose(array(model(X)), was, **CLOSE)


def test_of_a_tie():
    inputs = keras.Input((4,))
    a, b = (keras.layers.Dense(3, use_bias=False, name=name) for name in "ab")
    model = keras.Model(inputs, [a(inputs), b(inputs)])
    sy.tie(b, "kernel", to=a)
    assert model.count_params() == 12
    sy.bake(b, "kernel")
    assert type(b) is keras.layers.Dense
    assert model.count_params() == 24
    np.testing.assert_array_equal(array(b.kernel), array(a.kernel))
    a.kernel.assign(np.zeros((4, 3)))
    assert array(b.kernel).any()
    model.compile(keras.optimizers.SGD(0.1), ["mse", "mse"])
    was = array(b.kernel)
    model.fit(X, [Y, Y], verbose=0)
    assert np.abs(array(b.kernel) - was).max() > 1e-4


def test_of_a_frozen_weight_it_stays_frozen():
    layer, _ = dense()
    sy.parametrize(layer, "kernel", ps.LowRank(2))
    layer.trainable = False
    sy.bake(layer, "kernel")
    assert not layer.trainable_variables
    layer.trainable = True
    assert [v.name for v in layer.trainable_variables] == ["kernel", "bias"]


def test_by_an_address_in_a_model(tmp_path):
    inputs = keras.Input((3, 2))
    layer = keras.layers.LSTM(3, name="lstm")
    model = keras.Model(inputs, layer(inputs))
    x = np.random.default_rng(3).normal(size=(2, 3, 2)).astype("float32")
    kept = type(layer.cell)
    sy.parametrize(model, "lstm/cell/recurrent_kernel", ps.Orthogonal())
    was = array(model(x))
    assert sy.bake(model, "lstm/cell/recurrent_kernel") is model
    assert type(layer) is keras.layers.LSTM
    assert type(layer.cell) is kept
    np.testing.assert_allclose(array(model(x)), was, **CLOSE)


def test_with_a_penalty_the_penalty_stays():
    layer, model = dense()
    sy.parametrize(layer, "kernel", ps.SpectralNorm())
    sy.penalize(model, "dense/kernel", "l2")
    was = [float(array(loss)) for loss in model.losses]
    sy.bake(layer, "kernel")
    assert [float(array(loss)) for loss in model.losses] == pytest.approx(was, rel=1e-3)
    assert sy.parametrizations_of(layer) == ()


def test_after_fits_of_an_optimizer_with_state():
    layer, model = dense()
    sy.parametrize(layer, "kernel", ps.WeightNorm())
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(X, Y, verbose=0)
    with pytest.warns(UserWarning, match="begins anew"):
        sy.bake(layer, "kernel")
    was = array(layer.kernel)
    model.fit(X, Y, verbose=0)
    assert np.abs(array(layer.kernel) - was).max() > 1e-4


def test_what_is_plain_is_refused():
    layer, _ = dense()
    with pytest.raises(SubstituteError, match=r"'kernel' of layer 'dense'.*nothing to bake"):
        sy.bake(layer, "kernel")
    sy.parametrize(layer, "kernel", ps.WeightNorm())
    with pytest.raises(SubstituteError, match=r"'bias' of layer 'dense'.*nothing to bake"):
        sy.bake(layer, "bias")
    with pytest.raises(UnknownAddressError, match="kernl"):
        sy.bake(layer, "kernl")
    assert len(sy.parametrizations_of(layer)) == 1


class Late(keras.callbacks.Callback):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def on_epoch_end(self, epoch, logs=None):
        sy.bake(self.layer, "kernel")


def test_not_while_the_model_trains():
    layer, model = dense()
    sy.parametrize(layer, "kernel", ps.WeightNorm())
    model.compile("sgd", "mse")
    with pytest.raises(SubstituteError, match="being trained"):
        model.fit(X, Y, verbose=0, callbacks=[Late(layer)])
    assert len(sy.parametrizations_of(layer)) == 1
    model.fit(X, Y, verbose=0)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the list is PyTorch's")
def test_torch_lists_what_the_model_has(tmp_path):
    """What an optimizer of torch's own, or a wrapper of the model, is given to train."""

    def listed(model):
        known = [id(parameter) for parameter in model.parameters()]
        assert len(set(known)) == len(known)
        return set(known) == {id(variable.value) for variable in model.variables}

    other = keras.layers.Dense(3, name="other")
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="inner")], name="seq")
    layer = keras.layers.Dense(3, name="dense")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [layer(inner(inputs)), other(inputs)])
    assert listed(model)
    sy.parametrize(layer, "kernel", ps.WeightNorm())
    sy.parametrize(inner.layers[0], "kernel", ps.LowRank(2))
    assert listed(model)
    assert listed(inner)
    model.save(tmp_path / "model.keras")
    assert listed(keras.models.load_model(tmp_path / "model.keras"))
    sy.bake(layer)
    sy.tie(layer, "kernel", to=other)
    assert listed(model)
    sy.bake(layer)
    sy.bake(inner.layers[0])
    assert listed(model)
    assert listed(inner)
