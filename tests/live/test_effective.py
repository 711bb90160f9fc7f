"""The value that a layer computes with: plain, LoRA, properties, precision and gradients."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from steelyard.live._effective import effective, stored

BACKEND = keras.backend.backend()


def own(layer, name):
    return next(v for v in layer.weights if v.name == name)


def read(layer, name="kernel"):
    return effective(layer, name, own(layer, name))


def value_of(layer, name="kernel"):
    return ops.convert_to_numpy(read(layer, name))


def raw_names(layer, name="kernel"):
    return list(stored(layer, name, own(layer, name)))


def dtype_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


def close(actual, expected, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def identity(size):
    return np.eye(size, dtype="float32")


class Inside(layers.Layer):
    """Runs a function inside the call of a (mixed) layer, and keeps what it gave."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.box = (function, [])

    def call(self, x):
        function, seen = self.box
        seen.append(function())
        return x


def inside_call(function, dtype):
    layer = Inside(function, dtype=dtype)
    layer(np.ones((1, 1), "float32"))
    return layer.box[1][-1]


# --- Plain weights -------------------------------------------------------------------------------


def test_a_plain_weight_is_a_tensor_with_the_variables_value():
    layer = layers.Dense(3, bias_initializer="normal")
    layer.build((None, 4))
    for name, variable in (("kernel", layer._kernel), ("bias", layer.bias)):
        value = read(layer, name)
        assert ops.is_tensor(value) and not isinstance(value, keras.Variable)
        close(ops.convert_to_numpy(value), variable.numpy(), rtol=0, atol=0)
        assert stored(layer, name, variable) == {name: variable}


@pytest.mark.skipif(BACKEND == "torch", reason="torch's own parameters are shared, not copied")
def test_a_value_that_was_read_does_not_change():
    layer = layers.Dense(3)
    layer.build((None, 4))
    before = value_of(layer)
    value = read(layer)
    layer.kernel.assign(np.zeros((4, 3)))
    close(ops.convert_to_numpy(value), before, rtol=0, atol=0)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_no_autocast_inside_a_mixed_layer(policy):
    layer = layers.Dense(1, dtype=policy)
    layer.build((None, 1))
    layer.kernel.assign([[500001.0]])  # infinite in float16, 499712 in bfloat16
    value = inside_call(lambda: read(layer), policy)
    assert dtype_of(value) == "float32"
    assert float(ops.convert_to_numpy(value)[0, 0]) == 500001.0
    # The scope ends with the read: the mixed layer itself computes on in its own way.
    after = inside_call(lambda: (read(layer), ops.multiply(layer.kernel, 1))[1], policy)
    assert dtype_of(after) == policy.removeprefix("mixed_")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_a_variable_keeps_its_own_dtype(dtype):
    layer = layers.Dense(3, dtype=dtype)
    layer.build((None, 4))
    if BACKEND == "jax" and dtype == "float64":
        pytest.skip("JAX runs without 64-bit numbers here")
    assert dtype_of(read(layer)) == dtype
    assert dtype_of(inside_call(lambda: read(layer), "mixed_float16")) == dtype


def test_a_whole_number_in_a_plain_layer_is_itself():
    class Counter(layers.Layer):
        def build(self, shape):
            whole = {"initializer": "ones", "trainable": False}
            self.steps = self.add_weight(name="steps", shape=(), dtype="int32", **whole)
            self.table = self.add_weight(name="kernel", shape=(2,), dtype="int8", **whole)

    layer = Counter()
    layer.build((None, 1))
    assert value_of(layer, "steps") == 1 and dtype_of(read(layer, "steps")) == "int32"
    assert dtype_of(read(layer, "kernel")) == "int8"


def test_a_stateless_scope_gives_its_own_value():
    layer = layers.Dense(2)
    layer.build((None, 2))
    with keras.StatelessScope(state_mapping=[(layer._kernel, ops.full((2, 2), 7.0))]):
        assert value_of(layer).tolist() == [[7, 7], [7, 7]]
    assert value_of(layer).max() < 7


# --- LoRA ----------------------------------------------------------------------------------------


def with_lora(layer, weight="kernel"):
    """LoRA whose B is not zero, and whose alpha is not its rank; and what it adds."""
    layer.enable_lora(2, lora_alpha=3)
    a, b = (getattr(layer, f"lora_{weight}_{factor}") for factor in "ab")
    b.assign(np.random.default_rng(2).normal(size=b.shape))
    factors = (ops.convert_to_numpy(ops.cast(f.value, "float32")) for f in (a, b))
    return 1.5 * np.matmul(*factors)


