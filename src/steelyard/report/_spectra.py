"""Spectra for a page: few enough points that many weights fit, with the tail kept whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

# Together so many points; of each spectrum at least and at most so many.
_POINTS = 60_000
_FEWEST, _MOST = 40, 160


class Spectrum(NamedTuple):
    """The eigenvalues λ = σ² of a weight, some of them.

    Args:
        positive: How many positive ones there are.
        zeros: How many are 0, which no logarithm shows.
        ranks: Which ones are kept, 1 for the largest.
        values: The ones that are kept.
    """

    positive: int
    zeros: int
    ranks: list[int]
    values: list[float]


def points_for(spectra: int) -> int:
    """How many points each of so many spectra may have."""
    return max(_FEWEST, min(_MOST, _POINTS // max(1, spectra)))


def thinned(singular_values: Sequence[float], points: int) -> Spectrum | None:
    """The largest eigenvalues, each, and of the others ever fewer; None where none is positive."""
    whole = sorted(float(value) for value in singular_values if 0 < value < float("inf"))[::-1]
    if not whole:
        return None
    ranks = _ranks(len(whole), points)
    values = [rounded(whole[rank - 1] ** 2) for rank in ranks]
    return Spectrum(len(whole), sum(1 for value in singular_values if value == 0), ranks, values)


def _ranks(count: int, points: int) -> list[int]:
    if count <= points:
        return list(range(1, count + 1))
    first = points // 2
    steps = points - first
    growth = (count / first) ** (1 / steps)
    rest = {min(count, round(first * growth**step)) for step in range(1, steps + 1)}
    return sorted({*range(1, first + 1), *rest, count})


def rounded(number: float, digits: int = 5) -> Any:
    """A number as JSON can hold it, short: NaN and the infinities are texts."""
    value = float(number)
    if value != value or value in (float("inf"), float("-inf")):
        return repr(value)
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
