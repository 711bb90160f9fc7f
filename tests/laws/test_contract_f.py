"""Section F of the access contract: save, load, export."""

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.layer import BACKEND, exported, give
from tests.laws.users import Norm, TiedDecoder, Watched

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor), "float64")


def randomize(model):
    draw = np.random.default_rng(5)
    for variable in model.weights:
        variable.assign(draw.normal(size=variable.shape))
    return model


def functional(watch, where="before"):
    inputs = keras.Input((4,))
    hidden, head = keras.layers.Dense(3), keras.layers.Dense(2)
    if where == "before" and watch:
        number = sy.layers.WeightAnalyzer(hidden)(inputs)
    h = hidden(inputs)
    if where == "between" and watch:
        number = sy.layers.WeightAnalyzer(hidden)(h)
    y = head(h)
    if where == "after" and watch:
        number = sy.layers.WeightAnalyzer(hidden)(y)
    return randomize(keras.Model(inputs, [y, number] if watch else y))


def subclassed(watch, where=None):
    model = Watched(watch)
    model(X)
    return randomize(model)


def first(model):
    return array(keras.tree.flatten(model(X))[0])


def names_in(path):
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return found


WATCHED = [(functional, "before"), (functional, "between"), (subclassed, None)]


@pytest.mark.parametrize(("make", "where"), WATCHED)
def test_c51_train_with_an_observer_deploy_without(make, where, tmp_path):
    watched, plain = make(True, where), make(False)
    zeros = [np.zeros(tuple(y.shape), "float32") for y in watched(X)]
    watched.compile("sgd", ["mse", "mse"])
    watched.fit(X, zeros, verbose=0)
    watched.save_weights(tmp_path / "watched.weights.h5")
    assert np.abs(first(plain) - first(watched)).max() > 1e-4
    plain.load_weights(tmp_path / "watched.weights.h5")
    np.testing.assert_allclose(first(plain), first(watched), **CLOSE)


@pytest.mark.parametrize(("make", "where"), [*WATCHED, (functional, "after")])
def test_c51_and_back(make, where, tmp_path):
    plain, watched = make(False), make(True, where)
    for variable in plain.weights:
        variable.assign(array(variable) + 0.5)
    plain.save_weights(tmp_path / "plain.weights.h5")
    watched.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_allclose(first(watched), first(plain), **CLOSE)


@pytest.mark.parametrize(("make", "where"), [*WATCHED, (functional, "after")])
def test_c51_observers_leave_no_trace_in_a_file(make, where, tmp_path):
    watched, plain = make(True, where), make(False)
    watched.save_weights(tmp_path / "watched.weights.h5")
    plain.save_weights(tmp_path / "plain.weights.h5")
    assert names_in(tmp_path / "watched.weights.h5") == names_in(tmp_path / "plain.weights.h5")


def test_c52_an_observer_after_its_layer(tmp_path):
    watched, plain = functional(True, "after"), functional(False)
    for variable in watched.weights:
        variable.assign(array(variable) + 0.5)
    watched.save_weights(tmp_path / "watched.weights.h5")
    plain.load_weights(tmp_path / "watched.weights.h5")
    np.testing.assert_allclose(first(plain), first(watched), **CLOSE)


@pytest.mark.parametrize(
    "tied",
    [
        lambda encoder: sy.layers.TiedDense(encoder, name="tied"),
        lambda encoder: TiedDecoder(encoder, name="tied"),
    ],
    ids=["TiedDense", "user's own"],
)
def test_c53_the_decoder_alone(tied, elsewhere):
    inputs, code = keras.Input((4,)), keras.Input((3,))
    encoder = keras.layers.Dense(3, name="encoder")
    hidden = encoder(inputs)
    decoder = keras.Model(code, tied(encoder)(code), name="decoder")
    model = keras.Model(inputs, decoder(hidden))
    model.compile("sgd", "mse")
    model.fit(X, X, verbose=0)
    codes = X[:, :3]
    wanted = decoder.predict(codes, verbose=0)
    there = elsewhere(decoder, codes)
    np.testing.assert_allclose(there.predicted[0], wanted, **CLOSE)
    again = elsewhere(model, X)  # and the whole is still the whole
    np.testing.assert_allclose(again.predicted[0], model.predict(X, verbose=0), **CLOSE)
    assert not any("decoder" in a and "kernel" in a for a in again.addresses)


def watching(inside):
    inputs = keras.Input((4,))
    owner = keras.layers.Dense(3, use_bias=False, name="owner")
    if inside:
        return owner, keras.Model(inputs, Norm(owner)(owner(inputs)))
    owner.build((None, 4))
    return owner, keras.Model(inputs, Norm(owner)(inputs))


