"""Section G of the access contract: a layer with other weights, and gradients through a read."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.laws.users import HyperNetwork, main_network

import steelyard as sy

CLOSE = dict(rtol=1e-4, atol=1e-5)
BACKEND = keras.backend.backend()
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(6, 2)).astype("float32")


def array(tensor):
    return np.asarray(ops.convert_to_numpy(ops.stop_gradient(tensor))).astype("float64")


def fit(model, y=Y, epochs=1, rate=0.1):
    several = len(y) if isinstance(y, list) else 0
    model.compile(keras.optimizers.SGD(rate), ["mse"] * several or "mse")
    said = model.fit(X, y, batch_size=6, epochs=epochs, shuffle=False, verbose=0)
    return said.history["loss"]


def by_numpy(now, hyper="hyper", main="main"):
    flat = X.mean(0) @ now[f"{hyper}/kernel"] + now[f"{hyper}/bias"]
    hidden = np.tanh(X @ flat[:12].reshape(4, 3) + flat[12:])
    return hidden @ now[f"{main}/two/kernel"] + now[f"{main}/two/bias"]


def values(model):
    return {weight.address: weight.numpy() for weight in sy.weights(model)}


def test_c61_a_hypernetwork(elsewhere):
    model = HyperNetwork()
    model(X)
    was = values(model)
    losses = fit(model, epochs=30)
    assert losses[-1] < 0.5 * losses[0]
    now = values(model)
    for address in ("hyper/kernel", "hyper/bias", "main/two/kernel", "main/two/bias"):
        assert np.abs(now[address] - was[address]).max() > 1e-4, address
    np.testing.assert_array_equal(now["main/one/kernel"], was["main/one/kernel"])
    # Nothing of a trace is left behind: eager calls of both networks.
    np.testing.assert_allclose(array(model(X)), by_numpy(now), **CLOSE)
    hidden = np.tanh(X @ now["main/one/kernel"] + now["main/one/bias"])
    plain = hidden @ now["main/two/kernel"] + now["main/two/bias"]
    np.testing.assert_allclose(array(model.main(X)), plain, **CLOSE)
    there = elsewhere(model, X)
    np.testing.assert_allclose(there.predicted[0], by_numpy(now), **CLOSE)


def test_c61_a_functional_hypernetwork(elsewhere):
    inputs = keras.Input((4,))
    hyper = keras.layers.Dense(15, name="hyper")
    flat = ops.squeeze(hyper(ops.mean(inputs, axis=0, keepdims=True)), 0)
    kernel, bias = ops.split(flat, [12])
    given = {"one/kernel": ops.reshape(kernel, (4, 3)), "one/bias": bias}
    model = keras.Model(inputs, sy.call(main_network(), inputs, weights=given))
    losses = fit(model, epochs=30)
    assert losses[-1] < 0.5 * losses[0]
    now = values(model)
    wanted = by_numpy(now, main="main_called/layer")
    np.testing.assert_allclose(model.predict(X, verbose=0), wanted, **CLOSE)
    np.testing.assert_allclose(elsewhere(model, X).predicted[0], wanted, **CLOSE)


def inner_step(loss, weights):
    """One step of descent on each of the weights, itself differentiable."""
    if BACKEND == "jax":
        import jax

        slopes = jax.grad(loss)(weights)
    elif BACKEND == "torch":
        import torch

        found = torch.autograd.grad(loss(weights), list(weights.values()), create_graph=True)
        slopes = dict(zip(weights, found, strict=True))
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(weights)
            now = loss(weights)
        slopes = tape.gradient(now, weights)
    return {name: value - 0.1 * slopes[name] for name, value in weights.items()}


def slopes_of(function, weights):
    given = {name: ops.convert_to_tensor(value) for name, value in weights.items()}
    if BACKEND == "jax":
        import jax

        return jax.grad(function)(given)
    if BACKEND == "torch":
        import torch

        given = {name: value.requires_grad_() for name, value in given.items()}
        found = torch.autograd.grad(function(given), list(given.values()))
        return dict(zip(given, found, strict=True))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(given)
        now = function(given)
    return tape.gradient(now, given)


def test_c63_the_inner_step_of_maml():
    """The slope of what a step leads to, with two of four weights stepped, by differences."""
    main = main_network()
    support, query = ops.convert_to_tensor(X[:3]), ops.convert_to_tensor(X[3:])
    wanted = ops.convert_to_tensor(Y)

    def adapted(weights):
        def loss(given):
            return ops.mean(ops.square(sy.call(main, support, weights=given) - wanted[:3]))

        moved = inner_step(loss, weights)
        return ops.mean(ops.square(sy.call(main, query, weights=moved) - wanted[3:]))

    names = ("one/kernel", "two/kernel")
    start = {name: sy.weights(main)[name].numpy() for name in names}
    before = values(main)
    slopes = slopes_of(adapted, start)

    def adapted_by_numpy(weights):
        bias = [before[f"{layer}/bias"].astype("float64") for layer in ("one", "two")]

        def forward(one, two, x):
            hidden = np.tanh(x @ one + bias[0])
            return hidden, hidden @ two + bias[1]

        one, two = weights
        hidden, y = forward(one, two, X[:3])
        error = 2 * (y - Y[:3]) / y.size
        to_one = X[:3].T @ ((error @ two.T) * (1 - hidden**2))
        _, y = forward(one - 0.1 * to_one, two - 0.1 * hidden.T @ error, X[3:])
        return np.mean((y - Y[3:]) ** 2)

    for index, name in enumerate(names):
        for place in np.ndindex(start[name].shape):
            ends = []
            for step in (1e-5, -1e-5):
                there = [start[each].astype("float64") for each in names]
                there[index][place] += step
                ends.append(adapted_by_numpy(there))
            slope = (ends[0] - ends[1]) / 2e-5
            np.testing.assert_allclose(array(slopes[name])[place], slope, rtol=1e-3, atol=1e-5)
    for address, value in values(main).items():
        np.testing.assert_array_equal(value, before[address])


class Reading(keras.layers.Layer):
    """Adds the squared norm of another layer's kernel, with or without its gradient."""

    def __init__(self, reference, stop, **kwargs):
        super().__init__(**kwargs)
        self.reference = reference
        self.stop = stop

    def call(self, x):
        kernel = self.reference()
        kernel = ops.stop_gradient(kernel) if self.stop else kernel
        return ops.broadcast_to(ops.sum(ops.square(kernel)), (ops.shape(x)[0], 1))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


