"""`sy.parametrize`: what it goes with, and what it refuses. The laws are in `tests/laws`."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.parametrized import Always, Net, OnBuild, Scaled, squashed

import steelyard as sy
from steelyard.errors import (
    ParametrizationError,
    ShapeMismatchError,
    SteelyardError,
    SubstituteError,
    TargetError,
    UnknownAddressError,
)

ps = sy.parametrizations
CLOSE = dict(rtol=1e-4, atol=1e-5)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")


def array(value):
    return np.array(ops.convert_to_numpy(value))


def normal(*shape, seed=2):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def model_of(layer):
    inputs = keras.Input((4,))
    return keras.Model(inputs, layer(inputs))


def dense(**kwargs):
    layer = keras.layers.Dense(3, name="dense", **kwargs)
    return layer, model_of(layer)


def fit(model, epochs=1, optimizer=None, y=Y):
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse")
    model.fit(X, y, batch_size=len(X), epochs=epochs, verbose=0)


def again(model, folder):
    model.save(folder / "again.keras")
    return keras.models.load_model(folder / "again.keras")


def spectral(value):
    return value / np.linalg.norm(value, 2)


# --- handed over ----------------------------------------------------------------------------------


def test_gives_the_layer_and_takes_an_output_and_an_address():
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="dense")
    outputs = layer(inputs)
    assert sy.parametrize(outputs, "kernel", ps.WeightNorm()) is layer
    model = keras.Model(inputs, outputs)
    other = keras.Sequential([model, keras.layers.Dense(2, name="head")], name="whole")
    other.build((None, 4))
    assert sy.parametrize(other, "head/kernel", squashed) is other
    assert sy.parametrizations_of(other, "head/kernel") == (squashed,)
    assert [type(p) for p in sy.parametrizations_of(layer)] == [ps.WeightNorm]
    assert sy.parametrizations_of(layer, "bias") == ()


def test_the_layer_stays_what_it_was():
    layer, _ = dense()
    kernel = layer.kernel
    sy.parametrize(layer, "kernel", ps.SpectralNorm())
    assert isinstance(layer, keras.layers.Dense)
    assert type(layer).__name__ == "Dense"
    assert any(v is kernel for v in layer.trainable_variables)
    np.testing.assert_allclose(array(layer.kernel), spectral(array(kernel)), rtol=1e-3)


# --- read and assigned ----------------------------------------------------------------------------


def test_a_weight_has_an_effective_and_a_stored_value():
    layer, model = dense()
    kernel = normal(4, 3)
    layer.kernel.assign(kernel)
    sy.parametrize(layer, "kernel", Scaled(4.0))
    weights = sy.weights(model)
    assert weights.addresses == ("dense/kernel", "dense/bias")
    np.testing.assert_allclose(weights["dense/kernel"].numpy(), kernel, **CLOSE)
    np.testing.assert_allclose(weights["dense/kernel"].stored()["kernel"], kernel / 4, **CLOSE)


@pytest.mark.parametrize(
    ("parametrization", "value"),
    [
        (Scaled(4.0), normal(4, 3, seed=4)),
        (ps.WeightNorm(), normal(4, 3, seed=4)),
        (ps.SpectralNorm(), spectral(normal(4, 3, seed=4))),
        (ps.LowRank(2), normal(4, 2, seed=4) @ normal(2, 3, seed=5)),
        (ps.Orthogonal(), np.linalg.qr(normal(4, 3, seed=4))[0]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_assigned_through_the_way_back(parametrization, value):
    layer, model = dense()
    sy.parametrize(layer, "kernel", parametrization)
    sy.weights(model)["dense/kernel"].assign(value)
    np.testing.assert_allclose(sy.weights(model)["dense/kernel"].numpy(), value, rtol=2e-3)
    np.testing.assert_allclose(array(model(X)), X @ value, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize(
    ("parametrization", "stored"),
    [
        (squashed, "kernel"),
        (ps.SpectralNorm(), "kernel"),
        (ps.LowRank(2), "kernel_a, kernel_b"),
        (ps.Mask(sparsity=0.5), "kernel"),
    ],
    ids=["function", "SpectralNorm", "LowRank", "Mask"],
)
def test_what_it_cannot_give_is_not_assigned(parametrization, stored):
    layer, model = dense()
    sy.parametrize(layer, "kernel", parametrization)
    was = model.get_weights()
    value = np.full((4, 3), 7.0) + np.eye(4, 3)
    if isinstance(parametrization, ps.Mask):
        layer.kernel.recipe.state["mask"].assign(np.zeros((4, 3)))
        was = model.get_weights()
    with pytest.raises(SubstituteError, match=f"gives no such value.*{stored}"):
        sy.weights(model)["dense/kernel"].assign(value)
    for before, now in zip(was, model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, before)


def test_a_value_of_another_shape_is_not_assigned():
    layer, model = dense()
    sy.parametrize(layer, "kernel", ps.WeightNorm())
    with pytest.raises(ShapeMismatchError, match=r"\(4, 3\).*\(3, 4\)"):
        sy.weights(model)["dense/kernel"].assign(np.ones((3, 4)))


def test_what_others_read_of_it_is_what_it_computes_with():
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="dense", use_bias=False)
    code = layer(inputs)
    back = sy.layers.TiedDense(layer, use_bias=False, name="back")
    number = sy.layers.WeightAnalyzer(layer, metrics="spectral_norm", name="number")
    model = keras.Model(inputs, [back(code), number(code)])
    sy.parametrize(layer, "kernel", ps.SpectralNorm())
    reference = sy.ref(layer, "kernel")

    def check():
        kernel = spectral(sy.weights(model)["dense/kernel"].stored()["kernel"].astype("float64"))
        np.testing.assert_allclose(array(reference()), kernel, rtol=1e-3, atol=1e-4)
        decoded, sigma = model.predict(X, verbose=0)
        np.testing.assert_allclose(sigma, np.ones((6, 1)), rtol=1e-3)
        np.testing.assert_allclose(decoded, X @ kernel @ kernel.T, rtol=5e-3, atol=5e-3)

    check()
    model.compile(keras.optimizers.SGD(0.5), ["mse", None])
    model.fit(X, [X, None], batch_size=6, epochs=2, verbose=0)
    check()


@pytest.mark.parametrize("parametrization", [ps.SpectralNorm(), ps.WeightNorm(), squashed])
def test_the_gradient_of_a_reader_reaches_what_is_stored(parametrization):
    owner, _ = dense(use_bias=False)
    owner.kernel.assign(normal(4, 3))
    sy.parametrize(owner, "kernel", parametrization)
    reader = sy.layers.TiedDense(owner, use_bias=False)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, reader(inputs))
    model.owner = owner
    if owner not in model._flatten_layers():
        pytest.skip("this Keras tracks no layer that a functional model is given later")
    stored = sy.weights(owner)["kernel"].stored()["kernel"].astype("float64")
    scale = np.linalg.norm(stored, axis=0)

    def used(value):
        if parametrization is squashed:
            return 0.5 * np.tanh(value)
        if isinstance(parametrization, ps.WeightNorm):
            return value / np.linalg.norm(value, axis=0) * scale
        return spectral(value)

    def loss(value):
        return np.mean(np.square(Y.astype("float64") @ used(value).T - X))

    slope = np.zeros_like(stored)
    for place in np.ndindex(stored.shape):
        step = np.zeros_like(stored)
        step[place] = 1e-6
        slope[place] = (loss(stored + step) - loss(stored - step)) / 2e-6
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(Y, X, batch_size=6, verbose=0)
    moved = stored - sy.weights(owner)["kernel"].stored()["kernel"]
    np.testing.assert_allclose(moved, slope, rtol=2e-3, atol=1e-5)


# --- several, and with other changes --------------------------------------------------------------


def test_one_on_the_other_is_as_in_a_chain(tmp_path):
    (one, stacked), (two, chained) = dense(), dense()
    for layer in (one, two):
        layer.kernel.assign(normal(4, 3))
    sy.parametrize(one, "kernel", ps.WeightNorm())
    sy.parametrize(one, "kernel", ps.Mask(sparsity=0.5))
    sy.parametrize(two, "kernel", ps.Chain(ps.WeightNorm(), ps.Mask(sparsity=0.5)))
    assert [type(p) for p in sy.parametrizations_of(one)] == [ps.WeightNorm, ps.Mask]
    for model in (stacked, chained):
        fit(model, epochs=2)
    np.testing.assert_allclose(array(one.kernel), array(two.kernel), **CLOSE)
    loaded = again(stacked, tmp_path)
    assert [type(p) for p in sy.parametrizations_of(loaded, "dense/kernel")] == [
        ps.WeightNorm,
        ps.Mask,
    ]
    np.testing.assert_allclose(array(loaded(X)), array(stacked(X)), **CLOSE)


def two():
    inputs = keras.Input((4,))
    a, b = (keras.layers.Dense(3, use_bias=False, name=name) for name in "ab")
    return keras.Model(inputs, [a(inputs), b(inputs)]), a, b


@pytest.mark.parametrize("order", ["parametrized first", "tied first"])
def test_a_tie_to_what_is_parametrized_follows(order, tmp_path):
    model, a, b = two()
    if order == "tied first":
        sy.tie(b, "kernel", to=a)
    sy.parametrize(a, "kernel", ps.SpectralNorm())
    if order == "parametrized first":
        sy.tie(b, "kernel", to=a)

    def check(model):
        one, other = model.predict(X, verbose=0)
        np.testing.assert_allclose(one, other, **CLOSE)
        kernel = sy.weights(model)["a/kernel"].stored()["kernel"]
        np.testing.assert_allclose(one, X @ spectral(kernel), rtol=5e-3, atol=1e-3)

    check(model)
    model.compile(keras.optimizers.SGD(0.1), ["mse", "mse"])
    was = sy.weights(model)["a/kernel"].stored()["kernel"]
    model.fit(X, [Y, Y], batch_size=6, verbose=0)
    assert np.abs(sy.weights(model)["a/kernel"].stored()["kernel"] - was).max() > 1e-4
    check(model)
    check(again(model, tmp_path))


def test_what_is_tied_is_parametrized_or_refused_but_never_half():
    model, a, b = two()
    sy.tie(b, "kernel", to=a)
    was = array(a.kernel)
    sy.parametrize(b, "kernel", squashed)  # has no way back, so nothing of `a` would change
    np.testing.assert_array_equal(array(a.kernel), was)
    np.testing.assert_allclose(array(b.kernel), 0.5 * np.tanh(was), **CLOSE)
    listed = [v.name for v in model.weights]
    for other in (ps.LowRank(2), Scaled(4.0)):
        with pytest.raises(SubstituteError, match=r"tied or parametrized already.*sy.bake"):
            sy.parametrize(b, "kernel", other)
    assert [v.name for v in model.weights] == listed
    assert sy.parametrizations_of(b) == (squashed,)
    np.testing.assert_array_equal(array(a.kernel), was)
    np.testing.assert_allclose(array(b.kernel), 0.5 * np.tanh(was), **CLOSE)


def test_what_is_parametrized_is_not_tied():
    model, a, b = two()
    sy.parametrize(b, "kernel", ps.WeightNorm())
    was, names = array(b.kernel), [v.name for v in model.weights]
    with pytest.raises(SubstituteError, match=r"sy.bake"):
        sy.tie(b, "kernel", to=a)
    assert [v.name for v in model.weights] == names
    np.testing.assert_array_equal(array(b.kernel), was)


@pytest.mark.parametrize("parametrization", [ps.SpectralNorm(), ps.LowRank(2)])
def test_lora_on_top(parametrization, tmp_path):
    layer, model = dense()
    sy.parametrize(layer, "kernel", parametrization)
    base = array(layer.kernel)
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(normal(2, 3))
    delta = array(layer.lora_kernel_a) @ array(layer.lora_kernel_b)
    delta = delta * (layer.lora_alpha / layer.lora_rank)
    np.testing.assert_allclose(array(model(X)), X @ (base + delta), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(sy.weights(model)["dense/kernel"].numpy(), base + delta, rtol=2e-3)
    fit(model, epochs=2)
    stored = sy.weights(model)["dense/kernel"].stored()
    now = array(layer.lora_kernel_a) @ array(layer.lora_kernel_b)
    assert np.abs(now * (layer.lora_alpha / layer.lora_rank) - delta).max() > 1e-4
    used = sy.weights(model)["dense/kernel"].numpy()
    np.testing.assert_allclose(
        used - now * (layer.lora_alpha / layer.lora_rank), base, rtol=1e-3, atol=1e-3
    )
    assert any(name.startswith("lora_kernel") for name in stored)
    loaded = again(model, tmp_path)
    np.testing.assert_allclose(array(loaded(X)), array(model(X)), rtol=1e-3, atol=1e-3)


def test_quantized_it_is_baked_first(tmp_path):
    layer, model = dense()
    sy.parametrize(layer, "kernel", ps.SpectralNorm())
    was = array(model(X))
    model.quantize("int8")
    assert layer.quantization_mode == "int8"
    assert sy.parametrizations_of(layer) == ()
    assert type(layer) is keras.layers.Dense
    np.testing.assert_allclose(array(model(X)), was, atol=0.05)
    np.testing.assert_allclose(array(again(model, tmp_path)(X)), array(model(X)), **CLOSE)


def test_what_is_quantized_is_not_parametrized():
    layer, model = dense()
    model.quantize("int8")
    was = array(model(X))
    with pytest.raises(SubstituteError, match=r"quantized \('int8'\).*Tie or parametrize it first"):
        sy.parametrize(layer, "kernel", ps.SpectralNorm())
    assert type(layer) is keras.layers.Dense
    np.testing.assert_array_equal(array(model(X)), was)


# --- in a layer's own code ------------------------------------------------------------------------


@pytest.mark.in_turn
@pytest.mark.parametrize(("kind", "weight"), [(Always, "inner/kernel"), (OnBuild, "kernel")])
def test_in_code_it_is_made_again_and_not_doubled(kind, weight, tmp_path):
    layer = kind(name="mine")
    model = model_of(layer)
    fit(model)
    for twin in (
        again(model, tmp_path),
        keras.models.clone_model(model),
        keras.models.model_from_json(model.to_json()),
    ):
        assert len(sy.parametrizations_of(twin, f"mine/{weight}")) == 1
        assert len(twin.weights) == len(model.weights)
        twin.set_weights(model.get_weights())
        np.testing.assert_allclose(array(twin(X)), array(model(X)), **CLOSE)
        fit(twin)
    sy.parametrize(model, f"mine/{weight}", ps.Mask(sparsity=0.25))
    loaded = again(model, tmp_path)
    kinds = [type(p) for p in sy.parametrizations_of(loaded, f"mine/{weight}")]
    assert kinds == [ps.WeightNorm, ps.Mask]
    np.testing.assert_allclose(array(loaded(X)), array(model(X)), **CLOSE)


def test_a_subclassed_model_waits_for_its_layers():
    model = Net()
    sy.parametrize(model, "first/kernel", ps.WeightNorm())
    with pytest.raises(SteelyardError, match="not built"):
        sy.parametrizations_of(model, "first/kernel")
    model(X)
    assert [type(p) for p in sy.parametrizations_of(model, "first/kernel")] == [ps.WeightNorm]
    fit(model)


# --- and training ---------------------------------------------------------------------------------


class Late(keras.callbacks.Callback):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def on_train_batch_end(self, batch, logs=None):
        sy.parametrize(self.layer, "kernel", ps.WeightNorm())


def test_not_while_the_model_trains():
    layer, model = dense()
    model.compile("sgd", "mse")
    with pytest.raises(SubstituteError, match=r"being trained.*between two fits"):
        model.fit(X, Y, verbose=0, callbacks=[Late(layer)])
    assert type(layer) is keras.layers.Dense
    assert [v.name for v in layer.weights] == ["kernel", "bias"]
    model.fit(X, Y, verbose=0)


def test_between_two_fits_of_an_optimizer_with_state():
    layer, model = dense()
    fit(model, optimizer=keras.optimizers.Adam(0.01))
    with pytest.warns(UserWarning, match="Adam.*begins anew"):
        sy.parametrize(layer, "kernel", ps.WeightNorm())
    was = sy.weights(model)["dense/kernel"].stored()
    model.fit(X, Y, batch_size=6, verbose=0)
    now = sy.weights(model)["dense/kernel"].stored()
    for name in ("kernel", "kernel_g"):
        assert np.abs(now[name] - was[name]).max() > 1e-4
    assert float(array(model.optimizer.learning_rate)) == pytest.approx(0.01)


def test_between_two_fits_where_the_trained_weights_stay():
    layer, model = dense()
    fit(model, optimizer=keras.optimizers.Adam(0.01))
    optimizer = model.optimizer
    sy.parametrize(layer, "kernel", ps.SpectralNorm())
    model.fit(X, Y, batch_size=6, verbose=0)
    assert model.optimizer is optimizer
    assert int(array(optimizer.iterations)) == 2
    kernel = sy.weights(model)["dense/kernel"].stored()["kernel"]
    np.testing.assert_allclose(
        model.predict(X, verbose=0), X @ spectral(kernel) + array(layer.bias), atol=2e-3
    )


# --- refused, and nothing has changed -------------------------------------------------------------


@keras.saving.register_keras_serializable(package="test_parametrize")
class Wider(ps.Parametrization):
    """Stores two arrays and gives another shape than the weight's."""

    names = ("one", "two")

    def forward(self, one, two):
        return ops.concatenate([one, two], axis=0)

    def right_inverse(self, value):
        return value, ops.zeros_like(value)


