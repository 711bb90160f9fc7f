"""Numbers as small bars."""

import math

import pytest

from steelyard.report._sparkline import sparkline

pytestmark = pytest.mark.no_keras


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], ""),
        ([1, 2, 3, 4, 5, 6, 7, 8], "▁▂▃▄▅▆▇█"),
        ([5, 5], "▄▄"),
        ([0, None, 1], "▁ █"),
        ([0, math.nan, math.inf, -math.inf, 1], "▁ !!█"),
        ([math.nan], " "),
        ([-1e308, 1e308], "▁█"),
        ([1, 10, 100, 1000], "▁▃▆█"),
        ([5e-324, 1e308], "▁█"),
    ],
)
def test_bars(values, shown):
    assert sparkline(values, 12) == shown


def test_many_become_as_many_as_fit_and_the_last_is_there():
    assert sparkline([0.0] * 999 + [1.0], 8) == "▁▁▁▁▁▁▁█"
    assert len(sparkline(list(range(1000)), 12)) == 12
    assert len(sparkline(list(range(13)), 12)) == 12
