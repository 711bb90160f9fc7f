"""Section C of the access contract: tying and sharing."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.layer import give
from tests.laws.users import Autoencoder, Head, Norm, Part, Stack, TiedDecoder, WithConfig

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
KERNEL = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor), "float64")


def fit(model, x=X, rate=0.05):
    zeros = [np.zeros(tuple(y.shape), "float32") for y in keras.tree.flatten(model(x))]
    loss = "mse" if len(zeros) == 1 else ["mse"] * len(zeros)
    model.compile(keras.optimizers.SGD(rate), loss)
    model.fit(x, zeros[0] if len(zeros) == 1 else zeros, batch_size=len(x), verbose=0)


def linear(decoder):
    """A tied autoencoder without biases: what it computes is `x @ K @ K.T`."""
    inputs = keras.Input((4,))
    encoder = keras.layers.Dense(3, use_bias=False, name="encoder")
    code = encoder(inputs)
    model = keras.Model(inputs, decoder(encoder)(code))
    encoder.kernel.assign(KERNEL)
    return model


def there_and_back(kernel, power=1):
    kernel = np.asarray(kernel, "float64")
    return (X @ kernel @ kernel.T) ** power


def trained(model, power=1):
    """A step of `fit` moves the kernel, on both sides of the code."""
    encoder = model.get_layer("encoder")
    was = array(encoder.kernel)
    fit(model, rate=1e-3)
    assert np.abs(array(encoder.kernel) - was).max() > 1e-5
    wanted = there_and_back(array(encoder.kernel), power)
    np.testing.assert_allclose(model.predict(X, verbose=0), wanted, **CLOSE)
    return array(encoder.kernel)


def test_c19_a_tied_autoencoder_without_get_config(elsewhere):
    model = linear(lambda encoder: TiedDecoder(encoder, name="decoder"))
    kernel = trained(model)
    there = elsewhere(model, X, add=["encoder/kernel"])
    np.testing.assert_allclose(there.predicted[0], there_and_back(kernel), **CLOSE)
    np.testing.assert_allclose(there.after[0], there_and_back(kernel + 0.25), **CLOSE)
    assert there.addresses == ["encoder/kernel"]


def test_c20_with_a_get_config_on_top(elsewhere):
    model = linear(lambda encoder: WithConfig(encoder, power=2, name="decoder"))
    kernel = trained(model, power=2)
    there = elsewhere(model, X, add=["encoder/kernel"])
    np.testing.assert_allclose(there.predicted[0], there_and_back(kernel, 2), **CLOSE)
    np.testing.assert_allclose(there.after[0], there_and_back(kernel + 0.25, 2), **CLOSE)


@pytest.mark.parametrize("built", [False, True])
def test_c86_the_observer_comes_before_its_target(built, elsewhere):
    inputs = keras.Input((4,))
    target = keras.layers.Dense(3, use_bias=False, name="target")
    if built:
        target.build((None, 4))
    observer = sy.layers.WeightAnalyzer(target, metrics="l1_norm", name="observer")
    model = keras.Model(inputs, [observer(inputs), target(inputs)])
    assert [layer.name for layer in model.layers].index("observer") < 3
    target.kernel.assign(KERNEL)
    fit(model)
    kernel = array(target.kernel)
    assert np.abs(kernel - KERNEL).max() > 1e-4
    there = elsewhere(model, X, add=["target/kernel"])
    np.testing.assert_allclose(there.predicted[0], [[np.abs(kernel).sum()]] * 4, **CLOSE)
    np.testing.assert_allclose(there.after[0], [[np.abs(kernel + 0.25).sum()]] * 4, **CLOSE)


def inner(dense, inputs):
    i = keras.Input((4,))
    return keras.Model(i, dense(i), name="inner")(inputs)


def nested_twice(dense, inputs):
    i, j = keras.Input((4,)), keras.Input((4,))
    deepest = keras.Model(i, dense(i), name="deepest")
    return keras.Model(j, deepest(j), name="inner")(inputs)


def wrapped(dense, inputs):
    return keras.layers.TimeDistributed(dense, name="inner")(inputs[:, None])[:, 0]


def in_line(dense, inputs):
    return keras.Sequential([dense], name="inner")(inputs)


@pytest.mark.parametrize("first", ["target", "observer"])
@pytest.mark.parametrize("around", [inner, nested_twice, wrapped, in_line])
def test_c87_the_target_is_in_something(around, first, elsewhere):
    inputs = keras.Input((4,))
    target = keras.layers.Dense(3, use_bias=False, name="target")
    if first == "target":
        y = around(target, inputs)
        model = keras.Model(inputs, [Norm(target)(inputs), y])
    else:
        target.build((None, 4))
        number = Norm(target)(inputs)
        model = keras.Model(inputs, [number, around(target, inputs)])
    target.kernel.assign(KERNEL)
    (address,) = sy.weights(model).addresses
    there = elsewhere(model, X, add=[address])
    assert there.addresses == [address]
    np.testing.assert_allclose(there.predicted[0], [[np.sum(KERNEL**2)]] * 4, **CLOSE)
    np.testing.assert_allclose(there.after[0], [[np.sum((KERNEL + 0.25) ** 2)]] * 4, **CLOSE)


@pytest.mark.parametrize("pick", ["last", "named", "rows"])
def test_c87_the_target_is_in_a_block(pick, elsewhere):
    inputs = keras.Input((4,))
    stack = Stack(name="stack")
    pick = {"last": stack.last, "named": stack.named["a"], "rows": stack.rows[1]}[pick]
    y = stack(inputs)
    model = keras.Model(inputs, [Norm(pick)(inputs), y])
    address = next(w.address for w in sy.weights(model) if w.variable is pick.kernel)
    kernel = array(pick.kernel)
    there = elsewhere(model, X, add=[address])
    np.testing.assert_allclose(there.predicted[0], [[np.sum(kernel**2)]] * 4, **CLOSE)
    np.testing.assert_allclose(there.after[0], [[np.sum((kernel + 0.25) ** 2)]] * 4, **CLOSE)


def test_c87_a_subclassed_autoencoder(elsewhere):
    model = Autoencoder()
    fit(model)
    assert model.count_params() == 4 * 3 + 3 + 4
    wanted = model.predict(X, verbose=0)
    there = elsewhere(model, X, add=["encoder/kernel"])
    np.testing.assert_allclose(there.predicted[0], wanted, **CLOSE)
    model.encoder.kernel.assign(array(model.encoder.kernel) + 0.25)
    np.testing.assert_allclose(there.after[0], model.predict(X, verbose=0), **CLOSE)


DECODERS = {
    "TiedDense": lambda encoder: sy.layers.TiedDense(encoder, use_bias=False, name="decoder"),
    "user's own": lambda encoder: TiedDecoder(encoder, name="decoder"),
    "named": lambda encoder: sy.layers.TiedDense("encoder", use_bias=False, name="decoder"),
}


@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
def test_c21_clone_a_tied_model(decoder):
    model = linear(decoder)
    clone = keras.models.clone_model(model)
    own = clone.get_layer("encoder").kernel
    assert own is not model.get_layer("encoder").kernel
    own.assign(2 * KERNEL)
    np.testing.assert_allclose(clone.predict(X, verbose=0), there_and_back(2 * KERNEL), **CLOSE)
    np.testing.assert_allclose(model.predict(X, verbose=0), there_and_back(KERNEL), **CLOSE)
    trained(clone)
    np.testing.assert_array_equal(array(model.get_layer("encoder").kernel), KERNEL)


@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
def test_c22_a_mean_teacher_of_a_tied_model(decoder):
    student = linear(decoder)
    teacher = keras.models.clone_model(student)
    teacher.set_weights(student.get_weights())
    assert len(teacher.get_weights()) == len(student.get_weights()) == 1
    np.testing.assert_allclose(teacher.predict(X, verbose=0), there_and_back(KERNEL), **CLOSE)
    fit(student, rate=1e-3)
    pairs = zip(teacher.get_weights(), student.get_weights(), strict=True)
    mean = [0.9 * a + 0.1 * b for a, b in pairs]
    teacher.set_weights(mean)
    np.testing.assert_allclose(teacher.predict(X, verbose=0), there_and_back(mean[0]), **CLOSE)
    assert np.abs(mean[0] - KERNEL).max() > 1e-6


@pytest.mark.parametrize("way", ["config", "json"])
@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
def test_c23_rebuilt_from_its_description(decoder, way):
    model = linear(decoder)
    if way == "config":
        twin = keras.Model.from_config(model.get_config())
    else:
        twin = keras.models.model_from_json(model.to_json())
    assert twin.count_params() == model.count_params() == 12
    twin.get_layer("encoder").kernel.assign(2 * KERNEL)
    np.testing.assert_allclose(twin.predict(X, verbose=0), there_and_back(2 * KERNEL), **CLOSE)
    np.testing.assert_allclose(model.predict(X, verbose=0), there_and_back(KERNEL), **CLOSE)
    trained(twin)


def test_c28_a_variable_of_another_layer_is_handed_in(elsewhere):
    ids = keras.Input((4,), dtype="int32")
    table = keras.layers.Embedding(7, 3, name="table")
    vectors = table(ids)
    model = keras.Model(ids, Head(table.embeddings, name="head")(vectors))
    tokens = np.arange(8).reshape(2, 4) % 7
    rows = array(table.embeddings)
    np.testing.assert_allclose(model.predict(tokens, verbose=0), rows[tokens] @ rows.T, **CLOSE)
    fit(model, tokens)
    rows = array(table.embeddings)
    there = elsewhere(model, tokens, add=["table/embeddings"])
    np.testing.assert_allclose(there.predicted[0], rows[tokens] @ rows.T, **CLOSE)
    rows = rows + 0.25
    np.testing.assert_allclose(there.after[0], rows[tokens] @ rows.T, **CLOSE)
    text = model.to_json()
    assert "table" in text and "embeddings" in text
    clone = keras.models.clone_model(model)
    rows = array(clone.get_layer("table").embeddings)
    np.testing.assert_allclose(clone.predict(tokens, verbose=0), rows[tokens] @ rows.T, **CLOSE)


def test_c31_a_tied_layer_in_the_place_of_a_lambda(elsewhere):
    model = linear(lambda encoder: sy.layers.TiedDense(encoder, use_bias=False))
    kernel = trained(model)
    there = elsewhere(model, X, add=["encoder/kernel"])
    np.testing.assert_allclose(there.predicted[0], there_and_back(kernel), **CLOSE)
    np.testing.assert_allclose(there.after[0], there_and_back(kernel + 0.25), **CLOSE)


def parts(source, inputs):
    kernel = sy.ref(source, "kernel")
    return [Part(kernel[:, :1], name="first")(inputs), Part(kernel[:, 1:], name="rest")(inputs)]


def test_c34_parts_of_one_weight_are_live(elsewhere):
    inputs = keras.Input((4,))
    source = keras.layers.Dense(3, use_bias=False, name="source")
    whole = source(inputs)
    model = keras.Model(inputs, [*parts(source, inputs), whole])
    source.kernel.assign(KERNEL)
    fit(model)
    kernel = array(source.kernel)
    assert np.abs(kernel - KERNEL).max() > 1e-4
    first, rest, _ = model.predict(X, verbose=0)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), X @ kernel, **CLOSE)
    there = elsewhere(model, X, add=["source/kernel"])
    shifted = X @ (kernel + 0.25)
    np.testing.assert_allclose(there.after[0], shifted[:, :1], **CLOSE)
    np.testing.assert_allclose(there.after[1], shifted[:, 1:], **CLOSE)


def test_c34_the_source_is_not_in_the_model():
    inputs = keras.Input((4,))
    source = keras.layers.Dense(3, use_bias=False, name="source")
    source.build((None, 4))
    source.kernel.assign(KERNEL)
    model = keras.Model(inputs, parts(source, inputs))
    first, rest = model.predict(X, verbose=0)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), X @ KERNEL, **CLOSE)
    source.kernel.assign(2 * KERNEL)
    first, rest = model.predict(X, verbose=0)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), X @ (2 * KERNEL), **CLOSE)
    with pytest.raises(sy.SteelyardError, match="source"):
        fit(model)
    np.testing.assert_array_equal(array(source.kernel), 2 * KERNEL)


def test_c34_the_source_is_held_by_the_model():
    inputs = keras.Input((4,))
    source = keras.layers.Dense(3, use_bias=False, name="source")
    source.build((None, 4))
    model = keras.Model(inputs, parts(source, inputs))
    give(model, source)
    was = array(source.kernel)
    fit(model)
    assert np.abs(array(source.kernel) - was).max() > 1e-4
    first, rest = model.predict(X, verbose=0)
    wanted = X @ array(source.kernel)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), wanted, **CLOSE)


@pytest.mark.parametrize("stage", ["plain", "LoRA", "int8", "LoRA then int8"])
def test_c35_one_effective_matrix_in_both_directions(stage):
    table = keras.layers.ReversibleEmbedding(7, 3, name="table")
    table.build((None, 4))
    if "LoRA" in stage:
        table.enable_lora(2)
        table.lora_embeddings_b.assign(np.random.default_rng(2).normal(size=(2, 3)))
    if "int8" in stage:
        weights_only = keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
        table.quantize("int8", config=weights_only)
    forward = array(table(np.arange(7)[None]))[0]
    backward = array(table(np.eye(3, dtype="float32")[None], reverse=True))[0].T
    if stage != "LoRA then int8":  # there Keras 3.15 itself leaves LoRA out of this direction
        np.testing.assert_allclose(forward, backward, rtol=1e-3, atol=1e-4)
    read = array(sy.ref(table, "embeddings")())
    np.testing.assert_allclose(read, forward, rtol=1e-3, atol=1e-4)
    tied = sy.layers.TiedDense(table, weight="embeddings", use_bias=False)
    scores = array(tied(np.eye(3, dtype="float32"))).T
    np.testing.assert_allclose(scores, forward, rtol=1e-3, atol=1e-4)
    analyzer = sy.layers.WeightAnalyzer(table, weight="embeddings")
    assert analyzer.read()["l2_norm"] == pytest.approx(np.sqrt(np.sum(read**2)), rel=1e-5)
    number = array(analyzer(X))
    np.testing.assert_allclose(number, [[np.sqrt(np.sum(read**2))]] * 4, **CLOSE)
