"""What holds of every parametrization, and of one that a user writes."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest
from keras import ops
from tests.parametrizations.driver import Parametrized, normal, reread

import steelyard as sy
from steelyard.errors import ShapeMismatchError, SteelyardError

p = sy.parametrizations
GRADUAL = p.PolynomialDecay(0.2, 0.6, begin_step=0, end_step=4, frequency=1)
ALL = {
    "SpectralNorm": lambda: p.SpectralNorm(2),
    "WeightNorm": lambda: p.WeightNorm(),
    "WeightNorm of all": lambda: p.WeightNorm(axis=None),
    "Orthogonal": lambda: p.Orthogonal(),
    "LowRank": lambda: p.LowRank(2),
    "Mask given": lambda: p.Mask(np.arange(4) % 2),
    "Mask sparsity": lambda: p.Mask(sparsity=0.5),
    "Mask n_m": lambda: p.Mask(n_m=(1, 2)),
    "Mask schedule": lambda: p.Mask(schedule=GRADUAL),
    "Standardize": lambda: p.Standardize(),
    "Chain": lambda: p.Chain(p.WeightNorm(), p.Mask(sparsity=0.5), p.SpectralNorm()),
    "Chain of LowRank": lambda: p.Chain(p.LowRank(2), p.WeightNorm(), p.SpectralNorm()),
}
SHAPES = [(6, 4), (4, 6), (2, 3, 2, 4)]
# JAX has no float64 unless it is told so before it starts.
PRECISIONS = ["float16", "bfloat16", *(["float64"] if keras.backend.backend() != "jax" else [])]
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())


def fits(make, shape):
    try:
        make().check(shape)
    except ShapeMismatchError:
        return False
    return True


@every
@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("shape", "training"), [((6, 4), True), ((4, 6), False), ((2, 3, 2, 4), True)], ids=str
)
def test_compiled_is_as_eager(make, shape, training):
    if not fits(make, shape):
        assert shape == (4, 6) and make()._arguments.keys() == {"mask"}
        return
    eager, jitted = (Parametrized(make(), normal(*shape)) for _ in range(2))
    for _ in range(2):
        used = eager.used(training)
        assert used.shape == shape
        assert np.isfinite(used).all()
        np.testing.assert_allclose(jitted.used(training, jit=True), used, atol=2e-5)
    direction = normal(*shape, seed=1)
    both = [weight.gradients(direction, training, jit) for weight, jit in [(eager, 0), (jitted, 1)]]
    for one, other in zip(*both, strict=True):
        assert np.isfinite(one).all()
        assert np.abs(one).max() > 1e-3
        np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(one).max())


@every
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_can_be_used_stays_as_it_is(make, shape):
    if not fits(make, shape):
        return
    first = Parametrized(make(), normal(*shape))
    used = first.used()
    again = Parametrized(make(), used)
    if "Chain" not in type(first.parametrization).__name__:
        np.testing.assert_allclose(again.used(), used, atol=2e-5)


@every
def test_written_down_and_read_back(make):
    made = make()
    for other in (reread(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(other) is type(made)
        assert json.dumps(other.get_config()) == json.dumps(made.get_config())
        value = normal(6, 4)
        np.testing.assert_array_equal(
            Parametrized(other, value).used(), Parametrized(made, value).used()
        )


@every
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_other_precisions(make, dtype):
    value = normal(6, 4)
    weight = Parametrized(make(), value, dtype)
    tensors = weight.tensors()
    used, _ = weight.function(training=True)(*tensors)
    assert keras.backend.standardize_dtype(used.dtype) == dtype
    full = Parametrized(make(), value).used(training=True)
    # Half precision may choose another entry where two are almost equal; none are here.
    atol = {"float16": 5e-3, "bfloat16": 5e-2, "float64": 1e-4}[dtype]
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(used, "float32")), full, atol=atol)
    for grad in weight.gradients(normal(6, 4, seed=1), training=True):
        assert np.isfinite(grad).all()


class Using(keras.layers.Layer):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.kept = [*weight.originals, *weight.state.values()]

    def call(self, x, training=False):
        value, _ = self.weight.function(training)(*self.weight.tensors())
        return ops.matmul(x, value)


@every
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_shapes_are_worked_out_without_values(make, training):
    weight = Parametrized(make(), normal(6, 4))
    x = keras.Input((6,))
    y = Using(weight)(x, training=training)
    assert y.shape == (None, 4)
    ones = np.ones((1, 6), "float32")
    expected = ones @ weight.used(training)
    np.testing.assert_allclose(keras.Model(x, y).predict(ones, verbose=0), expected, atol=1e-4)


@every
def test_a_vector_or_less_is_refused_or_works(make):
    try:
        make().check((4,))
    except SteelyardError as error:
        assert "(4,)" in str(error)
    else:
        assert Parametrized(make(), normal(4)).used().shape == (4,)


# --- one that a user writes -------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class Scaled(p.Parametrization):
    def __init__(self, by, *, shift=0.0, **more):
        self.by, self.shift, self.more = by, shift, more

    def forward(self, value):
        return value * self.by + self.shift


def test_a_subclass_has_no_config_to_write():
    scaled = reread(Scaled(3.0, shift=1.0, note=[1, 2]))
    assert (scaled.by, scaled.shift, scaled.more) == (3.0, 1.0, {"note": [1, 2]})
    assert repr(scaled) == "Scaled(by=3.0, shift=1.0, note=[1, 2])"
    np.testing.assert_allclose(Parametrized(scaled, np.ones((2, 2))).used(), 4.0)


def test_a_subclass_may_hold_another_parametrization():
    held = reread(Scaled(p.SpectralNorm(3)))
    assert held.by.n_power_iterations == 3


def test_wrong_arguments_are_pythons_own_error():
    with pytest.raises(TypeError, match="required positional argument"):
        Scaled()


def test_without_forward_it_says_what_is_missing():
    class Empty(p.Parametrization):
        pass

    with pytest.raises(NotImplementedError, match="Empty needs a `forward`"):
        Empty().forward(1)


def test_the_base_keeps_nothing_and_takes_any_shape():
    base = p.Parametrization()
    assert base.initial_state(np.ones(2)) == base.update(np.ones(2)) == {}
    assert base.check((2,)) is None
    assert not hasattr(base, "right_inverse")
