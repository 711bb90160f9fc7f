"""`TiedDense`: a dense layer that computes with another layer's kernel."""

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy
from steelyard import errors

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def encoder(inputs=4, units=3, built=True):
    layer = keras.layers.Dense(units, name="encoder")
    if built:
        layer.build((None, inputs))
    return layer


def test_transposes():
    owner = encoder()
    tied = sy.layers.TiedDense(owner)
    y = array(tied(X))
    np.testing.assert_allclose(y, X @ array(owner.kernel).T, **CLOSE)
    tied.bias.assign([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(array(tied(X)), y + np.arange(1, 5), **CLOSE)


def test_does_not_transpose():
    owner = encoder(inputs=3, units=5)
    tied = sy.layers.TiedDense(owner, transpose=False, use_bias=False)
    np.testing.assert_allclose(array(tied(X)), X @ array(owner.kernel), **CLOSE)


@pytest.mark.parametrize("activation", [None, "relu", keras.activations.tanh, keras.ops.square])
def test_activation(activation):
    owner = encoder()
    tied = sy.layers.TiedDense(owner, activation=activation)
    plain = X @ array(owner.kernel).T
    wanted = array(keras.activations.get(activation)(ops.convert_to_tensor(plain)))
    np.testing.assert_allclose(array(tied(X)), wanted, **CLOSE)


def test_of_an_embedding():
    table = keras.layers.Embedding(7, 3, name="table")
    table.build((None,))
    tied = sy.layers.TiedDense(table, weight="embeddings")
    assert array(tied(X)).shape == (2, 7)
    np.testing.assert_allclose(array(tied(X)), X @ array(table.embeddings).T, **CLOSE)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (5, 2, 3)])
def test_inputs_with_more_axes(shape):
    owner = encoder()
    inputs = keras.Input(shape)
    y = sy.layers.TiedDense(owner)(inputs)
    assert y.shape == (None, *shape[:-1], 4)
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
    tied = sy.layers.TiedDense(owner)
    np.testing.assert_allclose(array(tied(x)), x @ array(owner.kernel).T, **CLOSE)


def test_units_that_do_not_fit_say_both():
    with pytest.raises(errors.ShapeMismatchError, match=r"units=5.*4"):
        sy.layers.TiedDense(encoder(), units=5)(X)


def test_inputs_that_do_not_fit_say_both():
    with pytest.raises(errors.ShapeMismatchError, match=r"\(2, 6\).*\(4, 3\)"):
        sy.layers.TiedDense(encoder())(np.ones((2, 6), "float32"))


def test_symbolic_inputs_that_do_not_fit_say_both():
    with pytest.raises(errors.ShapeMismatchError, match=r"6\).*\(4, 3\)"):
        sy.layers.TiedDense(encoder())(keras.Input((6,)))


@pytest.mark.parametrize("weight", ["bias"])
def test_what_is_no_matrix_is_refused(weight):
    with pytest.raises(errors.ShapeMismatchError, match=r"matrix.*\(3,\)"):
        sy.layers.TiedDense(encoder(), weight=weight)(X)


def test_a_convolution_is_no_matrix():
    conv = keras.layers.Conv2D(3, 2, name="conv")
    conv.build((None, 5, 5, 2))
    with pytest.raises(errors.ShapeMismatchError, match="matrix"):
        sy.layers.TiedDense(conv)(X)


def test_an_unbuilt_owner_is_named():
    with pytest.raises(errors.UnbuiltOwnerError, match="encoder"):
        sy.layers.TiedDense(encoder(built=False))(X)


@pytest.mark.parametrize("by", ["layer", "variable"])
@pytest.mark.parametrize("units", [None, 4])
def test_counts_its_bias_wherever_its_owner_is(by, units):
    """Its bias exists as soon as the model does: it is counted, saved and set with the rest."""
    owner = encoder()
    code = keras.Input((3,))
    tied = sy.layers.TiedDense(owner if by == "layer" else owner.kernel, units, name="tied")
    decoder = keras.Model(code, tied(code), name="decoder")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, decoder(owner(inputs)))
    assert tied.count_params() == 4
    assert model.count_params() == 4 * 3 + 3 + 4
    assert len(model.get_weights()) == 3
    assert decoder.output_shape == (None, 4)


def test_the_bias_of_an_owner_that_is_built_later():
    owner = encoder(built=False)
    code = keras.Input((3,))
    decoder = keras.Model(code, sy.layers.TiedDense(owner, name="tied")(code), name="decoder")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, decoder(owner(inputs)))
    sy.bind(model)
    assert model.count_params() == 4 * 3 + 3 + 4
    bias = np.array([1.0, 2.0, 3.0, 4.0], "float32")
    decoder.get_layer("tied").bias.assign(bias)
    x = np.ones((2, 4), "float32")
    kernel = array(owner.kernel)
    np.testing.assert_allclose(array(model(x)), x @ kernel @ kernel.T + bias, **CLOSE)


@pytest.mark.parametrize("by", ["layer", "variable"])
@pytest.mark.parametrize("units", [None, 4])
def test_its_bias_comes_back(by, units, tmp_path):
    inputs = keras.Input((4,))
    owner = encoder()
    code = keras.Input((3,))
    tied = sy.layers.TiedDense(owner if by == "layer" else owner.kernel, units, name="tied")
    decoder = keras.Model(code, tied(code), name="decoder")
    model = keras.Model(inputs, decoder(owner(inputs)))
    x = np.ones((2, 4), "float32")
    model(x)
    tied.bias.assign([1.0, 2.0, 3.0, 4.0])
    model.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(twin(x)), array(model(x)), **CLOSE)
    np.testing.assert_array_equal(
        array(twin.get_layer("decoder").get_layer("tied").bias), [1, 2, 3, 4]
    )


@keras.saving.register_keras_serializable(package="tied")
class Autoencoder(keras.Model):
    def __init__(self, by, **kwargs):
        super().__init__(**kwargs)
        self.by = by
        self.encoder = encoder()
        owner = self.encoder if by == "layer" else self.encoder.kernel
        self.tied = sy.layers.TiedDense(owner)

    def call(self, x):
        return self.tied(self.encoder(x))

    def get_config(self):
        return {**super().get_config(), "by": self.by}


@pytest.mark.parametrize("by", ["layer", "variable"])
def test_its_bias_comes_back_in_a_subclassed_model(by, tmp_path):
    model = Autoencoder(by)
    x = np.ones((2, 4), "float32")
    model(x)
    model.tied.bias.assign([1.0, 2.0, 3.0, 4.0])
    model.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(twin(x)), array(model(x)), **CLOSE)


def test_keeps_masks():
    ids = keras.Input((3,), dtype="int32")
    table = keras.layers.Embedding(7, 3, mask_zero=True, name="table")
    y = sy.layers.TiedDense(table, weight="embeddings")(table(ids))
    seen = []

    class Sees(keras.layers.Layer):
        def call(self, x, mask=None):
            seen.append(mask)
            return x

    model = keras.Model(ids, Sees()(y))
    seen.clear()
    model(np.array([[1, 2, 0]]))
    assert array(seen[-1]).tolist() == [[True, True, False]]


def test_its_config_has_the_arguments_that_were_given():
    tied = sy.layers.TiedDense(encoder(), 4, "relu", use_bias=False, name="tied")
    config = tied.get_config()
    assert {"of", "units", "activation", "use_bias", "name"} <= set(config)
    assert (config["units"], config["activation"], config["use_bias"]) == (4, "relu", False)
