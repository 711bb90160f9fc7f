"""Sums over entries: against float64, at the ends of the range, and over the edges of chunks."""

import ml_dtypes
import numpy as np
import pytest

import steelyard as sy
from steelyard.metrics import _sums
from steelyard.metrics._values import _CHUNK, Values

pytestmark = pytest.mark.no_keras

m = sy.metrics
RNG = np.random.default_rng(0)


def wanted(array):
    a = np.asarray(array).astype("float64").ravel()
    d = a - a.mean()
    var = np.mean(d**2)
    return {
        "mean": a.mean(),
        "std": np.sqrt(var),
        "skewness": np.mean(d**3) / var**1.5,
        "kurtosis": np.mean(d**4) / var**2 - 3,
        "min": a.min(),
        "max": a.max(),
        "median": np.median(a),
        "quantile_05": np.quantile(a, 0.05),
        "quantile_99": np.quantile(a, 0.99),
        "l1_norm": np.abs(a).sum(),
        "l2_norm": np.linalg.norm(a),
        "rms": np.sqrt(np.mean(a**2)),
        "max_abs": np.abs(a).max(),
        "zero_fraction": np.mean(a == 0),
    }


ARRAYS = {
    "one": np.float32([3.0, -1.0]),
    "a chunk": RNG.normal(size=_CHUNK).astype("float32"),
    "one more than a chunk": RNG.normal(size=_CHUNK + 1).astype("float32"),
    "many": RNG.normal(0.01, 0.02, size=(300, 1001)).astype("float32"),
    "a large mean": RNG.normal(50, 0.1, size=100_000).astype("float32"),
    "heavy": RNG.standard_t(3, size=70_000).astype("float32"),
    "sparse": (RNG.normal(size=50_000) * (RNG.random(50_000) < 0.1)).astype("float32"),
    "double": RNG.normal(size=(70, 1000)),
    "half": RNG.normal(size=5000).astype("float16"),
    "bfloat16": RNG.normal(size=5000).astype(ml_dtypes.bfloat16),
    "integers": RNG.integers(-1000, 1000, size=(50, 40)),
    "transposed": RNG.normal(size=(200, 300)).astype("float32").T,
    "strided": RNG.normal(size=(200, 300)).astype("float32")[::3, ::2],
}


@pytest.mark.parametrize("name", ARRAYS)
def test_by_float64(name):
    array = ARRAYS[name]
    for metric, value in wanted(array).items():
        # What may be near 0 by cancellation is held to the scale of what cancels.
        scale = {"mean": np.std(array.astype("float64")), "skewness": 1, "kurtosis": 3}
        got = getattr(m, metric)(array)
        assert got == pytest.approx(value, rel=2e-6, abs=2e-6 * scale.get(metric, 0)), metric


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("end", ["large", "small"])
def test_at_the_ends_of_the_range(dtype, end):
    info = np.finfo(dtype)
    size = float(info.max) / 4 if end == "large" else float(info.tiny) * 4
    array = np.array([3, -4, 0, 0, 12], dtype) * np.dtype(dtype).type(size / 13)
    unit = size / 13
    assert m.l2_norm(array) == pytest.approx(13 * unit, rel=1e-6)
    assert m.l1_norm(array) == pytest.approx(19 * unit, rel=1e-6)
    assert m.std(array) == pytest.approx(np.std([3, -4, 0, 0, 12]) * unit, rel=1e-5)
    assert m.mean(array) == pytest.approx(2.2 * unit, rel=1e-6)
    assert m.max_abs(array) == pytest.approx(12 * unit, rel=1e-6)


def test_zeros_of_either_sign():
    assert m.zero_fraction(np.float32([0.0, -0.0, 1.0, 2.0])) == 0.5


def test_not_finite_is_counted():
    array = np.zeros(3 * _CHUNK, "float32")
    array[[5, _CHUNK + 1]] = np.nan
    array[[7, 2 * _CHUNK + 3, 9]] = np.inf, -np.inf, np.inf
    assert (m.nan_count(array), m.inf_count(array)) == (2, 3)
    huge = np.full(10, 3e38, "float32")  # their squares overflow, and they are finite
    assert (m.nan_count(huge), m.inf_count(huge)) == (0, 0)


def test_subnormal_and_saturated():
    array = np.float32([1e-40, -1e-42, 0, 1, 65504, -65504])
    assert m.subnormal_fraction(array) == pytest.approx(2 / 6)
    assert m.saturated_fraction(array, dtype="float16") == pytest.approx(2 / 6)
    assert m.saturated_fraction(array) == 0
    assert np.isnan(m.saturated_fraction(array, dtype="int8"))
    top = float(ml_dtypes.finfo("bfloat16").max)
    assert m.saturated_fraction(np.float32([top, 1]), dtype="bfloat16") == 0.5


def test_constant_has_no_shape():
    for size in (5, 100_000):
        constant = np.full(size, 0.1, "float32")
        assert m.std(constant) == 0
        assert np.isnan(m.skewness(constant))
        assert np.isnan(m.kurtosis(constant))


def test_nothing_is_written_to():
    array = np.arange(6.0, dtype="float32").reshape(2, 3)
    array.setflags(write=False)
    for name in wanted(array):
        getattr(m, name)(array)


def test_what_one_pass_gives_is_kept(monkeypatch):
    together = ("sum", "absolute", "squares", "min", "max", "largest", "zeros")
    values = Values(ARRAYS["many"], together=together)
    first = values.l2, values.mean
    ends = values.max, values.min
    monkeypatch.setattr(_sums, "_taken", lambda *_: pytest.fail("another pass"))
    assert (values.l2, values.mean) == first
    assert (values.max, values.min) == ends
    assert values.l1 > values.max_abs > 0
    assert (values.zeros, values.nan, values.inf) == (0, 0, 0)