class Failing(ps.Parametrization):
    def forward(self, value):
        return value

    def initial_state(self, value):
        return {"fine": np.zeros(3, "float32"), "other": np.zeros(2, "float32")}

    def right_inverse(self, value):
        raise RuntimeError("no way back today")


REFUSED = [
    ("kernl", ps.WeightNorm(), UnknownAddressError, "kernl.*Did you mean.*kernel"),
    ("bias", ps.SpectralNorm(), ShapeMismatchError, r"SpectralNorm.*two axes.*\(3,\)"),
    ("kernel", ps.LowRank(5), ShapeMismatchError, r"LowRank\(rank=5\).*\(4, 3\)"),
    ("kernel", ps.Mask(np.ones((3, 4))), ShapeMismatchError, r"\(3, 4\).*\(4, 3\)"),
    ("kernel", ps.WeightNorm, ParametrizationError, r"the class WeightNorm itself.*WeightNorm\("),
    ("kernel", None, ParametrizationError, "object of type NoneType"),
    ("kernel", 3, ParametrizationError, "object of type int"),
    ("kernel", keras.layers.Dense(3), ParametrizationError, "no parametrization"),
    ("kernel", ops.transpose, ShapeMismatchError, r"\(4, 3\).*\(3, 4\)"),
    ("kernel", ops.sum, ShapeMismatchError, r"\(4, 3\).*\(\)"),
    ("kernel", Wider(), ShapeMismatchError, r"\(4, 3\).*\(8, 3\)"),
    ("kernel", Failing(), RuntimeError, "no way back today"),
]


