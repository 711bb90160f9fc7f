"""A call with other values is the plain call of a layer that holds these values, in every way."""

import keras
import numpy as np
import pytest
from keras import ops

import steelyard as sy
from steelyard.errors import (
    AmbiguousAddressError,
    QuantizationError,
    ShapeMismatchError,
    SteelyardError,
    UnknownAddressError,
)

BACKEND = keras.backend.backend()
CLOSE = dict(rtol=2e-5, atol=2e-6)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
STEPS = np.random.default_rng(1).normal(size=(6, 3, 4)).astype("float32")
IMAGES = np.random.default_rng(2).normal(size=(2, 5, 5, 4)).astype("float32")


def array(tensor):
    return np.array(ops.convert_to_numpy(ops.stop_gradient(tensor)))


def other(*shape):
    return np.random.default_rng(3).normal(size=shape).astype("float32")


def gradient(function, value):
    """The gradient of a scalar function at a value, by the running backend."""
    value = ops.convert_to_tensor(value)
    if BACKEND == "jax":
        import jax

        return jax.grad(function)(value)
    if BACKEND == "torch":
        import torch

        value = value.detach().requires_grad_()
        return torch.autograd.grad(function(value), value, create_graph=True)[0]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(value)
        result = function(value)
    return tape.gradient(result, value)


