"""Orthonormal columns or rows, to rounding."""

import numpy as np
import pytest
from keras import ops
from tests.parametrizations.driver import Parametrized, cosine, differences, normal, reread

import steelyard as sy
from steelyard.errors import ShapeMismatchError

Orthogonal = sy.parametrizations.Orthogonal


def reference(w):
    matrix = w.reshape(-1, w.shape[-1])
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q = q * np.where(np.diag(r) < 0, -1, 1)
    return (q.T if wide else q).reshape(w.shape)


def off(used):
    matrix = used.reshape(-1, used.shape[-1]).astype("float64")
    matrix = matrix.T if matrix.shape[0] < matrix.shape[1] else matrix
    return np.abs(matrix.T @ matrix - np.eye(matrix.shape[1])).max()


@pytest.mark.parametrize(
    "shape", [(5, 5), (6, 4), (4, 6), (3, 2, 4), (1, 4), (4, 1), (128, 128)], ids=str
)
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_is_orthonormal(shape, jit):
    weight = Parametrized(Orthogonal(), normal(*shape))
    assert off(weight.used(jit=jit)) < 1e-5
    weight.assign(normal(*shape, seed=1))
    assert off(weight.used(jit=jit)) < 1e-5


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", ["zeros", "ones", "ill-conditioned", "tiny", "huge"])
def test_is_orthonormal_whatever_is_stored(name, jit):
    stored = {
        "zeros": np.zeros((6, 4)),
        "ones": np.ones((6, 4)),
        "ill-conditioned": normal(6, 4) * np.array([1, 1e-3, 1e-6, 1e-9]),
        "tiny": normal(6, 4) * 1e-15,
        "huge": normal(6, 4) * 1e15,
    }[name]
    weight = Parametrized(Orthogonal(), normal(6, 4))
    weight.assign(stored)
    assert off(weight.used(jit=jit)) < 1e-5


@pytest.mark.parametrize("shape", [(5, 5), (6, 4), (4, 6), (3, 2, 4)], ids=str)
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_value_and_gradient(shape, jit):
    value, direction = normal(*shape, seed=1), normal(*shape, seed=2)
    weight = Parametrized(Orthogonal(), normal(*shape))
    weight.assign(value)
    np.testing.assert_allclose(weight.used(jit=jit), reference(value.astype("float64")), atol=1e-5)
    (grad,) = weight.gradients(direction, jit=jit)
    true = differences(reference, value, direction)
    assert cosine(grad, true) > 0.99999
    np.testing.assert_allclose(grad, true, atol=1e-3 * np.abs(true).max())


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shape", [(5, 5), (6, 4), (4, 6)], ids=str)
def test_an_orthogonal_weight_stays_as_it_is(shape, sign):
    value = reference(normal(*shape).astype("float64"))
    if shape == (5, 5):
        value[0] *= np.sign(np.linalg.det(value)) * sign
        assert np.isclose(np.linalg.det(value), sign)
    np.testing.assert_allclose(Parametrized(Orthogonal(), value).used(), value, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 5), (6, 4), (4, 6), (3, 2, 4)], ids=str)
def test_starts_as_the_nearest_orthogonal_weight(shape):
    value = normal(*shape)
    left, _, right = np.linalg.svd(value.reshape(-1, shape[-1]), full_matrices=False)
    np.testing.assert_allclose(
        Parametrized(Orthogonal(), value).used(), (left @ right).reshape(shape), atol=1e-5
    )


def test_zeros_start_as_something_orthogonal():
    weight = Parametrized(Orthogonal(), np.zeros((6, 4)))
    assert off(weight.used()) < 1e-5
    assert np.isfinite(weight.gradients(normal(6, 4))[0]).all()


def test_trains_to_the_true_optimum():
    # The nearest orthogonal matrix to a target, from a start of the same determinant.
    target = reference(normal(5, 3, seed=4))
    weight = Parametrized(Orthogonal(), normal(5, 3))
    for _ in range(200):
        (grad,) = weight.gradients(weight.used() - target)
        weight.assign(ops.convert_to_numpy(weight.originals[0]) - 0.3 * grad)
    np.testing.assert_allclose(weight.used(), target, atol=1e-3)


def test_a_vector_is_refused():
    with pytest.raises(ShapeMismatchError, match="Orthogonal needs"):
        Orthogonal().check((4,))


def test_config():
    assert reread(Orthogonal()).get_config() == {}
