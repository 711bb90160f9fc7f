"""A product of two thin matrices."""

import numpy as np
import pytest
from keras import ops
from tests.parametrizations.driver import Parametrized, differences, normal, reread

import steelyard as sy
from steelyard.errors import ParametrizationError, ShapeMismatchError

LowRank = sy.parametrizations.LowRank
SHAPES = [(6, 4), (4, 6), (3, 2, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value_and_gradients(shape):
    weight = Parametrized(LowRank(2), normal(*shape))
    a, b = normal(*shape[:-1], 2, seed=1), normal(2, shape[-1], seed=2)
    weight.assign(a, b)
    np.testing.assert_allclose(weight.used(), a @ b, atol=1e-5)
    direction = normal(*shape, seed=3)
    by_a, by_b = weight.gradients(direction)
    true_a = differences(lambda a: a @ b, a, direction)
    true_b = differences(lambda b: a.astype(float) @ b, b, direction)
    np.testing.assert_allclose(by_a, true_a, atol=1e-4)
    np.testing.assert_allclose(by_b, true_b, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_starts_as_the_nearest_of_its_rank(shape, rank):
    value = normal(*shape)
    weight = Parametrized(LowRank(rank), value)
    matrix = value.reshape(-1, shape[-1])
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    nearest = (left[:, :rank] * sizes[:rank]) @ right[:rank]
    np.testing.assert_allclose(weight.used(), nearest.reshape(shape), atol=1e-5)
    a, b = (ops.convert_to_numpy(o) for o in weight.originals)
    assert a.shape == (*shape[:-1], rank)
    assert b.shape == (rank, shape[-1])
    np.testing.assert_allclose(np.linalg.norm(a), np.linalg.norm(b), rtol=1e-5)


def test_what_has_the_rank_stays_as_it_is():
    value = normal(6, 2) @ normal(2, 5, seed=1)
    np.testing.assert_allclose(Parametrized(LowRank(2), value).used(), value, atol=1e-5)


def test_zeros_can_be_trained():
    weight = Parametrized(LowRank(2), np.zeros((6, 4)))
    np.testing.assert_array_equal(weight.used(), 0)
    _, by_b = weight.gradients(np.ones((6, 4)))
    assert np.abs(by_b).max() > 0.1


@pytest.mark.parametrize("shape", [(4,), (6, 1), (2, 6), (3, 0)], ids=str)
def test_a_rank_that_the_shape_cannot_have_is_refused(shape):
    with pytest.raises(ShapeMismatchError, match=r"LowRank.*shape \("):
        LowRank(3).check(shape)


@pytest.mark.parametrize("rank", [0, -1, 1.5, True, "2"])
def test_what_is_no_rank_is_refused(rank):
    with pytest.raises(ParametrizationError, match="rank="):
        LowRank(rank)


def test_config():
    assert reread(LowRank(3)).rank == 3
