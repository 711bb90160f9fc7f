import pathlib

import keras
import numpy as np
import pytest
from keras import layers

import steelyard as sy
from steelyard.errors import CheckpointError, PatternError, SourceError, UnknownAddressError
from steelyard.records import WeightSpec


class Arrays:
    """A source of the plainest kind."""

    def __init__(self, **arrays):
        self.arrays = arrays

    def specs(self):
        return [
            WeightSpec(name, array.shape, str(array.dtype), False, "Layer")
            for name, array in self.arrays.items()
        ]

    def read(self, address):
        return np.array(self.arrays[address])

    def stored(self, address):
        return {address: self.read(address)}


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, name="proj")])


def test_a_model_a_layer_and_any_source(model):
    assert sy.weights(model).addresses == ("proj/kernel", "proj/bias")
    assert sy.weights(model.layers[0]).addresses == ("kernel", "bias")
    assert sy.weights(Arrays(a=np.zeros(2)))["a"].numpy().tolist() == [0, 0]
    assert sy.weights(sy.weights(model)).addresses == ("proj/kernel", "proj/bias")


def test_a_pattern_selects(model):
    assert sy.weights(model, "**/kernel").addresses == ("proj/kernel",)
    assert sy.weights(sy.weights(model), "**/kernel").addresses == ("proj/kernel",)
    with pytest.raises(UnknownAddressError, match="Did you mean 'proj/kernel'"):
        sy.weights(model, "**/kernle")
    with pytest.raises(PatternError):
        sy.weights(model, "{")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (layers.Dense, "A class holds no weights.*Dense"),
        (Arrays, "A class holds no weights.*Arrays"),
        ([layers.Dense(2)], "one layer at a time. Received: builtins.list"),
        ({"a": np.zeros(2)}, "one layer at a time. Received: builtins.dict"),
        (keras.Input((2,)), "A symbolic tensor holds no weights.*KerasTensor"),
        (keras.Variable(0.0), "This is a weight itself; pass the model or layer.*Variable"),
        (keras.optimizers.Adam(), "An optimizer holds no weights of layers.*Adam"),
        (np.zeros(2), "Received: numpy.ndarray"),
        (None, "Received: builtins.NoneType"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_source(source, says):
    with pytest.raises(SourceError, match=says):
        sy.weights(source)


class Late(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = layers.Dense(2)
        self.heads = [layers.Dense(2), layers.Dense(3)]

    def call(self, x):
        x = self.encoder(x)
        return [head(x) for head in self.heads]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: layers.Dense(2, name="d"), r"Dense 'd' is not built yet.* \.build\(input_shape\)"),
        (
            lambda: keras.Sequential([layers.Dense(2, name="a"), layers.Dense(2, name="b")]),
            "Not built in it: 'a', 'b'. Call it once on data",
        ),
        (Late, "Late 'late' is not built yet.*'encoder', 'heads/0', 'heads/1'"),
        (
            lambda: keras.Sequential([layers.Dense(2, name=f"d{i}") for i in range(99)]),
            "'d9' and 89 more",
        ),
    ],
)
def test_what_is_not_built_says_what_to_do(make, says):
    with pytest.raises(SourceError, match=says):
        sy.weights(make())


def test_what_is_partly_built_lists_what_is_there():
    model = Late()
    model.encoder.build((None, 3))
    weights = sy.weights(model)
    assert weights.addresses == ("encoder/kernel", "encoder/bias")
    with pytest.raises(UnknownAddressError, match="Not built yet, so not listed: 'heads/0', 'hea"):
        weights["heads/0/kernel"]
    model(np.zeros((1, 3), "float32"))
    assert "heads/0/kernel" in sy.weights(model)
    assert "Not built" not in repr(sy.weights(model))


@pytest.mark.parametrize("layer", [layers.ReLU(), layers.Dropout(0.5), layers.Flatten()])
def test_what_needs_no_weights_has_none(layer):
    keras.Sequential([keras.Input((3,)), layer])
    assert len(sy.weights(layer)) == 0


@pytest.mark.parametrize("path", ["model.keras", pathlib.Path("dir") / "model.keras"])
def test_a_file_that_is_not_there(path):
    with pytest.raises(CheckpointError, match=r"model\.keras: there is no such file"):
        sy.weights(path)
