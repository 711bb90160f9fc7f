"""Two weights compared."""

import math

import numpy as np
import pytest

import steelyard as sy

pytestmark = pytest.mark.no_keras

m = sy.metrics
A = np.random.default_rng(0).normal(size=(40, 30)).astype("float32")
B = A + np.random.default_rng(1).normal(0, 0.1, size=A.shape).astype("float32")


def test_by_numpy():
    a, b = A.astype("float64"), B.astype("float64")
    wanted = np.linalg.norm(b - a) / np.linalg.norm(a)
    assert m.relative_distance(A, B) == pytest.approx(wanted)
    assert m.update_ratio(A, B) == pytest.approx(wanted)
    assert m.distance_from_init(A, B) == pytest.approx(np.linalg.norm(b - a))
    assert m.ema_distance(A, B) == pytest.approx(np.linalg.norm(b - a))
    assert m.gradient_norm(A) == pytest.approx(np.linalg.norm(a))
    assert m.max_abs_difference(A, B) == pytest.approx(np.abs(b - a).max())
    assert m.cosine(A, B) == pytest.approx((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("scale", [1e-38, 1e30])
def test_at_the_ends_of_the_range(scale):
    a, b = A * np.float32(scale), B * np.float32(scale)
    assert m.relative_distance(a, b) == pytest.approx(m.relative_distance(A, B), rel=1e-4)
    assert m.cosine(a, b) == pytest.approx(m.cosine(A, B), rel=1e-6)


def test_the_same_and_the_opposite():
    assert m.relative_distance(A, A) == 0
    assert m.cosine(A, A) == pytest.approx(1)
    assert m.cosine(A, -A) == pytest.approx(-1)
    assert m.subspace_angle(A, A) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_in_each_dtype(dtype):
    a, b = (100 * A).astype(dtype), (100 * B).astype(dtype)
    wanted = np.linalg.norm(b.astype("float64") - a.astype("float64"))
    assert m.distance_from_init(a, b) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_moving_on_is_the_distance_and_then_the_same(dtype, scale):
    a, b = (A * scale).astype(dtype), (B * scale).astype(dtype)
    wanted = m.distance_from_init(a, b), m.l2_norm(b)
    assert m.moved_on(a, b) == pytest.approx(wanted, rel=1e-7)
    assert np.array_equal(a, b) and m.moved_on(a, b).distance == 0


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, 3e38])
def test_moving_on_over_many_pieces(spoiled):
    """More than one piece, and a rest."""
    draw = np.random.default_rng(5)
    a, b = draw.normal(size=(2, 200_003)).astype("float32")
    distance, norm = m.distance_from_init(a, b), m.l2_norm(b)
    assert m.moved_on(a, b) == pytest.approx((distance, norm), rel=1e-7)
    b[150_000] = spoiled
    with np.errstate(all="ignore"):
        assert m.moved_on(a, b).norm == pytest.approx(m.l2_norm(b), nan_ok=True)
    assert np.array_equal(a, b, equal_nan=True)


def test_a_small_step_of_a_large_weight():
    a = np.full(100_000, 1.0, "float32")
    b = a + np.float32(2**-23)  # by the last bit
    assert m.update_ratio(a, b) == pytest.approx(2**-23, rel=1e-6)


def test_zeros():
    zeros = np.zeros_like(A)
    assert m.relative_distance(zeros, zeros) == 0
    assert m.relative_distance(zeros, A) == math.inf
    assert m.relative_distance(A, zeros) == pytest.approx(1)
    assert math.isnan(m.cosine(A, zeros))


@pytest.mark.parametrize("entry", [math.nan, math.inf])
def test_no_angle_with_what_is_not_finite(entry):
    bad = A.copy()
    bad[0, 0] = entry
    assert math.isnan(m.cosine(A, bad))
    assert math.isnan(m.cosine(bad, A))


@pytest.mark.parametrize("angle", [1e-6, 0.3, 1.2])
def test_a_known_angle(angle):
    base = np.eye(6)[:, :2]
    turned = base.copy()
    turned[:, 1] = np.cos(angle) * base[:, 1] + np.sin(angle) * np.eye(6)[:, 3]
    a = np.diag([3.0, 2.0]) @ base.T
    b = np.diag([3.0, 2.0]) @ turned.T
    assert m.subspace_angle(a, b, rank=2) == pytest.approx(angle, rel=1e-6)


@pytest.mark.parametrize("name", ["relative_distance", "cosine", "subspace_angle"])
def test_other_shapes_say_both(name):
    with pytest.raises(sy.errors.ShapeMismatchError, match=r"\(40, 30\) and \(30, 40\)"):
        getattr(m, name)(A, A.T)