class Counting(keras.layers.Layer):
    """A dense layer that counts its calls, adds two losses and draws noise."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(5)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, x, training=False):
        y = ops.matmul(x, self.kernel)
        self.count.assign(self.count + 1)
        self.add_loss(ops.mean(y))
        self.add_loss([ops.sum(self.kernel)])
        if training:
            y = y + keras.random.normal(ops.shape(y), seed=self.seeds)
        return y


def deep():
    inputs = keras.Input((4,))
    block = keras.Sequential(
        [
            keras.layers.Dense(5, name="proj", activity_regularizer="l1"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5, seed=3),
        ],
        name="block",
    )
    return keras.Model(inputs, Counting(name="head")(block(inputs)))


LAYERS = {
    "dense": (lambda: keras.layers.Dense(3, activity_regularizer="l2"), X, {"kernel": (4, 3)}),
    "bias": (lambda: keras.layers.Dense(3, kernel_regularizer="l2"), X, {"bias": (3,)}),
    "counting": (Counting, X, {"kernel": (4, 3)}),
    "norm": (keras.layers.BatchNormalization, X, {"gamma": (4,)}),
    "statistics": (keras.layers.BatchNormalization, X, {"moving_mean": (4,)}),
    "lstm": (
        lambda: keras.layers.LSTM(3, dropout=0.3, recurrent_dropout=0.3, seed=4),
        STEPS,
        {"cell/recurrent_kernel": (3, 12)},
    ),
    "gru": (lambda: keras.layers.GRU(3, reset_after=False), STEPS, {"cell/kernel": (4, 9)}),
    "both": (
        lambda: keras.layers.Bidirectional(keras.layers.LSTM(3)),
        STEPS,
        {"forward_layer/cell/kernel": (4, 12)},
    ),
    "conv": (lambda: keras.layers.Conv2D(3, 2), IMAGES, {"kernel": (2, 2, 4, 3)}),
    "separable": (
        lambda: keras.layers.SeparableConv2D(3, 2),
        IMAGES,
        {"pointwise_kernel": (1, 1, 4, 3)},
    ),
    "deep": (deep, X, {"block/proj/kernel": (4, 5), "head/kernel": (5, 3)}),
}


def twins(case):
    """Two layers with the same values, the second with those that the first is to be given."""
    make, x, shapes = LAYERS[case]
    values = {name: other(*shape) for name, shape in shapes.items()}
    if case == "statistics":
        values = {"moving_mean": other(4)}
    called, assigned = make(), make()
    called(x)
    assigned(x)
    for mine, its in zip(called.variables, assigned.variables, strict=True):
        its.assign(mine.value)
    for name, value in values.items():
        sy.weights(assigned)[name].assign(value)
    return called, assigned, x, values


def check_state(case, called, assigned, before):
    """What the call changed is the same; what was given is as it was before."""
    given = {id(sy.weights(called)[name].variable) for name in LAYERS[case][2]}
    for mine, its, was in zip(called.variables, assigned.variables, before, strict=True):
        if id(mine) in given:
            np.testing.assert_array_equal(array(mine), was)
        else:
            np.testing.assert_allclose(array(mine), array(its), **CLOSE, err_msg=mine.path)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", LAYERS)
def test_as_if_the_values_were_assigned(case, training):
    called, assigned, x, values = twins(case)
    before = [array(variable) for variable in called.variables]
    keras.utils.set_random_seed(1)
    wanted = assigned(x, training=training)
    keras.utils.set_random_seed(1)
    got = sy.call(called, x, weights=values, training=training)
    np.testing.assert_allclose(array(got), array(wanted), **CLOSE)
    check_state(case, called, assigned, before)
    mine = [float(array(loss)) for loss in called.losses]
    if case != "bias":
        its = [float(array(loss)) for loss in assigned.losses]
        np.testing.assert_allclose(mine, its, **CLOSE)
    plain = called(x)
    assert np.abs(array(plain) - array(got)).max() > 1e-3 or case == "statistics"


@pytest.mark.parametrize("case", LAYERS)
def test_in_a_stateless_call(case):
    called, assigned, x, values = twins(case)
    before = [array(variable) for variable in called.variables]
    shifted = [
        ops.convert_to_tensor(value * 1.5 if value.dtype.kind == "f" else value) for value in before
    ]
    said = []
    for layer, run in (
        (called, lambda: sy.call(called, x, weights=values, training=True)),
        (assigned, lambda: assigned(x, training=True)),
    ):
        mapping = list(zip(layer.variables, shifted, strict=True))
        for name, value in values.items() if layer is assigned else ():
            variable = sy.weights(layer)[name].variable
            mapping = [
                (v, ops.convert_to_tensor(value) if v is variable else t) for v, t in mapping
            ]
        keras.utils.set_random_seed(1)
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            outputs = run()
            losses = [array(loss) for loss in layer.losses] if case != "bias" else []
        after = [array(scope.get_current_value(variable)) for variable in layer.variables]
        said.append((array(outputs), losses, after))
    (mine, mine_lost, mine_after), (its, its_lost, its_after) = said
    np.testing.assert_allclose(mine, its, **CLOSE)
    np.testing.assert_allclose(mine_lost, its_lost, **CLOSE)
    given = {id(sy.weights(called)[name].variable) for name in values}
    for variable, new, wanted, old in zip(
        called.variables, mine_after, its_after, shifted, strict=True
    ):
        wanted = array(old) if id(variable) in given else wanted
        np.testing.assert_allclose(new, wanted, **CLOSE, err_msg=variable.path)
    for variable, value in zip(called.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)


def test_losses_of_a_stateless_call_that_collects_none_are_dropped():
    layer = Counting()
    layer(X)
    with keras.StatelessScope([(v, v.value) for v in layer.variables]):
        sy.call(layer, X, weights={"kernel": other(4, 3)})
    assert layer.losses == []  # Keras forgets those of the call before when one begins


def test_nothing_given_is_a_plain_call():
    layer = keras.layers.Dense(3)
    np.testing.assert_array_equal(array(sy.call(layer, X, weights={})), array(layer(X)))


def test_a_layer_that_is_not_built():
    layer = keras.layers.Dense(3, bias_initializer="ones")
    got = sy.call(layer, X, weights={"kernel": np.zeros((4, 3))})
    np.testing.assert_array_equal(array(got), np.ones((6, 3)))
    assert layer.built
    twin = keras.layers.Dense(3, bias_initializer="ones")
    assert np.abs(array(layer.kernel)).min() > 0, "its own kernel was initialized"
    assert tuple(twin(X).shape) == tuple(layer(X).shape)


class Lazy(keras.Model):
    """Its parts are built when it is called."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        seeds = keras.random.SeedGenerator(1)
        self.one = keras.layers.Dense(
            5, kernel_initializer=keras.initializers.RandomNormal(seed=seeds)
        )
        self.two = keras.layers.Dense(3)

    def call(self, x):
        return self.two(self.one(x))


