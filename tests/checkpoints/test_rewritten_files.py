"""Files of models with our own layers, ties and parametrizations."""

import keras
import numpy as np
import pytest
from keras import layers

import steelyard as sy
from steelyard.errors import CheckpointError

ps = sy.parametrizations


@keras.saving.register_keras_serializable(package="test_rewritten_files")
class Block(layers.Layer):
    """A layer that makes another one, and says nothing of it in its config."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(4, name="made")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


def model():
    inputs = keras.Input((6, 4))
    x = layers.MultiHeadAttention(2, 3, name="att")(inputs, inputs)
    x = Block(name="block")(x)
    x = layers.TimeDistributed(layers.Dense(4), name="time")(x)
    x = layers.LSTM(4, name="lstm")(x)
    for name in ("first", "second", "low", "masked", "penal"):
        x = layers.Dense(4, name=name)(x)
    net = keras.Model(inputs, x)
    sy.parametrize(net, "att/query/kernel", ps.SpectralNorm())
    sy.parametrize(net, "block/inner/kernel", ps.WeightNorm())
    sy.parametrize(net, "time/layer/kernel", ps.WeightNorm())
    sy.parametrize(net, "lstm/cell/recurrent_kernel", ps.Orthogonal())
    sy.tie(net.get_layer("second"), "kernel", to=sy.ref(net.get_layer("first"), "kernel"))
    sy.parametrize(net, "low/kernel", ps.LowRank(2))
    sy.parametrize(net, "masked/kernel", ps.Mask(sparsity=0.5))
    sy.penalize(net, "penal/kernel", "l2")
    return net


PARAMETRIZED = {
    "att/query/kernel": "SpectralNorm",
    "time/layer/kernel": "WeightNorm",
    "lstm/cell/recurrent_kernel": "Orthogonal",
    "masked/kernel": "Mask",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    net = model()
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    net.save(path)
    return net, sy.weights(path)


def test_the_addresses_are_those_of_the_live_model(saved):
    net, there = saved
    # Nothing in the file says what class the layer is that the block makes.
    unknown = {"block/inner/vars/0", "block/inner/vars/1"}
    wanted = set(sy.weights(net).addresses) - {"block/inner/kernel", "block/inner/bias"}
    assert set(there.addresses) == wanted | unknown


@pytest.mark.parametrize("number", [0, 1])
def test_where_nothing_says_which_weight_is_meant_none_is_read(saved, number):
    with pytest.raises(CheckpointError, match="WeightNorm"):
        saved[1][f"block/inner/vars/{number}"].numpy()


def test_no_raw_value_is_shown_as_the_effective_one(saved):
    net, there = saved
    for weight in sy.weights(net):
        if weight.address not in there:
            continue
        if weight.address in PARAMETRIZED:
            with pytest.raises(CheckpointError, match=PARAMETRIZED[weight.address]):
                there[weight.address].numpy()
            raw = next(iter(there[weight.address].stored().values()))
            np.testing.assert_array_equal(raw, next(iter(weight.stored().values())))
        else:
            np.testing.assert_array_equal(there[weight.address].numpy(), weight.numpy())


def test_measured_with_a_reason(saved):
    readings = sy.measure(saved[1], "l2_norm")
    for address, kind in PARAMETRIZED.items():
        assert readings[address, "l2_norm"].status == "failed"
        assert kind in readings[address, "l2_norm"].reason
    assert readings["penal/kernel", "l2_norm"].status == "ok"


@pytest.mark.filterwarnings("ignore:You are saving")
def test_in_a_legacy_file_too(tmp_path):
    net = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="a")])
    sy.parametrize(net, "a/kernel", ps.WeightNorm())
    net.save(tmp_path / "model.h5")
    with pytest.raises(CheckpointError, match="WeightNorm"):
        sy.weights(tmp_path / "model.h5")["a/kernel"].numpy()


def test_a_layer_of_ours(tmp_path):
    inputs = keras.Input((5,))
    encoder = layers.Dense(3, name="encoder")
    net = keras.Model(inputs, sy.layers.TiedDense(encoder, name="tied")(encoder(inputs)))
    net.save(tmp_path / "model.keras")
    assert sy.weights(tmp_path / "model.keras").addresses == sy.weights(net).addresses
    assert sy.diff(net, tmp_path / "model.keras").identical


def test_weights_alone_say_of_those_that_have_something_beside(tmp_path):
    net = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="a")])
    sy.parametrize(net, "a/kernel", ps.WeightNorm())
    net.save_weights(tmp_path / "model.weights.h5")
    there = sy.weights(tmp_path / "model.weights.h5")
    assert "a/kernel_g" in there
    with pytest.raises(CheckpointError, match="parametrized"):
        there["a/kernel"].numpy()
