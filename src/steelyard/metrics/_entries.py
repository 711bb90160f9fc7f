"""Health, statistics and norms of the entries of a weight: of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from steelyard.metrics._answer import Answer, undefined
from steelyard.metrics._catalog import metric
from steelyard.metrics._values import Values

# --- Health --------------------------------------------------------------------------------------


@metric("health", unit="entries", range="[0, size]", in_graph=True)
def nan_count(values: Values) -> Any:
    """How many entries are not a number."""
    return values.nan


@metric("health", unit="entries", range="[0, size]", in_graph=True)
def inf_count(values: Values) -> Any:
    """How many entries are infinite, of either sign."""
    return values.inf


@metric("health", range="[0, 1]", in_graph=True)
def zero_fraction(values: Values) -> Any:
    """The share of entries that are exactly 0."""
    return values.zeros / values.size


@metric("health", range="[0, 1]", source="IEEE 754-2019, 3.3")
def subnormal_fraction(values: Values) -> Any:
    """The share of entries below the least normal float but not 0, which lack precision."""
    tiny = np.finfo(values.flat.dtype).tiny
    small = sum(int(np.count_nonzero(np.abs(chunk) < tiny)) for chunk in values.chunks())
    return (small - values.zeros) / values.size


@metric("health", range="[0, 1]", source="IEEE 754-2019, 3.3")
def saturated_fraction(values: Values) -> Any:
    """The share of entries at the largest magnitude that their stored float dtype can hold."""
    limit = _largest(values.stored_dtype)
    if limit is None:
        reason = f"{values.stored_dtype} is no float dtype"
        return Answer(None, "not applicable", reason)
    at = sum(int(np.count_nonzero(np.abs(chunk) >= limit)) for chunk in values.chunks())
    return (at - values.inf) / values.size


def _largest(dtype: str) -> float | None:
    import ml_dtypes

    try:
        return float(ml_dtypes.finfo(getattr(ml_dtypes, dtype, None) or dtype).max)
    except (TypeError, ValueError):
        return None


# --- Statistics ----------------------------------------------------------------------------------


@metric("values", unit="w", in_graph=True)
def mean(values: Values) -> Any:
    """The arithmetic mean of all entries."""
    return values.mean


@metric("values", unit="w", range="[0, inf)", in_graph=True)
def std(values: Values) -> Any:
    """The population standard deviation of all entries (divided by their number)."""
    return values.std


@metric("values", source="Joanes and Gill 1998, g1", in_graph=True)
def skewness(values: Values) -> Any:
    """The third central moment over the cubed standard deviation; 0 where the entries mirror."""
    if values.xp is np and values.min == values.max:
        return undefined("all entries are equal")
    return values.moment(3) / values.moment(2) ** 1.5


@metric("values", range="[-2, inf)", source="Joanes and Gill 1998, g2", in_graph=True)
def kurtosis(values: Values) -> Any:
    """The fourth central moment over the squared variance, less 3: 0 of a normal distribution."""
    if values.xp is np and values.min == values.max:
        return undefined("all entries are equal")
    return values.moment(4) / values.moment(2) ** 2 - 3.0


@metric("values", unit="w", in_graph=True)
def min(values: Values) -> Any:
    """The smallest entry."""
    return values.min


@metric("values", unit="w", in_graph=True)
def max(values: Values) -> Any:
    """The largest entry."""
    return values.max


@metric("values", unit="w")
def median(values: Values) -> Any:
    """The entry in the middle: half of them lie below it."""
    return values.quantile(0.5)


_HYNDMAN = "Hyndman and Fan 1996, type 7"


@metric("values", unit="w", source=_HYNDMAN)
def quantile_01(values: Values) -> Any:
    """The entry below which 1% of them lie."""
    return values.quantile(0.01)


@metric("values", unit="w", source=_HYNDMAN)
def quantile_05(values: Values) -> Any:
    """The entry below which 5% of them lie."""
    return values.quantile(0.05)


@metric("values", unit="w", source=_HYNDMAN)
def quantile_25(values: Values) -> Any:
    """The entry below which a quarter of them lie."""
    return values.quantile(0.25)


@metric("values", unit="w", source=_HYNDMAN)
def quantile_75(values: Values) -> Any:
    """The entry below which three quarters of them lie."""
    return values.quantile(0.75)


@metric("values", unit="w", source=_HYNDMAN)
def quantile_95(values: Values) -> Any:
    """The entry below which 95% of them lie."""
    return values.quantile(0.95)


@metric("values", unit="w", source=_HYNDMAN)
def quantile_99(values: Values) -> Any:
    """The entry below which 99% of them lie."""
    return values.quantile(0.99)


# --- Norms ---------------------------------------------------------------------------------------


@metric("norms", unit="w", range="[0, inf)", in_graph=True)
def l1_norm(values: Values) -> Any:
    """The sum of the absolute values of all entries."""
    return values.l1


@metric("norms", unit="w", range="[0, inf)", source="LAPACK lange", in_graph=True)
def l2_norm(values: Values) -> Any:
    """The Euclidean norm of all entries; of a matrix, the Frobenius norm."""
    return values.l2


@metric("norms", unit="w", range="[0, inf)", in_graph=True)
def rms(values: Values) -> Any:
    """The root of the mean square of all entries."""
    return values.l2 / float(np.sqrt(values.size))


@metric("norms", unit="w", range="[0, inf)", in_graph=True)
def max_abs(values: Values) -> Any:
    """The largest absolute value of an entry."""
    return values.max_abs
