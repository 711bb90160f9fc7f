"""σ is right, the gradient is the true one, and whatever becomes of the kernel is noticed."""

import keras
import numpy as np
import pytest
from keras import ops
from tests.parametrizations.driver import (
    Parametrized,
    cosine,
    differences,
    normal,
    reread,
)

import steelyard as sy
from steelyard.errors import ParametrizationError, ShapeMismatchError

SpectralNorm = sy.parametrizations.SpectralNorm


def sigma(array):
    array = np.asarray(array, "float64")
    return np.linalg.svd(array.reshape(-1, array.shape[-1]), compute_uv=False)[0]


def diagonal(*entries):
    return np.diag(np.array(entries, "float32"))


def with_spectrum(spectrum, rows, seed=0):
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.normal(size=(rows, len(spectrum))))[0]
    right = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))[0]
    return ((left * spectrum) @ right).astype("float32")


SHAPES = [(6, 4), (4, 6), (5, 5), (7, 1), (1, 7), (1, 1), (3, 2, 2, 5)]


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value(shape, training):
    value = normal(*shape)
    used = Parametrized(SpectralNorm(), value).used(training)
    np.testing.assert_allclose(used, value / sigma(value), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 2, 2, 5)], ids=str)
def test_gradient_is_the_true_one(shape, jit, training):
    value, direction = normal(*shape), normal(*shape, seed=1)
    (grad,) = Parametrized(SpectralNorm(), value).gradients(direction, training, jit)
    true = differences(lambda w: w / sigma(w), value, direction)
    assert cosine(grad, true) > 0.99999
    np.testing.assert_allclose(grad, true, rtol=1e-3, atol=1e-4)


def test_the_stored_kernel_is_never_overwritten():
    weight = Parametrized(SpectralNorm(), normal(6, 4))
    for _ in range(3):
        weight.used(training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(weight.originals[0]), normal(6, 4))


def test_each_call_in_training_improves_the_vector():
    weight = Parametrized(SpectralNorm(), normal(20, 20))
    weight.assign(normal(20, 20, seed=1))
    off = [abs(sigma(weight.used(training=True)) - 1) for _ in range(60)]
    assert off[0] > 0.05
    assert off[-1] < 1e-4
    several = Parametrized(SpectralNorm(n_power_iterations=60), normal(20, 20))
    several.assign(normal(20, 20, seed=1))
    assert abs(sigma(several.used(training=True)) - 1) < 1e-4


# What stands in the kernel when the vector is that of another one.
OTHER = {
    "random": normal(64, 48, seed=3),
    "random square": normal(100, 100, seed=3),
    "conv": normal(3, 3, 8, 16, seed=3),
    "rank one": np.outer(normal(30, seed=1), normal(20, seed=2)),
    "orthogonal": np.linalg.qr(normal(40, 40))[0],
    "nearly orthogonal": with_spectrum(np.linspace(1, 0.98, 40), 40),
    "two alike": with_spectrum(np.r_[1, 0.999, np.full(30, 0.5)], 50),
    "linear spectrum": with_spectrum(np.linspace(1, 0, 300), 300),
    "uniform entries": np.random.default_rng(0).uniform(size=(60, 50)),
    "ones": np.ones((20, 30)),
    "tiny": normal(30, 20) * 1e-20,
    "huge": normal(30, 20) * 1e20,
    "of all sizes": normal(30, 20) * 10.0 ** np.linspace(-20, 20, 20),
    "of all sizes, wide": normal(20, 30) * 10.0 ** np.linspace(-20, 20, 30),
    "one entry": np.eye(30, 20)[:, ::-1] * np.r_[np.zeros(19), 1],
    "one column": normal(30, 1),
    "bfloat16-like": np.round(normal(30, 20)),
}


COMPILED = ("random", "conv", "linear spectrum", "tiny", "of all sizes, wide")


@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("name", "jit"), [*((name, False) for name in OTHER), *((name, True) for name in COMPILED)]
)
def test_sigma_after_the_kernel_was_set_to_something_else(name, jit):
    value = OTHER[name].astype("float32")
    weight = Parametrized(SpectralNorm(), normal(*value.shape, seed=9))
    weight.assign(value)
    used = weight.used(jit=jit)
    assert abs(sigma(used) - 1) < 1e-3
    np.testing.assert_allclose(used, value / sigma(value), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 3), (128, 40), (200, 256)], ids=str)
