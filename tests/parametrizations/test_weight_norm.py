"""Direction and length, apart."""

import numpy as np
import pytest
from keras import ops
from tests.parametrizations.driver import Parametrized, differences, normal, reread

import steelyard as sy
from steelyard.errors import ShapeMismatchError

WeightNorm = sy.parametrizations.WeightNorm


def inner(axis, ndim):
    units = () if axis is None else np.atleast_1d(axis) % ndim
    return tuple(i for i in range(ndim) if i not in units)


def reference(v, g, axis=-1):
    axes = inner(axis, v.ndim)
    shape = [1 if i in axes else n for i, n in enumerate(v.shape)]
    return v / np.sqrt((v**2).sum(axes, keepdims=True)) * np.reshape(g, shape)


CASES = [
    ((6, 4), -1),
    ((6, 4), 0),
    ((6, 4), None),
    ((3, 2, 4), -1),
    ((3, 2, 4), (0, 2)),
    ((5,), None),
]


@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
def test_value_and_gradients(shape, axis):
    weight = Parametrized(WeightNorm(axis), normal(*shape))
    g_shape = tuple(n for i, n in enumerate(shape) if i not in inner(axis, len(shape)))
    assert weight.originals[1].shape == g_shape
    v, g = normal(*shape, seed=1), normal(*g_shape, seed=2)
    weight.assign(v, g)
    np.testing.assert_allclose(weight.used(), reference(v, g, axis), atol=1e-5)
    direction = normal(*shape, seed=3)
    by_v, by_g = weight.gradients(direction)
    true_v = differences(lambda v: reference(v, g, axis), v, direction)
    true_g = differences(lambda g: reference(v.astype(float), g, axis), g, direction)
    np.testing.assert_allclose(by_v, true_v, atol=1e-4)
    np.testing.assert_allclose(by_g, true_g, atol=1e-4)


@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
def test_starts_as_the_weight_and_its_length(shape, axis):
    value = normal(*shape)
    weight = Parametrized(WeightNorm(axis), value)
    v, g = (ops.convert_to_numpy(o) for o in weight.originals)
    np.testing.assert_array_equal(v, value)
    np.testing.assert_allclose(g, np.sqrt((value**2).sum(inner(axis, len(shape)))), rtol=1e-6)
    np.testing.assert_allclose(weight.used(), value, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e20])
def test_any_scale(scale):
    value = normal(6, 4) * np.float32(scale)
    weight = Parametrized(WeightNorm(), value)
    np.testing.assert_allclose(weight.used() / scale, value / scale, rtol=1e-5)
    assert all(np.isfinite(grad).all() for grad in weight.gradients(normal(6, 4, seed=1)))


def test_a_gradient_of_a_gradient():
    """What a penalty on gradients, or a step of MAML, needs."""
    v, g, direction, other = (normal(6, 4, seed=seed) for seed in range(4))
    weight = Parametrized(WeightNorm(), v)
    weight.assign(v, g[0])

    def gradient(v, g):
        """That of sum(used · direction) in v."""
        norm = np.sqrt((v**2).sum(0))
        u = v / norm
        return g / norm * (direction - u * (u * direction).sum(0))

    by_v, by_g = weight.second_gradients(direction, other)
    true_v = differences(lambda v: gradient(v, g[0]), v, other)
    true_g = differences(lambda g: gradient(v.astype(float), g), g[0], other)
    np.testing.assert_allclose(by_v, true_v, atol=1e-4)
    np.testing.assert_allclose(by_g, true_g, atol=1e-4)


def test_units_of_zeros_stay_zeros_and_can_be_trained():
    value = normal(6, 4)
    value[:, 2] = 0
    weight = Parametrized(WeightNorm(), value)
    np.testing.assert_allclose(weight.used(), value, atol=1e-6)
    by_v, by_g = weight.gradients(np.ones((6, 4)))
    assert np.isfinite(by_v).all()
    assert abs(by_g[2]) > 1


def test_a_direction_that_became_zero_is_finite():
    weight = Parametrized(WeightNorm(), normal(6, 4))
    weight.assign(np.zeros((6, 4)), np.ones(4))
    np.testing.assert_array_equal(weight.used(), 0)
    assert all(np.isfinite(grad).all() for grad in weight.gradients(np.ones((6, 4))))


@pytest.mark.parametrize(
    ("axis", "shape"), [(2, (6, 4)), (-3, (6, 4)), ((0, 1), (6, 4)), (-1, (4,)), (-1, (0, 4))]
)
def test_an_axis_that_the_weight_lacks_is_refused(axis, shape):
    with pytest.raises(ShapeMismatchError, match=r"WeightNorm .*axis=.*shape"):
        WeightNorm(axis).check(shape)


def test_config():
    assert reread(WeightNorm(axis=0)).axis == 0
    assert Parametrized(reread(WeightNorm(axis=(0, 2))), normal(3, 2, 4)).originals[1].shape == (
        3,
        4,
    )