def test_c55_export_refuses_to_freeze_a_weight(tmp_path):
    _, model = watching(inside=False)
    # Keras makes a RuntimeError, with the same text, of any error while it exports for torch.
    with pytest.raises((sy.SteelyardError, RuntimeError), match=r"'owner'.* no part of it"):
        exported(model, tmp_path)


def test_c55_export_of_a_weight_that_the_model_holds(tmp_path):
    owner, model = watching(inside=False)
    give(model, owner)
    artifact = exported(model, tmp_path)
    wanted = np.sum(np.square(array(owner.kernel)))
    np.testing.assert_allclose(artifact(X[:1]), [[wanted]], **CLOSE)


def test_c56_export_with_the_owner_inside(tmp_path):
    owner, model = watching(inside=True)
    artifact = exported(model, tmp_path)
    kernel = array(owner.kernel)
    np.testing.assert_allclose(artifact(X[:1]), [[np.sum(kernel**2)]], **CLOSE)
    if BACKEND != "torch":  # Keras 3.15 exports each weight as a constant of the torch program
        artifact.shift(kernel)
        np.testing.assert_allclose(artifact(X[:1]), [[np.sum((kernel + 0.25) ** 2)]], **CLOSE)


@pytest.mark.parametrize("frozen", ["encoder", "decoder"])
def test_c57_get_and_set_weights_after_freezing(frozen):
    def make():
        inputs = keras.Input((4,))
        encoder = keras.layers.Dense(3, name="encoder")
        decoder = sy.layers.TiedDense(encoder, name="decoder")
        return randomize(keras.Model(inputs, decoder(encoder(inputs))))

    model, other = make(), make()
    for variable in model.weights:
        variable.assign(array(variable) + 0.5)
    before = model.get_weights()
    model.get_layer(frozen).trainable = False
    after = model.get_weights()
    assert [w.shape for w in after] == [w.shape for w in before]
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)
    other.set_weights(after)
    np.testing.assert_allclose(array(other(X)), array(model(X)), **CLOSE)
    other.get_layer(frozen).trainable = False
    other.set_weights(before)
    np.testing.assert_allclose(array(other(X)), array(model(X)), **CLOSE)


def detector(classes, name, nested=False):
    """Blocks that are named as in a published model, under a head of one's own."""
    inputs = keras.Input((4,))
    blocks = [keras.layers.Dense(3, name="block_1"), keras.layers.Dense(3, name="block_2")]
    body = keras.Sequential([keras.Input((4,)), *blocks], name="body")
    hidden = body(inputs) if nested else blocks[1](blocks[0](inputs))
    return randomize(
        keras.Model(inputs, keras.layers.Dense(classes, name="head")(hidden), name=name)
    )


@pytest.mark.parametrize("nested", [False, True])
def test_c82_weights_move_by_name_and_the_rest_is_told(nested, elsewhere):
    old, new = detector(2, "old"), detector(5, "new", nested)
    old.compile("sgd", "mse")
    old.fit(X, np.zeros((4, 2)), verbose=0)
    blocks = [old.get_layer(f"block_{i}") for i in (1, 2)]
    wanted = array(blocks[1](blocks[0](X)))
    head = [array(v) for v in new.get_layer("head").weights]
    rename = {r"re:(block_.*)": r"body/\1"} if nested else None
    changes = sy.copy_weights(old, new, rename=rename)
    assert (len(changes.copied), len(changes.missing), len(changes.unused)) == (4, 0, 0)
    assert changes.skipped.addresses == ("head/kernel", "head/bias")
    assert changes["head/kernel"].reason == "shape (3, 2) does not fit (3, 5)"
    should_be = wanted @ head[0] + head[1]
    np.testing.assert_allclose(array(new(X)), should_be, **CLOSE)
    np.testing.assert_allclose(elsewhere(new, X).predicted[0], should_be, **CLOSE)
    new.compile("sgd", "mse")
    new.fit(X, np.zeros((4, 5)), verbose=0)
    assert np.abs(array(new(X)) - should_be).max() > 1e-4


def test_c82_nothing_has_changed_on_an_error():
    old, new = detector(2, "old"), detector(5, "new")
    for variable in new.weights:
        variable.assign(array(variable) + 0.5)
    before = [array(v) for v in new.weights]
    for ask in (dict(strict=True), dict(rename={"blok_1": "block_2"})):
        with pytest.raises(sy.SteelyardError, match=r"head/kernel|block_1"):
            sy.copy_weights(old, new, **ask)
    for a, b in zip(new.weights, before, strict=True):
        np.testing.assert_array_equal(array(a), b)
