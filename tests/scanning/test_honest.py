"""What Keras writes is no finding: ordinary layers and vocabularies, in each of its formats."""

import keras
import numpy as np
import pytest
from keras import layers
from tests.turns import once

from steelyard.scanning import scan
from steelyard.scanning._keras_known import FUNCTIONS


def _image():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.RandomFlip(),
            layers.RandomRotation(0.1),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.SeparableConv2D(4, 3, depthwise_regularizer=keras.regularizers.L1L2(0.1, 0.1)),
            layers.GlobalAveragePooling2D(),
            layers.PReLU(),
            layers.Dense(3, activation=keras.activations.softmax, kernel_constraint="max_norm"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)),
        keras.losses.categorical_crossentropy,
        metrics=["accuracy", keras.metrics.AUC(), keras.metrics.mean_squared_error],
    )
    return model


def _words():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 8, mask_zero=True)(inputs)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.TimeDistributed(layers.Dense(2, keras.ops.tanh))(x)
    return keras.Model(inputs, keras.ops.mean(x[:, 1:], axis=1) * 2 + 1)


def _numbers():
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).random((5, 3)))
    inputs = keras.Input((3,))
    buckets = layers.Discretization([0.1, 0.5])(inputs)
    hashed = layers.HashedCrossing(5)((buckets[:, 0], buckets[:, 1]))
    return keras.Model(inputs, [normalization(inputs), layers.CategoryEncoding(3)(buckets), hashed])


def _texts():
    vectors = layers.TextVectorization(max_tokens=10, ngrams=2)
    vectors.adapt(["cat\ndog", "/etc/passwd http://x.y"])
    lookup = layers.StringLookup(vocabulary=["a", "/etc/passwd", "http://a.b"])
    inputs = keras.Input((1,), dtype="string")
    return keras.Model(inputs, [vectors(inputs), lookup(inputs)])


def _quantized():
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(8), layers.EinsumDense("ab,bc->ac", 4)]
    )
    model.quantize("int8", filters=lambda layer: not isinstance(layer, layers.InputLayer))
    return model


@pytest.mark.in_turn
@pytest.mark.parametrize("make", [_image, _words, _numbers, _quantized])
def test_a_keras_file(make, tmp_path):
    make().save(tmp_path / "x.keras")
    found = scan(tmp_path / "x.keras")
    assert (found.risks, found.status) == ((), "clean")


@once("tensorflow")
def test_a_keras_file_with_words(tmp_path):
    _texts().save(tmp_path / "x.keras")
    assert scan(tmp_path / "x.keras").risks == ()


@once("tensorflow")
def test_the_other_files_of_keras(tmp_path):
    model = _image()
    model.save(tmp_path / "x.h5")
    model.save_weights(tmp_path / "x.weights.h5")
    model.save_weights(tmp_path / "y.weights.json", max_shard_size=0.000003)
    found = scan(tmp_path)
    assert found.risks == () and len(found.files) >= 4
    assert set(found.files.values()) == {"HDF5", "JSON"}


@once("tensorflow")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes the file")
def test_a_saved_model(tmp_path):
    _texts().export(tmp_path / "x", verbose=False)
    found = scan(tmp_path / "x")
    assert found.risks == ()
    assert found.files["saved_model.pb"] == "SavedModel"


@pytest.mark.in_turn
@pytest.mark.parametrize("form", ["x.keras", "x.h5"])
def test_a_lambda(form, tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / form)
    (risk,) = scan(tmp_path / form).risks
    assert (risk.code, risk.severity) == ("lambda-bytecode", "danger")


@keras.saving.register_keras_serializable("mine")
class Mine(layers.Layer):
    def call(self, x):
        return x


@keras.saving.register_keras_serializable("mine")
def twice(x):
    return 2 * x


@once("jax")
def test_custom_code_is_a_note(tmp_path):
    model = keras.Sequential([keras.Input((3,)), Mine(), layers.Dense(2, activation=twice), Mine()])
    model.save(tmp_path / "x.keras")
    found = scan(tmp_path / "x.keras")
    assert [(risk.code, risk.severity, risk.count) for risk in found.risks] == [
        ("custom-class", "note", 2),
        ("custom-function", "note", 1),
    ]
    assert found.status == "clean"


@once("jax")
@pytest.mark.parametrize("room", [keras.activations, keras.losses, keras.metrics])
def test_the_functions_of_keras_are_known(room):
    named = {name for name, held in vars(room).items() if type(held).__name__ == "function"}
    assert named - {"get", "serialize", "deserialize"} <= FUNCTIONS
