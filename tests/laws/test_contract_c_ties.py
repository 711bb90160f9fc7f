"""Section C of the access contract: stock layers that share one weight."""

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)


def array(value):
    return np.array(ops.convert_to_numpy(value))


def language_model(built):
    tokens = keras.Input((4,), dtype="int32")
    table = keras.layers.Embedding(11, 6, name="table")
    out = keras.layers.Dense(11, name="out")
    if not built:
        sy.tie(out, "kernel", to=sy.ref(table, "embeddings"), transform="transpose")
    model = keras.Model(tokens, out(table(tokens)))
    if built:
        sy.tie(out, "kernel", to=sy.ref(table, "embeddings"), transform="transpose")
    return model


def logits(model, tokens):
    table = array(model.get_layer("table").embeddings)
    return table[tokens] @ table.T + array(model.get_layer("out").bias)


TOKENS = np.random.default_rng(0).integers(0, 11, (8, 4))


@pytest.mark.parametrize("built", [False, True])
def test_c25_out_kernel_is_the_transposed_embedding(built, elsewhere):
    model = language_model(built)
    assert model.count_params() == 11 * 6 + 11
    was = array(model.get_layer("table").embeddings)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(TOKENS, np.roll(TOKENS, -1, axis=1), verbose=0)
    now = array(model.get_layer("table").embeddings)
    unseen = np.setdiff1d(np.arange(11), TOKENS)
    assert np.abs(now - was).max() > 1e-4
    assert (np.abs(now - was)[unseen].max() if len(unseen) else 1) > 1e-5  # through `out` alone
    np.testing.assert_allclose(model.predict(TOKENS, verbose=0), logits(model, TOKENS), **CLOSE)
    there = elsewhere(model, TOKENS, add=["table/embeddings"])
    np.testing.assert_allclose(there.predicted[0], logits(model, TOKENS), **CLOSE)
    assert "out/kernel" not in there.addresses
    model.get_layer("table").embeddings.assign(now + 0.25)
    np.testing.assert_allclose(there.after[0], logits(model, TOKENS), **CLOSE)


def test_c26_two_built_layers_share_one_weight(elsewhere):
    inputs = keras.Input((5,))
    a, b = keras.layers.Dense(3, name="a"), keras.layers.Dense(3, name="b")
    model = keras.Model(inputs, [a(inputs), b(inputs)])
    x = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
    model.predict(x, verbose=0)
    sy.tie(b, "kernel", to=sy.ref(a, "kernel"))
    assert model.count_params() == 15 + 3 + 3
    model.compile("sgd", ["mse", "mse"])
    model.fit(x, [np.zeros((8, 3))] * 2, verbose=0)
    wanted = [x @ array(a.kernel) + array(layer.bias) for layer in (a, b)]
    for got, want in zip(model.predict(x, verbose=0), wanted, strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)
    there = elsewhere(model, x, add=["a/kernel"])
    assert there.addresses == ["a/kernel", "a/bias", "b/bias"]
    for got, after, want in zip(there.predicted, there.after, wanted, strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)
        moved = want + 0.25 * x.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(after, moved, **CLOSE)
    clone = keras.models.clone_model(model)
    clone.get_layer("a").kernel.assign(np.ones((5, 3)))
    np.testing.assert_array_equal(array(clone.get_layer("b").kernel), np.ones((5, 3)))