def read_by(way, stop):
    """A model whose output is what another layer's kernel says, and that layer."""
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(3, name="other")
    code = layer(inputs)
    if way == "operation":
        norm = Reading(sy.ref(layer), stop)(code)
    elif way == "reference":
        norm = Reading(sy.ref(layer, stop_gradient=stop), False)(code)
    elif way == "value":
        number = ops.sum(ops.square(sy.value(layer, "kernel", stop_gradient=stop)))
        norm = ops.sum(code, axis=-1, keepdims=True) * 0 + number
    else:
        kernel = sy.value(layer, "kernel", stop_gradient=stop)
        twin = keras.layers.Dense(3, trainable=False, use_bias=False, name="twin")
        rows = sy.call(twin, ops.eye(4), weights={"kernel": kernel})
        norm = ops.sum(code, axis=-1, keepdims=True) * 0 + ops.sum(ops.square(rows))
    return keras.Model(inputs, [norm, keras.layers.Dense(1, name="head")(inputs)]), layer


WAYS = pytest.mark.parametrize("way", ["operation", "reference", "value", "call"])


@WAYS
def test_c65_read_without_training_it(way):
    model, layer = read_by(way, stop=True)
    was = array(layer.kernel)
    np.testing.assert_allclose(model.predict(X, verbose=0)[0], np.sum(was**2), **CLOSE)
    head = array(model.get_layer("head").kernel)
    fit(model, [np.zeros((6, 1)), np.ones((6, 1))])
    assert np.abs(array(model.get_layer("head").kernel) - head).max() > 1e-4
    np.testing.assert_array_equal(array(layer.kernel), was)


@WAYS
def test_c66_train_through_the_read(way):
    model, layer = read_by(way, stop=False)
    was = array(layer.kernel)
    fit(model, [np.zeros((6, 1)), np.ones((6, 1))], rate=0.01)
    slope = 2 * np.sum(was**2) * 2 * was
    np.testing.assert_allclose(was - array(layer.kernel), 0.01 * slope, rtol=1e-3, atol=1e-6)
    now = np.sum(array(layer.kernel) ** 2)
    np.testing.assert_allclose(model.predict(X, verbose=0)[0], now, **CLOSE)


@pytest.mark.parametrize("jit", [False, True])
def test_c67_a_norm_that_starts_at_zero(jit):
    """As LoRA's second factor does: the slope of a root at 0 is no number unless it is seen to."""
    if jit and BACKEND == "torch":
        pytest.skip("torch.compile needs minutes, and a compiler")
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(2, kernel_initializer="zeros", name="other")
    code = layer(inputs)
    norm = sy.layers.WeightAnalyzer(layer, "l2_norm")(code)
    model = keras.Model(inputs, [code, norm])
    model.compile(keras.optimizers.SGD(0.1), ["mse", "mse"], jit_compile=jit)
    y = [Y, np.ones((6, 1), "float32")]
    model.fit(X, y, batch_size=6, epochs=1, verbose=0)
    # The norm adds nothing at 0, so that the step is that of the other loss.
    slope = X.T @ (0 - Y) * 2 / Y.size
    np.testing.assert_allclose(array(layer.kernel), -0.1 * slope, **CLOSE)
    model.fit(X, y, batch_size=6, epochs=3, verbose=0)
    assert np.isfinite(array(layer.kernel)).all()


def test_c67_the_norm_of_a_factor_of_lora():
    inputs = keras.Input((4,))
    layer = keras.layers.Dense(2, name="other")
    layer(inputs)
    layer.enable_lora(2)
    code = layer(inputs)
    norm = sy.layers.WeightAnalyzer(layer, "l2_norm", weight="lora_kernel_b")(code)
    model = keras.Model(inputs, [code, norm])
    model.compile(keras.optimizers.SGD(0.1), ["mse", "mse"])
    model.fit(X, [Y, np.zeros((6, 1))], batch_size=6, epochs=3, verbose=0)
    factor = array(layer.lora_kernel_b)
    assert np.isfinite(factor).all()
    assert np.abs(factor).max() > 1e-5
    got = model.predict(X, verbose=0)[1]
    np.testing.assert_allclose(got, np.sqrt(np.sum(factor**2)), **CLOSE)
