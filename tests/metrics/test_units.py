"""Output units: dead ones, repeated ones, and norms."""

import numpy as np
import pytest

import steelyard as sy

pytestmark = pytest.mark.no_keras

m = sy.metrics


@pytest.fixture
def kernel():
    return np.random.default_rng(1).normal(size=(5, 8)).astype("float32")


def test_dead(kernel):
    assert m.dead_units(kernel) == 0
    kernel[:, [2, 5]] = 0
    kernel[1, :] = 0  # an input that reaches nobody is no dead unit
    assert m.dead_units(kernel) == 2


def test_duplicates(kernel):
    assert m.duplicate_units(kernel) == 0
    kernel[:, 3] = kernel[:, 7] = kernel[:, 0]
    kernel[:, [4, 5]] = 0
    assert m.duplicate_units(kernel) == 2
    kernel[2, 0], kernel[2, 3] = 0.0, -0.0
    kernel[2, 7] = 1
    assert m.duplicate_units(kernel) == 1


@pytest.mark.parametrize(
    ("axes", "shape", "fold"),
    [
        ("io", (5, 8), lambda w: w),
        ("oi", (5, 8), lambda w: w.T),
        ("kkio", (2, 3, 4, 5), lambda w: w.reshape(24, 5)),
        ("kkoi", (2, 3, 4, 5), lambda w: w.reshape(24, 5).T),
        ("ioo", (4, 2, 3), lambda w: w.reshape(4, 6)),
        ("iio", (2, 3, 4), lambda w: w.reshape(6, 4)),
        ("oio", (2, 3, 4), lambda w: w.transpose(1, 0, 2).reshape(3, 8)),
    ],
)
def test_norms_by_the_axes(axes, shape, fold):
    w = np.random.default_rng(2).normal(size=shape).astype("float32")
    norms = np.linalg.norm(fold(w.astype("float64")), axis=0)
    told = dict(axes=axes)
    assert m.max_unit_norm(w, **told) == pytest.approx(norms.max())
    assert m.min_unit_norm(w, **told) == pytest.approx(norms.min())
    assert m.mean_unit_norm(w, **told) == pytest.approx(norms.mean())
    matrix = fold(w.astype("float64"))
    assert m.operator_norm_1(w, **told) == pytest.approx(np.linalg.norm(matrix, 1))
    assert m.operator_norm_inf(w, **told) == pytest.approx(np.linalg.norm(matrix, np.inf))
    assert m.spectral_norm(w, **told) == pytest.approx(np.linalg.norm(matrix, 2))


def test_depthwise_channels_are_blocks():
    w = np.random.default_rng(3).normal(size=(3, 3, 4, 2)).astype("float32")
    blocks = [w[:, :, c].reshape(9, 2) for c in range(4)]
    sigmas = np.sort(np.concatenate([np.linalg.svd(b, compute_uv=False) for b in blocks]))[::-1]
    np.testing.assert_allclose(m.singular_values(w, axes="kkbo"), sigmas, rtol=1e-5)
    whole = np.zeros((36, 8))
    for c, block in enumerate(blocks):
        whole[9 * c : 9 * c + 9, 2 * c : 2 * c + 2] = block
    assert m.spectral_norm(w, axes="kkbo") == pytest.approx(np.linalg.norm(whole, 2))
    assert m.operator_norm_inf(w, axes="kkbo") == pytest.approx(np.linalg.norm(whole, np.inf))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_norms_at_the_ends_of_the_range(kernel, size):
    wanted = np.linalg.norm(kernel.astype("float64"), axis=0).max() * size
    assert m.max_unit_norm(kernel * np.float32(size)) == pytest.approx(wanted, rel=1e-5)
    wide = kernel.astype("float64") * size**8
    assert m.max_unit_norm(wide) == pytest.approx(wanted * size**7, rel=1e-6)


def test_a_vector_has_no_units():
    with pytest.raises(sy.errors.ShapeMismatchError, match=r"two axes or more.*\(5,\)"):
        m.dead_units(np.ones(5))


@pytest.mark.parametrize("axes", ["i", "iox", "iio"])
def test_axes_that_do_not_fit(kernel, axes):
    with pytest.raises(sy.errors.ShapeMismatchError, match="letters i, o, b, k"):
        m.max_unit_norm(kernel, axes=axes)


def test_an_unknown_view(kernel):
    with pytest.raises(sy.SteelyardError, match="'flat', 'pooled'"):
        m.spectral_norm(kernel, view="round")
