"""Files of Keras: the addresses and values of the live model, without Keras's loading."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import steelyard as sy
from steelyard.errors import CheckpointError


@keras.saving.register_keras_serializable(package="test_keras_files")
class Net(keras.Model):
    """A subclassed model, with layers in a list."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(3)
        self.blocks = [layers.Dense(3), layers.Dense(3)]

    def call(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


def functional():
    inputs = keras.Input((6, 4))
    nested = keras.Sequential([keras.Input((6, 4)), layers.Dense(4, name="dense")], name="nested")
    x = nested(inputs)
    x = layers.MultiHeadAttention(2, 3, name="att")(x, x)
    x = layers.EinsumDense("abc,cd->abd", (None, 4), name="einsum")(x)
    x = layers.TimeDistributed(layers.Dense(4), name="time")(x)
    x = layers.Conv1D(4, 2, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="gru")(x)
    return keras.Model(inputs, layers.Dense(2, name="out")(layers.LSTM(3, name="lstm")(x)))


def convolutions():
    kinds = [layers.Conv2D(4, 3), layers.SeparableConv2D(4, 2), layers.DepthwiseConv2D(2)]
    return keras.Sequential([keras.Input((8, 8, 3)), *kinds, layers.Flatten(), layers.Dense(3)])


def quantized():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="a"), layers.Dense(3)])
    model.quantize("int8")
    return model


def with_lora():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="a")])
    model.get_layer("a").enable_lora(2)
    factor = model.get_layer("a").lora_kernel_b
    factor.assign(np.ones(factor.shape))
    return model


def subclassed():
    model = Net()
    model(np.zeros((1, 4), "float32"))
    return model


def mobilenet():
    return keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=3)


MODELS = (functional, convolutions, quantized, with_lora, subclassed, mobilenet)


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_the_addresses_and_values_of_the_live_model(build, tmp_path):
    model = build()
    model.save(tmp_path / "model.keras")
    there = sy.weights(tmp_path / "model.keras")
    # What LoRA has added is merged when Keras saves.
    wanted = [w for w in sy.weights(model) if "lora_" not in w.address]
    assert set(there.addresses) == {weight.address for weight in wanted}
    for weight in wanted:
        got = there[weight.address]
        assert got.shape == weight.shape
        assert got.spec.axes == weight.spec.axes or not got.spec.axes
        np.testing.assert_allclose(got.numpy(), weight.numpy(), rtol=1e-6, atol=1e-7)


def test_measured_as_the_live_model(tmp_path):
    model = functional()
    model.save(tmp_path / "model.keras")
    metrics = ["l2_norm", "spectral_norm", "alpha"]
    live = sy.measure(model, metrics)
    for reading in sy.measure(tmp_path / "model.keras", metrics):
        wanted = live[reading.address, reading.metric]
        assert reading.status == wanted.status
        assert float(reading) == pytest.approx(float(wanted), rel=1e-6, nan_ok=True)


def test_a_file_and_its_model_do_not_differ(tmp_path):
    model = functional()
    model.save(tmp_path / "model.keras")
    assert sy.diff(model, tmp_path / "model.keras").identical
    model.get_layer("out").bias.assign([1.0, 2.0])
    changes = sy.diff(tmp_path / "model.keras", model)
    assert changes.changed.addresses == ("out/bias",)


def test_no_keras_is_needed(tmp_path):
    functional().save(tmp_path / "model.keras")
    code = (
        "import sys, steelyard as sy\n"
        f"print(len(sy.weights({str(tmp_path / 'model.keras')!r})))\n"
        "print(*{'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["30"], done.stderr


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_file_that_is_cut_off(share, tmp_path):
    path = tmp_path / "model.keras"
    functional().save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError):
        sy.weights(path)


def test_a_folder_and_a_file_of_text(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "nowhere.keras"):
        with pytest.raises(CheckpointError):
            sy.weights(path)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_in_slices(ending, tmp_path):
    model = functional()
    path = tmp_path / f"m{ending}"
    (model.save if ending == ".keras" else model.save_weights)(path)
    for weight in sy.weights(path):
        blocks = [*weight.source.blocks(weight.address, 2)]
        assert max(map(len, blocks)) <= 2
        np.testing.assert_array_equal(np.concatenate(blocks), weight.numpy())


def test_what_is_worked_out_is_read_whole(tmp_path):
    quantized().save(tmp_path / "codes.keras")
    weights = sy.weights(tmp_path / "codes.keras")
    assert weights.source.blocks("a/kernel", 2) is None
    assert len([*weights.source.blocks("a/bias", 2)]) == 2