def test_sigma_of_random_kernels(shape):
    weight = Parametrized(SpectralNorm(), normal(*shape, seed=100))
    for seed in range(5):
        weight.assign(normal(*shape, seed=seed))
        assert abs(sigma(weight.used()) - 1) < 2e-4


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (diagonal(3, 1), diagonal(1, 3)),
        (diagonal(3, 2, 1), diagonal(1, 1.01, 1)),
        (np.eye(8), diagonal(*[1] * 7, 1.002)),
        (diagonal(*range(1, 41)), diagonal(*range(40, 0, -1))),
        (diagonal(2, 1, 1), diagonal(1, 1e-20, 1e20)),
    ],
    ids=["swapped", "just above", "of many equal", "reversed", "far larger"],
)
def test_a_vector_that_is_singular_but_not_the_leading_one(first, then):
    weight = Parametrized(SpectralNorm(), first)
    weight.assign(then)
    assert abs(sigma(weight.used()) - 1) < 1e-3


def test_gradient_in_inference_is_true_after_the_kernel_was_set():
    value, direction = normal(12, 9, seed=4), normal(12, 9, seed=1)
    weight = Parametrized(SpectralNorm(), normal(12, 9))
    weight.assign(value)
    (grad,) = weight.gradients(direction)
    assert cosine(grad, differences(lambda w: w / sigma(w), value, direction)) > 0.9999


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e6, 1e20])
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_gradient_of_any_scale(scale, training, jit):
    value, direction = normal(6, 4), normal(6, 4, seed=1)
    (grad,) = Parametrized(SpectralNorm(), value * scale).gradients(direction, training, jit)
    true = differences(lambda w: w / sigma(w), value, direction)
    np.testing.assert_allclose(grad * scale, true, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_zeros_stay_zeros_and_recover(training, jit):
    weight = Parametrized(SpectralNorm(), np.zeros((6, 4)))
    for _ in range(3):
        np.testing.assert_array_equal(weight.used(training, jit), 0)
    direction = normal(6, 4, seed=1)
    (grad,) = weight.gradients(direction, training, jit)
    np.testing.assert_allclose(grad, direction, rtol=1e-6)
    weight.assign(normal(6, 4))
    for _ in range(60 if training else 1):
        used = weight.used(training)
    assert abs(sigma(used) - 1) < 1e-3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_what_is_not_finite_is_passed_on_and_forgotten(bad, training, jit):
    value = normal(6, 4)
    weight = Parametrized(SpectralNorm(), value)
    broken = value.copy()
    broken[2, 1] = bad
    weight.assign(broken)
    assert not np.isfinite(weight.used(training, jit)).all()
    assert np.isfinite(ops.convert_to_numpy(weight.state["u"])).all()
    weight.assign(value)
    for _ in range(3):
        used = weight.used(training)
    assert abs(sigma(used) - 1) < 1e-3


def test_a_kernel_that_was_never_finite_has_a_state():
    weight = Parametrized(SpectralNorm(), np.full((3, 2), np.nan))
    assert np.isfinite(ops.convert_to_numpy(weight.state["u"])).all()
    assert np.isnan(weight.used()).all()


def test_a_large_matrix_starts_well():
    value = normal(1100, 1050)
    weight = Parametrized(SpectralNorm(), value)
    assert weight.state["u"].shape == (1050,)
    top = sigma(value)
    u = ops.convert_to_numpy(weight.state["u"])
    assert abs(np.linalg.norm(value @ u) / top - 1) < 2e-3
    used = weight.used()
    assert abs(used[0, 0] * top / value[0, 0] - 1) < 1e-3


def test_the_state_is_one_vector_of_the_smaller_side():
    for shape in [(6, 4), (4, 6), (2, 2, 4)]:
        state = SpectralNorm().initial_state(normal(*shape))
        assert {k: v.shape for k, v in state.items()} == {"u": (4,)}
        assert state["u"].dtype == "float32"


def test_trains_to_the_true_optimum():
    # The nearest matrix with σ = 1 to a target, by gradient descent through the norm.
    target = with_spectrum(np.array([1.0, 0.8, 0.3]), 5)
    weight = Parametrized(SpectralNorm(), normal(5, 3, seed=2))
    for _ in range(100):
        used = weight.used(training=True)
        (grad,) = weight.gradients(used - target)
        value = ops.convert_to_numpy(weight.originals[0])
        weight.assign(value - 2.0 * grad)
    np.testing.assert_allclose(weight.used(), target, atol=1e-2)


@pytest.mark.parametrize("shape", [(4,), (), (3, 0)], ids=str)
def test_what_is_no_matrix_is_refused(shape):
    with pytest.raises(ShapeMismatchError, match=r"SpectralNorm needs.*two axes.*Received shape"):
        SpectralNorm().check(shape)


@pytest.mark.parametrize("number", [0, -1])
def test_no_iterations_are_refused(number):
    with pytest.raises(ParametrizationError, match=f"n_power_iterations={number}"):
        SpectralNorm(number)


def test_config():
    assert SpectralNorm(n_power_iterations=3).get_config() == {"n_power_iterations": 3}
    assert reread(SpectralNorm(3)).n_power_iterations == 3
    assert keras.saving.get_registered_name(SpectralNorm) == "steelyard>SpectralNorm"
