"""Quantiles by counting are those by sorting, to the last bit."""

import numpy as np
import pytest

from steelyard.metrics._quantiles import quantiles

pytestmark = pytest.mark.no_keras

SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
RNG = np.random.default_rng(0)
ARRAYS = {
    "normal": RNG.normal(size=200_000),
    "positive": RNG.gamma(0.3, size=100_001),
    "negative": -RNG.gamma(0.3, size=100_001),
    "all equal": np.full(70_000, 0.1),
    "mostly zeros": RNG.normal(size=80_000) * (RNG.random(80_000) < 0.02),
    "zeros of both signs": np.where(RNG.random(70_000) < 0.5, 0.0, -0.0),
    "two values": np.where(RNG.random(70_000) < 0.5, 1.0, -1.0),
    "all magnitudes": RNG.choice([-1, 1], 90_000) * 10.0 ** RNG.uniform(-44, 38, 90_000),
    "few": RNG.normal(size=7),
    "one": np.array([3.0]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ARRAYS)
def test_as_sorted(name, dtype):
    flat = ARRAYS[name].astype(dtype)
    order = np.sort(flat).astype("float64")
    places = np.array(SHARES) * (flat.size - 1)
    low, high = order[np.floor(places).astype(int)], order[np.ceil(places).astype(int)]
    wanted = low + (high - low) * (places - np.floor(places))
    np.testing.assert_array_equal(quantiles(flat, SHARES), wanted)


def test_strided():
    flat = ARRAYS["normal"].astype("float32")[::2]
    assert quantiles(flat, [0.5]) == quantiles(flat.copy(), [0.5])
