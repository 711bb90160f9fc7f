"""One after the other."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.parametrizations.driver import Parametrized, differences, normal, reread

import steelyard as sy
from steelyard.errors import ParametrizationError, ShapeMismatchError

p = sy.parametrizations
Chain = p.Chain


@keras.saving.register_keras_serializable(package="tests")
def doubled(value):
    return 2 * value


def sigma(array):
    return np.linalg.svd(array, compute_uv=False)[0]


def test_from_left_to_right():
    value = normal(6, 4)
    used = Parametrized(Chain(p.SpectralNorm(), doubled), value).used()
    np.testing.assert_allclose(sigma(used), 2, rtol=1e-5)
    used = Parametrized(Chain(doubled, p.SpectralNorm()), value).used()
    np.testing.assert_allclose(sigma(used), 1, rtol=1e-5)


def test_gradient():
    value, direction = normal(6, 4), normal(6, 4, seed=1)
    weight = Parametrized(Chain(p.Standardize(), p.SpectralNorm()), value)

    def reference(w):
        centered = w - w.mean(0)
        w = centered / np.sqrt((centered**2).mean(0) + 1e-10)
        return w / sigma(w)

    np.testing.assert_allclose(weight.used(), reference(value.astype("float64")), atol=1e-5)
    true = differences(reference, value, direction)
    np.testing.assert_allclose(weight.gradients(direction)[0], true, atol=1e-3)


def test_two_of_one_kind_keep_their_states_apart():
    weight = Parametrized(Chain(p.Mask([1, 0, 1, 1]), p.Mask([1, 1, 0, 1])), np.ones((6, 4)))
    assert set(weight.state) == {"mask_0", "mask_1"}
    np.testing.assert_array_equal(weight.used(), np.broadcast_to([1, 0, 0, 1], (6, 4)))


def test_states_start_from_what_comes_before():
    value = normal(6, 4)
    value[:, 0] *= 100
    weight = Parametrized(Chain(p.Standardize(), p.Mask(sparsity=0.5)), value)
    assert (weight.used()[:, 0] == 0).any()  # by its size alone the first column would stay


def test_each_call_in_training_takes_every_step():
    schedule = p.ConstantSparsity(0.5, frequency=1)
    weight = Parametrized(Chain(p.Mask(schedule=schedule), p.SpectralNorm(50)), normal(6, 4))
    used = weight.used(training=True)
    assert (used == 0).sum() == 12
    np.testing.assert_allclose(sigma(used), 1, rtol=1e-4)
    assert int(ops.convert_to_numpy(weight.state["step_0"])) == 1
    np.testing.assert_allclose(weight.used(), used, atol=1e-4)


@pytest.mark.parametrize(
    ("parts", "gives"), [((p.WeightNorm(), doubled), 2), ((doubled, p.WeightNorm()), 1)]
)
def test_several_originals(parts, gives):
    weight = Parametrized(Chain(*parts), normal(6, 4))
    assert [o.shape for o in weight.originals] == [(6, 4), (4,)]
    np.testing.assert_allclose(weight.used(), gives * normal(6, 4), atol=1e-5)
    assert all(np.abs(grad).max() > 0.1 for grad in weight.gradients(normal(6, 4, seed=1)))


def test_several_originals_of_several():
    value = normal(6, 2) @ normal(2, 4, seed=1)
    chain = Chain(p.LowRank(2), p.WeightNorm(), p.Mask([1, 0, 1, 1]))
    weight = Parametrized(chain, value)
    assert chain.names == ("a_0", "b_0", "g_1")
    assert [o.shape for o in weight.originals] == [(6, 2), (2, 4), (4,)]
    np.testing.assert_allclose(weight.used(), value * [1, 0, 1, 1], atol=1e-5)


def test_originals_of_a_later_one_only():
    chain = Chain(p.Standardize(), p.WeightNorm())
    assert chain.names == ("stored_0", "g_1")
    assert len(Parametrized(chain, normal(6, 4)).originals) == 2


def test_there_is_an_inverse_if_all_have_one():
    assert hasattr(Chain(p.Orthogonal(), p.Standardize()), "right_inverse")
    assert not hasattr(Chain(p.Orthogonal(), doubled), "right_inverse")
    value = Parametrized(p.Orthogonal(), normal(6, 4)).used()
    np.testing.assert_allclose(
        Parametrized(Chain(p.SpectralNorm(), p.Orthogonal()), value).used(), value, atol=1e-5
    )


def test_states_start_from_all_originals():
    value = normal(6, 2) @ normal(2, 4, seed=1)
    chain = Chain(p.LowRank(2), p.WeightNorm(), p.SpectralNorm())
    weight = Parametrized(chain, value)
    u = ops.convert_to_numpy(weight.state["u_2"])
    np.testing.assert_allclose(np.abs(u @ np.linalg.svd(value)[2][0]), 1, rtol=1e-5)
    np.testing.assert_allclose(weight.used(training=True), value / sigma(value), atol=1e-5)


def test_chains_in_chains():
    inner = Chain(p.WeightNorm(), p.SpectralNorm())
    chain = reread(Chain(p.Mask(sparsity=0.5), inner))
    assert chain.names == ("stored_0", "g_0_1")
    weight = Parametrized(chain, normal(6, 4))
    assert set(weight.state) == {"mask_0", "u_1_1"}
    np.testing.assert_allclose(sigma(weight.used(training=True)), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("chain", "shape"),
    [
        (Chain(p.Standardize(), p.SpectralNorm()), (4,)),
        (Chain(p.LowRank(5), p.Standardize()), (6, 4)),
        (Chain(p.Mask(np.ones((6, 4))), p.LowRank(2)), (6, 4)),
    ],
    ids=["a vector", "a rank", "a mask of the whole, of a factor"],
)
def test_each_checks_the_shape_that_it_gets(chain, shape):
    with pytest.raises(ShapeMismatchError):
        chain.check(shape)


def test_a_mask_of_the_first_factor_fits_the_factor():
    chain = Chain(p.Mask(np.ones((6, 2))), p.LowRank(2))
    value = normal(6, 2) @ normal(2, 4, seed=1)
    np.testing.assert_allclose(Parametrized(chain, value).used(), value, atol=1e-5)


def test_none_is_refused():
    with pytest.raises(ParametrizationError, match="Received: none"):
        Chain()


def test_config():
    read = reread(Chain(p.SpectralNorm(2), doubled, p.Mask(n_m=(1, 2))))
    assert repr(read.parametrizations[0]) == "SpectralNorm(n_power_iterations=2)"
    assert [type(part).__name__ for part in read.parametrizations][2] == "Mask"
    np.testing.assert_allclose(Parametrized(Chain(read), normal(6, 4)).used().shape, (6, 4))