KINDS = {
    "Dense": (layers.Dense, {"units": 3}, (5, 4)),
    "EinsumDense": (
        layers.EinsumDense,
        {"equation": "...cd,cde->...e", "output_shape": 3},
        (6, 2, 4),
    ),
    "Conv1D": (layers.Conv1D, {"filters": 3, "kernel_size": 2}, (5, 6, 4)),
    "Conv2D": (layers.Conv2D, {"filters": 4, "kernel_size": (2, 3), "groups": 2}, (5, 6, 7, 4)),
    "Conv3D": (layers.Conv3D, {"filters": 3, "kernel_size": 2}, (2, 4, 4, 4, 3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_lora_is_added(kind):
    make, settings, shape = KINDS[kind]
    layer = make(**settings)
    layer.build((None, *shape[1:]))
    bare = value_of(layer)
    delta = with_lora(layer)
    close(value_of(layer), bare + delta)
    assert raw_names(layer) == ["kernel", "lora_kernel_a", "lora_kernel_b"]
    # The layer with its sum computes what a layer without LoRA computes with our value.
    plain = make(**settings)
    plain.build((None, *shape[1:]))
    for variable in plain.weights:
        variable.assign(value_of(layer, variable.name))
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    close(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(plain(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [layers.Embedding, layers.ReversibleEmbedding])
def test_lora_of_embeddings(kind):
    layer = kind(6, 5)
    layer.build()
    bare = value_of(layer, "embeddings")
    delta = with_lora(layer, "embeddings")
    close(value_of(layer, "embeddings"), bare + delta)
    close(ops.convert_to_numpy(layer(np.arange(6))), value_of(layer, "embeddings"))
    assert raw_names(layer, "embeddings")[1:] == ["lora_embeddings_a", "lora_embeddings_b"]
    if kind is layers.ReversibleEmbedding:
        back = ops.convert_to_numpy(layer(identity(5), reverse=True))
        close(back, value_of(layer, "embeddings").T)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_lora_keeps_the_digits_of_the_kernel(policy):
    layer = layers.Dense(3, dtype=policy)
    layer.build((None, 4))
    layer.kernel.assign(np.full((4, 3), 1 + 2.0**-20))
    delta = with_lora(layer)
    assert dtype_of(read(layer)) == "float32"
    close(value_of(layer), 1 + 2.0**-20 + delta, rtol=2e-7, atol=0)
    close(
        ops.convert_to_numpy(inside_call(lambda: read(layer), policy)),
        value_of(layer),
        rtol=0,
        atol=0,
    )


def test_lora_on_a_narrow_kernel_stays_narrow():
    layer = layers.Dense(3, dtype="bfloat16")
    layer.build((None, 4))
    bare = ops.convert_to_numpy(ops.cast(read(layer), "float32"))
    delta = with_lora(layer)
    assert dtype_of(read(layer)) == "bfloat16"
    close(
        ops.convert_to_numpy(ops.cast(read(layer), "float32")), bare + delta, rtol=0.02, atol=0.02
    )


class Penalized(keras.Model):
    """A model whose only loss is half the squared norm of an effective kernel."""

    def __init__(self, layer):
        super().__init__()
        self.inner = layer

    def call(self, x):
        self.add_loss(ops.sum(ops.square(read(self.inner))) / 2)
        return self.inner(x)


def one_step(layer, x):
    """One step of plain gradient descent on the penalty, through `fit`."""
    model = Penalized(layer)
    model.compile(optimizer=keras.optimizers.SGD(0.01))
    model.fit(x, batch_size=len(x), epochs=1, verbose=0)


def numpy_of(variable):
    return ops.convert_to_numpy(variable.value)


def test_the_gradient_reaches_a_plain_kernel():
    layer = layers.Dense(3)
    layer.build((None, 4))
    before = value_of(layer)
    one_step(layer, np.ones((2, 4), "float32"))
    close(value_of(layer), 0.99 * before, rtol=1e-5)


@pytest.mark.parametrize("mode", [None, "int8", "int4"])
def test_the_gradient_reaches_both_lora_factors(mode):
    layer = layers.Dense(3)
    layer.build((None, 4))
    if mode:
        layer.quantize(mode)
    with_lora(layer)
    a, b, kernel = (numpy_of(v) for v in (layer.lora_kernel_a, layer.lora_kernel_b, layer._kernel))
    value = value_of(layer)
    one_step(layer, np.ones((2, 4), "float32"))
    close(numpy_of(layer.lora_kernel_a), a - 0.01 * 1.5 * value @ b.T)
    close(numpy_of(layer.lora_kernel_b), b - 0.01 * 1.5 * a.T @ value)
    close(numpy_of(layer._kernel), kernel, rtol=0, atol=0)


def float8_after_training(strength, rate):
    """A float8 layer after two steps on its mean output plus a penalty; and its first value."""
    keras.utils.set_random_seed(0)
    layer = layers.Dense(3)
    layer.build((None, 4))
    layer.quantize("float8")
    layer.kernel_scale.assign(0.01)
    first = value_of(layer)

    class Model(keras.Model):
        def call(self, x, training=False):
            if strength:
                self.add_loss(strength * ops.sum(ops.square(read(layer))) / 2)
            self.add_loss(ops.mean(self.inner(x, training=training)))
            return x

    model = Model()
    model.inner = layer
    model.compile(optimizer=keras.optimizers.SGD(rate))
    model.fit(np.ones((4, 4), "float32"), batch_size=2, verbose=0)
    return layer, first


def test_the_gradient_passes_float8():
    (with_penalty, first), (without, _) = (float8_after_training(n, 1e-3) for n in (1, 0))
    moved = numpy_of(with_penalty._kernel) - numpy_of(without._kernel)
    close(moved, -2e-3 * first, rtol=0.2, atol=1e-5)


def test_no_gradient_reaches_the_scale_of_float8():
    # Keras overwrites these variables with what comes as their gradient.
    (with_penalty, _), (without, _) = (float8_after_training(n, 0.0) for n in (1, 0))
    assert numpy_of(without.kernel_scale) > 0
    for name in ("kernel_scale", "kernel_amax_history"):
        close(numpy_of(own(with_penalty, name)), numpy_of(own(without, name)), rtol=0, atol=0)


# --- Properties ----------------------------------------------------------------------------------


class WeightNorm(layers.Layer):
    """A user's layer, whose kernel is made of the stored one."""

    def build(self, shape):
        self._kernel = self.add_weight(name="kernel", shape=(shape[-1], 3))
        self.scale = self.add_weight(name="scale", shape=(3,), initializer="ones")

    @property
    def kernel(self):
        return self.scale * self._kernel / ops.norm(self._kernel, axis=0)

    def call(self, x):
        return ops.matmul(x, self.kernel)


def test_a_property_says_what_the_layer_computes_with():
    layer = WeightNorm()
    close(ops.convert_to_numpy(layer(identity(4))), value_of(layer))
    close(np.linalg.norm(value_of(layer), axis=0), np.ones(3))
    assert np.abs(value_of(layer) - numpy_of(layer._kernel)).max() > 0.01
    assert raw_names(layer) == ["kernel"]
    before = value_of(layer)
    layer.scale.assign([2, 2, 2])
    close(value_of(layer), 2 * before)


@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
def test_a_property_in_a_narrow_dtype(policy):
    class Narrow(WeightNorm):
        @property
        def kernel(self):
            return self._kernel * ops.rsqrt(ops.sum(ops.square(self._kernel), axis=0) + self.scale)

    layer = Narrow(dtype=policy)
    layer.build((None, 4))
    assert dtype_of(read(layer)) == policy
    own_value = ops.convert_to_numpy(ops.cast(layer.kernel, "float32"))
    close(value_of(layer).astype("float32"), own_value, rtol=0.02)


def test_a_property_is_read_in_full_inside_a_mixed_layer():
    layer = WeightNorm(dtype="mixed_float16")
    layer.build((None, 4))
    layer.scale.assign([500000.0] * 3)
    value = inside_call(lambda: read(layer), "mixed_float16")
    assert dtype_of(value) == "float32"
    close(ops.convert_to_numpy(value), value_of(layer), rtol=1e-6)
    assert np.isfinite(value_of(layer)).all() and np.abs(value_of(layer)).max() > 1e5


def test_a_property_of_a_subclass_of_dense():
    class Doubled(layers.Dense):
        @property
        def kernel(self):
            return 2 * ops.convert_to_tensor(self._kernel)

    layer = Doubled(3)
    close(ops.convert_to_numpy(layer(identity(4))), value_of(layer))
    close(value_of(layer), 2 * numpy_of(layer._kernel))


def test_a_property_that_is_something_else():
    class Odd(layers.Layer):
        def build(self, shape):
            for name in ("kernel", "gamma", "input", "path"):
                self.add_weight(name=name, shape=(2,), initializer="ones")

        @property
        def kernel(self):
            return ops.zeros((3,))  # of another shape

        @property
        def gamma(self):
            return "a word"

        def call(self, x):
            return x

    layer = Odd()
    layer.build((None, 2))
    for _ in ("before its first call", "after"):  # `Layer.input` raises, or is symbolic
        for name in ("kernel", "gamma", "input", "path"):
            assert value_of(layer, name).tolist() == [1, 1]
        layer(keras.Input((2,)))


def test_a_property_that_gives_another_variable():
    class Tied(layers.Layer):
        def __init__(self, source):
            super().__init__()
            self.box = (lambda: source,)
            self._kernel = self.add_weight(name="kernel", shape=(4, 3))

        @property
        def kernel(self):
            return self.box[0]().kernel

    source = layers.Dense(3)
    source.build((None, 4))
    close(value_of(Tied(source)), value_of(source), rtol=0, atol=0)


def test_an_attribute_is_not_trusted():
    class Cached(layers.Layer):
        kernel = None

        def build(self, shape):
            self._kernel = self.add_weight(name="kernel", shape=(2,), initializer="ones")
            self.kernel = ops.zeros((2,))  # set once, and stale ever since

    layer = Cached()
    layer.build((None, 1))
    assert value_of(layer).tolist() == [1, 1]
