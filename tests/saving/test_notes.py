"""One variable in two layers, and what is put on the variable of a built layer."""

import keras
import numpy as np
import pytest
from tests.saving.arrangements import X, fit, predicted

import steelyard as sy
from steelyard.live import let_go, reopen
from steelyard.saving._archive import read_part
from steelyard.saving._notes import noted, put_back

CLOSE = dict(rtol=1e-4, atol=1e-5)


def array(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


def tied_by_assignment():
    """As users do it: the second layer's own variable is gone, and it holds the first one's."""
    first, second = keras.layers.Dense(4, name="first"), keras.layers.Dense(4, name="second")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, second(first(inputs)))
    let_go(second, second._kernel)
    with reopen(second):
        second._kernel = first._kernel
    return model


@keras.saving.register_keras_serializable("tests")
class Pair(keras.layers.Layer):
    """Holds the kernels of its parts in a list, besides."""

    def build(self, shape):
        self.a, self.b = keras.layers.Dense(4), keras.layers.Dense(4)
        self.a.build(shape)
        self.b.build(shape)
        self.all = [self.a.kernel, self.b.kernel]

    def call(self, x):
        return self.b(self.a(x))


def test_one_variable_in_two_layers(tmp_path):
    model = fit(tied_by_assignment())
    assert len(model.weights) == 3
    sy.save_model(model, tmp_path / "model.keras")
    loaded = sy.load_model(tmp_path / "model.keras")
    first, second = loaded.get_layer("first"), loaded.get_layer("second")
    assert second.kernel is first.kernel
    assert len(loaded.weights) == 3
    assert sy.weights(loaded).addresses == sy.weights(model).addresses
    np.testing.assert_allclose(predicted(loaded)[0], predicted(model)[0], **CLOSE)
    fit(model)
    fit(loaded)  # one slot, with its momenta, and the sum of both gradients
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)

    plain = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert len(plain.weights) == 4  # to Keras these are two, of the same value
    assert not sy.load_model(tmp_path / "model.keras", compile=False).compiled


def test_one_variable_in_two_layers_of_a_clone():
    model = fit(tied_by_assignment())
    clone = sy.clone_model(model)
    assert clone.get_layer("second").kernel is clone.get_layer("first").kernel
    assert clone.get_layer("first").kernel is not model.get_layer("first").kernel
    clone.set_weights(model.get_weights())
    was = model.get_weights()
    fit(clone)
    moved = array(clone.get_layer("first").kernel) - was[0]
    assert np.abs(moved).max() > 1e-3
    np.testing.assert_allclose(model.get_weights()[0], was[0])


OWN = {
    "spectral normalization": lambda: keras.layers.SpectralNormalization(keras.layers.Dense(4)),
    "a list of kernels": Pair,
}


@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_layers_that_share_by_their_own_class(make, tmp_path):
    inputs = keras.Input((4,))
    model = fit(keras.Model(inputs, make()(inputs)))
    sy.save_model(model, tmp_path / "model.keras")
    loaded = sy.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(model.weights) == len(sy.clone_model(model).weights)
    np.testing.assert_allclose(predicted(loaded)[0], predicted(model)[0], **CLOSE)
    fit(model)
    fit(loaded)
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


def with_late_additions():
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(4, name="dense", kernel_regularizer="l2")
    lstm = keras.layers.LSTM(3, name="lstm", recurrent_constraint="max_norm")
    hidden = keras.layers.Reshape((2, 2))(dense(inputs))
    model = keras.Model(inputs, lstm(hidden))
    dense.kernel.constraint = keras.constraints.NonNeg()
    dense.kernel.regularizer = None
    lstm.cell.kernel.regularizer = keras.regularizers.L1(0.25)
    lstm.cell.recurrent_kernel.constraint = None
    return model


def test_what_was_put_on_variables(tmp_path):
    model = with_late_additions()
    sy.save_model(model, tmp_path / "model.keras")
    for made in (sy.load_model(tmp_path / "model.keras"), sy.clone_model(model)):
        dense, cell = made.get_layer("dense"), made.get_layer("lstm").cell
        assert isinstance(dense.kernel.constraint, keras.constraints.NonNeg)
        assert dense.kernel.regularizer is None
        assert isinstance(cell.kernel.regularizer, keras.regularizers.L1)
        assert cell.recurrent_kernel.constraint is None
        assert len(made.losses) == 1
        made.compile("sgd", "mse")
        made.fit(X, np.zeros((8, 3), "float32"), verbose=0)
        assert array(dense.kernel).min() >= 0.0
    by_hand = 0.25 * np.abs(array(model.weights[2])).sum()
    np.testing.assert_allclose(array(model.losses[0]), by_hand, **CLOSE)


def test_what_layers_were_made_with_is_no_addition(tmp_path):
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(4, kernel_constraint="non_neg", bias_regularizer="l1")
    embed = keras.layers.Embedding(5, 2, embeddings_regularizer="l2")
    model = keras.Model(inputs, [layer(inputs), embed(inputs)])
    sy.save_model(model, tmp_path / "model.keras")
    assert "steelyard" not in read_part(tmp_path / "model.keras", "metadata.json")


def test_a_model_that_lacks_what_was_shared():
    notes = noted(tied_by_assignment())
    inputs = keras.Input((4,))
    with pytest.raises(sy.errors.SharingError, match="'first' of 'plain' shares"):
        put_back(keras.Model(inputs, keras.layers.Dense(4)(inputs), name="plain"), notes)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the list is PyTorch's")
def test_torch_lists_what_is_shared_once(tmp_path):
    model = tied_by_assignment()
    sy.save_model(model, tmp_path / "model.keras")
    for made in (sy.load_model(tmp_path / "model.keras"), sy.clone_model(model)):
        known = {id(parameter) for parameter in made.parameters()}
        assert known == {id(variable.value) for variable in made.variables}
