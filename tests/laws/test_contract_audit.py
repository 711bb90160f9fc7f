"""Rows of the access contract whose half is that `sy.audit` says so before it happens."""

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy

X = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
LOST = ["sharing-lost-on-clone", "sharing-lost-on-load"]


def codes(model):
    return sorted(finding.code for finding in sy.audit(model))


def inner(shared, name):
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(4)(shared(inputs)), name=name)


def graph(*parts):
    inputs = x = keras.Input((4,))
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def outer_first():
    shared = keras.layers.Dense(4, name="shared")
    return graph(shared, inner(shared, "inner"))


def inner_first():
    shared = keras.layers.Dense(4, name="shared")
    return graph(inner(shared, "inner"), shared)


def two_inner():
    shared = keras.layers.Dense(4, name="shared")
    return graph(inner(shared, "one"), inner(shared, "two"))


def each_step():
    shared = keras.layers.Dense(4, name="shared")
    each = keras.layers.TimeDistributed(shared, name="each")
    return graph(keras.layers.Reshape((1, 4)), each, keras.layers.Flatten(), shared)


def fails_to_load(model, path):
    model.save(path)
    with pytest.raises((KeyError, ValueError)):
        keras.models.load_model(path)(X)  # Keras 3.13 loads a graph that is cut in two


@pytest.mark.parametrize("make", [outer_first, inner_first, two_inner])
def test_c29_audit_says_that_the_file_would_not_load(make, tmp_path):
    model = make()
    assert codes(model) == LOST
    (finding,) = [f for f in sy.audit(model) if f.code == "sharing-lost-on-load"]
    assert finding.address.endswith("shared")
    assert "sy.save_model" in finding.fix
    fails_to_load(model, tmp_path / "model.keras")


def test_c30_audit_says_that_the_file_would_not_load(tmp_path):
    model = each_step()
    assert codes(model) == LOST
    fails_to_load(model, tmp_path / "model.keras")


@pytest.mark.parametrize("make", [outer_first, inner_first, two_inner, each_step])
def test_c78_audit_says_that_a_clone_would_share_no_more(make):
    model = make()
    (finding,) = [f for f in sy.audit(model) if f.code == "sharing-lost-on-clone"]
    assert "sy.clone_model" in finding.fix
    assert len(keras.models.clone_model(model).weights) == len(model.weights) + 2


def test_c33_audit_names_the_weight_in_the_graph():
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(4, name="dense")
    hidden = dense(inputs)
    model = keras.Model(inputs, ops.matmul(hidden, dense.kernel))
    (finding,) = sy.audit(model)
    assert (finding.code, finding.address) == ("frozen-value", "dense/kernel")


def test_c34_audit_names_the_weight_whose_parts_are_constants():
    dense = keras.layers.Dense(4, name="dense")
    dense.build((None, 4))
    part = ops.copy(dense.kernel[:, :3])

    def function(x):
        return ops.matmul(x, part)

    inputs = keras.Input((4,))
    outputs = [dense(inputs), keras.layers.Lambda(function, name="run")(inputs)]
    (finding,) = sy.audit(keras.Model(inputs, outputs))
    assert (finding.code, finding.address) == ("frozen-value", "dense/kernel")
    assert "run/function/part" in finding.message


def pretrained():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
    model.add(keras.layers.Dense(2, name="b"))
    return model


def test_c39_audit_names_the_regularizers_that_take_no_effect():
    model = pretrained()
    for layer in model.layers:
        layer.kernel_regularizer = keras.regularizers.L2(0.1)
    assert model.losses == []
    found = sy.audit(model)
    assert [(f.code, f.address) for f in found] == [
        ("late-regularizer", "a/kernel"),
        ("late-regularizer", "b/kernel"),
    ]
    assert "sy.penalize" in found[0].fix


def test_c84_audit_names_what_a_save_would_lose(tmp_path):
    model = pretrained()
    model.get_layer("a").kernel.regularizer = keras.regularizers.L2(0.1)
    model.get_layer("b").bias.constraint = keras.constraints.NonNeg()
    assert len(model.losses) == 1
    assert [(f.code, f.address) for f in sy.audit(model)] == [
        ("late-regularizer", "a/kernel"),
        ("late-constraint", "b/bias"),
    ]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.losses == []
    assert loaded.get_layer("b").bias.constraint is None


def test_c05_audit_names_the_weights_with_one_path():
    def tower(name):
        inputs = keras.Input((4,))
        return keras.Model(inputs, keras.layers.Dense(3, name="proj")(inputs), name=name)

    inputs = keras.Input((4,))
    model = keras.Model(inputs, [tower("left")(inputs), tower("right")(inputs)])
    assert codes(model) == ["duplicate-path", "duplicate-path"]


def test_c08_audit_takes_a_handle_on_the_model_for_what_it_is():
    class Looks(keras.layers.Layer):
        def call(self, x):
            return x

    looks = Looks()
    model = graph(looks, keras.layers.Dense(3))
    object.__setattr__(looks, "target_model", model)
    looks.look_up = {"model": [lambda: model]}
    assert sy.audit(model) == []