@pytest.mark.parametrize(("weight", "parametrization", "error", "says"), REFUSED)
def test_what_cannot_be_is_refused_and_nothing_has_changed(weight, parametrization, error, says):
    layer, model = dense()
    listed, values, was = list(layer.weights), layer.get_weights(), array(model(X))
    held = dict(vars(layer))
    with pytest.raises(error, match=says):
        sy.parametrize(layer, weight, parametrization)
    assert type(layer) is keras.layers.Dense
    assert [id(v) for v in layer.weights] == [id(v) for v in listed]
    for before, now in zip(values, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(now, before)
    assert set(vars(layer)) - {"_steelyard_substitutes"} == set(held)
    np.testing.assert_array_equal(array(model(X)), was)
    sy.parametrize(layer, "kernel", ps.WeightNorm())
    np.testing.assert_allclose(array(model(X)), was, **CLOSE)


def test_another_shape_is_said_when_the_layer_is_built():
    layer = sy.parametrize(keras.layers.Dense(3), "kernel", ops.transpose)
    with pytest.raises(ShapeMismatchError, match=r"\(4, 3\).*\(3, 4\)"):
        layer(X)


def test_an_unknown_name_is_said_when_the_layer_is_built():
    layer = sy.parametrize(keras.layers.Dense(3), "kernl", ps.WeightNorm())
    with pytest.raises(UnknownAddressError, match=r"kernl.*Did you mean.*kernel"):
        layer(X)


def test_what_is_no_layer_is_refused():
    with pytest.raises(TargetError, match="object of type ndarray"):
        sy.parametrize(np.ones((4, 3)), "kernel", ps.WeightNorm())
    with pytest.raises(UnknownAddressError, match="kernl"):
        sy.parametrizations_of(dense()[0], "kernl")
