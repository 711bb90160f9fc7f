"""Few points of a long spectrum."""

import math

import numpy as np
import pytest

from steelyard.report._spectra import points_for, rounded, thinned

pytestmark = pytest.mark.no_keras


def test_a_short_one_is_kept_whole():
    spectrum = thinned((3.0, 2.0, 1.0, 0.0), 40)
    assert spectrum == (3, 1, [1, 2, 3], [9, 4, 1])


@pytest.mark.parametrize("count", [161, 500, 4096, 50_000])
def test_a_long_one_keeps_its_ends_and_its_tail(count):
    values = np.sort(np.random.default_rng(0).gamma(2.0, size=count))[::-1]
    spectrum = thinned(tuple(values), 160)
    assert spectrum.positive == count
    assert spectrum.ranks[:80] == list(range(1, 81))
    assert spectrum.ranks[-1] == count
    assert spectrum.ranks == sorted(set(spectrum.ranks))
    assert 100 < len(spectrum.ranks) <= 161
    np.testing.assert_allclose(
        spectrum.values, values[np.array(spectrum.ranks) - 1] ** 2, rtol=1e-4
    )


def test_no_spectrum():
    assert thinned((0.0, 0.0), 40) is None
    assert thinned((), 40) is None
    assert thinned((math.nan, math.inf, 1.0), 40).values == [1]


def test_many_spectra_share_the_points():
    assert points_for(10) == 160
    assert points_for(10_000) == 40
    assert 40 < points_for(700) < 160


@pytest.mark.parametrize(
    ("number", "said"),
    [(1 / 3, 0.33333), (2.0, 2), (math.nan, "nan"), (-math.inf, "-inf"), (1e300, 1e300), (0, 0)],
)
def test_numbers_are_short_and_fit_into_json(number, said):
    assert rounded(number) == said
    assert type(rounded(number)) is type(said)
