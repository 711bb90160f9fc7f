"""Numbers out of singular values: by NumPy in float64, and the laws that they keep."""

import mpmath
import numpy as np
import pytest

import steelyard as sy
from steelyard.metrics._lanczos import largest_singular_value
from steelyard.metrics._matrix import matrices
from steelyard.metrics._spectrum import Largest, Spectrum

pytestmark = pytest.mark.no_keras

m = sy.metrics


def with_spectrum(sigmas, rows, seed=0):
    rng = np.random.default_rng(seed)
    columns = len(sigmas)
    u = np.linalg.qr(rng.normal(size=(rows, columns)))[0]
    v = np.linalg.qr(rng.normal(size=(columns, columns)))[0]
    return (u * np.asarray(sigmas)) @ v.T


RNG = np.random.default_rng(0)
SHAPES = {
    "gaussian": RNG.normal(size=(60, 40)).astype("float32"),
    "wide": RNG.normal(size=(20, 90)).astype("float32"),
    "square": RNG.normal(size=(50, 50)).astype("float32"),
    "tall, in many parts": RNG.normal(size=(3000, 30)).astype("float32"),
    "decaying": with_spectrum(np.arange(1, 41) ** -1.5, 60).astype("float32"),
    "one row": RNG.normal(size=(1, 7)).astype("float32"),
    "one column": RNG.normal(size=(7, 1)).astype("float32"),
    "large": (RNG.normal(size=(30, 20)) * 1e30).astype("float32"),
    "small": (RNG.normal(size=(30, 20)) * 1e-30).astype("float32"),
    "double": RNG.normal(size=(30, 20)),
    "half": RNG.normal(size=(30, 20)).astype("float16"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_by_numpy(name):
    w = SHAPES[name]
    s = np.linalg.svd(w.astype("float64"), compute_uv=False)
    p, q = s / s.sum(), s**2 / np.sum(s**2)
    close = dict(rel=2e-6)
    np.testing.assert_allclose(m.singular_values(w), s, rtol=1e-5)
    assert m.spectral_norm(w) == pytest.approx(s[0], rel=1e-9)
    assert m.lambda_max(w) == pytest.approx(s[0] ** 2, rel=1e-9)
    assert m.sigma_min(w) == pytest.approx(s[-1], **close)
    assert m.nuclear_norm(w) == pytest.approx(s.sum(), **close)
    assert m.schatten_4_norm(w) == pytest.approx(s[0] * ((s / s[0]) ** 4).sum() ** 0.25, **close)
    assert m.stable_rank(w) == pytest.approx((s**2).sum() / s[0] ** 2, **close)
    assert m.effective_rank(w) == pytest.approx(np.exp(-(p * np.log(p)).sum()), **close)
    assert m.condition_number(w) == pytest.approx(s[0] / s[-1], **close)
    rank = np.linalg.matrix_rank(w.astype("float32"))
    assert m.numerical_rank(w) == rank
    if rank > 1:
        wanted = -(q * np.log(q)).sum() / np.log(rank)
        assert m.spectral_entropy(w) == pytest.approx(wanted, **close)


# Degree 0: they do not change with the scale; degree 1: they grow with it; degree 2: as its square.
DEGREES = {
    0: ("stable_rank", "effective_rank", "numerical_rank", "condition_number", "spectral_entropy"),
    1: ("spectral_norm", "nuclear_norm", "schatten_4_norm", "sigma_min"),
    2: ("lambda_max", "alpha_xmin", "mp_bulk_max", "mp_bulk_min"),
}
FREE = ("alpha", "alpha_ks", "alpha_tail_size", "hill_alpha", "mp_sigma", "mp_spikes", "erg_spikes")


@pytest.mark.parametrize("name", ["gaussian", "wide", "square", "decaying"])
@pytest.mark.parametrize("scale", [2.0**-20, 3.0, 2.0**30])
def test_scale(name, scale):
    w = SHAPES[name].astype("float64")
    for degree, metrics in {**DEGREES, 0: DEGREES[0] + FREE}.items():
        for metric in metrics:
            f = getattr(m, metric)
            assert f(w * scale) == pytest.approx(f(w) * scale**degree, rel=1e-6), metric


@pytest.mark.parametrize("name", ["gaussian", "wide", "square", "decaying"])
def test_transposing_and_permuting_changes_nothing(name):
    w = SHAPES[name].astype("float64")
    rng = np.random.default_rng(5)
    moved = w[rng.permutation(len(w))][:, rng.permutation(w.shape[1])]
    for metric in (*DEGREES[0], *DEGREES[1], *DEGREES[2], *FREE):
        f = getattr(m, metric)
        assert f(w.T) == pytest.approx(f(w), rel=1e-8), metric
        assert f(moved) == pytest.approx(f(w), rel=1e-8), metric


def test_small_singular_values_are_resolved():
    sigmas = 10.0 ** -np.linspace(0, 12, 30)
    w = with_spectrum(sigmas, 50)
    np.testing.assert_allclose(m.singular_values(w)[:20], sigmas[:20], rtol=1e-6)
    assert m.condition_number(w) == pytest.approx(1e12, rel=1e-2)
    assert m.numerical_rank(w) == 30
    low = with_spectrum([3.0, 2.0, 1.0], 40, seed=1) @ np.ones((3, 1)) @ np.ones((1, 20))
    assert m.numerical_rank(low.astype("float32")) == 1
    assert m.numerical_rank(low) == 1


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_zeros(value):
    w = np.full((5, 4), value, "float32")
    assert (m.spectral_norm(w), m.nuclear_norm(w), m.schatten_4_norm(w)) == (0, 0, 0)
    assert m.numerical_rank(w) == 0
    for metric in ("stable_rank", "effective_rank", "condition_number", "spectral_entropy"):
        assert np.isnan(getattr(m, metric)(w))


def test_singular_is_infinite_not_an_error():
    assert m.condition_number(np.diag([1.0, 0.0])) == np.inf


def test_the_density_counts_all():
    density = np.array(m.spectral_density(SHAPES["gaussian"]))
    assert len(density) == 64
    assert density.mean() == pytest.approx(1)


# --- The largest alone ---------------------------------------------------------------------------

LARGE = {
    "gaussian": np.random.default_rng(1).normal(size=(1400, 1100)).astype("float32"),
    "decaying": (
        np.random.default_rng(2).normal(size=(1100, 1300)) * np.arange(1, 1301) ** -0.7
    ).astype("float32"),
    "low rank": (
        np.random.default_rng(3).normal(size=(1200, 3))
        @ np.random.default_rng(4).normal(size=(3, 1100))
    ).astype("float32"),
    "orthogonal": np.linalg.qr(np.random.default_rng(5).normal(size=(1100, 1100)))[0],
    "huge": (np.random.default_rng(6).normal(size=(1100, 1100)) * 1e25).astype("float32"),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_largest_is_within_its_bound(name):
    seen = matrices(LARGE[name])
    value, bound = Largest(seen).largest
    double = LARGE[name].astype("float64") / 1e20
    true = 1e20 * np.sqrt(np.linalg.eigvalsh(double.T @ double)[-1])
    assert abs(value - true) <= bound + 1e-13 * true
    assert bound < 2e-5 * true
    assert value == pytest.approx(true, rel=1e-6)
    whole = float(np.sum((LARGE[name].astype("float64") / true) ** 2))
    assert m.stable_rank(LARGE[name]) == pytest.approx(whole, rel=1e-5)


def test_zeros_of_a_large_matrix():
    w = np.zeros((1100, 1100), "float32")
    assert Largest(matrices(w)).largest == (0, None)
    assert m.spectral_norm(w) == 0
    assert np.isnan(m.stable_rank(w))


def test_the_stable_rank_is_never_below_one():
    w = np.outer(np.ones(1100), np.random.default_rng(0).normal(size=1100)).astype("float32")
    assert 1 <= m.stable_rank(w) < 1.0001


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("kind", ["flat", "decaying", "two close"])
def test_the_bound_holds_for_any_start(kind, tolerance):
    sigmas = {
        "flat": np.linspace(1, 0.9, 60),
        "decaying": 1 / np.arange(1, 61.0),
        "two close": np.concatenate([[1, 1 - 1e-5], np.linspace(0.9, 0.1, 58)]),
    }[kind]
    w = with_spectrum(sigmas, 90)
    for seed in range(40):
        start = np.random.default_rng(seed).normal(size=60)
        value, bound = largest_singular_value(
            lambda x: w @ x, lambda x: w.T @ x, 60, start=start, tolerance=tolerance
        )
        assert value <= 1 + 1e-12
        assert 1 - value <= bound + 1e-12
        assert bound <= tolerance


def test_fewer_steps_mean_a_wider_bound():
    w = with_spectrum(np.linspace(1, 0.9, 200), 300)
    few = largest_singular_value(lambda x: w @ x, lambda x: w.T @ x, 200, most_steps=8)
    many = largest_singular_value(lambda x: w @ x, lambda x: w.T @ x, 200, most_steps=100)
    assert few.bound > 10 * many.bound
    assert 1 - few.value <= few.bound


def test_memory_is_that_of_the_gram_matrix():
    import tracemalloc

    w = np.random.default_rng(0).normal(size=(20_000, 64)).astype("float32")
    seen = matrices(w)
    tracemalloc.start()
    Spectrum(seen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < w.nbytes / 4


def test_what_is_ill_conditioned_by_mpmath():
    size = 7
    hilbert = np.array([[1 / (i + j + 1) for j in range(size)] for i in range(size)])
    with mpmath.workdps(40):
        exact = mpmath.svd_r(mpmath.matrix(hilbert.tolist()), compute_uv=False)
        wanted = [float(value) for value in exact]
    np.testing.assert_allclose(m.singular_values(hilbert), wanted, rtol=1e-6)
    assert m.condition_number(hilbert) == pytest.approx(wanted[0] / wanted[-1], rel=1e-6)
    assert m.effective_rank(hilbert) == pytest.approx(
        np.exp(-sum(p * np.log(p) for p in np.array(wanted) / sum(wanted))), rel=1e-7
    )
