"""`sy.diff` on live models and other sources, of any two kinds."""

import keras
import numpy as np
import pytest
from keras import layers

import steelyard as sy
from steelyard.errors import SourceError, UnknownAddressError, UnknownMetricError
from steelyard.records import WeightSpec


def net(classes=2, seed=3, body="body"):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, name=body),
            layers.BatchNormalization(name="norm"),
            layers.Dense(classes, name="head"),
        ]
    )
    draw = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(draw.uniform(0.1, 1, size=tuple(variable.shape)))
    return model


class Held:
    """What a file would be: the weights of a model, held by arrays."""

    def __init__(self, model):
        self._specs = [
            WeightSpec(w.address, w.shape, w.dtype, w.trainable, w.layer) for w in sy.weights(model)
        ]
        self._arrays = {w.address: w.numpy() for w in sy.weights(model)}

    def specs(self):
        return self._specs

    def read(self, address):
        return self._arrays[address].copy()

    def stored(self, address):
        return {address: self.read(address)}


def test_a_model_and_itself():
    model = net()
    changes = sy.diff(model, model)
    assert changes.identical
    assert changes.addresses == sy.weights(model).addresses


@pytest.mark.parametrize("swap", [False, True])
def test_a_model_and_another_source(swap):
    model = net()
    held = Held(model)
    pair = (held, model) if swap else (model, held)
    assert sy.diff(*pair).identical
    model.layers[0].kernel.assign_add(np.ones((4, 3)))
    changes = sy.diff(*pair)
    assert changes.changed.addresses == ("body/kernel",)
    assert len(changes.unchanged) == len(changes) - 1


def test_all_that_may_become_of_a_weight():
    old, new = net(), net(classes=5, body="trunk")
    for name in ("kernel", "bias"):
        getattr(new.layers[0], name).assign(getattr(old.layers[0], name))
    for variable, value in zip(new.layers[1].weights, old.layers[1].weights, strict=True):
        variable.assign(value)
    new.layers[1].gamma.assign(2 * old.layers[1].gamma)
    changes = sy.diff(old, new)
    assert changes["norm/gamma"].amount == pytest.approx(1)
    assert changes.changed.addresses == ("norm/gamma",)
    assert [change.source for change in changes.renamed] == ["body/kernel", "body/bias"]
    assert changes.renamed.addresses == ("trunk/kernel", "trunk/bias")
    assert changes.reshaped.addresses == ("head/kernel", "head/bias")
    assert changes.summary == "2 renamed, 2 reshaped, 1 changed, 3 unchanged"


def test_training_changes_what_trains():
    model = net()
    before = Held(model)
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    changes = sy.diff(before, model)
    assert not changes.identical
    assert "head/kernel" in changes.changed
    assert all(change.amount > 0 for change in changes.changed)


def test_a_clone_and_a_copy():
    model = net()
    clone = keras.models.clone_model(model)
    assert not sy.diff(model, clone).identical
    sy.copy_weights(model, clone)
    assert sy.diff(model, clone).identical


def test_effective_values_are_compared():
    model, other = net(), net()
    other.layers[0].enable_lora(2)
    changes = sy.diff(model, other)
    assert changes["body/kernel"].kind == "unchanged"
    assert {change.kind for change in changes if "lora" in change.address} == {"added"}
    other.layers[0].lora_kernel_b.assign(np.ones((2, 3)))
    assert sy.diff(model, other)["body/kernel"].kind == "changed"


def test_codes_are_compared_by_what_they_stand_for():
    model, other = net(), net()
    other.layers[0].quantize("int8")
    change = sy.diff(model, other)["body/kernel"]
    assert change.kind == "changed"
    assert 0 < change.amount < 0.02
    assert "stored as int8 instead of float32" in change.reason


def test_half_precision_of_the_same_values():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="d")])
    half = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="d", dtype="float16")])
    for layer in (model.layers[0], half.layers[0]):
        layer.kernel.assign(np.arange(6).reshape(3, 2))
    changes = sy.diff(model, half)
    assert len(changes.unchanged) == 2
    assert changes["d/kernel"].reason == "the same values, stored as float16 instead of float32"
    assert not changes.identical


def test_what_is_tied_is_found_where_it_was():
    inputs = keras.Input((4,), dtype="int32")
    table = layers.Embedding(9, 4, name="table")
    head = layers.Dense(9, name="head", use_bias=False)
    model = keras.Model(inputs, head(table(inputs)))
    head.kernel.assign(keras.ops.transpose(table.embeddings))
    before = Held(model)
    sy.tie(head, "kernel", to=sy.ref(table, "embeddings"), transform="transpose")
    changes = sy.diff(before, model)
    assert changes.addresses == ("table/embeddings", "head/kernel")
    assert {change.kind for change in changes} == {"unchanged"}
    assert sy.diff(model, model).addresses == ("table/embeddings",)
    assert sy.diff(model, model, select="head/kernel").unchanged.addresses == ("head/kernel",)
    assert sy.diff(model, before, select="head/kernel").unchanged.addresses == ("head/kernel",)


def test_selections_and_patterns():
    model, other = net(), net(seed=4)
    assert sy.diff(model, other, select="head/*").addresses == ("head/kernel", "head/bias")
    some = sy.diff(sy.weights(model, "head/*"), sy.weights(other, "head/*"))
    assert some == sy.diff(model, other, select="head/*")
    with pytest.raises(UnknownAddressError, match="Did you mean 'head/kernel'"):
        sy.diff(model, other, select="head/kernle")


def test_more_metrics():
    change = sy.diff(net(), net(seed=4), metrics="subspace_angle")["body/kernel"]
    assert "subspace angle" in change.reason
    with pytest.raises(UnknownMetricError):
        sy.diff(net(), net(), metrics="spectral_norm")


def test_what_is_no_source():
    with pytest.raises(SourceError):
        sy.diff(net(), None)


def test_nothing_is_changed_by_it():
    model, other = net(), net(seed=4)
    before = [model.get_weights(), other.get_weights()]
    sy.diff(model, other)
    for old, now in zip(before, (model, other), strict=True):
        for a, b in zip(old, now.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
