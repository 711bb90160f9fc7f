"""Functions and foreign objects in the place of a parametrization."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.parametrizations.driver import Parametrized, gradients, reread

import steelyard as sy
from steelyard.errors import ParametrizationError, ShapeMismatchError
from steelyard.parametrizations.adapted import as_parametrization

p = sy.parametrizations


@keras.saving.register_keras_serializable(package="tests")
def halved(value):
    return value / 2


@keras.saving.register_keras_serializable(package="tests")
class Bare:
    names = ("x", "y")

    def forward(self, x, y):
        return x + y

    def right_inverse(self, value):
        return value / 4, value * 3 / 4

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


@keras.saving.register_keras_serializable(package="tests")
class Counting:
    def forward(self, value, count):
        return value * ops.cast(count, value.dtype)

    def initial_state(self, value):
        return {"count": np.int32(1)}

    def update(self, value, count):
        return {"count": count + 1}

    def check(self, shape):
        if len(shape) == 1:
            raise ShapeMismatchError("too few axes")

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


def test_a_function_does():
    made = reread(as_parametrization(halved))
    assert not hasattr(made, "right_inverse")
    np.testing.assert_allclose(Parametrized(made, np.ones((2, 2))).used(), 0.5)


def test_any_object_with_forward_does():
    made = reread(as_parametrization(Bare()))
    weight = Parametrized(made, np.ones((2, 2)))
    np.testing.assert_allclose(weight.used(), 1.0)
    np.testing.assert_allclose(ops.convert_to_numpy(weight.originals[1]), 0.75)


def test_its_own_state_is_kept():
    made = reread(as_parametrization(Counting()))
    assert not hasattr(made, "right_inverse")
    weight = Parametrized(made, np.ones((2, 2)))
    assert [weight.used(training).max() for training in (0, 1, 1, 0)] == [1, 2, 3, 3]
    with pytest.raises(ShapeMismatchError, match="too few"):
        made.check((2,))


def test_a_parametrization_is_taken_as_it_is():
    made = p.Standardize()
    assert as_parametrization(made) is made


@pytest.mark.parametrize("given", [3, None, "SpectralNorm", p.SpectralNorm])
def test_anything_else_is_refused(given):
    with pytest.raises(
        ParametrizationError, match=r"method `forward`, or a function|class SpectralNorm itself"
    ):
        as_parametrization(given)


def test_a_function_of_a_value_is_differentiable():
    made = as_parametrization(halved)
    (grad,) = gradients(lambda t: ops.sum(made.forward(t[0])), [ops.ones((2, 2))])
    np.testing.assert_allclose(grad, 0.5)


def test_a_layer_is_refused():
    with pytest.raises(ParametrizationError, match=r"Layer 'd' \(Dense\) is no parametrization"):
        as_parametrization(keras.layers.Dense(2, name="d"))
