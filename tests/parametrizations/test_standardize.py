"""Zero mean, unit variance."""

import numpy as np
import pytest
from tests.parametrizations.driver import Parametrized, differences, normal, reread

import steelyard as sy
from steelyard.errors import ParametrizationError, ShapeMismatchError

Standardize = sy.parametrizations.Standardize


def reference(w, axes, epsilon=1e-10):
    centered = w - w.mean(axes, keepdims=True)
    return centered / np.sqrt((centered**2).mean(axes, keepdims=True) + epsilon)


CASES = [((6, 4), -1, (0,)), ((6, 4), 0, (1,)), ((6, 4), None, (0, 1)), ((3, 2, 4), -1, (0, 1))]


@pytest.mark.parametrize(("shape", "axis", "axes"), CASES, ids=str)
def test_value_and_gradient(shape, axis, axes):
    value, direction = normal(*shape), normal(*shape, seed=1)
    weight = Parametrized(Standardize(axis), value)
    used = weight.used()
    np.testing.assert_allclose(used, reference(value.astype(float), axes), atol=1e-5)
    np.testing.assert_allclose(used.mean(axes), 0, atol=1e-6)
    np.testing.assert_allclose(used.var(axes), 1, atol=1e-5)
    (grad,) = weight.gradients(direction)
    true = differences(lambda w: reference(w, axes), value, direction)
    np.testing.assert_allclose(grad, true, atol=1e-3)


def test_small_kernels_have_unit_variance_too():
    used = Parametrized(Standardize(), normal(500, 3) * 0.01).used()
    np.testing.assert_allclose(used.var(0), 1, atol=1e-4)


def test_epsilon_is_added_to_the_variance():
    value = normal(6, 4)
    used = Parametrized(Standardize(epsilon=0.5), value).used()
    np.testing.assert_allclose(used, reference(value, (0,), 0.5), atol=1e-5)


def test_a_constant_unit_becomes_zeros_with_a_finite_gradient():
    weight = Parametrized(Standardize(), np.zeros((6, 4)))
    np.testing.assert_array_equal(weight.used(), 0)
    assert np.isfinite(weight.gradients(normal(6, 4))[0]).all()


@pytest.mark.parametrize(
    ("axis", "shape"), [(2, (6, 4)), (-1, (4,)), (-1, (1, 4)), ((0, 1), (6, 4))], ids=str
)
def test_units_of_a_single_entry_are_refused(axis, shape):
    with pytest.raises(ShapeMismatchError, match=r"Standardize .*shape"):
        Standardize(axis).check(shape)


@pytest.mark.parametrize("epsilon", [0, -1.0, float("nan")])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(ParametrizationError, match="epsilon="):
        Standardize(epsilon=epsilon)


def test_config():
    read = reread(Standardize(axis=0, epsilon=1e-3))
    assert (read.axis, read.epsilon) == (0, 1e-3)
