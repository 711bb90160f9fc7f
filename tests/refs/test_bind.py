"""`bind` and `references`: who borrows what in a model, and finding it by hand."""

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy
from steelyard import errors

CLOSE = dict(rtol=1e-5, atol=1e-6)
X = np.ones((2, 4), "float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def norm(layer):
    return float(np.sqrt(np.sum(np.square(array(layer.kernel)))))


def halves(address="proj/kernel"):
    """An inner model that watches a layer of the outer one, by its address."""
    i = keras.Input((3,))
    watcher = sy.layers.WeightAnalyzer(address, name="watcher")
    inner = keras.Model(i, watcher(i), name="inner")
    inputs = keras.Input((4,))
    proj = keras.layers.Dense(3, name="proj")
    return watcher, inner, proj, keras.Model(inputs, inner(proj(inputs)))


def test_binds_what_is_not_bound_and_gives_the_model_back():
    watcher, _, proj, model = halves()
    assert not watcher.weight.is_bound
    assert sy.bind(model) is model
    assert watcher.weight.is_bound
    assert watcher.weight.layer is proj
    assert watcher.read()["l2_norm"] == pytest.approx(norm(proj), rel=1e-5)


def test_is_safe_to_repeat():
    watcher, _, proj, model = halves()
    for _ in range(3):
        sy.bind(model)
    assert watcher.weight.layer is proj
    np.testing.assert_allclose(model.predict(X, verbose=0), [[norm(proj)]] * 2, **CLOSE)


def test_what_is_not_there_is_an_error_that_says_so():
    *_, model = halves("proj/colonel")
    with pytest.raises(sy.SteelyardError, match="kernel"):
        sy.bind(model)
    *_, model = halves("prroj/kernel")
    with pytest.raises(sy.SteelyardError, match="proj/kernel"):
        sy.bind(model)


@pytest.mark.parametrize("what", [None, 3, "model.keras", keras.Model, []])
def test_takes_models_and_layers(what):
    with pytest.raises(errors.TargetError, match="model"):
        sy.bind(what)
    with pytest.raises(errors.TargetError, match="model"):
        sy.references(what)


class Outer(keras.Model):
    """Keras lets an attribute be replaced until the model is built."""

    def __init__(self, watched):
        super().__init__()
        self.proj = keras.layers.Dense(3)
        self.watcher = sy.layers.WeightAnalyzer(self.proj if watched is None else watched)

    def call(self, x):
        self.proj(x)
        return self.watcher(x)


@pytest.mark.parametrize("watched", [None, "proj/kernel"])
def test_after_an_attribute_was_replaced(watched):
    model = Outer(watched)
    old = model.proj
    old.build((None, 4))
    sy.bind(model)
    assert model.watcher.weight.layer is old
    model.proj = keras.layers.Dense(3)
    model.proj.build((None, 4))
    sy.bind(model)
    assert model.watcher.weight.layer is model.proj
    assert norm(old) != pytest.approx(norm(model.proj))
    np.testing.assert_allclose(array(model(X)), [[norm(model.proj)]] * 2, **CLOSE)


@pytest.mark.parametrize("compiled", [False, True])
def test_after_a_layer_of_a_stack_was_replaced(compiled):
    body = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="proj")], name="body")
    old = body.get_layer("proj")
    inputs = keras.Input((4,))
    watcher = sy.layers.WeightAnalyzer(old)
    y = body(inputs)
    model = keras.Model(inputs, [watcher(inputs), y])
    if compiled:
        np.testing.assert_allclose(model.predict(X, verbose=0)[0], [[norm(old)]] * 2, **CLOSE)
    sy.bind(model)  # notes where the owner is
    body.pop()
    body.add(keras.layers.Dense(3, name="proj"))
    new = body.get_layer("proj")
    assert new is not old
    new.kernel.assign(np.full((4, 3), 5.0))
    sy.bind(model)
    assert watcher.weight.layer is new
    wanted = 5 * np.sqrt(12)
    np.testing.assert_allclose(model.predict(X, verbose=0)[0], [[wanted]] * 2, **CLOSE)


def test_references_says_who_borrows_what():
    inputs = keras.Input((4,))
    encoder = keras.layers.Dense(3, name="encoder")
    code = encoder(inputs)
    tied = sy.layers.TiedDense(encoder, name="decoder")
    watch = sy.layers.WeightAnalyzer(encoder, weight="bias", name="watch")
    model = keras.Model(inputs, [tied(code), watch(code)])
    found = {record.holder: record for record in sy.references(model)}
    assert set(found) == {"decoder", "watch"}
    assert found["decoder"].target == "encoder/kernel"
    assert found["watch"].target == "encoder/bias"
    assert all(record.is_bound and not record.reason for record in found.values())
    assert "decoder borrows encoder/kernel" in str(found["decoder"])


def test_references_of_a_model_without_any():
    inputs = keras.Input((4,))
    assert sy.references(keras.Model(inputs, keras.layers.Dense(3)(inputs))) == []


def test_references_says_why_not():
    *_, model = halves("nowhere/kernel")
    (record,) = sy.references(model)
    assert record.holder == "inner/watcher"
    assert record.target == "nowhere/kernel"
    assert not record.is_bound
    assert "nowhere/kernel" in record.reason
    assert "not bound" in str(record)


def test_references_by_nested_addresses():
    _, _, _, model = halves()
    sy.bind(model)
    (record,) = sy.references(model)
    assert (record.holder, record.target, record.is_bound) == ("inner/watcher", "proj/kernel", True)


def test_references_finds_those_that_plain_layers_hold():
    class Holder(keras.layers.Layer):
        def __init__(self, of):
            super().__init__(name="holder")
            self.several = {"a": [sy.ref(of, "kernel")], "b": (sy.ref(of, "bias"),)}

        def call(self, x):
            return x

    inputs = keras.Input((4,))
    proj = keras.layers.Dense(3, name="proj")
    y = proj(inputs)
    model = keras.Model(inputs, [Holder(proj)(inputs), y])
    targets = sorted(record.target for record in sy.references(model))
    assert targets == ["proj/bias", "proj/kernel"]


def test_references_in_a_loaded_model(tmp_path):
    _, _, _, model = halves()
    model(X)
    model.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    sy.bind(twin)
    (record,) = sy.references(twin)
    assert (record.holder, record.target) == ("inner/watcher", "proj/kernel")
    assert record.is_bound


def test_binding_a_layer_that_holds_both():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.inner = keras.layers.Dense(3, name="inner")
            self.watch = sy.layers.WeightAnalyzer("inner/kernel")

        def build(self, input_shape):
            self.inner.build(input_shape)

        def call(self, x):
            return self.watch(self.inner(x))

    block = Block()
    block.build((None, 4))
    sy.bind(block)
    assert block.watch.weight.layer is block.inner
    np.testing.assert_allclose(array(block(X)), [[norm(block.inner)]] * 2, **CLOSE)