def test_a_model_that_is_not_built():
    model = Lazy()
    got = sy.call(model, X, weights={"two/kernel": np.ones((5, 3)), "two/bias": np.zeros(3)})
    np.testing.assert_allclose(
        array(got), (X @ array(model.one.kernel)).sum(1)[:, None].repeat(3, 1), rtol=1e-4, atol=1e-5
    )


class Untraceable(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        if np.asarray(ops.convert_to_numpy(x)).sum() > -1e9:
            raise RuntimeError("not from shapes")
        return self.dense(x)


def test_what_cannot_be_built_from_shapes_is_named():
    with pytest.raises(SteelyardError, match=r"Call it once without `sy\.call` first"):
        sy.call(Untraceable(name="odd"), X, weights={"dense/kernel": other(4, 3)})


# --- Gradients ------------------------------------------------------------------------------------


def test_gradient_to_the_given_tensor():
    layer = keras.layers.Dense(3, activation="tanh", bias_initializer="ones")
    layer(X)
    kernel = other(4, 3)
    got = gradient(lambda k: ops.sum(sy.call(layer, X, weights={"kernel": k})), kernel)
    slope = 1 - np.tanh(X @ kernel + 1) ** 2
    np.testing.assert_allclose(array(got), X.T @ slope, rtol=1e-4, atol=1e-4)


def test_second_order_through_nested_calls():
    """The gradient of what a step of descent leads to: MAML."""
    layer = keras.layers.Dense(1, use_bias=False)
    layer(X)
    y = other(6, 1)

    def loss(kernel):
        wanted = ops.convert_to_tensor(y)
        return ops.mean(ops.square(sy.call(layer, X, weights={"kernel": kernel}) - wanted))

    def after_a_step(kernel):
        return loss(kernel - 0.1 * gradient_in_graph(loss, kernel))

    kernel = other(4, 1)
    hessian = 2 * X.T @ X / 6
    slope = 2 * X.T @ (X @ kernel - y) / 6
    moved = kernel - 0.1 * slope
    wanted = (np.eye(4) - 0.1 * hessian) @ (2 * X.T @ (X @ moved - y) / 6)
    got = gradient(after_a_step, kernel)
    np.testing.assert_allclose(array(got), wanted, rtol=1e-4, atol=1e-4)


def gradient_in_graph(function, value):
    """The gradient, itself differentiable in `value`."""
    if BACKEND == "jax":
        import jax

        return jax.grad(function)(value)
    if BACKEND == "torch":
        import torch

        return torch.autograd.grad(function(value), value, create_graph=True)[0]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(value)
        result = function(value)
    return tape.gradient(result, value)


def test_gradient_to_the_weights_that_are_not_given():
    layer = keras.layers.Dense(3)
    layer(X)
    kernel = other(4, 3)

    def loss(bias):
        with keras.StatelessScope([(layer.bias, bias)]):
            return ops.sum(ops.square(sy.call(layer, X, weights={"kernel": kernel})))

    got = array(gradient(loss, np.ones(3, "float32")))
    np.testing.assert_allclose(got, 2 * (X @ kernel + 1).sum(0), rtol=1e-4)


class Within(keras.layers.Layer):
    """Calls a layer that it holds with a kernel, in which that of another call is used."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, shape):
        self.kernel = self.add_weight(shape=(4, 3), name="outer_kernel")

    def call(self, x):
        return sy.call(self.inner, x, weights={"kernel": self.kernel})


def test_a_call_within_a_call():
    inner = keras.layers.Dense(3)
    outer = Within(inner)
    outer(X)
    kernel, bias = other(4, 3), other(3)
    got = sy.call(outer, X, weights={"outer_kernel": kernel, "inner/bias": bias})
    np.testing.assert_allclose(array(got), X @ kernel + bias, **CLOSE)
    # The inner call is the nearer one.
    got = sy.call(outer, X, weights={"inner/kernel": np.zeros((4, 3)), "outer_kernel": kernel})
    np.testing.assert_allclose(array(got), X @ kernel, **CLOSE)


def test_where_shapes_are_inferred():
    inputs = keras.Input((4,))
    layer = Within(keras.layers.Dense(3, bias_initializer="ones"))
    outputs = layer(inputs)
    assert outputs.shape == (None, 3)
    assert np.abs(array(layer.inner.kernel)).min() > 0
    got = keras.Model(inputs, outputs)(X)
    np.testing.assert_allclose(array(got), X @ array(layer.kernel) + 1, **CLOSE)


# --- Names and values -----------------------------------------------------------------------------


def test_short_names_and_aliases():
    shared = keras.layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    inner = keras.Model(inputs, shared(inputs), name="inner")
    model = keras.Model(inputs, shared(inner(inputs)))
    kernel = other(4, 4)
    wanted = X @ kernel @ kernel
    for name in ("shared/kernel", "inner/shared/kernel", "kernel"):
        got = sy.call(model, X, weights={name: kernel, "bias": np.zeros(4)})
        np.testing.assert_allclose(array(got), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(AmbiguousAddressError, match="the same weight"):
        sy.call(model, X, weights={"shared/kernel": kernel, "inner/shared/kernel": kernel})


def test_the_attribute_of_a_variable():
    class Named(keras.layers.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(4, 3), name="w")

        def call(self, x):
            return ops.matmul(x, self.matrix)

    kernel = other(4, 3)
    for name in ("matrix", "w"):
        got = sy.call(Named(), X, weights={name: kernel})
        np.testing.assert_allclose(array(got), X @ kernel, **CLOSE)


def test_attention_by_its_parts():
    layer = keras.layers.MultiHeadAttention(2, 3)
    layer(STEPS, STEPS)
    zeros = np.zeros((4, 2, 3))
    got, scores = sy.call(
        layer, STEPS, STEPS, weights={"query/kernel": zeros}, return_attention_scores=True
    )
    np.testing.assert_allclose(array(scores), np.full((6, 2, 3, 3), 1 / 3), rtol=1e-5)
    assert tuple(got.shape) == (6, 3, 4)


def test_unknown_names():
    layer = keras.layers.LSTM(3, name="memory")
    layer(STEPS)
    with pytest.raises(UnknownAddressError, match=r"'memory' \(LSTM\) has no weight 'cell/kernle'"):
        sy.call(layer, STEPS, weights={"cell/kernle": other(4, 12)})
    with pytest.raises(UnknownAddressError, match="'cell/kernel'"):
        sy.call(layer, STEPS, weights={"cell/kernle": other(4, 12)})
    with pytest.raises(UnknownAddressError, match="Received: 3"):
        sy.call(layer, STEPS, weights={3: other(4, 12)})
    with pytest.raises(UnknownAddressError, match="no weights at all"):
        sy.call(keras.layers.ReLU(), X, weights={"kernel": other(4, 12)})
    both = keras.layers.Bidirectional(keras.layers.LSTM(3))
    both(STEPS)
    with pytest.raises(AmbiguousAddressError, match="backward_layer/cell/kernel"):
        sy.call(both, STEPS, weights={"kernel": other(4, 12)})


@pytest.mark.parametrize("shape", [(3, 4), (4,), (4, 3, 1), ()])
def test_a_wrong_shape(shape):
    layer = keras.layers.Dense(3, name="proj")
    layer(X)
    was = array(layer.kernel)
    with pytest.raises(ShapeMismatchError, match=r"\(4, 3\)") as raised:
        sy.call(layer, X, weights={"kernel": np.zeros(shape, "float32")})
    assert str(shape) in str(raised.value)
    with pytest.raises(ShapeMismatchError):
        sy.call(layer, X, weights={"bias": np.zeros(3), "kernel": [[1.0]]})
    np.testing.assert_array_equal(array(layer.kernel), was)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has shapes known in part")
def test_a_shape_that_is_known_in_part():
    import tensorflow as tf

    layer = keras.layers.Dense(3, use_bias=False)
    layer(X)
    for shape in ([None, None], [None, 3], None):

        @tf.function(input_signature=[tf.TensorSpec(shape)])
        def call(kernel):
            return sy.call(layer, X, weights={"kernel": kernel})

        np.testing.assert_allclose(array(call(other(4, 3))), X @ other(4, 3), **CLOSE)
        with pytest.raises(tf.errors.InvalidArgumentError):
            call(other(4, 3)[:1] if shape != [None, None] else other(3, 4))


@pytest.mark.parametrize("given", ["list", "float64", "int", "variable", "tensor"])
def test_values_are_cast_as_if_assigned(given):
    layer = keras.layers.Dense(2, use_bias=False)
    layer(X)
    numbers = np.arange(8).reshape(4, 2)
    value = {
        "list": numbers.tolist(),
        "float64": numbers.astype("float64"),
        "int": numbers,
        "variable": keras.Variable(numbers, dtype="float16"),
        "tensor": ops.convert_to_tensor(numbers, "float16"),
    }[given]
    got = sy.call(layer, X, weights={"kernel": value})
    assert keras.backend.standardize_dtype(got.dtype) == "float32"
    np.testing.assert_allclose(array(got), X @ numbers, rtol=1e-5, atol=1e-5)


def test_a_value_that_is_none():
    layer = keras.layers.Dense(2, name="proj")
    layer(X)
    with pytest.raises(SteelyardError, match="'kernel' of layer 'proj'"):
        sy.call(layer, X, weights={"kernel": None})


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    layer = Within(keras.layers.Dense(3, dtype=policy), dtype=policy)
    layer(X)
    master = np.full((3,), 1.0001, "float32")
    layer.inner.bias.assign(master)
    kernel = other(4, 3)
    layer.kernel.assign(kernel)
    layer.inner.kernel.assign(kernel)
    wanted = layer.inner(X)
    got = layer(X)
    assert keras.backend.standardize_dtype(got.dtype) == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(
        array(ops.cast(got, "float32")), array(ops.cast(wanted, "float32"))
    )
    np.testing.assert_array_equal(array(layer.inner.bias), master)


def test_statistics_keep_their_precision_in_a_mixed_layer():
    layer = keras.layers.BatchNormalization(dtype="mixed_bfloat16")
    twin = keras.layers.BatchNormalization(dtype="mixed_bfloat16")
    for each in (layer, twin):
        each(X)
        each.moving_mean.assign(np.full(4, 1.0001))
        each.moving_variance.assign(np.full(4, 1.0001))
    sy.call(layer, X, weights={"gamma": np.full(4, 2.0)}, training=True)
    twin(X, training=True)
    np.testing.assert_array_equal(array(layer.moving_mean), array(twin.moving_mean))
    np.testing.assert_array_equal(array(layer.moving_variance), array(twin.moving_variance))


# --- What a layer makes of its variables ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "embedding"])
def test_lora_adds_nothing_to_a_given_value(kind):
    if kind == "dense":
        layer, x, name, shape = keras.layers.Dense(3, use_bias=False), X, "kernel", (4, 3)
    else:
        layer, x, name, shape = keras.layers.Embedding(4, 3), np.arange(4), "embeddings", (4, 3)
    layer(x)
    layer.enable_lora(2, lora_alpha=3)
    getattr(layer, f"lora_{name}_b").assign(other(2, 3))
    value = np.random.default_rng(9).normal(size=shape).astype("float32")
    wanted = X @ value if kind == "dense" else value
    got = sy.call(layer, x, weights={name: value})
    np.testing.assert_allclose(array(got), wanted, rtol=1e-4, atol=1e-4)
    zeros = np.zeros((2, 3))
    got = sy.call(layer, x, weights={name: value, f"lora_{name}_b": zeros})
    np.testing.assert_allclose(array(got), wanted, rtol=1e-4, atol=1e-4)
    base = array(getattr(layer, f"_{name}"))
    got = sy.call(layer, x, weights={f"lora_{name}_b": zeros})
    np.testing.assert_allclose(array(got), X @ base if kind == "dense" else base, **CLOSE)


def test_a_tied_layer_is_given_its_own_value():
    encoder, decoder = keras.layers.Dense(3), keras.layers.Dense(4, use_bias=False)
    code = encoder(X)
    decoder(code)
    sy.tie(decoder, "kernel", to=sy.ref(encoder, "kernel"), transform="transpose")
    stored = array(encoder.kernel)
    value = other(3, 4)
    got = sy.call(decoder, code, weights={"kernel": value})
    np.testing.assert_allclose(array(got), array(code) @ value, **CLOSE)
    np.testing.assert_allclose(array(decoder(code)), array(code) @ stored.T, **CLOSE)
    np.testing.assert_array_equal(array(encoder.kernel), stored)


def test_a_value_reaches_the_layers_that_are_tied_to_its_weight():
    inputs = keras.Input((4,))
    one, two = (keras.layers.Dense(4, use_bias=False, name=name) for name in ("one", "two"))
    model = keras.Model(inputs, two(one(inputs)))
    sy.tie(two, "kernel", to=sy.ref(one, "kernel"))
    value = other(4, 4)
    for name in ("one/kernel", "two/kernel"):  # two addresses of one weight
        got = sy.call(model, X, weights={name: value})
        np.testing.assert_allclose(array(got), X @ value @ value, rtol=1e-4, atol=1e-5)


def test_a_value_reaches_the_layers_that_borrow_its_weight():
    inputs = keras.Input((4,))
    encoder = keras.layers.Dense(3, use_bias=False, name="encoder")
    decoder = sy.layers.TiedDense(encoder, use_bias=False)
    model = keras.Model(inputs, decoder(encoder(inputs)))
    value = other(4, 3)
    got = sy.call(model, X, weights={"encoder/kernel": value})
    np.testing.assert_allclose(array(got), X @ value @ value.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_parametrization_does_not_change_a_given_value(training):
    layer = keras.layers.Dense(3, use_bias=False)
    layer(X)
    sy.parametrize(layer, "kernel", sy.parametrizations.SpectralNorm())
    value = other(4, 3) * 7
    got = sy.call(layer, X, weights={"kernel": value}, training=training)
    np.testing.assert_allclose(array(got), X @ value, rtol=1e-4, atol=1e-5)
    slope = gradient(lambda k: ops.sum(sy.call(layer, X, weights={"kernel": k})), value)
    np.testing.assert_allclose(array(slope), X.sum(0)[:, None].repeat(3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_codes_are_refused(mode):
    layer = keras.layers.Dense(4, name="proj")
    layer(X)
    layer.quantize(mode)
    with pytest.raises(QuantizationError, match="as it was before `quantize`"):
        sy.call(layer, X, weights={"kernel": other(4, 4)})
    got = sy.call(layer, X, weights={"bias": np.zeros(4)})
    layer.bias.assign(np.zeros(4))
    np.testing.assert_allclose(array(got), array(layer(X)), **CLOSE)


class Squared(keras.layers.Layer):
    def build(self, shape):
        self._kernel = self.add_weight(shape=(4, 3), name="kernel")

    @property
    def kernel(self):
        return ops.square(self._kernel)

    def call(self, x):
        return ops.matmul(x, self.kernel)


class Plain(Squared):
    @property
    def kernel(self):
        return self._kernel


def test_a_property_that_makes_another_tensor_is_refused():
    with pytest.raises(SteelyardError, match="Squared makes another tensor"):
        sy.call(Squared(), X, weights={"kernel": other(4, 3)})
    got = sy.call(Plain(), X, weights={"kernel": other(4, 3)})
    np.testing.assert_allclose(array(got), X @ other(4, 3), **CLOSE)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX computes again what it recorded")
def test_what_is_computed_again_for_the_gradient_is_refused():
    with keras.RematScope(mode="full"):
        layer = keras.layers.Dense(3, name="again")
    with pytest.raises(SteelyardError, match="RematScope"):
        sy.call(layer, X, weights={"kernel": other(4, 3)})
    with keras.RematScope(mode="list_of_layers", layer_names=["other"]):
        layer = keras.layers.Dense(3, name="once")
    sy.call(layer, X, weights={"kernel": other(4, 3)})


# --- Inside and out -------------------------------------------------------------------------------


class Failing(keras.layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(4, 3), name="kernel")

    def call(self, x):
        if not isinstance(x, keras.KerasTensor) and self.built and FAIL:
            raise RuntimeError("inside")
        return ops.matmul(x, self.kernel)


FAIL = []


def test_an_exception_leaves_the_layer_as_it_was():
    layer = Failing()
    wanted = array(layer(X))
    FAIL.append(1)
    with pytest.raises(Exception, match="inside"):
        sy.call(layer, X, weights={"kernel": other(4, 3)})
    FAIL.clear()
    np.testing.assert_array_equal(array(layer(X)), wanted)
    layer.kernel.assign(other(4, 3))
    np.testing.assert_array_equal(array(layer.kernel), other(4, 3))


class Elsewhere(keras.layers.Layer):
    """Calls a layer that it does not hold, as people do by closure."""

    def __init__(self, call, **kwargs):
        super().__init__(**kwargs)
        self.other = call

    def build(self, shape):
        self.kernel = self.add_weight(shape=(4, 4), name="kernel")

    def call(self, x):
        return self.other(ops.matmul(x, self.kernel))


def test_losses_of_a_layer_that_is_only_called():
    counting = Counting()
    counting(X)
    reader = Elsewhere(lambda x: counting(x))

    class Both(keras.Model):
        def __init__(self):
            super().__init__()
            self.counting = counting
            self.reader = reader

        def call(self, x):
            return sy.call(self.reader, x, weights={"kernel": np.eye(4)})

    model = Both()
    model(X)
    assert len(model.losses) == 2
    assert float(array(counting.count)) == 2


def test_masks_go_in_and_out():
    words = np.array([[1, 2, 0], [3, 0, 0]])
    table = keras.layers.Embedding(4, 4, mask_zero=True)
    memory = keras.layers.LSTM(3, return_sequences=True)
    wanted = memory(table(words))
    got = sy.call(memory, table(words), weights={"cell/bias": memory.cell.bias})
    np.testing.assert_allclose(array(got), array(wanted), **CLOSE)
    np.testing.assert_array_equal(array(got._keras_mask), words > 0)
    got = sy.call(table, words, weights={"embeddings": np.ones((4, 4))})
    np.testing.assert_array_equal(array(got._keras_mask), words > 0)
    mask = np.array([[True, False, False], [True, True, False]])
    np.testing.assert_allclose(
        array(sy.call(memory, table(words), weights={"cell/bias": memory.cell.bias}, mask=mask)),
        array(memory(table(words), mask=mask)),
        **CLOSE,
    )


def test_training_is_handed_down():
    class Outer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.norm = keras.layers.BatchNormalization()

        def call(self, x):
            return sy.call(self.norm, x, weights={"gamma": np.ones(4)})

    layer = Outer()
    layer(X)
    np.testing.assert_array_equal(array(layer.norm.moving_mean), np.zeros(4))
    layer(X, training=True)
    np.testing.assert_allclose(array(layer.norm.moving_mean), X.mean(0) * 0.01, rtol=1e-4)


class Hyper(keras.Model):
    """Predicts the kernel of a part of itself; its other weights are its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.main = deep()
        self.mean = keras.layers.Dense(20, name="mean")

    def call(self, x, training=False):
        predicted = ops.reshape(self.mean(ops.mean(x, axis=0, keepdims=True)), (4, 5))
        # On JAX, Keras does not hand `training` down from the outermost model of a `fit`.
        return sy.call(self.main, x, weights={"block/proj/kernel": predicted}, training=training)


@pytest.mark.parametrize("jit", [False, True])
def test_in_fit(jit):
    if jit and BACKEND == "torch":
        pytest.skip("torch.compile needs minutes, and a compiler")
    model = Hyper()
    model(X)
    was = {w.address: w.numpy() for w in sy.weights(model)}
    y = np.zeros((6, 3), "float32")
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit)
    losses = model.fit(X, y, batch_size=6, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    now = {w.address: w.numpy() for w in sy.weights(model)}
    still = {a for a in was if np.array_equal(was[a], now[a])}
    assert still == {"main/block/proj/kernel"}, still
    assert now["main/head/count"] - was["main/head/count"] == 3


def test_fit_is_that_of_a_plain_model():
    """The same losses, statistics and counts, whether the kernel is given or stored."""
    kernel = other(4, 5)
    main, stored = deep(), deep()
    stored.set_weights(main.get_weights())
    sy.weights(stored)["block/proj/kernel"].assign(kernel)
    stored.get_layer("block").get_layer("proj").kernel.trainable = False

    class Given(keras.Model):
        def __init__(self):
            super().__init__()
            self.main = main

        def call(self, x, training=False):
            given = {"block/proj/kernel": kernel}
            return sy.call(self.main, x, weights=given, training=training)

    losses = []
    for model in (Given(), stored):
        model(X)
        keras.utils.set_random_seed(3)
        model.compile(keras.optimizers.SGD(0.05), "mse")
        said = model.fit(X, np.zeros((6, 3)), batch_size=6, epochs=2, verbose=0, shuffle=False)
        losses.append(said.history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    for address in ("block/norm/moving_mean", "head/count", "head/kernel", "block/norm/gamma"):
        mine, its = sy.weights(main)[address].numpy(), sy.weights(stored)[address].numpy()
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6, err_msg=address)


def test_inside_a_function_that_jax_transforms():
    if BACKEND != "jax":
        pytest.skip("JAX only: the others have no functions that must not assign")
    import jax

    model = deep()
    kernel = other(4, 5)

    def loss(k):
        return ops.sum(sy.call(model, X, weights={"block/proj/kernel": k}, training=True))

    before = [array(v) for v in model.variables]
    with pytest.raises(SteelyardError, match=r"block/norm/moving_mean.*StatelessScope"):
        jax.grad(loss)(kernel)

    def stateless(k):
        with keras.StatelessScope([(v, v.value) for v in model.variables]):
            return loss(k)

    assert np.isfinite(np.asarray(jax.grad(stateless)(kernel))).all()
    assert np.isfinite(np.asarray(jax.jit(jax.grad(stateless))(kernel))).all()
    fixed = jax.jit(lambda k: sy.call(deep().layers[1].layers[0], X, weights={"kernel": k}))
    assert fixed(kernel).shape == (6, 5)
    seeds = [v for v in model.variables if "seed" in v.path]
    for variable, value in zip(model.variables, before, strict=True):
        if not any(variable is seed for seed in seeds):
            np.testing.assert_array_equal(array(variable), value, err_msg=variable.path)


def test_a_weight_for_each_sample():
    layer = keras.layers.Dense(3)
    layer(X)
    kernels = other(6, 4, 3)
    got = ops.vectorized_map(
        lambda both: sy.call(layer, both[0][None], weights={"kernel": both[1]})[0],
        (ops.convert_to_tensor(X), ops.convert_to_tensor(kernels)),
    )
    wanted = np.einsum("bi,bio->bo", X, kernels) + array(layer.bias)
    np.testing.assert_allclose(array(got), wanted, rtol=1e-4, atol=1e-5)


def test_a_compiled_and_trained_model():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="proj")])
    model.compile("adam", "mse")
    model.fit(X, np.zeros((6, 3)), verbose=0)
    kernel = other(4, 3)
    got = sy.call(model, X, weights={"proj/kernel": kernel, "proj/bias": np.zeros(3)})
    np.testing.assert_allclose(array(got), X @ kernel, **CLOSE)
    assert np.isfinite(model.fit(X, np.zeros((6, 3)), verbose=0).history["loss"][0])
